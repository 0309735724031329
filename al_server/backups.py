"""Backups, for administrators: make one, and tell of the newest."""

import logging
from datetime import datetime

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from al_server.accepted import accepted_job
from al_server.auth import actor
from al_server.context import current_catalog, json_response
from al_server.job_schemas import JobAnswer, serialize_job
from catalog import jobs
from catalog.errors import ConflictError
from catalog.records import JobKind
from services.backup import last_backup

log = logging.getLogger(__name__)

api = APIBlueprint("backups", __name__, url_prefix="/api/v1/backups", abp_tags=[Tag(name="backups")])


class LastBackupAnswer(BaseModel):
    """The newest backup, made here or by the command line."""

    name: str
    folder: str
    finished_at: datetime
    files: int
    left_out: list[str] = Field(description="what is not in it, and why")


class BackupsAnswer(BaseModel):
    """Where backups go, and the newest."""

    folder: str | None = Field(description="of the setting backup_folder; null: none can be made here")
    last: LastBackupAnswer | None


@api.get("", responses={200: BackupsAnswer})
def show() -> Response:
    """Tell where backups go, and of the newest."""
    settings, last = current_catalog().settings, last_backup(current_catalog().settings)
    answer = BackupsAnswer(
        folder=None if settings.backup_folder is None else str(settings.backup_folder),
        last=None if last is None else LastBackupAnswer(**last.model_dump()),
    )
    return json_response(answer)


@api.post("", responses={202: JobAnswer})
def back_up() -> Response:
    """Have a backup added to the folder of the setting `backup_folder`; 202 with the job. One is made at a time."""
    if current_catalog().settings.backup_folder is None:
        raise ConflictError("found no folder for backups; set backup_folder in the file of settings, and restart")
    with current_catalog().write() as session:
        job = serialize_job(jobs.enqueue(session, JobKind.BACK_UP))
    log.info("%s asked for a backup", actor())
    return accepted_job(job)
