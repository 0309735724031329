"""Schemas of requests and answers about what is set aside."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from pydantic import BaseModel, Field

from al_server.schemas import NewestPage, serialize_row
from catalog.set_aside import Kind, SetAside

ADVICE: Final[Mapping[Kind, str]] = {
    Kind.SCENE: "Put back the file that the reason names, or replace the scene by a new description of it; it is "
    "looked at again every minute.",
    Kind.LABEL: "Training goes on without it. Restore the mask from a backup, or have the patch labelled again.",
    Kind.FILE: "Mend what the reason names; the job mend files then makes it again. Else restore it from a backup.",
    Kind.VERSION: "Promote another version, or restore the files of this one in MLflow from a backup.",
}


class SetAsidePage(NewestPage):
    """A page of what is or was set aside, newest first."""

    standing: bool = Field(False, description="only what is set aside at present")


class SetAsideAnswer(BaseModel):
    """Something that cannot be used and is left out, or was until ``ended_at``."""

    kind: str = Field(description="label, scene, file or version")
    name: str
    reason: str = Field(description="what was found, and what was expected")
    since: datetime
    checked_at: datetime
    ended_at: datetime | None
    outcome: str | None = Field(description="how it ended")
    advice: str = Field(description="what a person can do")


def serialize_set_aside(row: SetAside) -> SetAsideAnswer:
    """Return what cannot be used, and why."""
    return serialize_row(SetAsideAnswer, row, advice=ADVICE[Kind(row.kind)])
