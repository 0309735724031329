"""Schemas of requests and answers about submissions for GLIMS and their check."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Literal

from flask import url_for
from pydantic import BaseModel, Field

from al_server.job_schemas import JobAnswer, serialize_job
from imagery.glims_findings import Finding, has_errors
from services.request_types import Closed
from services.submissions import Contents, KnownSubmission, SubmissionOptions


class GlimsFindingAnswer(BaseModel):
    """A requirement of GLIMS that a submission does not fulfil."""

    severity: Literal["error", "warning"] = Field(
        description="error: a published requirement is not met; warning: a wish, or what only the analyst can judge"
    )
    layer: str
    feature: int | None = Field(description="the first that it concerns, from 0; null: the whole layer")
    message: str = Field(description="what was found and what was expected")


class CheckAnswer(BaseModel):
    """What the check of a submission found."""

    fit: bool = Field(description="whether no published requirement of GLIMS is missed")
    findings: list[GlimsFindingAnswer] = Field(description="errors first, then warnings")


def serialize_check(findings: Sequence[Finding]) -> CheckAnswer:
    """Return what a check found."""
    return CheckAnswer(
        fit=not has_errors(findings), findings=[GlimsFindingAnswer(**asdict(finding)) for finding in findings]
    )


class SubmissionId(Closed):
    """The id of a submission."""

    uid: str = Field(pattern=r"^[0-9a-f]{32}$")


class SubmissionContents(CheckAnswer):
    """What a submission holds, and what the check found in it."""

    glaciers: int
    area_km2: float
    of_inventory: int = Field(description="how many glaciers have an id of the inventory")
    intervals: int = Field(description="how many glaciers have a 95 % interval of the area")
    image_id: str
    image_is_named: bool = Field(
        description="false: no identifier by its provider was found, and it is the scene's name"
    )
    labels: int
    simulated_labels: int = Field(description="how many of them a simulated annotator drew")
    layers: dict[str, int] = Field(description="number of features by layer")
    left_out: list[str] = Field(description="labels that are not in it, and why")
    size_bytes: int


class SubmissionAnswer(BaseModel):
    """Outlines of a scene for GLIMS and RGI, or those that are being made."""

    id: str
    scene: str = Field(description="name of the scene")
    version: int | None = Field(description="whose map counts where no expert judged; null: only what experts drew")
    options: SubmissionOptions
    inventory: str | None = Field(description="name of the inventory that was sent; null: none was")
    asked_by: str
    asked_at: datetime
    job: JobAnswer
    contents: SubmissionContents | None = Field(description="null until it is made")
    withdrawn_labels: int | None = Field(
        description="how many of its labels were withdrawn since; null: not known, as an earlier release has made it"
    )
    file: str | None = Field(description="address of its zip; null until it is made")


def serialize_submission(known: KnownSubmission) -> SubmissionAnswer:
    """Return a submission with its job and, once it is made, what it holds."""
    asked, contents = known.asked, known.contents
    return SubmissionAnswer(
        id=known.row.uid,
        scene=asked.scene,
        version=asked.version,
        options=asked.options,
        inventory=None if asked.inventory is None else asked.inventory.name,
        asked_by=known.row.asked_by,
        asked_at=known.row.asked_at,
        job=serialize_job(known.job),
        contents=None if contents is None else _serialize_contents(contents),
        withdrawn_labels=known.withdrawn,
        file=None if contents is None else url_for("submissions.file", uid=known.row.uid),
    )


def _serialize_contents(contents: Contents) -> SubmissionContents:
    check = serialize_check(contents.findings)
    return SubmissionContents(**check.model_dump(), **contents.model_dump(exclude={"findings"}))
