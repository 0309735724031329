"""Writing coordinates for people."""


def format_place(lon: float, lat: float) -> str:
    """Write longitude and latitude in degrees with their hemispheres: "48.8000° S 73.5000° W", about 10 m exact."""
    return f"{_degrees(lat, 'N', 'S')} {_degrees(lon, 'E', 'W')}"


def format_bounds(bounds: tuple[float, float, float, float]) -> str:
    """Write bounds (smallest x, smallest y, largest x, largest y): "x 470085 to 488085, y 3090000 to 3108000"."""
    return "x {0:.9g} to {2:.9g}, y {1:.9g} to {3:.9g}".format(*bounds)


def _degrees(value: float, positive: str, negative: str) -> str:
    rounded = round(value, 4)  # first, so that -0.00001 is not written as 0.0000° S
    return f"{abs(rounded):.4f}° {negative if rounded < 0 else positive}"
