"""Tiles of the data set of Baraka et al. (LILA, "HKH Glacier Mapping"): 15 bands in one GeoTIFF."""

from typing import Final

import numpy as np

from imagery.channels import ELEVATION, INDICES, SLOPE
from imagery.products.headers import date_in_name
from imagery.products.product import Product
from imagery.radiometry import LANDSAT_FILL, Scaling, already_reflectance, sample
from imagery.raster_file import open_raster
from imagery.scene_source import BandSource, ElevationSource, QualityBand
from imagery.sensors import FLAG_TABLE_OF
from imagery.units import KELVIN, REFLECTANCE, Level

# The order of https://lila.science/datasets/hkh-glacier-mapping: Landsat 7 B1 to B5, both gains of B6, B7, B8, BQA;
# three indices; SRTM elevation and slope.
_ORDER: Final = (
    "blue", "green", "red", "nir", "swir1", "thermal_low", "thermal_high", "swir2", "pan", "quality",
    "ndvi", "ndsi", "ndwi", ELEVATION, SLOPE,
)  # fmt: skip
_DESCRIBED: Final = (
    "b1", "b2", "b3", "b4", "b5", "b6_vcid_1", "b6_vcid_2", "b7", "b8", "bqa",
    "ndvi", "ndsi", "ndwi", "elevation", "slope",
)  # fmt: skip
SENSOR: Final = "landsat-7-etm+"


def recognise_baraka(path: str) -> Product | None:
    """Return the tile that a file is, or None: 15 bands of these names, or unnamed ones whose numbers fit.

    The stored indices and slope are left out and computed from the bands, since the authors' NDWI is another index than
    they describe. The numbers of Landsat 7 are Collection 1 digital numbers, unless they are fractions.

    Raises:
        SceneError: The file cannot be read.
    """
    with open_raster(path) as dataset:
        if dataset.count != len(_ORDER):
            return None
        texts = tuple((text or "").strip().lower().removeprefix("le7").strip(" _") for text in dataset.descriptions)
        named = texts == _DESCRIBED
        if any(texts) and not named:
            return None
        values = {name: sample(dataset, _ORDER.index(name) + 1) for name in (*INDICES, ELEVATION, SLOPE, "red")}
        dtype = str(dataset.dtypes[2])
    indices = np.concatenate([values[name] for name in INDICES])
    fits = (
        values[SLOPE].size > 0
        and (np.abs(indices) <= 1).all()
        and -500 < values[ELEVATION].min() <= values[ELEVATION].max() < 9000
        and values[ELEVATION].max() > 90
        and 0 <= values[SLOPE].min() <= values[SLOPE].max() <= 90
    )
    if not named and not fits:
        return None
    fractions = already_reflectance(dtype, values["red"])
    scaling = Scaling(1.0, 0.0, 0, REFLECTANCE) if fractions else LANDSAT_FILL
    thermal = Scaling(1.0, 0.0, 0, KELVIN) if fractions else LANDSAT_FILL
    level = Level.TOP_OF_ATMOSPHERE if fractions else None
    stem = path.rpartition("/")[2].rpartition(".")[0]
    skipped = (*INDICES, SLOPE)
    notes = [] if named else ["the bands have no names; taken in the order of the data set, as 15 bands that fit it"]
    if not fractions:
        notes.append("the numbers of Landsat 7 are read as digital numbers: the tile lacks what makes them reflectance")
    return Product(
        kind="tile of Baraka et al. (HKH Glacier Mapping)",
        sensor=SENSOR,
        level=level,
        acquired=date_in_name(stem),
        acquired_by=f"the name {stem}",
        bands=tuple(
            (thermal if name.startswith("thermal") else scaling).band(name, path, index)
            for index, name in enumerate(_ORDER[:8], start=1)
        ),
        quality=(QualityBand("quality", path, 10, FLAG_TABLE_OF["bqa"]),),
        extras=(scaling.band("pan", path, 9),),
        dem=ElevationSource((BandSource(ELEVATION, path, 14),)),
        product_id=stem,
        notes=tuple(notes),
        left_out=tuple(
            (f"band {_ORDER.index(name) + 1} ({name})", f"{name} is computed from the bands and the elevation")
            for name in skipped
        ),
    )
