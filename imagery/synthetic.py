"""Synthetic Landsat 7 ETM+ scenes with known truth, in the same kinds of files as real scenes.

For tests, benchmarks and users without data. A landscape of fractal relief contains what makes glacier mapping hard:
rock islands, debris that looks like the rock next to it, snow outside the glaciers, shadow, cloud, lakes, scan gaps.
Class shares are those of Aryal et al. by default.

Every pixel depends only on seed and position: scenes larger than memory are written block by block, and the size of the
blocks does not change the result.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from imagery.classes import GLACIER_SCHEME, UNKNOWN, LabelClass
from imagery.grid import Grid, Window, blocks
from imagery.masks import OutlineLayer
from imagery.outlines import ClassLayer, write_class_layers
from imagery.polygons import mask_to_map_polygons
from imagery.scene_source import BandSource, ElevationSource
from imagery.synthetic_ground import Ground, MappedGround
from imagery.synthetic_pixels import FILL, QUALITY_FILL, Landscape, SyntheticOptions
from imagery.synthetic_radiometry import REFLECTIVE, THERMAL_RANGE_K
from imagery.synthetic_site import Site
from imagery.synthetic_terrain import PIXEL_M
from imagery.units import METRE

SENSOR: Final = "landsat-7-etm+"
BANDS: Final = (
    "blue",
    "green",
    "red",
    "nir",
    "swir1",
    "thermal_low",
    "thermal_high",
    "swir2",
    "pan",
    "quality",
)
"""The bands of a scene, in the sensor's order."""

_CRS: Final = "EPSG:32645"
_DEM_NODATA: Final = -32768.0
_DEM_MARGIN_PX: Final = 2  # so that the slope is defined up to the scene's edge
_TILED: Final[Mapping[str, Any]] = {
    "driver": "GTiff",
    "compress": "deflate",
    "zlevel": 1,
    "tiled": True,
    "blockxsize": 256,
    "blockysize": 256,
    "bigtiff": "if_safer",
}


@dataclass(frozen=True)
class SyntheticScene:
    """The files of a scene and of its truth.

    Attributes:
        bands: `BANDS`, in three files: reflective bands at 30 m (uint8, panchromatic among them), thermal bands at 60 m
            (uint8), quality at 30 m (uint16).
        dem: Elevation in metres (float32), two pixels wider than the scene on every side.
        outlines: The truth as layers of one GeoPackage in the scene's CRS: "clean_ice", "debris_covered_ice" and
            "masked". Classes that do not occur have no layer.
        truth: The truth as a GeoTIFF with the values of the glacier scheme.
        shares: Share of all pixels by class name of the legend, masked/unknown included; sums to 1.
    """

    bands: tuple[BandSource, ...]
    dem: ElevationSource
    outlines: tuple[OutlineLayer, ...]
    truth: Path
    shares: Mapping[str, float]


@dataclass(frozen=True)
class _Files:
    """Paths of the files of a scene."""

    reflective: Path
    thermal: Path
    quality: Path
    dem: Path
    truth: Path
    outlines: Path

    def bands(self) -> tuple[BandSource, ...]:
        file_and_band = {name: (self.reflective, index) for index, name in enumerate(REFLECTIVE, start=1)}
        file_and_band |= {name: (self.thermal, index) for index, name in enumerate(THERMAL_RANGE_K, start=1)}
        file_and_band["quality"] = (self.quality, 1)
        return tuple(BandSource(name, str(file_and_band[name][0]), file_and_band[name][1]) for name in BANDS)


def write_scene(
    folder: Path, height: int, width: int, seed: int, options: SyntheticOptions | None = None
) -> SyntheticScene:
    """Write a synthetic scene, north-up in UTM zone 45N.

    Memory is bounded by the block size plus the label mask (one byte a pixel). The DEM is the relief from which
    sunlight and shadow are computed.

    Args:
        folder: Folder for six files; created if missing. Existing files are replaced.
        height: Rows of 30 m, at least 128.
        width: Columns of 30 m, at least 128.
        seed: 0 to 2^32 - 1; the same seed, size and options give the same pixels.
        options: The defaults of `SyntheticOptions` if None.

    Raises:
        SceneError: The size or the seed cannot be used.
    """
    options = options or SyntheticOptions()
    left, top = options.origin_m
    grid = Grid(_CRS, (PIXEL_M, 0.0, left, 0.0, -PIXEL_M, top), width, height)
    return _write_files(folder, Landscape(height, width, seed, options), grid)


def write_scene_on(folder: Path, site: Site, seed: int, options: SyntheticOptions | None = None) -> SyntheticScene:
    """Write a synthetic scene on the real relief and outlines of a site, which keeps its place on the Earth.

    `imagery.synthetic_ground.MappedGround` says where debris, snow and lakes lie. Ground without elevation is
    masked/unknown in the truth, and nodata in the DEM. Memory grows with the scene: about 150 bytes a pixel.

    Args:
        folder: As in `write_scene`.
        site: The place, at least 128 pixels on each side.
        seed: As in `write_scene`.
        options: Of the shares, that of clean ice is ignored, because the outlines say it, and that of debris counts
            only where the outlines have none. The place is the site's.

    Raises:
        SceneError: As `write_scene`; or debris is asked for on more ground than it can lie on.
    """
    options = options or SyntheticOptions()
    ground = MappedGround(site.elevation_m, site.classes, seed, options.shares, options.lake_share)
    return _write_files(folder, Landscape(site.grid.height, site.grid.width, seed, options, ground), site.grid)


def _write_files(folder: Path, landscape: Landscape, grid: Grid) -> SyntheticScene:
    folder.mkdir(parents=True, exist_ok=True)
    names = ("reflective.tif", "thermal.tif", "quality.tif", "dem.tif", "truth.tif", "outlines.gpkg")
    files = _Files(*(folder / name for name in names))
    mask = _write_pixels(files, landscape, grid)
    _write_dem(files.dem, landscape.ground, grid, landscape.options)
    outlines = _write_outlines(files.outlines, mask, grid)
    counts = np.bincount(mask.ravel(), minlength=UNKNOWN + 1)
    shares = {entry.name: float(counts[entry.value] / mask.size) for entry in GLACIER_SCHEME.legend}
    dem = ElevationSource((BandSource("elevation", str(files.dem), 1, unit=METRE),))
    return SyntheticScene(files.bands(), dem, outlines, files.truth, shares)


def _write_pixels(files: _Files, landscape: Landscape, grid: Grid) -> NDArray[np.uint8]:
    """Write all rasters except the DEM in one pass over the scene; return the whole label mask."""
    coarse = _resampled(grid, 2 * PIXEL_M, margin_px=0)
    mask = np.empty((grid.height, grid.width), dtype=np.uint8)
    with ExitStack() as stack:
        reflective = stack.enter_context(_create(files.reflective, grid, REFLECTIVE, "uint8", FILL))
        thermal = stack.enter_context(_create(files.thermal, coarse, tuple(THERMAL_RANGE_K), "uint8", FILL))
        quality = stack.enter_context(_create(files.quality, grid, ("quality",), "uint16", QUALITY_FILL))
        truth = stack.enter_context(_create(files.truth, grid, ("label",), "uint8", UNKNOWN))
        truth.write_colormap(1, {entry.value: (*entry.rgb, 255) for entry in GLACIER_SCHEME.legend})
        for block in blocks(grid.width, grid.height, landscape.options.block_px):
            even_block = Window(
                block.row_off, block.col_off, _round_up_to_even(block.height), _round_up_to_even(block.width)
            )
            pixels = landscape.pixels(even_block)
            label = pixels.truth[: block.height, : block.width]
            _write(reflective, pixels.reflective[:, : block.height, : block.width], block)
            _write(quality, pixels.quality[None, : block.height, : block.width], block)
            _write(truth, label[None], block)
            thermal_window = (block.row_off // 2, block.col_off // 2, even_block.height // 2, even_block.width // 2)
            _write(thermal, pixels.thermal, Window(*thermal_window))
            mask[block.slices] = label
    return mask


def _write_dem(path: Path, ground: Ground, scene: Grid, options: SyntheticOptions) -> None:
    grid = _resampled(scene, options.dem_resolution_m, _DEM_MARGIN_PX)
    scale = options.dem_resolution_m / PIXEL_M
    with _create(path, grid, ("elevation",), "float32", _DEM_NODATA) as dataset:
        for block in blocks(grid.width, grid.height, options.block_px):
            rows = np.arange(block.row_off, block.row_off + block.height, dtype=np.float64)
            cols = np.arange(block.col_off, block.col_off + block.width, dtype=np.float64)
            # Pixel centres of the DEM in pixel coordinates of the scene.
            at = [(index + 0.5 - _DEM_MARGIN_PX) * scale - 0.5 for index in (rows, cols)]
            metres = np.where(ground.is_void(*at), _DEM_NODATA, ground.heights(*at))
            _write(dataset, metres.astype(np.float32)[None], block)


def _write_outlines(path: Path, mask: NDArray[np.uint8], grid: Grid) -> tuple[OutlineLayer, ...]:
    layers = []
    for entry in GLACIER_SCHEME.annotated:
        polygons = [polygon for _, polygon in mask_to_map_polygons(mask, grid, [entry.value])]
        if polygons:
            layers.append(ClassLayer(_layer_name(entry), entry.name, polygons))
    path.unlink(missing_ok=True)  # no file at all if there is no class to outline
    if layers:
        write_class_layers(path, layers, grid.crs)
    return tuple(OutlineLayer(str(path), layer.name, layer.class_name) for layer in layers)


def _layer_name(entry: LabelClass) -> str:
    return "masked" if entry.value == UNKNOWN else entry.name.replace(" ", "_").replace("-", "_")


def _resampled(grid: Grid, resolution_m: float, margin_px: int) -> Grid:
    """Return a grid with square pixels of another size that covers the grid and a margin on every side."""
    left, top = grid.transform[2] - margin_px * resolution_m, grid.transform[5] + margin_px * resolution_m
    height, width = (math.ceil(side * PIXEL_M / resolution_m) + 2 * margin_px for side in (grid.height, grid.width))
    return Grid(grid.crs, (resolution_m, 0.0, left, 0.0, -resolution_m, top), width, height)


def _create(path: Path, grid: Grid, bands: Sequence[str], dtype: str, nodata: float) -> Any:
    size = {"height": grid.height, "width": grid.width, "count": len(bands), "dtype": dtype, "nodata": nodata}
    dataset = rasterio.open(path, "w", crs=grid.crs, transform=grid.affine, **size, **_TILED)
    for index, name in enumerate(bands, start=1):
        dataset.set_band_description(index, name)
    return dataset


def _write(dataset: Any, array: NDArray[Any], window: Window) -> None:
    dataset.write(array, window=RasterioWindow(window.col_off, window.row_off, window.width, window.height))


def _round_up_to_even(count: int) -> int:
    return count + count % 2
