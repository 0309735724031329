"""Job: the champion's map of a scene, as a Cloud Optimized GeoTIFF and as outlines."""

from catalog import raster_keys
from catalog.records import Scene
from imagery.classes import UNKNOWN
from imagery.cog import class_map_to_cog
from imagery.outline_table import tabulate
from imagery.outlines import write_outlines_geojson, write_outlines_gpkg, write_outlines_shapefile
from workers.jobs import Work
from workers.scenes import raster_store, source_of
from workers.versions import load_champion
from workers.windows import predict_classes


def predict_scene(work: Work, scene_id: int) -> None:
    """Predict a scene by the champion, unless that map exists; nothing without a champion.

    Raises:
        SceneError: the scene lacks a channel of the champion, or cannot be read.
    """
    champion = load_champion(work.catalog)
    if champion is None:
        return
    store, version = raster_store(work.catalog), champion.version.version
    if store.exists(raster_keys.prediction(scene_id, version, "tif")):  # the last to be written
        return
    with work.catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
    source = source_of(scene)
    work.progress(0, 1, f"predicting {scene.name} by version {version}")
    classes = predict_classes(
        champion.segmenter,
        source,
        champion.card.patch_size_px,
        work.catalog.settings.inference_batch_size,
        UNKNOWN.value,
    )
    outlines = tabulate(classes, source.grid)
    store.put(raster_keys.prediction(scene_id, version, "geojson"), write_outlines_geojson(outlines))
    store.put(raster_keys.prediction(scene_id, version, "gpkg"), write_outlines_gpkg(outlines))
    store.put(raster_keys.prediction(scene_id, version, "shp.zip"), write_outlines_shapefile(outlines))
    store.put(raster_keys.prediction(scene_id, version, "tif"), class_map_to_cog(classes, source.grid))
