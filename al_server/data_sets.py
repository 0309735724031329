"""Data sets of labels and windows, for operators: have one made, list them, take one away, remove one."""

import logging

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.accepted import accepted_job
from al_server.auth import actor
from al_server.context import current_catalog, json_response
from al_server.data_set_schemas import DataSetAnswer, DataSetId, DataSetRequest, serialize_data_set
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.kept_files import ZIP, MadePage, list_kept, remove_kept, send_kept
from al_server.schemas import ListOf, file_of
from services import data_sets
from services.data_sets import KnownDataSet

log = logging.getLogger(__name__)

api = APIBlueprint("data_sets", __name__, url_prefix="/api/v1/data-sets", abp_tags=[Tag(name="data sets")])


@api.post("", responses={202: JobAnswer})
def make(body: DataSetRequest) -> Response:
    """Have a data set made of the labels as they are when its job begins; 202 with the job."""
    asked = data_sets.ask(current_catalog(), body.to_request(), with_model=body.model, by=actor())
    log.info("%s asked for the data set %s", actor(), asked.row.uid)
    return accepted_job(serialize_job(asked.job))


@api.get("", responses={200: ListOf[DataSetAnswer]})
def list_data_sets(query: MadePage) -> Response:
    """List the data sets, newest first, those that are being made and those that failed included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    return list_kept(query, KnownDataSet, serialize_data_set)


@api.get("/<uid>/file", responses=file_of(ZIP, "The data set"))
def file(path: DataSetId) -> Response:
    """Give a data set as a zip; 409 until it is made. Parts of it may be asked for (`Range`)."""
    return send_kept(KnownDataSet, path.uid)


@api.delete("/<uid>", responses={200: DataSetAnswer})
def remove(path: DataSetId) -> Response:
    """Remove a data set and its file; end its job if it is still being made."""
    removed = remove_kept(KnownDataSet, path.uid, serialize_data_set)
    return json_response(removed.model_copy(update={"file": None}))
