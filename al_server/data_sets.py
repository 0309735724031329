"""Data sets of labels and windows, for operators: have one made, list them, take one away, remove one."""

import logging

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.context import current_catalog, current_parts, json_response
from al_server.data_set_schemas import DataSetAnswer, DataSetId, DataSetRequest, serialize_data_set
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.kept_files import ZIP, MadePage, send_kept
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf, file_of
from catalog.errors import ConflictError
from catalog.records import JobKind
from services import data_sets

log = logging.getLogger(__name__)

api = APIBlueprint("data_sets", __name__, url_prefix="/api/v1/data-sets", abp_tags=[Tag(name="data sets")])


@api.post("", responses={202: JobAnswer})
def make(body: DataSetRequest) -> Response:
    """Have a data set made of the labels as they are when its job begins; 202 with the job."""
    asked = data_sets.ask(current_catalog(), body.to_request(), with_model=body.model, by=actor())
    log.info("%s asked for the data set %s", actor(), asked.row.uid)
    response = json_response(serialize_job(asked.job), 202)
    response.headers["Location"] = url_for("jobs.get_job", job_id=asked.job.id)
    return response


@api.get("", responses={200: ListOf[DataSetAnswer]})
def list_data_sets(query: MadePage) -> Response:
    """List the data sets, newest first, those that are being made and those that failed included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = data_sets.listed(session, cut_of(query))
        answers = [serialize_data_set(known) for known in found]
    return page_response(answers, query, last_key(found, query, lambda known: known.row.id))


@api.get("/<uid>/file", responses=file_of(ZIP, "The data set"))
def file(path: DataSetId) -> Response:
    """Give a data set as a zip; 409 until it is made. Parts of it may be asked for (`Range`)."""
    with current_catalog().read() as session:
        known = data_sets.find(session, path.uid)
    if known.contents is None:
        raise ConflictError(f"the data set is {known.job.state.value}; {known.job.error or 'ask again later'}")
    return send_kept(path.uid, f"{known.name}.zip", "data set")


@api.delete("/<uid>", responses={200: DataSetAnswer})
def remove(path: DataSetId) -> Response:
    """Remove a data set and its file; end its job if it is still being made."""
    catalog = current_catalog()
    with catalog.read() as session:
        known = serialize_data_set(data_sets.find(session, path.uid))
    data_sets.remove(catalog, current_parts().store, JobKind.EXPORT_DATASET, path.uid)
    log.info("%s removed the data set %s", actor(), path.uid)
    return json_response(known.model_copy(update={"file": None}))
