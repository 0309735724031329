"""The class maps of scenes whose change is asked for."""

from datetime import date
from enum import StrEnum

from catalog import scorings
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Scene, Scoring
from catalog.registry import ModelVersion, registry_of
from imagery.classes import BACKGROUND, UNKNOWN
from imagery.maps import read_map
from imagery.masks import mask_from_geotiff
from services import raster_keys
from services.change import DatedMap, check_order
from services.class_scheme import class_scheme
from services.delivered_areas import DeliveredAreas, delivered_areas
from services.delivery import delivery_options, prediction_keys
from services.places import raster_store
from services.prior_disagreement import is_confident
from services.prior_outlines import told_apart
from services.scenes import day_of, priors_of, source_of
from services.version_figures import figures_of


class Subject(StrEnum):
    """What is compared: maps of a version, outlines of the scenes, or prior outlines with what is there."""

    PREDICTION = "prediction"
    OUTLINES = "outlines"
    PRIORS = "priors"


def maps_to_compare(
    catalog: Catalog,
    earlier: Scene,
    later: Scene,
    subject: Subject,
    version: ModelVersion | None,
    scoring_id: int | None = None,
) -> tuple[DatedMap, DatedMap]:
    """Return the maps of two scenes.

    Args:
        catalog: the catalog.
        earlier: the earlier scene.
        later: the later one.
        subject: what to compare.
        version: the version by which both scenes are predicted, if predictions are compared; else None.
        scoring_id: the scoring that prior outlines are compared with; None: the newest.

    Raises:
        SceneError: the second scene is the earlier one; prior outlines may be later than the image.
        ConflictError: as `outlined_map`, `newest_scoring` and `contradiction_maps`.
        StoreError: as `predicted_map`.
    """
    if subject is Subject.PRIORS:
        scoring_id = newest_scoring(catalog) if scoring_id is None else scoring_id
        return contradiction_maps(catalog, earlier, later, scoring_id)
    check_order(earlier.name, day_of(earlier), later.name, day_of(later))
    if version is None:
        return outlined_map(catalog, earlier), outlined_map(catalog, later)
    names = figures_of(version).class_names
    first, second = (predicted_map(catalog, scene, version.version, names) for scene in (earlier, later))
    return first, second


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


def newest_scoring(catalog: Catalog) -> int:
    """Return the id of the scoring that prior outlines are compared with: the one that was completed last.

    Raises:
        ConflictError: no version has scored the pool.
    """
    with catalog.read() as session:
        scoring = scorings.newest(session)
    if scoring is None:
        raise ConflictError("no version has scored the pool yet; wait until one has")
    return scoring.id


def contradiction_maps(catalog: Catalog, earlier: Scene, later: Scene, scoring_id: int) -> tuple[DatedMap, DatedMap]:
    """Return the prior outlines of a scene, and what the version of a scoring confidently shows on one.

    Where the version is not confident (`services.prior_disagreement.is_confident`), nothing is known. Outlines that do
    not tell all classes apart are compared as foreground or background.

    Raises:
        ConflictError: the earlier scene has no prior outlines, or the later one is not part of the scoring.
    """
    scheme, store, prior = class_scheme(catalog), raster_store(catalog), priors_of(earlier)
    if prior is None or not store.exists(raster_keys.prior(earlier.id)):
        raise ConflictError(f"scene {earlier.name!r} has no prior outlines, or is still being prepared")
    with catalog.read() as session:
        scoring = session.get_one(Scoring, scoring_id)
    keys = [raster_keys.scored(scoring_id, later.id, what) for what in ("classes", "entropy")]
    if not all(store.exists(key) for key in keys):
        raise ConflictError(f"no version has scored the scene {later.name!r} yet; wait until one has")
    names = figures_of(registry_of(catalog.settings).get(scoring.model_version)).class_names
    before = mask_from_geotiff(store.get(raster_keys.prior(earlier.id)), scheme, source_of(earlier).grid)
    after = mask_from_geotiff(store.get(keys[0]), scheme, source_of(later).grid)
    after[~is_confident(read_map(store.uri(keys[1]), source_of(later).grid.window), len(names))] = UNKNOWN
    if told_apart({layer.class_name for layer in prior.layers}, scheme).ambiguous or len(names) == 2:
        names = (names[0], scheme.foreground)
        for classes in (before, after):
            classes[(classes != BACKGROUND) & (classes != UNKNOWN)] = 1
    origin = f"prior outlines by {prior.source or 'an unknown source'}, {prior.date or 'of an unknown date'}"
    scored = f"model version {scoring.model_version}, where it is confident"
    drawn = date.fromisoformat(prior.date) if prior.date and len(prior.date) == len("2000-10-30") else None
    acquired = day_of(later)
    if drawn and acquired and drawn > acquired:
        origin += ", drawn after the image was taken"
    return (
        DatedMap(earlier.name, drawn, source_of(earlier), before, names, origin),
        DatedMap(later.name, acquired, source_of(later), after, names, scored),
    )


def _dated_map(
    catalog: Catalog, scene: Scene, key: str, class_names: tuple[str, ...], origin: str, areas: DeliveredAreas | None
) -> DatedMap:
    source = source_of(scene)
    classes = mask_from_geotiff(raster_store(catalog).get(key), class_scheme(catalog), source.grid)
    return DatedMap(scene.name, day_of(scene), source, classes, class_names, origin, areas)
