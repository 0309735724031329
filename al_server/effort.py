"""Pixels and minutes that labels cost."""

from dataclasses import asdict

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

import services.effort
from al_server.context import current_catalog, json_response
from al_server.schemas import EffortAnswer, ListOf

api = APIBlueprint("effort", __name__, url_prefix="/api/v1/effort", abp_tags=[Tag(name="effort")])


@api.get("", responses={200: ListOf[EffortAnswer]})
def effort() -> Response:
    """Sum up pixels and minutes of the standing labels, and compare the edits that were expected with those made."""
    with current_catalog().read() as session:
        groups = services.effort.effort(session)
    return json_response([EffortAnswer.model_validate(asdict(group)) for group in groups])
