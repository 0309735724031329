"""Job: predict a scene by a model version; store its map, its outlines, their areas and the confidence of the map."""

from collections.abc import Mapping
from typing import Any

from catalog.records import Scene
from imagery.cog import class_map_to_cog, confidence_map_to_cog
from imagery.outline_table import tabulate, with_origin
from imagery.outlines import write_outlines_geojson, write_outlines_gpkg, write_outlines_shapefile
from models.heads import head_classes
from services.class_scheme import class_scheme
from services.delivery import DeliveryOptions, delivery_options, map_tags, prediction_keys
from services.known_glaciers import known_glaciers
from services.places import raster_store
from services.scenes import day_of, source_of
from services.unused_predictions import note_use
from workers.areas import VersionCalibration, area_report, confidence_map, with_areas
from workers.jobs import JobContext
from workers.predicted_scene import predict_scene_once
from workers.relief import relief_of
from workers.versions import LoadedVersion, load_champion, load_version


def predict_scene(
    context: JobContext, scene_id: int, delivery: dict[str, Any] | None = None, version: int | None = None
) -> None:
    """Predict a scene by a version, unless its files exist.

    Args:
        context: the job.
        scene_id: id of the scene.
        delivery: fields of `DeliveryOptions`. None, in jobs enqueued by an earlier release: those of the settings.
        version: number of the version. None, in jobs enqueued by an earlier release: the champion's; nothing is done
            if there is none.

    Raises:
        NotFoundError: there is no such version.
        ConflictError: it was trained on other classes than those of this installation.
        SceneError: the scene lacks a channel of the champion, or cannot be read.
        OutlineError: its border cannot be read.
    """
    loaded = load_champion(context.catalog) if version is None else load_version(context.catalog, version)
    if loaded is not None:
        options = DeliveryOptions(**delivery) if delivery else delivery_options(context.catalog.settings)
        predict_by(context, loaded, scene_id, options)


def predict_by(context: JobContext, loaded: LoadedVersion, scene_id: int, options: DeliveryOptions) -> None:
    """Predict a scene by this version, unless all its files exist.

    Classes are those of the version's head: background and foreground for a binary head.

    Raises:
        SceneError: the scene lacks a channel of the version, or cannot be read.
        OutlineError: its border cannot be read.
    """
    with context.catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
    write_prediction(context, loaded, scene, options, prediction_keys(scene, loaded.version.version, options))


def write_prediction(
    context: JobContext, loaded: LoadedVersion, scene: Scene, options: DeliveryOptions, keys: Mapping[str, str]
) -> None:
    """Predict a scene and store its files, unless all of them exist.

    Args:
        context: the job.
        loaded: the version.
        scene: the scene, which need not be stored.
        options: what shapes the files.
        keys: keys in the store by suffix, one for each of `services.raster_keys.PREDICTION_SUFFIXES`.

    Raises:
        SceneError: the scene lacks a channel of the version, or cannot be read.
        OutlineError: its border cannot be read.
    """
    store, version = raster_store(context.catalog), loaded.version.version
    if all(store.exists(key) for key in keys.values()):
        note_use(context.catalog, keys["tif"])  # whoever asks may need it for hours
        return
    source, settings = source_of(scene), context.catalog.settings
    context.progress(0, 1, f"predicting {scene.name} by version {version}")
    scheme = class_scheme(context.catalog)
    names = head_classes(loaded.segmenter.head, scheme.names, scheme.foreground)
    calibration = VersionCalibration(names, scheme.foreground, loaded.card.area_error)
    tags, colours = map_tags(scene, version), scheme.colours_of(names)
    glaciers = [(glacier.name, glacier.polygon) for glacier in known_glaciers(scene, options, scheme)]
    with predict_scene_once(
        loaded.segmenter, source, loaded.card.patch_size_px, settings.inference_batch_size, settings.var_dir
    ) as predicted:
        confidence = confidence_map_to_cog(
            confidence_map(predicted, calibration), source.grid, _confidence_description(calibration), tags
        )
        store.put(keys["confidence.tif"], confidence)
        outlines = tabulate(
            predicted.classes,
            source.grid,
            names,
            smoothing_px=options.smoothing_px,
            terrain=relief_of(source),
            src_date=day_of(scene),
        )
        outlines = with_origin(with_areas(outlines, predicted, source.grid, calibration), scene.name, version)
        report = area_report(outlines, predicted, source.grid, calibration, scene.name, version, glaciers)
        classes = predicted.classes
    store.put(keys["geojson"], write_outlines_geojson(outlines))
    store.put(keys["gpkg"], write_outlines_gpkg(outlines, scheme.outline_layer, colours))
    store.put(keys["shp.zip"], write_outlines_shapefile(outlines, scheme.outline_layer, colours))
    store.put(keys["areas.json"], report.model_dump_json(indent=2).encode())
    store.put(
        keys["tif"], class_map_to_cog(classes, source.grid, scheme, names, tags)
    )  # last, so that the others exist when it does
    note_use(context.catalog, keys["tif"])


def _confidence_description(calibration: VersionCalibration) -> str:
    how = "uncalibrated" if calibration.error is None else "calibrated on the validation scenes"
    return f"probability of the class that the map shows, in percent, {how}"
