"""Pixels and minutes that labels cost."""

from dataclasses import asdict

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

import services.effort
from al_server.context import current_catalog, json_response
from al_server.schemas import ListOf

api = APIBlueprint("effort", __name__, url_prefix="/api/v1/effort", abp_tags=[Tag(name="effort")])


class ExpectationAnswer(BaseModel):
    """Expected edits against what people changed."""

    labels: int = Field(description="labels whose edits were estimated beforehand")
    expected_px: float
    edited_px: int
    bias_px: float = Field(description="mean of expected minus changed pixels of a label")
    rank_correlation: float | None = Field(description="Spearman's, over the labels; null with fewer than three")


class EffortAnswer(BaseModel):
    """What the standing labels of one kind cost."""

    asked: str = Field(description="'whole patches' or 'parts' of them")
    start: str = Field(description="what their annotators started from: 'proposal' or 'empty mask'")
    simulated: bool = Field(description="drawn by the simulated annotator, whose seconds mean nothing")
    labels: int
    asked_px: int
    edited_px: int
    edited_share: float = Field(description="pixels changed for each pixel asked for")
    seconds: float = Field(description="sum of Label Studio's lead times")
    seconds_per_1000_px: float | None = Field(description="for 1000 pixels asked for; null without lead times")
    check: ExpectationAnswer | None = Field(description="how good the expected edits were; null without any")


@api.get("", responses={200: ListOf[EffortAnswer]})
def effort() -> Response:
    """Sum up pixels and minutes of the standing labels, and compare the edits that were expected with those made."""
    with current_catalog().read() as session:
        groups = services.effort.effort(session)
    return json_response([EffortAnswer.model_validate(asdict(group)) for group in groups])
