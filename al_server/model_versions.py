"""Model versions: list, describe, compare tracks, download the champion's files, promote, roll back."""

from flask import Response, request, send_file, url_for
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.context import current_catalog, current_parts, json_response
from al_server.schemas import (
    ListOf,
    ModelAnswer,
    ModelPage,
    PromotionAnswer,
    PromotionRequest,
    TrackAnswer,
    VersionNumber,
    media,
)
from al_server.serializers import serialize_promotion, serialize_track, serialize_version
from catalog.bundle_cache import CARD, ONNX, WEIGHTS, checksum_tag
from catalog.errors import NotFoundError
from catalog.registry import ModelVersion
from services import promotion
from services.tracks import tracks

api = APIBlueprint("models", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="models")])


@api.get("", responses={200: ListOf[ModelAnswer]})
def list_versions(query: ModelPage) -> Response:
    """List versions, newest first, with IoU by class, gain, parent, number of labels and the verdict of the gate.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    registry = current_parts().registry
    aliases = registry.aliases()
    versions = registry.versions(query.limit, query.before)
    response = json_response([serialize_version(version, aliases) for version in versions])
    if len(versions) == query.limit:
        following = url_for("models.list_versions", limit=query.limit, before=versions[-1].version)
        response.headers["Link"] = f'<{following}>; rel="next"'
    return response


@api.get("/tracks", responses={200: ListOf[TrackAnswer]})
def list_tracks(query: ModelPage) -> Response:
    """List for the newest versions, oldest first, what was trained and what was served after the gate's decision."""
    registry = current_parts().registry
    points = tracks(registry.versions(query.limit, query.before))
    return json_response([serialize_track(point) for point in points])


@api.get("/decisions", responses={200: ListOf[PromotionAnswer]})
def list_decisions() -> Response:
    """List the latest 100 decisions about versions, newest first: of the gate, of rules and of people."""
    with current_catalog().read() as session:
        return json_response([serialize_promotion(item) for item in promotion.decisions(session, 100)])


@api.get("/<int:version>", responses={200: ModelAnswer})
def get_version(path: VersionNumber) -> Response:
    """Describe one version."""
    registry = current_parts().registry
    return json_response(serialize_version(registry.get(path.version), registry.aliases()))


@api.get("/latest", responses={200: ModelAnswer})
def latest() -> Response:
    """Describe the champion, the version to use. Poll with ``If-None-Match``: 304 while it is unchanged."""
    champion = _champion()
    response = json_response(serialize_version(champion, current_parts().registry.aliases()))
    response.add_etag()  # a hash of the body: aliases may move while the champion stays
    response.headers["Cache-Control"] = "no-cache"  # clients may store it, but must revalidate it
    response.make_conditional(request)
    return response


@api.get("/latest/onnx", responses={200: media("application/octet-stream", "ONNX")})
def latest_onnx() -> Response:
    """Give the champion as ONNX; supports ranges and ``If-None-Match``."""
    return _file(ONNX, "application/octet-stream")


@api.get("/latest/weights", responses={200: media("application/octet-stream", "safetensors")})
def latest_weights() -> Response:
    """Give the champion's weights as safetensors; supports ranges and ``If-None-Match``."""
    return _file(WEIGHTS, "application/octet-stream")


@api.get("/latest/card", responses={200: media("application/json", "The model card")})
def latest_card() -> Response:
    """Give the champion's model card; supports ``If-None-Match``."""
    return _file(CARD, "application/json")


@api.post("/<int:version>/promote", responses={200: PromotionAnswer})
def promote(path: VersionNumber, body: PromotionRequest) -> Response:
    """Make a version the champion, which is served, and the learner, from which training goes on."""
    moved = promotion.promote(current_catalog(), current_parts().registry, path.version, body.reason, actor())
    return json_response(serialize_promotion(moved))


@api.post("/rollback", responses={200: PromotionAnswer})
def roll_back(body: PromotionRequest) -> Response:
    """Make the version before the champion the champion again, and the learner."""
    moved = promotion.roll_back(current_catalog(), current_parts().registry, body.reason, actor())
    return json_response(serialize_promotion(moved))


def _champion() -> ModelVersion:
    champion = current_parts().registry.champion()
    if champion is None:
        raise NotFoundError("no model version has been promoted yet; label a round first")
    return champion


def _file(name: str, media_type: str) -> Response:
    champion = _champion()
    path = current_parts().bundles.file(champion, name)
    response = send_file(
        path,
        mimetype=media_type,
        as_attachment=True,
        download_name=f"glacier-v{champion.version}-{name}",
        conditional=True,
        etag=champion.tags[checksum_tag(name)],
    )
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Model-Version"] = str(champion.version)
    return response
