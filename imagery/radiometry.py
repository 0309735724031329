"""From stored numbers to reflectance: scale, offset, fill and unit of a band.

Three sources may state them. In order of precedence:

1. the product's own metadata (Landsat's MTL, Sentinel-2's MTD, a STAC item), which belong to this very scene;
2. the tags of the file (GDAL's scale and offset, or metadata items such as `scale_factor`);
3. the constants of the product, below.

A source that contradicts one above it is overruled and said so (`prefer`). Files whose numbers are reflectances
already, although a source states a scale, are recognised by their values (`already_reflectance`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.io import DatasetReader

from imagery.grid import Window
from imagery.raster_file import alpha_index, declared_valid, read_window
from imagery.scene_source import BandSource
from imagery.stored_numbers import declared_number, declared_scale, void_numbers
from imagery.units import DIGITAL_NUMBER, KELVIN, REFLECTANCE, Level

_FEWEST: Final = 16  # pixels, to judge a band by
RADIANCE: Final = "W/(m2 sr um)"
"""Unit of spectral radiance, in which Landsat's thermal bands are read: brightness temperature is not linear in it."""

_POSSIBLE: Final[Mapping[str, tuple[float, float]]] = {KELVIN: (180.0, 350.0), RADIANCE: (0.3, 30.0)}
# Between the quartiles of a scene's temperatures lie 0.3 to 30 K, between those of their hundredths 30 to 3000.
_WIDEST_QUARTILES_K: Final = 30.0


@dataclass(frozen=True)
class Scaling:
    """How stored numbers become values: value = stored x `scale` + `offset`.

    Attributes:
        scale: The factor.
        offset: The value of the stored number 0.
        nodata: The stored number that means no data, or None.
        unit: The unit of the values (see `imagery.units`).
        stored_as: The data types in which the provider stores the numbers; empty if they are not known.
    """

    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    unit: str = DIGITAL_NUMBER
    stored_as: tuple[str, ...] = ()

    def band(self, name: str, path: str, index: int = 1) -> BandSource:
        """Return the band of a file, read with this scaling."""
        return BandSource(name, path, index, self.scale, self.offset, self.nodata, self.unit)

    def fits(self, dtype: str) -> bool:
        """Return whether a file of this data type can hold every number as the provider stores it."""
        return not self.stored_as or any(np.can_cast(np.dtype(own), np.dtype(dtype)) for own in self.stored_as)

    def agrees(self, other: "Scaling") -> bool:
        """Return whether both turn stored numbers into the same values, but for rounding (1e-6 of the scale)."""
        return math.isclose(self.scale, other.scale, rel_tol=1e-6) and math.isclose(
            self.offset, other.offset, rel_tol=1e-6, abs_tol=1e-9
        )


# USGS, "Landsat Collection 2 Level-2 Science Product Guide", tables 6-1 and 6-2.
LANDSAT_SURFACE: Final = Scaling(2.75e-5, -0.2, 0, REFLECTANCE, ("uint16",))
LANDSAT_SURFACE_TEMPERATURE: Final = Scaling(0.00341802, 149.0, 0, KELVIN, ("uint16",))
# USGS, "Landsat 8-9 Data Users Handbook", section 5: the same for all reflective bands and scenes of OLI, not corrected
# for the height of the sun. TM's and ETM+'s differ from scene to scene.
OLI_TOP_OF_ATMOSPHERE: Final = Scaling(2e-5, -0.1, 0, REFLECTANCE, ("uint16",))
# USGS, "Landsat 8 Collection 1 Land Surface Reflectance Code Product Guide" (LSDS-1368), table 6-1; LSDS-1370 for 4-7.
LANDSAT_COLLECTION_1_SURFACE: Final = Scaling(1e-4, 0.0, -9999, REFLECTANCE, ("int16",))
LANDSAT_FILL: Final = Scaling(nodata=0)
# "HLS Product User Guide" 2.0, tables 7 and 8. Brightness temperatures are in degrees Celsius.
HLS_REFLECTANCE: Final = Scaling(1e-4, 0.0, -9999, REFLECTANCE, ("int16",))
HLS_TEMPERATURE: Final = Scaling(0.01, 273.15, -9999, KELVIN, ("int16",))
# ESA, "Sentinel-2 Products Specification Document" 14.9: (stored + offset) / quantification, offset -1000 from baseline
# 04.00 on (25 January 2022, and everything processed again since).
# Numbers reach 28,000 (ESA's are of 15 bits), so that int16 holds them, too.
SENTINEL_2: Final = Scaling(1e-4, 0.0, 0, REFLECTANCE, ("uint16", "int16"))
SENTINEL_2_OFFSET: Final = -1000
SENTINEL_2_FIRST_OFFSET_BASELINE: Final = 4.00


# Planet, "PlanetScope product specifications", section "Surface reflectance": x 10,000, 0 where nothing was seen.
PLANETSCOPE_SURFACE: Final = Scaling(1e-4, 0.0, 0, REFLECTANCE, ("uint16",))


def sentinel_2(offset: float, quantification: float = 10_000.0) -> Scaling:
    """Return Sentinel-2's scaling.

    Args:
        offset: BOA_ADD_OFFSET or RADIO_ADD_OFFSET, in stored numbers (0 or -1000).
        quantification: BOA_QUANTIFICATION_VALUE or QUANTIFICATION_VALUE.
    """
    return replace(SENTINEL_2, scale=1 / quantification, offset=offset / quantification)


def top_of_atmosphere(mult: float, add: float, sun_elevation_deg: float, stored_as: tuple[str, ...] = ()) -> Scaling:
    """Return the scaling to top-of-atmosphere reflectance of Landsat Level-1: (M x Q + A) / sin(sun elevation).

    Source: USGS, "Using the USGS Landsat Level-1 Data Product".

    Args:
        mult: REFLECTANCE_MULT_BAND_x.
        add: REFLECTANCE_ADD_BAND_x.
        sun_elevation_deg: Sun elevation at the scene's centre, in degrees, above 0.
        stored_as: As in `Scaling`.
    """
    sine = math.sin(math.radians(sun_elevation_deg))
    return Scaling(mult / sine, add / sine, 0, REFLECTANCE, stored_as)


def level_of(scaling: Scaling) -> Level | None:
    """Return the level of which a scaling is characteristic: Landsat's constants; None if many products share it."""
    if scaling.agrees(LANDSAT_SURFACE):
        return Level.SURFACE
    if scaling.agrees(OLI_TOP_OF_ATMOSPHERE):
        return Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED
    return None


def declared_scaling(dataset: DatasetReader, index: int) -> Scaling | None:
    """Return scale, offset and fill as the tags of a file state them, or None if they state no scale and no offset.

    See `imagery.stored_numbers.declared_scale`; the fill is the item `_FillValue`. The unit is left to the caller.

    Args:
        dataset: An open dataset.
        index: The 1-based band index.

    Raises:
        SceneError: A tag is not a number, or the scale is 0.
    """
    scale, offset = declared_scale(dataset, index)
    if (scale, offset) == (1.0, 0.0):
        return None
    return Scaling(scale, offset, declared_number(dataset, index, ("_fillvalue",)))


def prefer(stated: Scaling, declared: Scaling | None, where: str) -> tuple[Scaling, str | None]:
    """Return the scaling that product metadata or constants state, and a note if the file's tags contradict it."""
    if declared is None or declared.agrees(stated):
        return stated, None
    return stated, (
        f"{where}: the file's tags say x {declared.scale:g} {declared.offset:+g}, the product says x {stated.scale:g} "
        f"{stated.offset:+g}, which is used"
    )


def sample(
    dataset: DatasetReader, index: int, nodata: float | None = None, void: float | None = None
) -> NDArray[np.float64]:
    """Return some valid stored numbers of a band: a few thousand pixels along the diagonal, whatever the file's size.

    What the file declares invalid is left out as when the band is read (`imagery.raster_file.declared_valid`). If it
    declares nothing, numbers that mean no data by convention are (`imagery.stored_numbers.VOID_NUMBERS`).

    Args:
        dataset: An open dataset.
        index: The 1-based band index.
        nodata: A number that means no data, in addition to the file's own.
        void: A further one.

    Returns:
        (pixels,), perhaps empty.

    Raises:
        SceneError: The pixels cannot be read.
    """
    side = 64
    alpha = alpha_index(dataset, [index])
    parts: list[NDArray[Any]] = []
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        col = max(0, int(dataset.width * share) - side // 2)
        row = max(0, int(dataset.height * share) - side // 2)
        window = Window(row, col, min(side, dataset.height - row), min(side, dataset.width - col))
        raw = read_window(dataset, [index], window)[0]
        parts.append(raw[declared_valid(dataset, index, raw, window, alpha)])
    numbers = np.concatenate(parts)
    declares_nothing = dataset.mask_flag_enums[index - 1] == [MaskFlags.all_valid]
    voids = void_numbers(numbers) if declares_nothing else []
    missing = [*voids, *(number for number in (nodata, void) if number is not None)]
    values = numbers.astype(np.float64)
    result: NDArray[np.float64] = values[np.isfinite(values) & ~np.isin(values, missing)]
    return result


def already_reflectance(dtype: str, values: NDArray[np.float64]) -> bool:
    """Return whether stored numbers are reflectances already: fractions, of which 99 % lie between -0.3 and 2.

    Integers cannot be reflectances, whatever their range; a float file may hold unscaled integers.

    Args:
        dtype: The file's data type ("uint16").
        values: Some valid stored numbers, as from `sample`.
    """
    if not dtype.startswith("float") or values.size == 0:
        return False
    low, high = np.quantile(values, [0.005, 0.995])
    return bool(low >= -0.3 and high <= 2.0 and high > 0.0)


def possible_thermal(unit: str, values: NDArray[np.float64]) -> bool:
    """Return whether the median of a thermal band can be that of the Earth's surface or of cloud.

    That is 180 to 350 K, and from it 0.3 to 30 W/(m2 sr um) between 10 and 12.5 um (Planck's law, rounded outwards).

    Args:
        unit: Of the values; of other units than kelvin and radiance nothing is known, and all are possible.
        values: Values, not stored numbers; of fewer than 16 nothing is said.
    """
    lowest, highest = _POSSIBLE.get(unit, (-math.inf, math.inf))
    return values.size < _FEWEST or bool(lowest <= np.median(values) <= highest)


def already_temperature(dtype: str, values: NDArray[np.float64], zero_k: float) -> bool:
    """Return whether stored numbers are temperatures already, and not hundredths of them, as products store them.

    The middle of hundredths may be that of temperatures, as 2.5 degrees Celsius are stored as 250. But quartiles of a
    scene's temperatures lie some kelvin apart, and those of their hundredths some hundred.

    Args:
        dtype: The file's data type ("float32"). Neither integers nor whole numbers are temperatures already.
        values: Some valid stored numbers, as from `sample`; of fewer than 16 nothing is said.
        zero_k: The temperature in kelvin that the number 0 means: 0, or 273.15 of degrees Celsius.
    """
    if not dtype.startswith("float") or values.size < _FEWEST or not (values % 1).any():
        return False
    low, high = np.quantile(values, [0.25, 0.75])
    coldest, warmest = _POSSIBLE[KELVIN]
    return bool(coldest <= low + zero_k and high + zero_k <= warmest and high - low < _WIDEST_QUARTILES_K)


def implausible(scaling: Scaling, values: NDArray[np.float64]) -> str | None:
    """Return what is wrong with reflectances, in words, if most of them are physically impossible; else None.

    Args:
        scaling: Of a reflectance.
        values: Some valid stored numbers, as from `sample`.
    """
    if values.size < _FEWEST:
        return None
    low, middle, high = np.quantile(values * scaling.scale + scaling.offset, [0.05, 0.5, 0.95])
    if middle > 2.0 or middle < -0.05 or high < 1e-3:
        return f"nine tenths of the reflectances lie between {low:.3g} and {high:.3g}; expected 0 to 1"
    return None
