"""The quality of labels, by annotator, and which labels count as the truth: for operators only."""

import logging
from dataclasses import asdict

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.context import current_catalog, json_response
from al_server.quality_schemas import AcceptedAnswer, AcceptedLabel, QualityAnswer
from catalog import references
from services import label_quality

log = logging.getLogger(__name__)

api = APIBlueprint("quality", __name__, url_prefix="/api/v1/quality", abp_tags=[Tag(name="quality")])


@api.get("", responses={200: QualityAnswer})
def quality() -> Response:
    """Compare the labels of each annotator with known truth and with others, and blind with pre-annotated ones."""
    return json_response(QualityAnswer.model_validate(asdict(label_quality.assess(current_catalog()))))


@api.put("/references/<int:label_id>", responses={200: AcceptedAnswer})
def accept(path: AcceptedLabel) -> Response:
    """Accept a label as the truth of its patch: a honeypot for others, on which nothing is learnt any more."""
    with current_catalog().write() as session:
        patch_id = references.accept(session, path.label_id).patch_id
    log.info("%s accepted label %d as the truth of patch %d", actor(), path.label_id, patch_id)
    return json_response(AcceptedAnswer(label_id=path.label_id, patch_id=patch_id))


@api.delete("/references/<int:label_id>", responses={200: AcceptedAnswer})
def release(path: AcceptedLabel) -> Response:
    """End the use of a label as the truth; labels of its patch are learnt from again, but for those on honeypots."""
    with current_catalog().write() as session:
        patch_id = references.release(session, path.label_id)
    log.info("%s released label %d of patch %d", actor(), path.label_id, patch_id)
    return json_response(AcceptedAnswer(label_id=path.label_id, patch_id=patch_id))
