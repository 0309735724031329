"""Encoding our own rasters as GeoTIFF, and decoding them from memory."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from rasterio.io import DatasetReader, MemoryFile

from imagery.errors import SceneError
from imagery.grid import Grid


def encode(
    array: NDArray[Any],
    grid: Grid,
    *,
    nodata: float,
    driver: str = "GTiff",
    colours: Mapping[int, tuple[int, int, int]] | None = None,
    description: str | None = None,
    scale: float | None = None,
    tags: Mapping[str, str] | None = None,
    **options: str | int,
) -> bytes:
    """Encode one band as a georeferenced TIFF file, compressed with Deflate.

    Args:
        array: (H, W), the grid's size.
        grid: The grid of the pixels.
        nodata: The value that means no data.
        driver: "GTiff" or "COG".
        colours: Colour table, value to red, green and blue (0 to 255); for uint8 only.
        description: What the band holds, with its unit.
        scale: Factor by which readers multiply the stored numbers.
        tags: Metadata of the file, by name.
        options: Further creation options of the driver.

    Returns:
        The content of the file.

    Raises:
        SceneError: The array's size is not the grid's.
    """
    grid.check_shape(array.shape)
    profile = {"dtype": array.dtype, "count": 1, "height": grid.height, "width": grid.width, "nodata": nodata}
    with MemoryFile() as memory:
        with memory.open(
            driver=driver, crs=grid.crs, transform=grid.affine, compress="deflate", **profile, **options
        ) as dataset:
            dataset.write(array, 1)
            if colours is not None:
                dataset.write_colormap(1, {value: (*rgb, 255) for value, rgb in colours.items()})
            if description is not None:
                dataset.set_band_description(1, description)
            if scale is not None:
                dataset.scales = (scale,)
            if tags is not None:
                dataset.update_tags(**tags)
        return bytes(memory.read())


@contextmanager
def open_bytes(data: bytes) -> Iterator[DatasetReader]:
    """Open a GeoTIFF that is in memory.

    Raises:
        SceneError: The bytes are not a GeoTIFF.
    """
    with MemoryFile(data) as memory:
        try:
            dataset = memory.open(driver="GTiff")
        except RasterioIOError as error:
            raise SceneError(f"found {len(data)} bytes that are no GeoTIFF; expected one ({error})") from error
        with dataset:
            yield dataset
