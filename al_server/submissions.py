"""Outlines for GLIMS and RGI, for operators: have them made as stated, list them, take them away, remove them."""

import logging

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.context import current_catalog, current_parts, json_response
from al_server.glims_schemas import SubmissionAnswer, SubmissionId, serialize_submission
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.kept_files import ZIP, MadePage, send_kept
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf, file_of
from catalog.errors import ConflictError
from services import data_sets, submissions
from services.submissions import SubmissionOptions

log = logging.getLogger(__name__)

api = APIBlueprint("submissions", __name__, url_prefix="/api/v1/glims-submissions", abp_tags=[Tag(name="GLIMS")])


@api.post("", responses={202: JobAnswer})
def make(body: SubmissionOptions) -> Response:
    """Have the outlines of a scene made for GLIMS, of the labels as they are when the job begins; 202 with the job."""
    served = current_parts().served.current()
    asked = submissions.ask(current_catalog(), body, None if served is None else served.version, by=actor())
    log.info("%s asked for the submission %s", actor(), asked.row.uid)
    response = json_response(serialize_job(asked.job), 202)
    response.headers["Location"] = url_for("jobs.get_job", job_id=asked.job.id)
    return response


@api.get("", responses={200: ListOf[SubmissionAnswer]})
def list_submissions(query: MadePage) -> Response:
    """List the submissions, newest first, those that are being made and those that failed included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = submissions.listed(session, cut_of(query))
        answers = [serialize_submission(known) for known in found]
    return page_response(answers, query, last_key(found, query, lambda known: known.row.id))


@api.get("/<uid>/file", responses=file_of(ZIP, "The outlines"))
def file(path: SubmissionId) -> Response:
    """Give a submission as a zip; 409 until it is made. Parts of it may be asked for (`Range`)."""
    with current_catalog().read() as session:
        known = submissions.find(session, path.uid)
    if known.contents is None:
        raise ConflictError(f"the submission is {known.job.state.value}; {known.job.error or 'ask again later'}")
    return send_kept(path.uid, f"{known.name}.zip", "submission")


@api.delete("/<uid>", responses={200: SubmissionAnswer})
def remove(path: SubmissionId) -> Response:
    """Remove a submission and its file; end its job if it is still being made."""
    catalog = current_catalog()
    with catalog.read() as session:
        known = serialize_submission(submissions.find(session, path.uid))
    data_sets.remove(catalog, current_parts().store, submissions.KIND, path.uid)
    log.info("%s removed the submission %s", actor(), path.uid)
    return json_response(known.model_copy(update={"file": None}))
