"""Model versions: list, describe, compare tracks, download the champion's files, ask for promotions and roll-backs."""

from flask import Response, request, send_file, url_for
from flask_openapi3 import APIBlueprint, Tag

from al_server.accepted import accepted
from al_server.auth import current_identity
from al_server.context import current_catalog, current_parts, json_response
from al_server.decision_schemas import (
    ChampionAt,
    DecisionRequestAnswer,
    Moment,
    PromotionAnswer,
    PromotionRequest,
    serialize_promotion,
    serialize_request,
)
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import UNCHANGED, ListOf, NewestPage, RequestId, file_of
from al_server.served_model import Served
from al_server.version_schemas import (
    ModelAnswer,
    ModelPage,
    TrackAnswer,
    VersionNumber,
    serialize_track,
    serialize_version,
)
from catalog.bundle_cache import CARD, ONNX, WEIGHTS, checksum_tag
from catalog.decision_records import DecisionRequest
from catalog.errors import NotFoundError, ServiceDownError
from catalog.records import now
from services import decision_requests, promotion
from services.tracks import tracks

api = APIBlueprint("models", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="models")])


@api.get("", responses={200: ListOf[ModelAnswer]})
def list_versions(query: ModelPage) -> Response:
    """List versions, newest first, with IoU by class, gain, parent, number of labels and the verdict of the gate.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    models = current_parts().models
    aliases = models.aliases()
    versions = models.versions(query.limit, query.before)
    answers = [serialize_version(version, aliases) for version in versions]
    return page_response(answers, query, last_key(versions, query, lambda version: version.version))


@api.get("/tracks", responses={200: ListOf[TrackAnswer]})
def list_tracks(query: ModelPage) -> Response:
    """List for the newest versions, oldest first, what was trained and what was served after the gate's decision.

    If there may be earlier ones, the header ``Link`` holds their URL.
    """
    versions = current_parts().models.versions(query.limit, query.before)
    answers = [serialize_track(point) for point in tracks(versions)]
    return page_response(answers, query, last_key(versions, query, lambda version: version.version))


@api.get("/decisions", responses={200: ListOf[PromotionAnswer]})
def list_decisions(query: NewestPage) -> Response:
    """List decisions about versions, newest first: of the gate, of rules, of people, and moves made in MLflow.

    The record is append-only. If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = promotion.decisions(session, cut_of(query))
    answers = [serialize_promotion(item) for item in found]
    return page_response(answers, query, last_key(found, query, lambda item: item.id))


@api.get("/champion", responses={200: ChampionAt})
def champion_at(query: Moment) -> Response:
    """Tell which version was served at a moment, and who decided that, when and why."""
    with current_catalog().read() as session:
        decision = promotion.champion_at(session, query.at)
    answer = ChampionAt(
        at=query.at or now(),
        version=decision.model_version if decision else None,
        decision=serialize_promotion(decision) if decision else None,
    )
    return json_response(answer)


@api.get("/<int:version>", responses={200: ModelAnswer})
def get_version(path: VersionNumber) -> Response:
    """Describe one version."""
    models = current_parts().models
    return json_response(serialize_version(models.get(path.version), models.aliases()))


@api.get("/latest", responses={200: ModelAnswer, 304: UNCHANGED})
def latest() -> Response:
    """Describe the champion, the version to use. Poll with ``If-None-Match``: 304 while it is unchanged.

    The header ``X-Registry-Seen`` says when MLflow last confirmed it.
    """
    served = _served()
    response = Response(served.body, content_type="application/json")
    response.set_etag(served.etag)
    response.headers["Cache-Control"] = "no-cache"  # clients may store it, but must revalidate it
    if served.seen_at is not None:
        response.headers["X-Registry-Seen"] = served.seen_at.isoformat(timespec="seconds")
    response.make_conditional(request)
    return response


@api.get("/latest/onnx", responses=file_of("application/octet-stream", "ONNX"))
def latest_onnx() -> Response:
    """Give the champion as ONNX; supports ranges and ``If-None-Match``."""
    return _file(ONNX, "application/octet-stream")


@api.get("/latest/weights", responses=file_of("application/octet-stream", "safetensors"))
def latest_weights() -> Response:
    """Give the champion's weights as safetensors; supports ranges and ``If-None-Match``."""
    return _file(WEIGHTS, "application/octet-stream")


@api.get("/latest/card", responses=file_of("application/json", "The model card"))
def latest_card() -> Response:
    """Give the champion's model card; supports ``If-None-Match``."""
    return _file(CARD, "application/json")


@api.post("/<int:version>/promote", responses={202: DecisionRequestAnswer})
def promote(path: VersionNumber, body: PromotionRequest) -> Response:
    """Have a version made the champion, which is served, and the learner, from which training goes on.

    The clock does that within about a second, if MLflow answers. ``Location`` is the address of the request, which says
    what became of it.
    """
    asked = decision_requests.ask_for_promotion(
        current_catalog(), path.version, body.reason, current_identity(), body.from_version
    )
    return _accepted(asked)


@api.post("/rollback", responses={202: DecisionRequestAnswer})
def roll_back(body: PromotionRequest) -> Response:
    """Have the version before the champion made the champion again, and the learner; as for a promotion."""
    return _accepted(
        decision_requests.ask_for_roll_back(current_catalog(), body.reason, current_identity(), body.from_version)
    )


@api.get("/requests/<int:request_id>", responses={200: DecisionRequestAnswer})
def get_request(path: RequestId) -> Response:
    """Tell what became of a request for a promotion or roll-back."""
    with current_catalog().read() as session:
        return json_response(serialize_request(decision_requests.find_request(session, path.request_id)))


def _accepted(added: DecisionRequest) -> Response:
    with current_catalog().read() as session:
        answer = serialize_request(decision_requests.find_request(session, added.id))
    return accepted(answer, url_for("models.get_request", request_id=added.id))


def _served() -> Served:
    served = current_parts().served.current()
    if served is None:
        raise NotFoundError("no model version has been promoted yet; label a round first")
    return served


def _file(name: str, media_type: str) -> Response:
    champion, bundles = _served().version, current_parts().bundles
    held = bundles.held(champion, name)
    if held is None:  # the clock fetches it (`services.registry_watch`), also if it was damaged
        raise ServiceDownError(
            "MLflow",
            current_catalog().settings.mlflow_url,
            f"{name} of version {champion.version} is being fetched from it",
        )
    response = send_file(
        held,
        mimetype=media_type,
        as_attachment=True,
        download_name=f"glacier-v{champion.version}-{name}",
        conditional=True,
        etag=champion.tags[checksum_tag(name)],
    )
    response.headers["Cache-Control"] = "no-cache"
    response.headers["X-Model-Version"] = str(champion.version)
    return response
