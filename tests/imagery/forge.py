"""Small seeded GeoTIFFs and outlines with known truth, for every room's tests."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning

from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE
from imagery.grid import Grid
from imagery.masks import OutlineLayer
from imagery.scene_source import BandSource

UTM_45N = "EPSG:32645"
NORTH_UP = (30.0, 0.0, 478000.0, 0.0, -30.0, 3108140.0)
BAND_NAMES = ("red", "green", "blue", "nir")

# Mean digital number of each band by class value: background, clean ice, debris-covered ice.
_SPECTRA = np.array([[70, 75, 80, 90], [230, 225, 220, 190], [120, 110, 95, 105]], dtype=np.float64)


@dataclass(frozen=True)
class ForgedScene:
    """A scene with truth.

    Attributes:
        path: GeoTIFF of four described bands, uint8.
        bands: The same, as `imagery.describe_scene.describe` takes them.
        grid: 100 rows x 160 columns of 30 m in UTM zone 45N.
        truth: (100, 160) label mask.
        outlines: The truth as a GeoPackage of two layers, clean ice and debris-covered ice.
    """

    path: Path
    bands: tuple[BandSource, ...]
    grid: Grid
    truth: NDArray[np.uint8]
    outlines: tuple[OutlineLayer, ...]


def write_geotiff(
    path: Path,
    array: NDArray[Any],
    *,
    crs: str | None = UTM_45N,
    transform: Sequence[float] | None = NORTH_UP,
    nodata: float | None = None,
    descriptions: Sequence[str] | None = None,
    alpha: bool = False,
    **options: Any,
) -> Path:
    """Write (bands, H, W) or (H, W) as a GeoTIFF; with `alpha` the last band says which pixels are valid."""
    stack = np.atleast_3d(array) if array.ndim == 3 else array[None]
    profile: dict[str, Any] = {"driver": "GTiff", "count": stack.shape[0], "dtype": stack.dtype, "nodata": nodata}
    profile |= {"height": stack.shape[1], "width": stack.shape[2], "crs": crs}
    if transform is not None:
        profile["transform"] = Affine(*transform)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # some scenes are meant to have no geotransform
        dataset = rasterio.open(path, "w", **profile, **options)
    with dataset:
        if alpha:
            dataset.colorinterp = [ColorInterp.gray] * (stack.shape[0] - 1) + [ColorInterp.alpha]
        dataset.write(stack)
        for index, text in enumerate(descriptions or (), start=1):
            dataset.set_band_description(index, text)
    return path


def write_polygons(
    path: Path, layers: Mapping[str, Sequence[Any]], *, crs: str | None = UTM_45N, driver: str | None = None
) -> Path:
    """Write shapely geometries, one layer for each name, in the format of the path's ending."""
    for name, geometries in layers.items():
        kinds = {geometry.geom_type for geometry in geometries}
        pyogrio.raw.write(
            path,
            np.array([shapely.to_wkb(geometry) for geometry in geometries], dtype=object),
            field_data=[np.arange(len(geometries))],
            fields=["number"],
            layer=name,
            driver=driver,
            geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown",
            crs=crs,
        )
    return path


def write_glaciers(path: Path, glaciers: Mapping[tuple[str, str | None], Any]) -> Path:
    """Write polygons in UTM zone 45N as RGI 7 names glaciers, by id and name."""
    pyogrio.raw.write(
        path,
        shapely.to_wkb(list(glaciers.values())),
        field_data=[np.array(column, dtype=object) for column in zip(*glaciers, strict=True)],
        fields=["rgi_id", "glac_name"],
        geometry_type="Polygon",
        crs=UTM_45N,
        layer="glaciers",
        driver="GPKG",
    )
    return path


def forge_scene(path: Path, *, seed: int = 0, nodata_columns: int = 0, offset_px: int = 0) -> ForgedScene:
    """Write a scene and its outlines.

    Clean ice covers rows 10 to 70 and columns 20 to 90 but for a rock island (rows 30 to 45, columns 40 to 60), and
    debris-covered ice rows 60 to 90 and columns 50 to 130, over the clean ice where both overlap.

    Args:
        path: The GeoTIFF to write; its outlines go beside it, as `<name>_outlines.gpkg`.
        seed: For the noise of the digital numbers.
        nodata_columns: Width of a nodata strip (value 0, declared) along the right edge.
        offset_px: Columns by which the scene is moved to the east, so that several scenes need not overlap.
    """
    a, b, c, d, e, f = NORTH_UP
    grid = Grid(UTM_45N, (a, b, c + a * offset_px, d, e, f), width=160, height=100)
    truth = np.zeros((100, 160), dtype=np.uint8)
    truth[10:70, 20:90] = CLEAN_ICE.value
    truth[30:45, 40:60] = 0
    truth[60:90, 50:130] = DEBRIS_COVERED_ICE.value
    noise = np.random.default_rng(seed).normal(0.0, 6.0, (4, 100, 160))
    pixels = np.clip(np.moveaxis(_SPECTRA[truth], -1, 0) + noise, 1, 255).astype(np.uint8)
    if nodata_columns:
        pixels[:, :, -nodata_columns:] = 0
    nodata = 0 if nodata_columns else None
    write_geotiff(path, pixels, transform=grid.transform, nodata=nodata, descriptions=BAND_NAMES)
    bands = tuple(BandSource(name, str(path), index) for index, name in enumerate(BAND_NAMES, start=1))
    return ForgedScene(path, bands, grid, truth, _forge_outlines(path, grid))


def _forge_outlines(path: Path, grid: Grid) -> tuple[OutlineLayer, ...]:
    def ground(left: int, top: int, right: int, bottom: int) -> Any:
        (x0, y0), (x1, y1) = (grid.affine @ corner for corner in ((left, top), (right, bottom)))
        return shapely.box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))

    clean = ground(20, 10, 90, 70).difference(ground(40, 30, 60, 45))
    layers = {"clean_ice": [clean], "debris_covered_ice": [ground(50, 60, 130, 90)]}
    outlines = write_polygons(path.with_name(f"{path.stem}_outlines.gpkg"), layers)
    return (
        OutlineLayer(str(outlines), "clean_ice", CLEAN_ICE.name),
        OutlineLayer(str(outlines), "debris_covered_ice", DEBRIS_COVERED_ICE.name),
    )
