"""Schemas of requests and answers about checks of the installation."""

from datetime import datetime

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from al_server.job_schemas import JobAnswer, serialize_job
from catalog import jobs
from catalog.records import JobKind
from services.installation_findings import FindingLevel
from services.request_types import Body


class InstallationCheckRequest(Body):
    """What a check is to do."""

    fix: bool = Field(False, description="mend what can be mended safely; nothing that an annotator drew is deleted")


class FindingAnswer(BaseModel):
    """What one check found."""

    level: FindingLevel = Field(description="ok, warning or fault; ok if it was mended")
    check: str = Field(description="what was looked at")
    found: str
    expected: str = Field(description="empty if that was found")
    remedy: str = Field(description="what to do; empty if nothing")
    fixed: str | None = Field(description="what was done to mend it; null if nothing")
    can_be_fixed: bool = Field(description="whether a check with `fix` mends it")


class InstallationReportAnswer(BaseModel):
    """What a check found."""

    job: JobAnswer
    made_at: datetime
    by: str = Field(description="who asked for it")
    fix: bool = Field(description="whether what can be mended safely was mended")
    faults: int = Field(description="how many are left")
    warnings: int
    findings: list[FindingAnswer] = Field(description="in the order in which they were found")


class InstallationChecksAnswer(BaseModel):
    """The newest check, and the newest report: of an earlier one until that check has ended."""

    newest: JobAnswer | None = Field(description="the newest check, whatever its state; null: none yet")
    last: InstallationReportAnswer | None = Field(description="the newest report; null: none yet")


def describe_checks(session: Session) -> InstallationChecksAnswer:
    """Return what is known of checks."""
    newest = jobs.last_of(session, JobKind.CHECK_INSTALLATION)
    reported = jobs.last_reported(session, JobKind.CHECK_INSTALLATION)
    last = None
    if reported is not None:
        last = InstallationReportAnswer.model_validate(
            {**(reported.report or {}), "job": serialize_job(reported), "made_at": reported.finished_at}
        )
    return InstallationChecksAnswer(newest=None if newest is None else serialize_job(newest), last=last)
