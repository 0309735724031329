"""Simulations and experiments on scenes with outlines, for operators: have them made, list them, take results away."""

import logging

from flask import Response, url_for
from flask_openapi3 import APIBlueprint, Tag

from al_server.auth import actor
from al_server.context import current_catalog, current_parts, json_response
from al_server.experiment_schemas import ExperimentAnswer, ExperimentId, serialize_experiment
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.kept_files import ZIP, MadePage, read_kept, send_kept
from al_server.paging import cut_of, last_key, page_response
from al_server.schemas import ListOf, file_of, media
from catalog.errors import ConflictError
from services import asked_experiments, data_sets
from services.asked_experiments import KnownExperiment
from services.experiment_options import ExperimentOptions, SimulationOptions

log = logging.getLogger(__name__)

api = APIBlueprint("experiments", __name__, url_prefix="/api/v1", abp_tags=[Tag(name="experiments")])


@api.post("/experiments", responses={202: JobAnswer})
def make(body: ExperimentOptions) -> Response:
    """Have an experiment of the papers made on scenes with outlines, or on an example; 202 with the job.

    It may take hours; between two networks it lets all other jobs of the workers go first.
    """
    return _ask(body)


@api.post("/simulations", responses={202: JobAnswer})
def simulate(body: SimulationOptions) -> Response:
    """Have strategies compared by simulated rounds on scenes with outlines, or on an example; 202 with the job.

    It may take hours; between two runs of the loop it lets all other jobs of the workers go first.
    """
    return _ask(body)


def _ask(options: ExperimentOptions | SimulationOptions) -> Response:
    asked = asked_experiments.ask(current_catalog(), options, by=actor())
    log.info("%s asked for the experiment %s, %s", actor(), asked.name, asked.row.uid)
    response = json_response(serialize_job(asked.job), 202)
    response.headers["Location"] = url_for("jobs.get_job", job_id=asked.job.id)
    return response


@api.get("/experiments", responses={200: ListOf[ExperimentAnswer]})
def list_experiments(query: MadePage) -> Response:
    """List simulations and experiments, newest first, those that are being made and those that failed included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    with current_catalog().read() as session:
        found = asked_experiments.listed(session, cut_of(query))
        answers = [serialize_experiment(known) for known in found]
    return page_response(answers, query, last_key(found, query, lambda known: known.row.id))


@api.get("/experiments/<uid>/file", responses=file_of(ZIP, "All files of the results"))
def file(path: ExperimentId) -> Response:
    """Give all files of the results as a zip; 409 until they are made. Parts of it may be asked for (`Range`)."""
    return send_kept(path.uid, f"{_made(path.uid).file_name}.zip", "experiment")


@api.get("/experiments/<uid>/table", responses={200: media("text/csv", "The tables", text=True)})
def table(path: ExperimentId) -> Response:
    """Give the tables of the results as CSV, one value a line; 409 until they are made."""
    return _member(path.uid, "csv", "text/csv")


@api.get("/experiments/<uid>/figure", responses={200: media("image/png", "The figure")})
def figure(path: ExperimentId) -> Response:
    """Give the figure of the results as PNG; 409 until it is made."""
    return _member(path.uid, "png", "image/png")


@api.delete("/experiments/<uid>", responses={200: ExperimentAnswer})
def remove(path: ExperimentId) -> Response:
    """Remove a simulation or an experiment with its file; end its job if it is still being made."""
    catalog = current_catalog()
    with catalog.read() as session:
        known = serialize_experiment(asked_experiments.find(session, path.uid))
    data_sets.remove(catalog, current_parts().store, asked_experiments.KIND, path.uid)
    log.info("%s removed the experiment %s", actor(), path.uid)
    return json_response(known.model_copy(update={"file": None, "table": None, "figure": None}))


def _made(uid: str) -> KnownExperiment:
    """Return an experiment that is done.

    Raises:
        NotFoundError: There is none with this id, or it was removed.
        ConflictError: It is not done.
    """
    with current_catalog().read() as session:
        known = asked_experiments.find(session, uid)
    if known.contents is None:
        raise ConflictError(f"the experiment is {known.job.state.value}; {known.job.error or 'ask again later'}")
    return known


def _member(uid: str, suffix: str, media_type: str) -> Response:
    known = _made(uid)
    content = asked_experiments.member(known, read_kept(uid, "experiment"), suffix)
    response = Response(content, content_type=media_type)
    response.headers["Content-Disposition"] = f'inline; filename="{known.file_name}.{suffix}"'
    response.headers["Cache-Control"] = "private, no-cache"
    return response
