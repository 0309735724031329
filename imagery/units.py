"""Units of channels, and levels of processing of a scene's optical bands."""

from enum import StrEnum
from typing import Final

REFLECTANCE: Final = "reflectance"
"""Share of the light that is reflected: 0 for black, 1 for a white diffuse surface; slightly outside by noise."""
DIGITAL_NUMBER: Final = "digital number"
"""The number as the file stores it, without a physical unit."""
KELVIN: Final = "K"
METRE: Final = "m"
DEGREE: Final = "degree"
DIMENSIONLESS: Final = "1"
PER_METRE: Final = "1/m"


class Level(StrEnum):
    """What a reflectance refers to. Levels differ by haze, so scenes of two do not mix in one pool."""

    SURFACE = "surface"
    """Of the surface, the atmosphere removed (Landsat L2SP, Sentinel-2 L2A, HLS)."""
    TOP_OF_ATMOSPHERE = "top of atmosphere"
    """Of surface and atmosphere together, corrected for the height of the sun (Landsat L1TP, Sentinel-2 L1C)."""
    TOP_OF_ATMOSPHERE_SUN_UNCORRECTED = "top of atmosphere, not corrected for the height of the sun"
    """The same, lower by the sine of the sun's elevation, which Landsat L1TP does not state without its MTL file."""
