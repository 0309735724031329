"""Versions that are trained again and compared with what was registered: ask for it, and see what was found."""

import logging

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.accepted import accepted_job
from al_server.auth import actor
from al_server.context import current_catalog, current_parts, json_response
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.reproduction_schemas import ReproductionRequest, ReproductionsAnswer, serialize_reproductions
from al_server.version_schemas import VersionNumber
from services import reproductions

log = logging.getLogger(__name__)

api = APIBlueprint("reproductions", __name__, url_prefix="/api/v1/models", abp_tags=[Tag(name="models")])


@api.post("/<int:version>/reproductions", responses={202: JobAnswer})
def reproduce(path: VersionNumber, body: ReproductionRequest) -> Response:
    """Train a version again and compare it; 202 with the job. Nothing is registered.

    It takes as long as its training did, on a worker that fine-tunes then wait for.
    """
    version = current_parts().models.get(path.version).version
    with current_catalog().write() as session:
        job = serialize_job(reproductions.ask(session, version, body.to_options(), actor()))
    log.info("%s asked for version %d to be trained again", actor(), version)
    return accepted_job(job)


@api.get("/<int:version>/reproductions", responses={200: ReproductionsAnswer})
def show(path: VersionNumber) -> Response:
    """Tell whether a version is being trained again, and what was found last."""
    version = current_parts().models.get(path.version).version
    with current_catalog().read() as session:
        return json_response(serialize_reproductions(session, version))
