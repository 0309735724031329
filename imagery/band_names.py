"""Naming the bands of a multi-band file."""

from imagery.errors import SceneError
from imagery.raster_file import alpha_index, open_raster
from imagery.scene_source import BandSource
from imagery.sensors import sensor_bands


def bands_of_file(path: str, sensor: str | None) -> tuple[BandSource, ...]:
    """Name the bands of a multi-band file.

    1. If every band has a description and no two are the same, the descriptions are the names; a designation of the
       sensor among them ("B4") is turned into our name ("nir").
    2. Otherwise, if the number of bands agrees, the names come from the sensor's table: either all its bands, or only
       those that are usually stacked in one file (for example the eight spectral bands of ETM+).

    An alpha band is not counted as a band (see `imagery.raster_file.alpha_index`), unless the number of bands equals
    the usual stack only with it.

    Args:
        path: The GeoTIFF.
        sensor: A key of `imagery.sensors.SENSORS`, or None if unknown.

    Raises:
        SceneError: The file is not a GeoTIFF, the sensor is unknown, or the bands cannot be named.
    """
    table = sensor_bands(sensor) if sensor else ()
    stack = [band for band in table if band.stacked]
    with open_raster(path) as dataset:
        alpha = None if dataset.count == len(stack) else alpha_index(dataset)
        indexes = [index for index in dataset.indexes if index != alpha]
        descriptions = [(dataset.descriptions[i - 1] or "").strip().lower() for i in indexes]
    by_designation = {field.lower(): band.name for band in table for field in band.field_names}
    if all(descriptions) and len(set(descriptions)) == len(descriptions):
        names = [by_designation.get(text, text) for text in descriptions]
    elif len(indexes) in {len(stack), len(table)}:
        names = [band.name for band in (stack if len(indexes) == len(stack) else table)]
    else:
        counts = " or ".join(str(count) for count in sorted({len(stack), len(table)}))
        expected = f"{counts} ({sensor})" if table else "a description of each, or a sensor that says which they are"
        raise SceneError(f"{path}: found {len(indexes)} bands without distinct descriptions; expected {expected}")
    return tuple(BandSource(name, path, index) for name, index in zip(names, indexes, strict=True))
