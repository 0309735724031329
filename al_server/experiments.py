"""Simulations and experiments on scenes with outlines, for operators: have them made, list them, take results away."""

import logging

from flask import Response
from flask_openapi3 import APIBlueprint, Tag

from al_server.accepted import accepted_job
from al_server.auth import actor
from al_server.context import current_catalog, json_response
from al_server.experiment_schemas import ExperimentAnswer, ExperimentId, serialize_experiment
from al_server.job_schemas import JobAnswer, serialize_job
from al_server.kept_files import ZIP, MadePage, find_kept, list_kept, read_kept, remove_kept, send_kept
from al_server.schemas import ListOf, file_of, media
from services import asked_experiments
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
    return accepted_job(serialize_job(asked.job))


@api.get("/experiments", responses={200: ListOf[ExperimentAnswer]})
def list_experiments(query: MadePage) -> Response:
    """List simulations and experiments, newest first, those that are being made and those that failed included.

    If there may be more, the header ``Link`` holds the URL of the next page.
    """
    return list_kept(query, KnownExperiment, serialize_experiment)


@api.get("/experiments/<uid>/file", responses=file_of(ZIP, "All files of the results"))
def file(path: ExperimentId) -> Response:
    """Give all files of the results as a zip; 409 until they are made. Parts of it may be asked for (`Range`)."""
    return send_kept(KnownExperiment, path.uid)


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
    removed = remove_kept(KnownExperiment, path.uid, serialize_experiment)
    return json_response(removed.model_copy(update={"file": None, "table": None, "figure": None}))


def _member(uid: str, suffix: str, media_type: str) -> Response:
    known = find_kept(KnownExperiment, uid)
    content = asked_experiments.member(known, read_kept(known), suffix)
    response = Response(content, content_type=media_type)
    response.headers["Content-Disposition"] = f'inline; filename="{known.file_name}.{suffix}"'
    response.headers["Cache-Control"] = "private, no-cache"
    return response
