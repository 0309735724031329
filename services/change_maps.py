"""The class maps of scenes whose change is asked for."""

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Scene
from imagery.masks import mask_from_geotiff
from services import raster_keys
from services.change import DatedMap
from services.class_scheme import class_scheme
from services.delivered_areas import DeliveredAreas, delivered_areas
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.scenes import day_of, source_of


def predicted_map(catalog: Catalog, scene: Scene, version: int, class_names: tuple[str, ...]) -> DatedMap:
    """Return the stored map of a scene by a model version (see `services.predictions`), with its areas.

    Raises:
        StoreError: the scene has not been predicted by this version.
    """
    key = prediction_keys(scene, version, delivery_options(catalog.settings))["tif"]
    areas = delivered_areas(catalog, scene, version)
    return _dated_map(catalog, scene, key, class_names, f"model version {version}", areas)


def outlined_map(catalog: Catalog, scene: Scene) -> DatedMap:
    """Return the map of the outlines that were registered with a scene.

    Raises:
        ConflictError: the scene has no outlines, or they have not been drawn on its grid yet.
    """
    key = raster_keys.truth(scene.id)
    if not raster_store(catalog).exists(key):
        raise ConflictError(f"scene {scene.name!r} has no outlines, or is still being prepared; compare predictions")
    names = tuple(class_scheme(catalog).names)
    return _dated_map(catalog, scene, key, names, "the outlines registered with the scene", None)


def _dated_map(
    catalog: Catalog, scene: Scene, key: str, class_names: tuple[str, ...], origin: str, areas: DeliveredAreas | None
) -> DatedMap:
    classes = mask_from_geotiff(raster_store(catalog).get(key), class_scheme(catalog))
    return DatedMap(scene.name, day_of(scene), source_of(scene), classes, class_names, origin, areas)
