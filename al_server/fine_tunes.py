"""Fine-tunes that a person starts."""

import logging

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.accepted import accepted_job
from al_server.auth import actor
from al_server.context import current_catalog
from al_server.job_schemas import JobAnswer, serialize_job
from catalog import training

log = logging.getLogger(__name__)

api = APIBlueprint("fine_tunes", __name__, url_prefix="/api/v1/fine-tunes", abp_tags=[Tag(name="fine-tunes")])


@api.post("", responses={202: JobAnswer})
def train() -> Response:
    """Fine-tune on all labels now, without waiting for more; 202 with the job, or with the one that is open already."""
    with current_catalog().write() as session:
        job = serialize_job(training.enqueue_by_hand(session))
    log.info("%s asked for a fine-tune", actor())
    return accepted_job(job)
