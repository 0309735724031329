"""Decoding the quality bands of products: which pixels are cloud, shadow or fill.

Flags say what the producer's algorithm found, and over glaciers these algorithms err: bright ice is often taken for
cloud or cirrus, and shaded ice for cloud shadow. Which flags make a pixel unknown is therefore the user's choice
(setting `masked_flags`). Flags of snow and ice can never be chosen, since glaciers consist of both.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.scene_source import QualityBand


@dataclass(frozen=True)
class Bits:
    """A flag that is raised if some bits of the stored number, read as a number, have one of some values.

    Attributes:
        first: The lowest of the bits, counted from 0.
        count: How many bits.
        values: The values of these bits that raise the flag.
    """

    first: int
    count: int = 1
    values: tuple[int, ...] = (1,)

    def raised(self, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return where the flag is raised, in the shape of `stored`."""
        return np.isin((stored >> self.first) & ((1 << self.count) - 1), self.values)


@dataclass(frozen=True)
class Categories:
    """A flag that is raised by some of the stored numbers."""

    values: tuple[int, ...]

    def raised(self, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return where the flag is raised, in the shape of `stored`."""
        return np.isin(stored, self.values)


@dataclass(frozen=True)
class Range:
    """A flag that is raised by the stored numbers from `lowest` to `highest`, both included."""

    lowest: int
    highest: int

    def raised(self, stored: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return where the flag is raised, in the shape of `stored`."""
        raised: NDArray[np.bool_] = (stored >= self.lowest) & (stored <= self.highest)
        return raised


@dataclass(frozen=True)
class Below:
    """A flag that is raised by numbers, not necessarily integers, below a threshold."""

    threshold: float

    def raised(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Return where the flag is raised, in the shape of `stored`; NaN does not raise it."""
        raised: NDArray[np.bool_] = stored < self.threshold
        return raised


FlagTable = Mapping[str, Bits | Categories | Range | Below]
"""How each flag of a quality band is encoded, by the flag's name."""

_CLOUD_SCORE: Final = "cloud-score-plus"
_CLOUD_PROBABILITY: Final = "sentinel-2-cloud-probability"
# Cubic resampling makes numbers that are a tenth of the range beyond it; another scale is ten times as large, or more.
_BEYOND_RANGE: Final = 1.2

_TABULATED: Final = 1 << 16  # no product's flags have more than 16 bits

SNOW: Final = "snow"
"""The flag of snow and ice, which may not be masked."""

FLAG_TABLES: Final[Mapping[str, FlagTable]] = {
    # QA_PIXEL. USGS, Landsat 8-9 Collection 2 Level 2 Science Product Guide (LSDS-1619), table "Pixel quality
    # assessment bit index", and the same for Landsat 4-7 (LSDS-1618), where the bit of cirrus is never set. Cloud is
    # set where the confidence of cloud is high; confidences are 1 (low), 2 (medium) and 3 (high).
    "landsat-c2-qa-pixel": {
        "fill": Bits(0),
        "dilated cloud": Bits(1),
        "cirrus": Bits(2),
        "cloud": Bits(3),
        "possible cloud": Bits(8, 2, (2, 3)),
        "cloud shadow": Bits(4),
        SNOW: Bits(5),
        "water": Bits(7),
    },
    # BQA. USGS, Landsat Collection 1 Level-1 Quality Assessment Band. Bit 1 means a dropped pixel on Landsat 4-7 and
    # occlusion by terrain on Landsat 8, neither of which shows the ground. Shadow and cirrus have confidences only.
    "landsat-c1-bqa": {
        "fill": Bits(0),
        "dropped": Bits(1),
        "saturated": Bits(2, 2, (1, 2, 3)),
        "cloud": Bits(4),
        "possible cloud": Bits(5, 2, (2, 3)),
        "cloud shadow": Bits(7, 2, (3,)),
        SNOW: Bits(9, 2, (3,)),
        "cirrus": Bits(11, 2, (3,)),
    },
    # pixel_qa. USGS, Landsat 8 Collection 1 Land Surface Reflectance Code Product Guide (LSDS-1368), and the same for
    # Landsat 4-7 (LSDS-1370), where bits 8 and 9 are never set.
    "landsat-c1-pixel-qa": {
        "fill": Bits(0),
        "water": Bits(2),
        "cloud shadow": Bits(3),
        SNOW: Bits(4),
        "cloud": Bits(5),
        "possible cloud": Bits(6, 2, (2, 3)),
        "cirrus": Bits(8, 2, (3,)),
    },
    # BQA of Landsat 8 before the collections. USGS, Landsat 8 Data Users Handbook 1.0 (LSDS-1574), table "Bits
    # populated in the QA band". Bit 1 means a dropped frame; shadow is not tested. Confidences are 1 (below a third),
    # 2 (below two thirds) and 3.
    "landsat-8-pre-collection-bqa": {
        "fill": Bits(0),
        "dropped": Bits(1),
        "water": Bits(4, 2, (3,)),
        SNOW: Bits(10, 2, (3,)),
        "cirrus": Bits(12, 2, (3,)),
        "cloud": Bits(14, 2, (3,)),
        "possible cloud": Bits(14, 2, (2, 3)),
    },
    # SCL. ESA, Sentinel-2 Level-2A Algorithm Overview, scene classification: 0 no data, 1 saturated or defective,
    # 2 dark or cast shadow of terrain, 3 cloud shadow, 4 vegetation, 5 not vegetated, 6 water, 7 unclassified, 8 and 9
    # cloud of medium and high probability, 10 thin cirrus, 11 snow or ice.
    "sentinel-2-scl": {
        "fill": Categories((0,)),
        "saturated": Categories((1,)),
        "dark": Categories((2,)),
        "cloud shadow": Categories((3,)),
        "water": Categories((6,)),
        "cloud": Categories((8, 9)),
        "high-probability cloud": Categories((9,)),
        "cirrus": Categories((10,)),
        SNOW: Categories((11,)),
    },
    # MSK_CLDPRB, per cent. 65 is the threshold of Earth Engine's guide to Sentinel-2 cloud probability, and where the
    # scene classification of ESA begins to speak of high probability; its medium one begins at 35 (Sen2Cor ATBD).
    _CLOUD_PROBABILITY: {
        "cloud": Range(65, 100),
        "possible cloud": Range(35, 100),
    },
    # Cloud Score+ (Earth Engine catalogue, GOOGLE/CLOUD_SCORE_PLUS/V1/S2_HARMONIZED): cs and cs_cdf, from 0 (not clear)
    # to 1 (clear). 0.6 is the threshold of its example; values of 0.5 to 0.65 are recommended.
    _CLOUD_SCORE: {"cloud": Below(0.6)},
    # MSK_CLASSI_B00, from processing baseline 04.00: one band each for opaque cloud, cirrus and snow (ESA, Sentinel-2
    # Products Specification Document). This is the table of the first band, the next one that of the second.
    "sentinel-2-msk-classi": {"cloud": Range(1, 255)},
    "sentinel-2-msk-classi-cirrus": {"cirrus": Range(1, 255)},
    # QA60 (Earth Engine catalogue, COPERNICUS/S2_SR_HARMONIZED).
    "sentinel-2-qa60": {"cloud": Bits(10), "cirrus": Bits(11)},
    # Fmask. NASA, HLS Product User Guide 2.0, "Quality assessment layer". Bit 0 (cirrus) is reserved and not used;
    # adjacent to cloud or shadow means within 5 pixels of one.
    "hls-fmask": {
        "fill": Categories((255,)),
        "cloud": Bits(1),
        "dilated cloud": Bits(2),
        "cloud shadow": Bits(3),
        SNOW: Bits(4),
        "water": Bits(5),
    },
    # UDM 2 has a band for each flag; its last is the older mask. Planet, "Usable data masks": bit 0 is fill, bit 1
    # likely cloud, and each further bit a band whose numbers are suspect.
    "planet-udm2-cloud": {"cloud": Categories((1,))},
    "planet-udm2-haze": {"possible cloud": Categories((1,))},
    "planet-udm2-shadow": {"cloud shadow": Categories((1,))},
    "planet-udm2-snow": {SNOW: Categories((1,))},
    "planet-udm1": {"fill": Bits(0), "possible cloud": Bits(1), "dropped": Bits(2, 6, tuple(range(1, 64)))},
    # A mask of cloud of whatever origin: 0 is clear. Negative numbers, usual for nodata, are not cloud.
    "cloud-mask": {"cloud": Range(1, np.iinfo(np.int64).max)},
}
"""How the quality bands of each kind are decoded."""

FLAG_NAMES: Final = tuple(dict.fromkeys(name for table in FLAG_TABLES.values() for name in table))
"""The names of all flags."""

MASKABLE: Final = tuple(name for name in FLAG_NAMES if name != SNOW)
"""The flags that may make a pixel unknown."""


def flags_of(table: str) -> tuple[str, ...]:
    """Return the names of the flags of a table.

    Raises:
        SceneError: There is no such table.
    """
    return tuple(_table(table))


def raised(stored: NDArray[Any], table: str, flag: str) -> NDArray[np.bool_]:
    """Return where a flag is raised.

    Args:
        stored: The quality band as stored, of any type and shape.
        table: A key of `FLAG_TABLES`.
        flag: The name of one of its flags.

    Raises:
        SceneError: There is no such table, or it has no such flag.
    """
    flags = _table(table)
    if flag not in flags:
        raise SceneError(f"found the flag {flag!r} for {table!r}; expected one of {', '.join(flags)}")
    rule = flags[flag]
    return rule.raised(stored) if isinstance(rule, Below) else rule.raised(stored.astype(np.int64))


def impossible_numbers(stored: NDArray[Any], table: str) -> str | None:
    """Return what numbers of a quality band contradict how they are decoded, in words; None if they may be as expected.

    Numbers on another scale raise no flag, or others: a cloud score stored x 100 is never below 0.6, and a probability
    of 0 to 1 never 65. Flags that were interpolated or averaged are fractions.

    Args:
        stored: Numbers of the quality band as stored, of any type and shape, without NaN.
        table: A key of `FLAG_TABLES`.
    """
    highest = float(stored.max(initial=0))
    fractions = bool((stored != np.round(stored)).any())
    if table == _CLOUD_SCORE:
        return f"scores up to {highest:g}; expected 0 (cloud) to 1 (clear)" if highest > _BEYOND_RANGE else None
    if table == _CLOUD_PROBABILITY:
        other = highest > 100 * _BEYOND_RANGE or (fractions and highest <= 1)
        return f"probabilities up to {highest:g}; expected per cent, 0 to 100" if other else None
    return "fractions; expected the whole numbers of flags, not interpolated ones" if fractions else None


def unknown_pixels(stored: NDArray[Any], table: str, masked: Iterable[str]) -> NDArray[np.bool_]:
    """Return where a quality band makes a pixel unknown: where any of the masked flags is raised.

    Args:
        stored: The quality band as stored, of any type and shape.
        table: A key of `FLAG_TABLES`.
        masked: Names of flags of the table (`QualityBand.masked`).

    Raises:
        SceneError: There is no such table, or it lacks one of the flags, or the flag is that of snow and ice.
    """
    if stored.dtype in {np.dtype(np.uint8), np.dtype(np.uint16)}:
        unknown: NDArray[np.bool_] = _lookup(table, tuple(masked))[stored]
        return unknown
    return _decode(stored, table, masked)


@cache
def _lookup(table: str, masked: tuple[str, ...]) -> NDArray[np.bool_]:
    """Return which numbers make a pixel unknown: looking it up is several times as fast as decoding every pixel."""
    return _decode(np.arange(_TABULATED), table, masked)


def _decode(numbers: NDArray[Any], table: str, masked: Iterable[str]) -> NDArray[np.bool_]:
    unknown: NDArray[np.bool_] = np.zeros(numbers.shape, dtype=np.bool_)
    for flag in masked:
        check_maskable(flag)
        unknown |= raised(numbers, table, flag)
    return unknown


def mask_flags(quality: Sequence[QualityBand], flags: Sequence[str]) -> tuple[QualityBand, ...]:
    """Return quality bands that mask the flags, each those that its table has. Bands that are not decoded stay so.

    Args:
        quality: The quality bands of a scene.
        flags: The user's choice, names of `MASKABLE`.

    Raises:
        SceneError: A flag is unknown, or is that of snow and ice; or a band names an unknown table.
    """
    for flag in flags:
        check_maskable(flag)
    return tuple(
        band
        if band.table is None
        else replace(band, masked=tuple(flag for flag in flags_of(band.table) if flag in flags))
        for band in quality
    )


def check_decoding(band: QualityBand) -> None:
    """Raise a SceneError if a quality band cannot be decoded as it says: by an unknown table, flag, or snow."""
    if band.table is not None:
        unknown_pixels(np.zeros(0), band.table, band.masked)


def check_maskable(flag: str) -> None:
    """Raise a SceneError for the name of a flag that does not exist or may not be masked."""
    if flag == SNOW:
        raise SceneError(
            f"found {SNOW!r} among the flags to mask; expected others: it marks ice as well, and glaciers would become "
            f"unknown (flags to choose from: {', '.join(MASKABLE)})"
        )
    if flag not in MASKABLE:
        raise SceneError(f"found the flag {flag!r}; expected one of {', '.join(MASKABLE)}")


def _table(table: str) -> FlagTable:
    if table not in FLAG_TABLES:
        raise SceneError(f"found the flag table {table!r}; expected one of {', '.join(FLAG_TABLES)}")
    return FLAG_TABLES[table]
