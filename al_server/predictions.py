"""Predictions: a scene as a model version maps it, made by a job at the first request."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, NamedTuple

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.types import ResponseDict
from sqlalchemy.orm import Session
from werkzeug.exceptions import ServiceUnavailable

from al_server.accepted import being_made
from al_server.context import current_catalog, current_parts
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.map_schemas import PredictionQuery
from al_server.scene_reading import read_from_store
from al_server.schemas import GEOJSON, SceneId, media
from al_server.version_choice import chosen_version
from catalog.errors import QueueFullError
from catalog.records import Job, Scene
from imagery.cog import cut_cog
from imagery.errors import StoreError
from imagery.grid import Grid, Window
from services.area_report import AreaReport
from services.class_scheme import class_scheme
from services.delivery import DeliveryOptions, delivery_options, prediction_keys
from services.glims_packages import check_image, enqueue_package, package_key, package_labels
from services.predictions import check_ready, enqueue_prediction
from services.scenes import find_scene, source_of
from services.unused_predictions import note_use
from services.view_files import (
    RASTER_SUFFIXES,
    VECTOR_SUFFIXES,
    Box,
    areas_in_view,
    check_pixels,
    outlines_in_view,
    vector_file,
    window_of_view,
)

api = APIBlueprint("predictions", __name__, url_prefix="/api/v1/scenes", abp_tags=[Tag(name="scenes")])

_RETRY_WHEN_FULL_S: Final = 30


class PredictionFormat(NamedTuple):
    """How a prediction is delivered, and how the OpenAPI document describes it."""

    endpoint: str
    media_type: str
    description: str
    summary: str


PREDICTION_FORMATS: Final = {
    "tif": PredictionFormat(
        "prediction_tif",
        "image/tiff; application=geotiff; profile=cloud-optimized",
        "The class map",
        "Give a version's class map as a Cloud Optimized GeoTIFF; 202 while it is being made.",
    ),
    "confidence.tif": PredictionFormat(
        "prediction_confidence",
        "image/tiff; application=geotiff; profile=cloud-optimized",
        "The confidence of the class map",
        "Give the calibrated probability of the class that the map shows, in percent; 202 while it is being made.",
    ),
    "areas.json": PredictionFormat(
        "prediction_areas",
        "application/json",
        "The total areas",
        "Give the total area of each class with its 95 % interval; 202 while it is being computed.",
    ),
    "geojson": PredictionFormat(
        "prediction_geojson",
        GEOJSON,
        "The outlines",
        "Give a version's outlines, with holes, in WGS 84; 202 while they are being made.",
    ),
    "gpkg": PredictionFormat(
        "prediction_gpkg",
        "application/geopackage+sqlite3",
        "The outlines",
        "Give a version's outlines, with holes, in the scene's own CRS; 202 while they are being made.",
    ),
    "shp.zip": PredictionFormat(
        "prediction_shapefile",
        "application/zip",
        "The outlines",
        "Give a version's outlines, with holes, as a zipped shapefile in the scene's own CRS; 202 while it is made.",
    ),
}


def _add_prediction(suffix: str) -> None:
    """Register the view of one format of predictions."""
    form = PREDICTION_FORMATS[suffix]

    def view(path: SceneId, query: PredictionQuery) -> Response:
        return prediction(path.scene_id, suffix, query.version, query.box)

    view.__name__, view.__doc__ = form.endpoint, form.summary
    responses: ResponseDict = {200: media(form.media_type, form.description), 202: JobAnswer}
    # Clients are generated from the operation's id, which therefore stays what it was.
    operation_id = f"scenes_{form.endpoint}__int_scene_id__prediction_{suffix.replace('.', '_')}_get"
    api.get(f"/<int:scene_id>/prediction.{suffix}", responses=responses, operation_id=operation_id)(view)


for _suffix in PREDICTION_FORMATS:
    _add_prediction(_suffix)


@api.get(
    "/<int:scene_id>/prediction.glims.zip",
    responses={200: media("application/zip", "The outlines for GLIMS"), 202: JobAnswer},
)
def prediction_glims(path: SceneId, query: PredictionQuery) -> Response:
    """Give outlines as GLIMS takes them, by experts where they judged, else by a version; 202 while they are made.

    With a box, glaciers that reach into it are given, whole.
    """
    asked = _asked(path.scene_id, query.version, query.box)
    check_image(asked.scene)
    if not all(map(current_parts().store.exists, asked.keys.values())):
        return _have_made(asked)
    window = None if asked.is_whole else asked.window
    with current_catalog().read() as session:
        labels = package_labels(session, asked.scene)
    key = package_key(asked.scene, asked.version, asked.options, window, labels)

    def enqueue(session: Session) -> Job:
        at_once = current_catalog().settings.predictions_at_once
        return enqueue_package(session, asked.scene, asked.version, asked.options, window, key, at_once)

    try:
        content = current_parts().store.get(key)
    except StoreError:  # not made yet, or removed
        return _enqueued(enqueue)
    note_use(current_catalog(), key)
    return _file(asked, content, "glims.zip", "application/zip")


@dataclass(frozen=True)
class _Asked:
    """What is asked for: a scene as a version predicts it, or the part of it in a window."""

    scene: Scene
    version: int
    options: DeliveryOptions
    box: Box | None
    window: Window

    @property
    def grid(self) -> Grid:
        return source_of(self.scene).grid

    @property
    def is_whole(self) -> bool:
        return self.window == self.grid.window

    @property
    def keys(self) -> Mapping[str, str]:
        return prediction_keys(self.scene, self.version, self.options)


def _asked(scene_id: int, number: int | None, box: Box | None) -> _Asked:
    """Return what is asked for.

    Args:
        scene_id: id of the scene.
        number: number of the version; None for the one that is served.
        box: the view; None: the whole scene.

    Raises:
        NotFoundError: there is no such scene, or no such version.
        ConflictError: the scene is not ready, or no version is served.
        InvalidInputError: the view shows nothing of the scene.
    """
    with current_catalog().read() as session:
        scene = find_scene(session, scene_id)
    check_ready(scene)
    grid = source_of(scene).grid
    window = grid.window if box is None else window_of_view(grid, box)
    version = chosen_version(number).version
    return _Asked(scene, version, delivery_options(current_catalog().settings), box, window)


def prediction(scene_id: int, suffix: str, number: int | None, box: Box | None) -> Response:
    """Return a file of the scene as a version predicts it; 202 with the job while the file is being made.

    Args:
        scene_id: id of the scene.
        suffix: the file, one of `PREDICTION_FORMATS`.
        number: number of the version; None for the one that is served.
        box: the view that the file is cut to; None: it is that of the whole scene.

    Raises:
        NotFoundError, ConflictError, InvalidInputError: as `_asked`; or the prediction failed, or the view shows more
            than is cut in a request.
        OutlineError: the view shows more outlines than are cut in a request.
        ServiceUnavailable: as many predictions wait or run as may at once.
    """
    asked = _asked(scene_id, number, box)
    if suffix in RASTER_SUFFIXES and not asked.is_whole:
        check_pixels(asked.window)
    store, keys = current_parts().store, asked.keys
    # The GeoTIFF is written last: once it is there, so are the outlines, but for a format that an earlier release did
    # not write; then the scene is predicted again.
    if not (store.exists(keys["tif"]) and store.exists(keys[suffix])):
        return _have_made(asked)
    note_use(current_catalog(), keys[suffix])
    try:
        content = store.get(keys[suffix]) if asked.is_whole else _cut(keys, suffix, asked.grid, asked.window)
    except StoreError:  # it has just been removed, or was damaged
        return _have_made(asked)
    return _file(asked, content, suffix, PREDICTION_FORMATS[suffix].media_type)


def _file(asked: _Asked, content: bytes, suffix: str, media_type: str) -> Response:
    name = f"{asked.scene.name}-v{asked.version}{'' if asked.box is None else f'-{asked.box}'}.{suffix}"
    return predicted_file(content, media_type, name, asked.version)


def predicted_file(content: bytes, media_type: str, name: str, version: int) -> Response:
    """Answer with a file of a prediction, its name, and the version that predicted it."""
    response = Response(content, content_type=media_type)
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["X-Model-Version"] = str(version)
    about = url_for("lineage.lineage", version=version)
    response.headers["Link"] = f'<{about}>; rel="describedby"'
    return response


def _cut(keys: Mapping[str, str], suffix: str, grid: Grid, window: Window) -> bytes:
    """Return a file of a predicted scene, cut to a window.

    Raises:
        StoreError: a file is not in the store.
        OutlineError: there are too many outlines.
        SceneError, HTTPException: as `al_server.scene_reading.read_from_store`.
    """
    store = current_parts().store
    if suffix in RASTER_SUFFIXES:
        return read_from_store(store, keys[suffix], cut_cog, grid, window)
    outlines = outlines_in_view(store.get(keys["gpkg"]), grid, window)
    if suffix in VECTOR_SUFFIXES:
        return vector_file(outlines, suffix, class_scheme(current_catalog()))
    whole = AreaReport.model_validate_json(store.get(keys[suffix]))
    return areas_in_view(whole, outlines).model_dump_json(indent=2).encode()


def _have_made(asked: _Asked) -> Response:
    """Enqueue a prediction, and return its job."""
    at_once = current_catalog().settings.predictions_at_once
    return _enqueued(lambda session: enqueue_prediction(session, asked.scene, asked.version, asked.options, at_once))


def _enqueued(enqueue: Callable[[Session], Job]) -> Response:
    """Return the job that a function enqueues.

    Raises:
        ServiceUnavailable: as many wait or run as may at once.
    """
    with refused_when_full(), current_catalog().write() as session:
        job = enqueue(session)
    return being_made(serialize_job(job), url_for("jobs.get_job", job_id=job.id))


@contextmanager
def refused_when_full() -> Iterator[None]:
    """Refuse what the block asks for if as many predictions wait or run as may at once.

    Raises:
        ServiceUnavailable: they do.
    """
    try:
        yield
    except QueueFullError as error:
        raise ServiceUnavailable(str(error), retry_after=_RETRY_WHEN_FULL_S) from error
