"""Checks of the installation, for administrators: have one made, and tell what the newest found."""

import logging

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.accepted import accepted_job
from al_server.auth import actor
from al_server.context import current_catalog, json_response
from al_server.installation_check_schemas import (
    InstallationCheckRequest,
    InstallationChecksAnswer,
    describe_checks,
)
from al_server.job_schemas import JobAnswer, serialize_job
from catalog import jobs
from catalog.errors import ConflictError
from catalog.records import JobKind

log = logging.getLogger(__name__)

api = APIBlueprint(
    "installation_checks",
    __name__,
    url_prefix="/api/v1/installation-checks",
    abp_tags=[Tag(name="installation checks")],
)


@api.get("", responses={200: InstallationChecksAnswer})
def show() -> Response:
    """Tell of the newest check, and what the newest one that has ended found."""
    with current_catalog().read() as session:
        return json_response(describe_checks(session))


@api.post("", responses={202: JobAnswer})
def check(body: InstallationCheckRequest) -> Response:
    """Have the installation checked, and mended with `fix`; 202 with the job, or with the one that is open already.

    One is made at a time: 409 if the open one mends and this is not to, or the other way round.
    """
    with current_catalog().write() as session:
        job = jobs.enqueue(session, JobKind.CHECK_INSTALLATION, fix=body.fix, by=actor())
        if job.subject["fix"] != body.fix:
            open_one = "mends what it finds" if job.subject["fix"] else "only looks"
            raise ConflictError(f"a check that {open_one} is under way; ask again once it has ended, or cancel it")
        answer = serialize_job(job)
    log.info("%s asked for a check of the installation%s", actor(), " that mends" if body.fix else "")
    return accepted_job(answer)
