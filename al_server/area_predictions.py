"""Predictions of an area that somebody names: a window of a registered scene, or a GeoTIFF that is sent."""

from typing import Any

from flask import Response, request, url_for
from flask_openapi3 import APIBlueprint, Tag
from flask_openapi3.models import RawModel
from pydantic import ValidationError

from al_server.accepted import being_made
from al_server.area_schemas import AreaAnswer, AreaFile, AreaId, AreaQuery, WindowOfRegistered
from al_server.context import allow_large_body, current_catalog, current_parts, json_response
from al_server.job_schemas import serialize_job
from al_server.predictions import PREDICTION_FORMATS, predicted_file, refused_when_full
from al_server.problems import refuse_invalid
from al_server.version_choice import chosen_version
from catalog.errors import ConflictError, InvalidInputError, NotFoundError
from catalog.records import JobState
from imagery.errors import StoreError
from imagery.grid import Window
from services import area_predictions, raster_keys
from services.area_predictions import AreaPrediction
from services.places import PREDICT_ROUTE
from services.scenes import find_scene
from services.unused_predictions import note_use

api = APIBlueprint("area_predictions", __name__, url_prefix=PREDICT_ROUTE, abp_tags=[Tag(name="predictions")])

GEOTIFF = "image/tiff"
_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFF and BigTIFF


class AreaBody(RawModel):
    """A GeoTIFF, or a `WindowOfRegistered` as JSON."""

    mimetypes: list[str] = [GEOTIFF, "application/json"]  # noqa: RUF012 - as the library declares it


@api.post("", responses={202: AreaAnswer})
def predict(query: AreaQuery, raw: AreaBody) -> Any:
    """Have an area mapped: send a GeoTIFF, or name a window of a scene as JSON. Answered with 202; ask again for files.

    A GeoTIFF has to hold the version's channels, in its units. Its bands are told by their descriptions, or by `bands`.
    """
    version = chosen_version(query.version).version
    try:
        with refused_when_full():
            asked = _upload(query, version) if request.mimetype == GEOTIFF else _window(version)
    except ValidationError as error:
        return refuse_invalid(error)
    return being_made(_answer(asked), url_for("area_predictions.describe", uid=asked.uid))


def _upload(query: AreaQuery, version: int) -> AreaPrediction:
    stated = area_predictions.request_for_upload(
        name=query.name,
        bands=None if query.bands is None else [band.strip() for band in query.bands.split(",")],
        sensor=query.sensor,
        unit=query.unit,
        level=query.level,
    )
    allow_large_body()
    content = request.get_data(cache=False)
    if not content.startswith(_BEGINNINGS):
        raise InvalidInputError(f"found {len(content)} bytes that are no TIFF; expected a GeoTIFF as the body")
    return area_predictions.predict_upload(current_catalog(), current_parts().store, content, stated, version)


def _window(version: int) -> AreaPrediction:
    asked = WindowOfRegistered.model_validate(request.get_json())
    with current_catalog().read() as session:
        scene = find_scene(session, asked.scene_id)
    window = Window(**asked.window.model_dump())
    return area_predictions.predict_window(current_catalog(), scene, window, version)


@api.get("/<uid>", responses={200: AreaAnswer})
def describe(path: AreaId) -> Response:
    """Describe a prediction of an area: its job with progress and error and, once it is done, its files."""
    with current_catalog().read() as session:
        return json_response(_answer(area_predictions.find_area(session, path.uid)))


@api.get("/<uid>/<suffix>", responses={200: {"description": "The file", "content": {"*/*": {}}}})
def file(path: AreaFile) -> Response:
    """Give a file of a predicted area: a class map, its confidence, outlines in three formats, or total areas."""
    with current_catalog().read() as session:
        found = area_predictions.find_area(session, path.uid)
    if found.job.state is not JobState.FINISHED:
        raise ConflictError(f"the prediction is {found.job.state.value}; {found.job.error or 'ask again later'}")
    key = found.keys[path.suffix]
    note_use(current_catalog(), key)
    try:
        content = current_parts().store.get(key)
    except StoreError as error:
        raise NotFoundError(
            f"the files of this prediction were removed, since nobody used them for a while ({error}); ask for it anew"
        ) from error
    media_type = PREDICTION_FORMATS[path.suffix].media_type
    return predicted_file(content, media_type, f"{found.name}-v{found.version}.{path.suffix}", found.version)


def _answer(asked: AreaPrediction) -> AreaAnswer:
    is_done = asked.job.state is JobState.FINISHED
    suffixes = raster_keys.PREDICTION_SUFFIXES if is_done else ()
    return AreaAnswer(
        id=asked.uid,
        name=asked.name,
        version=asked.version,
        job=serialize_job(asked.job),
        files={suffix: url_for("area_predictions.file", uid=asked.uid, suffix=suffix) for suffix in suffixes},
    )
