"""Predictions of scenes as the worker stores them, with areas and intervals of choice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.records import Scene
from imagery.classes import GLACIER_SCHEME
from imagery.cog import class_map_to_cog
from imagery.outline_table import tabulate
from imagery.outlines import write_outlines_gpkg
from services.area_report import AreaReport, AreaTotal, GlacierAreas
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.scenes import source_of

Ratios = tuple[float, float, float]
"""Best estimate and ends of an interval, relative to the mapped area."""

_UNDEFINED = (np.nan, np.nan, np.nan)


def store_prediction(
    catalog: Catalog,
    scene: Scene,
    classes: NDArray[np.uint8],
    version: int,
    names: Sequence[str] = GLACIER_SCHEME.names,
    of_outlines: Mapping[str, Ratios] | None = None,
    of_totals: Mapping[str, Ratios] | None = None,
    glaciers: Sequence[GlacierAreas] = (),
) -> None:
    """Store the files of a predicted scene; classes that are not named have no intervals."""
    grid = source_of(scene).grid
    table = tabulate(classes, grid, names)
    area, of_class = table.fields["area_km2"], table.fields["class"]
    ratios = np.array([(of_outlines or {}).get(name, _UNDEFINED) for name in of_class]).reshape(-1, 3)
    ends = dict(zip(("area_best", "area_low", "area_high"), (area[:, None] * ratios).T, strict=True))
    together = GLACIER_SCHEME.foreground
    totals = [
        _total(name, float(area[(of_class == name) | (name == together)].sum()), (of_totals or {}).get(name))
        for name in dict.fromkeys((*names[1:], together))
    ]
    report = AreaReport(
        scene=scene.name, model_version=version, confidence=0.95, totals=totals, glaciers=list(glaciers)
    )
    store, keys = raster_store(catalog), prediction_keys(scene, version, delivery_options(catalog.settings))
    for key in keys.values():
        store.put(key, b"")
    store.put(keys["tif"], class_map_to_cog(classes, grid, GLACIER_SCHEME, names))
    store.put(
        keys["gpkg"],
        write_outlines_gpkg(replace(table, fields=table.fields | ends), "outlines", GLACIER_SCHEME.classes),
    )
    store.put(keys["areas.json"], report.model_dump_json().encode())


def _total(name: str, mapped_km2: float, ratios: Ratios | None) -> AreaTotal:
    best, low, high = (ratio * mapped_km2 for ratio in ratios) if ratios and mapped_km2 else (None, None, None)
    return AreaTotal(
        name=name,
        mapped_km2=mapped_km2,
        area_km2=best,
        low_km2=low,
        high_km2=high,
        error=None,
        outlines=None,
        experts_differ=None,
        blocks=None,
        block_px=None,
        held_out=[],
        undefined_because=None,
    )
