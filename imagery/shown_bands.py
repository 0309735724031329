"""The numbers that QGIS shows of a scene's bands, and how they become the values that a network takes."""

from collections.abc import Sequence
from dataclasses import dataclass

from rasterio.crs import CRS

from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.scene_reader import SceneReader


@dataclass(frozen=True)
class ShownBand:
    """A raster of a scene as QGIS reads it: value = shown number x `scale` + `offset`.

    QGIS applies the scale and the offset that a file declares to GDAL, and no others.

    Attributes:
        name: The raster's name ("nir").
        scale: The factor.
        offset: The value of the shown number 0.
        missing: Numbers that mean no data. QGIS hands them on to plugins as they are stored.
    """

    name: str
    scale: float = 1.0
    offset: float = 0.0
    missing: tuple[float, ...] = ()


def shown_bands(reader: SceneReader, names: Sequence[str]) -> tuple[ShownBand, ...]:
    """Describe rasters of a scene as QGIS shows them.

    Args:
        reader: The open scene.
        names: Rasters of its source. Elevation and what is computed from it are described as values in their unit.

    Raises:
        SceneError: A raster holds flags, which cannot be averaged or resampled.
    """
    return tuple(_shown_band(reader, name) for name in names)


def _shown_band(reader: SceneReader, name: str) -> ShownBand:
    source = reader.source
    band = next((band for band in (*source.bands, *source.extras) if band.name == name), None)
    if band is None:
        if name in (quality.name for quality in source.quality):
            raise SceneError(f"found the channel {name!r}, which holds flags; expected measurements only")
        return ShownBand(name)
    dataset = reader.dataset(band.path)
    scale, offset = dataset.scales[band.index - 1], dataset.offsets[band.index - 1]
    declared = dataset.nodatavals[band.index - 1]
    missing = tuple(dict.fromkeys(float(number) for number in (declared, band.nodata) if number is not None))
    factor = band.scale / scale
    return ShownBand(name, factor, band.offset - offset * factor, missing)


def map_metres_per_pixel(grid: Grid) -> float:
    """Return the side of a pixel in the units of the map, which have to be metres: Deepness knows no others.

    It is not the side on the ground, by which QGIS would resample the scene.

    Raises:
        SceneError: The map's units are others.
    """
    crs = CRS.from_user_input(grid.crs)
    if not crs.is_projected or crs.linear_units_factor[1] != 1.0:
        raise SceneError(
            f"found the CRS {grid.crs}; expected one in metres, which Deepness needs: reproject the scene, for example "
            "to its UTM zone"
        )
    return abs(grid.transform[0])
