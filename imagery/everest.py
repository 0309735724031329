"""The real demonstration scene: Mount Everest, Landsat 7 ETM+, 30 October 2000, with glacier outlines as truth.

Image: Landsat 7 ETM+ scene LE71400412000304SGS00, courtesy of the U.S. Geological Survey (public domain); 800 x 655
pixels of 30 m in EPSG:32645, 8 bit, bright snow saturated at 255, no nodata and no black border.

Outlines: Randolph Glacier Inventory 6.0 (RGI Consortium 2017, https://doi.org/10.7265/4m1f-gd79, CC BY 4.0), drawn from
this scene. RGI distinguishes only glacier and background; the split into clean and debris-covered ice is computed by
the rule in `_debris_covered` and was not mapped by an expert.

Both are in the wheel of geoutils 0.0.8 (BSD-3), of which only the data files are used; it is never imported.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from imagery.aged_outlines import Ageing, age
from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.everest_files import NEAR_INFRARED, OUTLINES, VISIBLE, data_directory
from imagery.grid import Grid, Window
from imagery.masks import OutlineLayer, despeckle, rasterize_outlines
from imagery.outlines import ClassLayer, write_class_layers
from imagery.polygons import mask_to_map_polygons
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource

SENSOR: Final = "landsat-7-etm+"
ACQUIRED: Final = date(2000, 10, 30)  # day 304 of 2000, as in the name of the scene

REGIONS: Final[Mapping[str, Window]] = MappingProxyType(
    {
        "pool": Window(0, 200, 655, 400),
        "validation": Window(0, 600, 655, 200),
        "test": Window(0, 0, 655, 200),
    }
)
"""The regions by role: strips from north to south that share no pixel, each with all three classes.

The test strip is the western one because its class shares (55 % background, 33 % clean, 12 % debris) are closer to
those of the pool (52, 39 and 9 %); the eastern strip (25, 64 and 11 %) is the validation set of the loop.
"""

_LAYERS: Final = ((CLEAN_ICE, "clean_ice"), (DEBRIS_COVERED_ICE, "debris_covered_ice"))
_SMALLEST_PATCH_PX: Final = 12  # about a hectare, the smallest glacier that RGI lists


@dataclass(frozen=True)
class EverestScene:
    """The scene as a user would register it.

    Attributes:
        bands: Red, green, blue and near infrared, in two files inside the installed wheel.
        truth: A GeoPackage with the layers "clean_ice" and "debris_covered_ice", in the scene's CRS.
        outlines: The same layers, as `imagery.masks.rasterize_outlines` takes them.
        regions: Window by role: "pool", "validation", "test".
    """

    bands: tuple[BandSource, ...]
    truth: Path
    outlines: tuple[OutlineLayer, ...]
    regions: Mapping[str, Window]


def prepare(target_dir: Path) -> EverestScene:
    """Find the scene's files and write its truth.

    Args:
        target_dir: Folder for `everest_outlines.gpkg`; created if missing. An existing file is replaced.

    Raises:
        SceneError: The wheel that contains the scene is not installed.
    """
    bands = _bands(data_directory())
    target_dir.mkdir(parents=True, exist_ok=True)
    truth = target_dir / "everest_outlines.gpkg"
    return EverestScene(bands, truth, _write(truth, *_truth_mask(bands)), REGIONS)


def write_old_outlines(everest: EverestScene, path: Path, ageing: Ageing, seed: int) -> tuple[OutlineLayer, ...]:
    """Write outlines of the whole scene that are old on purpose; return their layers.

    Args:
        everest: The scene, whose true outlines are made old.
        path: A GeoPackage; its folder exists. An existing file is replaced.
        ageing: How they differ from the truth.
        seed: Of what `imagery.aged_outlines.age` draws at random.
    """
    grid = describe(everest.bands).grid
    return _write(path, age(rasterize_outlines(everest.outlines, grid, GLACIER_SCHEME), ageing, seed), grid)


def _bands(directory: Path) -> tuple[BandSource, ...]:
    visible, near_infrared = str(directory / VISIBLE), str(directory / NEAR_INFRARED)
    return (
        BandSource("red", visible, 1),
        BandSource("green", visible, 2),
        BandSource("blue", visible, 3),
        BandSource("nir", near_infrared, 1),
    )


def _truth_mask(bands: tuple[BandSource, ...]) -> tuple[NDArray[np.uint8], Grid]:
    source = describe(bands)
    rgi = OutlineLayer(str(data_directory() / OUTLINES), None, CLEAN_ICE.name)
    glacier = rasterize_outlines([rgi], source.grid, GLACIER_SCHEME) == CLEAN_ICE.value
    with SceneReader(source) as reader:
        red, blue, nir = reader.read(("red", "blue", "nir"), source.grid.window)
    debris = _debris_covered(red, blue, nir, glacier)
    mask: NDArray[np.uint8] = np.where(glacier, CLEAN_ICE.value, BACKGROUND).astype(np.uint8)
    mask[debris] = DEBRIS_COVERED_ICE.value
    return _despeckle_inside(mask, glacier), source.grid


def _debris_covered(
    red: NDArray[np.float32], blue: NDArray[np.float32], nir: NDArray[np.float32], glacier: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Return which glacier pixels are debris-covered.

    1. A pixel counts as debris if it is dark (red below 183, Otsu's threshold over this scene's glacier pixels) and not
       as bluish as shaded ice (blue / (nir + 1) below 1.96).
    2. Then each pixel gets the majority class of the glacier pixels in the 5 x 5 pixels around it.
    """
    dark = glacier & (red < 183) & (blue / (nir + 1) < 1.96)
    # The ratio of the two 5 x 5 means is the share of debris among the glacier pixels nearby.
    debris_share = uniform_filter(dark.astype(np.float64), size=5, mode="constant")
    glacier_share = uniform_filter(glacier.astype(np.float64), size=5, mode="constant")
    majority: NDArray[np.bool_] = glacier & (debris_share > 0.5 * glacier_share)
    return majority


def _despeckle_inside(mask: NDArray[np.uint8], glacier: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Remove small patches of one ice class inside the other; RGI's own outlines stay exactly as drawn."""
    inside = np.where(glacier, mask, UNKNOWN).astype(np.uint8)
    return np.where(glacier, despeckle(inside, _SMALLEST_PATCH_PX), mask).astype(np.uint8)


def _write(path: Path, mask: NDArray[np.uint8], grid: Grid) -> tuple[OutlineLayer, ...]:
    """Write a mask as one layer of outlines for each class."""
    layers = [
        ClassLayer(layer, entry.name, [polygon for _, polygon in mask_to_map_polygons(mask, grid, [entry.value])])
        for entry, layer in _LAYERS
    ]
    write_class_layers(path, layers, grid.crs)
    return tuple(OutlineLayer(str(path), layer, entry.name) for entry, layer in _LAYERS)
