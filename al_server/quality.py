"""The quality of labels, by annotator: for operators only."""

from dataclasses import asdict

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.context import current_catalog, json_response
from al_server.quality_schemas import QualityAnswer
from services import label_quality

api = APIBlueprint("quality", __name__, url_prefix="/api/v1/quality", abp_tags=[Tag(name="quality")])


@api.get("", responses={200: QualityAnswer})
def quality() -> Response:
    """Compare the labels of each annotator with known truth and with others, and blind with pre-annotated ones."""
    return json_response(QualityAnswer.model_validate(asdict(label_quality.assess(current_catalog()))))
