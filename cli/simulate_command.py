"""``glacier-al simulate``: what each strategy would have given on ground with outlines."""

import os
from typing import get_args

import click

from catalog.settings import Settings
from cli.errors import StartError
from cli.experiment_options import checked, number_option
from cli.output import json_option
from services.experiment_options import EXAMPLES, STRATEGIES, Annotator, SimulationOptions

_FIELDS = SimulationOptions.model_fields


@click.command()
@click.argument("scenes", nargs=-1)
@click.option("--example", type=click.Choice(list(EXAMPLES)), help="an example scene instead of SCENES")
@click.option(
    "--strategy",
    "strategies",
    type=click.Choice(STRATEGIES),
    multiple=True,
    help="repeat for several; default: the configured one, foreground_random and random",
)
@number_option(SimulationOptions, "seeds")
@number_option(SimulationOptions, "rounds")
@number_option(SimulationOptions, "round_size")
@number_option(SimulationOptions, "patch_size")
@number_option(SimulationOptions, "steps")
@click.option(
    "--annotator",
    type=click.Choice(get_args(Annotator)),
    default=_FIELDS["annotator"].default,
    show_default=True,
    help=_FIELDS["annotator"].description,
)
@click.option("--processes", type=click.IntRange(1), help="at once, of one thread each; default: one for each core")
@json_option
def simulate(scenes: tuple[str, ...], strategies: tuple[str, ...], processes: int | None, **given: object) -> None:
    """Simulate strategies on registered SCENES with outlines, without annotators.

    By default all scenes that have outlines are used, by their roles: pool, validation, test. A single scene is cut
    into three strips. Writes tables (Markdown and CSV), a figure (PNG) and an MLflow run. An interrupted simulation
    resumes where it stopped when it is called again.
    """
    settings = Settings()
    given |= {"scenes": list(scenes), "strategies": list(strategies)}
    options = checked(SimulationOptions, given, settings)
    from workers.main import prepare_threads

    prepare_threads(settings)  # the next import loads torch
    from cli.simulate_run import run_simulation

    failed = run_simulation(options, processes or len(os.sched_getaffinity(0)))
    if failed:
        raise StartError(
            f"{failed} processes ended with the errors above; what is finished is kept: call again to resume"
        )
