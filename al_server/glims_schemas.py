"""Schemas of requests and answers about submissions for GLIMS and their check."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

from pydantic import BaseModel, Field

from imagery.glims_findings import Finding, has_errors


class FindingAnswer(BaseModel):
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
    findings: list[FindingAnswer] = Field(description="errors first, then warnings")


def serialize_check(findings: Sequence[Finding]) -> CheckAnswer:
    """Return what a check found."""
    return CheckAnswer(
        fit=not has_errors(findings), findings=[FindingAnswer(**asdict(finding)) for finding in findings]
    )
