"""The areas that were delivered with a predicted map: those of its outlines, and the totals."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import shapely

from catalog.context import Catalog
from catalog.records import Scene
from imagery.gdal_limits import limited_pyogrio
from imagery.outline_intervals import OutlineIntervals
from imagery.vectors import CLASS_FIELD
from services.area_report import AreaReport
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store


@dataclass(frozen=True)
class DeliveredAreas:
    """The areas of a predicted map.

    Attributes:
        outlines: Its outlines, in the scene's CRS.
        report: The total areas.
    """

    outlines: OutlineIntervals
    report: AreaReport


def delivered_areas(catalog: Catalog, scene: Scene, version: int) -> DeliveredAreas:
    """Read the areas that were delivered with the map of a scene by a model version.

    Raises:
        StoreError: The scene has not been predicted by this version.
    """
    pyogrio = limited_pyogrio()

    store = raster_store(catalog)
    keys = prediction_keys(scene, version, delivery_options(catalog.settings))
    fields = [CLASS_FIELD, "area_best", "area_low", "area_high"]
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "outlines.gpkg")  # GDAL complains of a GeoPackage without the ending
        file.write_bytes(store.get(keys["gpkg"]))
        meta, _, wkb, columns = pyogrio.raw.read(file, layer=0, columns=fields)
    table = dict(zip(meta["fields"], columns, strict=True))
    outlines = OutlineIntervals(shapely.from_wkb(wkb), *(table[name] for name in fields))
    return DeliveredAreas(outlines, AreaReport.model_validate_json(store.get(keys["areas.json"])))
