"""Describing a scene: its files' headers and its border are checked before any pixel is read."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

import numpy as np

from imagery.border import Border, BorderSource
from imagery.channels import ELEVATION, INDICES
from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.ground_metric import pixel_size_m
from imagery.quality import check_decoding
from imagery.raster_file import grid_of, has_colour_table, open_raster
from imagery.resampling import check_overlaps
from imagery.scene_source import BandSource, ElevationSource, FileGrid, QualityBand, SceneSource
from imagery.sensors import holds_flags
from imagery.units import METRE, REFLECTANCE, Level

# Orthophotos of drones have pixels of 1 cm and more. No glacier is mapped in pixels larger than 10 km.
_SMALLEST_PIXEL_M: Final = 0.005
_LARGEST_PIXEL_M: Final = 10_000.0


def describe(
    bands: Sequence[BandSource],
    region: Window | None = None,
    nodata: float | None = None,
    *,
    level: Level | None = None,
    extras: Sequence[BandSource] = (),
    quality: Sequence[QualityBand] = (),
    dem: ElevationSource | None = None,
    border: BorderSource | None = None,
) -> SceneSource:
    """Check that the bands make a scene, and return its description. Reads headers and the border, no pixels of bands.

    Scale, offset and unit are those of the `BandSource`; tags of the files are not applied
    (`imagery.products.recognise` reads them). Statements that cannot be true are refused.

    Args:
        bands: At least one band; names distinct. The grid of the first band's file becomes the scene's grid, so the
            first band should have the resolution wanted (on Sentinel-2 not the coastal band, of 60 m). Bands whose
            names say that they hold flags become quality bands, not decoded.
        region: The part of the first band's file that is the scene; all of it if None.
        nodata: A stored number that means no data in every band, instead of `BandSource.nodata`, which may be a guess,
            and in addition to the nodata values of the files; not in extras and DEM.
        level: What the reflectances refer to; None for digital numbers.
        extras: Further channels, of any resolution and CRS.
        quality: Bands of flags, of any resolution and CRS.
        dem: Elevation in metres, named "elevation", of any resolution and CRS, as
            `imagery.describe_elevation.describe_dem` reads scale, unit and voids from its files; gives the channels
            elevation, slope and further terrain.
        border: Polygons in any CRS; pixels whose centre lies in none of them have no data in any channel.

    Raises:
        SceneError: A file is not a GeoTIFF, has no CRS or geotransform or such as make no place on the Earth, lacks the
            band, holds complex numbers, or does not overlap the scene; a band or the elevation has a colour table;
            integers are said to be reflectances without a scale; elevation is not in metres; the grid's CRS cannot be
            transformed to WGS 84; its pixels are smaller than 5 mm or larger than 10 km; the region reaches beyond the
            first band's file; names repeat or hide an index.
        OutlineError: The border cannot be read, or does not overlap the scene.
    """
    flags = tuple(QualityBand(band.name, band.path, band.index) for band in bands if holds_flags(band.name))
    quality = (*flags, *quality)
    bands = tuple(band for band in bands if not holds_flags(band.name))
    tiles = dem.tiles if dem else ()
    rasters: tuple[BandSource | QualityBand, ...] = (*bands, *extras, *quality, *tiles)
    _check_names(
        [*(raster.name for raster in rasters[: -len(tiles) or None]), *(tile.name for tile in tiles[:1])], bands
    )
    for band in quality:
        check_decoding(band)
    for tile in tiles:
        if tile.name != ELEVATION:
            raise SceneError(f"found a digital elevation model named {tile.name!r}; expected the name {ELEVATION!r}")
        if tile.unit != METRE:
            raise SceneError(
                f"{tile.path}: found elevation in the unit {tile.unit!r}; expected {METRE!r}: describe_dem reads unit, "
                "scale and voids of the file"
            )
    if nodata is not None and not np.isfinite(nodata):
        raise SceneError(
            f"found the nodata value {nodata}; expected a finite one (NaN and infinities never count as data)"
        )
    measured = (*bands, *tiles)
    grids = {path: _checked_grid(path, rasters, measured) for path in dict.fromkeys(raster.path for raster in rasters)}
    first_grid = grids[rasters[0].path]
    region = region or first_grid.window
    grid = first_grid.subgrid(region)
    with _naming(rasters[0].path):
        grid.footprint_wgs84()  # raises SceneError for coordinates outside the CRS's area of use
        _check_pixel_size(grid)
    resampled = tuple(
        FileGrid(path, file_grid) for path, file_grid in grids.items() if not first_grid.coincides(file_grid)
    )
    for item in resampled:
        with _naming(item.path):
            check_overlaps(item.path, item.grid, grid)
    offset = (region.row_off, region.col_off)
    border_sha256 = Border(border, grid).sha256 if border else None
    if nodata is not None:
        bands = tuple(replace(band, nodata=nodata) for band in bands)
    return SceneSource(bands, grid, offset, level, resampled, tuple(extras), quality, dem, border, border_sha256)


def _check_pixel_size(grid: Grid) -> None:
    across, down = pixel_size_m(grid)
    if not _SMALLEST_PIXEL_M <= min(across, down) <= max(across, down) <= _LARGEST_PIXEL_M:
        raise SceneError(
            f"found pixels of {across:.3g} x {down:.3g} m on the ground; expected {_SMALLEST_PIXEL_M:g} to "
            f"{_LARGEST_PIXEL_M:g} m. The file declares a wrong coordinate reference system or geotransform (degrees "
            "as metres?): correct it with gdal_edit.py -a_srs or -a_ullr"
        )


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """Put the file in front of an error that does not name it."""
    try:
        yield
    except SceneError as error:
        raise SceneError(str(error) if str(error).startswith(path) else f"{path}: {error}") from error


def _check_names(names: Sequence[str], bands: Sequence[BandSource]) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if not bands or repeated or not all(names):
        raise SceneError(f"found the band names {list(names)}; expected at least one, none empty, each only once")
    if hidden := sorted(set(names) & set(INDICES)):
        raise SceneError(f"found bands named {hidden}, which are the names of indices; expected other names")


def _checked_grid(path: str, rasters: Sequence[BandSource | QualityBand], measured: Sequence[BandSource]) -> Grid:
    """Return the grid of a file, after checking that it holds the rasters that are said to lie in it.

    Args:
        path: The file.
        rasters: All rasters of the scene.
        measured: Those that are certainly measurements, as flags and further channels need not be.
    """
    with open_raster(path) as dataset:
        for raster in rasters:
            if raster.path != path:
                continue
            if raster.index not in dataset.indexes:
                raise SceneError(
                    f"{path}: found {dataset.count} bands; expected band {raster.index} for {raster.name!r}"
                )
            if dataset.dtypes[raster.index - 1].startswith("complex"):
                raise SceneError(
                    f"{path}: found {dataset.dtypes[raster.index - 1]} in band {raster.index}; expected real numbers"
                )
            if raster in measured and has_colour_table(dataset, raster.index):
                raise SceneError(
                    f"{path}: found a colour table in band {raster.index} ({raster.name}), whose numbers stand for "
                    "colours or classes; expected measurements: give the data that the picture or map was made of"
                )
            _check_reflectance(path, raster, str(dataset.dtypes[raster.index - 1]))
        return grid_of(dataset)


def _check_reflectance(path: str, raster: BandSource | QualityBand, dtype: str) -> None:
    if isinstance(raster, QualityBand) or raster.unit != REFLECTANCE or dtype.startswith("float"):
        return
    if (raster.scale, raster.offset) == (1.0, 0.0):
        raise SceneError(
            f"{path}: found integers ({dtype}) in band {raster.index}, said to be reflectance without a scale; "
            "expected 0 to 1: give the product as downloaded, whose metadata state scale and offset, or tag the file "
            "(gdal_edit.py -scale -offset)"
        )
