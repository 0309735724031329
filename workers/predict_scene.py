"""Job: predict a scene by the champion, and store the map (Cloud Optimized GeoTIFF) and its outlines."""

from typing import Any

from catalog.records import Scene
from imagery.classes import UNKNOWN
from imagery.cog import class_map_to_cog
from imagery.outline_table import tabulate
from imagery.outlines import write_outlines_geojson, write_outlines_gpkg, write_outlines_shapefile
from models.heads import head_classes
from services.class_scheme import class_scheme
from services.delivery import DeliveryOptions, delivery_options, prediction_keys
from services.places import raster_store
from services.scenes import day_of, source_of
from workers.jobs import Work
from workers.relief import relief_of
from workers.versions import LoadedVersion, load_champion
from workers.windows import predict_classes


def predict_scene(work: Work, scene_id: int, delivery: dict[str, Any] | None = None) -> None:
    """Predict a scene by the champion, unless its files exist; do nothing without a champion.

    Args:
        work: the job.
        scene_id: id of the scene.
        delivery: fields of `DeliveryOptions`. None, in jobs enqueued by an earlier release: those of the settings.

    Raises:
        SceneError: the scene lacks a channel of the champion, or cannot be read.
        OutlineError: its border cannot be read.
    """
    champion = load_champion(work.catalog)
    if champion is not None:
        options = DeliveryOptions(**delivery) if delivery else delivery_options(work.catalog.settings)
        predict_by(work, champion, scene_id, options)


def predict_by(work: Work, champion: LoadedVersion, scene_id: int, options: DeliveryOptions) -> None:
    """Predict a scene by this version, unless its map and its outlines in every format exist.

    Classes are those of the version's head: background and foreground for a binary head.

    Raises:
        SceneError: the scene lacks a channel of the version, or cannot be read.
        OutlineError: its border cannot be read.
    """
    store, version = raster_store(work.catalog), champion.version.version
    with work.catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
    keys = prediction_keys(scene, version, options)
    if all(store.exists(key) for key in keys.values()):
        return
    source, settings = source_of(scene), work.catalog.settings
    work.progress(0, 1, f"predicting {scene.name} by version {version}")
    classes = predict_classes(
        champion.segmenter, source, champion.card.patch_size_px, settings.inference_batch_size, UNKNOWN
    )
    scheme = class_scheme(work.catalog)
    names = head_classes(champion.segmenter.head, scheme.names, scheme.foreground)
    outlines = tabulate(
        classes,
        source.grid,
        names,
        smoothing_px=options.smoothing_px,
        terrain=relief_of(source),
        src_date=day_of(scene),
    )
    store.put(keys["geojson"], write_outlines_geojson(outlines))
    store.put(keys["gpkg"], write_outlines_gpkg(outlines, scheme.outline_layer))
    store.put(keys["shp.zip"], write_outlines_shapefile(outlines, scheme.outline_layer))
    store.put(
        keys["tif"], class_map_to_cog(classes, source.grid, scheme, names)
    )  # last, so that the others exist when it does
