import pytest

from imagery.coordinates import format_place


@pytest.mark.parametrize(
    ("lon", "lat", "text"),
    [
        (86.925, 27.98806, "27.9881° N 86.9250° E"),
        (-73.5, -48.8, "48.8000° S 73.5000° W"),
        (-0.00001, -0.00001, "0.0000° N 0.0000° E"),
    ],
)
def test_a_place_is_written_with_its_hemispheres(lon: float, lat: float, text: str) -> None:
    assert format_place(lon, lat) == text
