"""Band tables of the sensors. A new sensor is a new table, not new code."""

from dataclasses import dataclass
from typing import Final

from imagery.errors import SceneError


@dataclass(frozen=True)
class Band:
    """One spectral band of a sensor.

    Attributes:
        name: Our name for it, the same for every sensor ("nir", "swir1", ...).
        field_name: The sensor's own designation, as in the delivered file names ("B4").
        resolution_m: Ground sampling distance as acquired, in metres.
        centre_um: Middle of the band's spectral range, in micrometres.
    """

    name: str
    field_name: str
    resolution_m: float
    centre_um: float


# Source of both tables: USGS, "What are the band designations for the Landsat satellites?". Band 6 of ETM+ is acquired
# once, at 60 m, and delivered at two gains.
SENSORS: Final[dict[str, tuple[Band, ...]]] = {
    "landsat-7-etm+": (
        Band("blue", "B1", 30.0, 0.485),
        Band("green", "B2", 30.0, 0.560),
        Band("red", "B3", 30.0, 0.660),
        Band("nir", "B4", 30.0, 0.835),
        Band("swir1", "B5", 30.0, 1.650),
        Band("thermal_low", "B6_VCID_1", 60.0, 11.450),
        Band("thermal_high", "B6_VCID_2", 60.0, 11.450),
        Band("swir2", "B7", 30.0, 2.220),
    ),
    "landsat-8-oli": (
        Band("coastal", "B1", 30.0, 0.440),
        Band("blue", "B2", 30.0, 0.480),
        Band("green", "B3", 30.0, 0.560),
        Band("red", "B4", 30.0, 0.655),
        Band("nir", "B5", 30.0, 0.865),
        Band("swir1", "B6", 30.0, 1.610),
        Band("swir2", "B7", 30.0, 2.200),
    ),
}


def sensor_bands(sensor: str) -> tuple[Band, ...]:
    """The band table of a sensor, in the order in which its bands are stacked.

    Raises:
        SceneError: The sensor has no table.
    """
    if sensor not in SENSORS:
        raise SceneError(f"unknown sensor {sensor!r}; expected one of {', '.join(sorted(SENSORS))}")
    return SENSORS[sensor]
