"""The page of simulations and experiments, for operators: results, and forms to have more made."""

from typing import Any, Final

from flask import Blueprint, Response
from pydantic import BaseModel

from al_server.context import current_catalog
from al_server.experiment_schemas import serialize_experiment
from al_server.kept_files import show_kept
from al_server.page_frame import live_mark, render_page
from catalog.settings import Settings
from services.asked_experiments import KnownExperiment
from services.experiment_options import (
    QUESTIONS,
    STRATEGIES,
    ExperimentOptions,
    SimulationOptions,
    bounds,
    examples,
)
from services.study_scenes import scenes_with_outlines

SHOWN: Final = 20
"""Results on one page, each with its tables."""

page = Blueprint("experiments_page", __name__)


@page.get("/experiments")
def show() -> Response:
    """Return the page; its script has simulations and experiments made and removed by the API."""
    mark, catalog = live_mark(), current_catalog()
    with catalog.read() as session:
        known, pager = show_kept(session, KnownExperiment, "made", SHOWN)
        made = [serialize_experiment(experiment) for experiment in known]
        scenes = scenes_with_outlines(session)
    return render_page(
        "experiments.html",
        live=mark,
        experiments=made,
        pager=pager,
        scenes=scenes,
        examples=examples(),
        questions=QUESTIONS,
        strategies=STRATEGIES,
        of_simulation=_fields(SimulationOptions),
        of_experiment=_fields(ExperimentOptions),
        architectures=_choices(ExperimentOptions, "architecture"),
        splits=_choices(ExperimentOptions, "split"),
        annotators=_choices(SimulationOptions, "annotator"),
        settings=catalog.settings,
        limit_h=_hours(catalog.settings),
    )


def _fields(options: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return what a form says of each option: its meaning, its default, and the least and greatest number."""
    return {
        name: {
            "words": field.description or name,
            "default": None if field.is_required() else field.default,
            "least": bounds(options, name)[0],
            "most": bounds(options, name)[1],
        }
        for name, field in options.model_fields.items()
    }


def _choices(options: type[BaseModel], name: str) -> list[str]:
    """Return the values that an option may have."""
    found: list[str] = options.model_json_schema()["properties"][name]["enum"]
    return found


def _hours(settings: Settings) -> str:
    """Return the time limit of an attempt in hours."""
    return f"{settings.compute_timeout_s / 3600:g}"
