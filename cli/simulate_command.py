"""``glacier-al simulate``: what each strategy would have given on ground with outlines."""

import os
from typing import Final, get_args

import click

from catalog.settings import Settings, Strategy
from cli.errors import StartError
from cli.output import json_option
from experiments.areas import EXAMPLES, Example

_SIMULATED: Final = tuple(name.value for name in Strategy if name is not Strategy.PRIOR_DISAGREEMENT)
"""All strategies but the one that needs prior outlines, which the simulated scenes lack."""

_ANNOTATORS: Final = ("brush", "strokes")


@click.command()
@click.argument("scenes", nargs=-1)
@click.option("--example", type=click.Choice(EXAMPLES), help="an example scene instead of SCENES")
@click.option(
    "--strategy",
    "strategies",
    type=click.Choice(_SIMULATED),
    multiple=True,
    help="repeat for several; default: the configured one, foreground_random and random",
)
@click.option("--seeds", type=click.IntRange(1), default=3, show_default=True, help="repetitions of every strategy")
@click.option("--rounds", type=click.IntRange(2), default=6, show_default=True, help="the random first ones included")
@click.option("--round-size", type=click.IntRange(1), default=6, show_default=True, help="patches of a round")
@click.option("--patch-size", type=click.IntRange(32), default=64, show_default=True, help="side of a patch, pixels")
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="training steps of a round")
@click.option(
    "--annotator",
    type=click.Choice(_ANNOTATORS),
    default="brush",
    show_default=True,
    help="brush: paints what is wrong; strokes: repaint what looks alike",
)
@click.option("--processes", type=click.IntRange(1), help="at once, of one thread each; default: one for each core")
@json_option
def simulate(
    scenes: tuple[str, ...],
    example: Example | None,
    strategies: tuple[str, ...],
    seeds: int,
    rounds: int,
    round_size: int,
    patch_size: int,
    steps: int,
    annotator: str,
    processes: int | None,
) -> None:
    """Simulate strategies on registered SCENES with outlines, without annotators.

    By default all scenes that have outlines are used, by their roles: pool, validation, test. A single scene is cut
    into three strips. Writes tables (Markdown and CSV), a figure (PNG) and an MLflow run. An interrupted simulation
    resumes where it stopped when it is called again.
    """
    if scenes and example:
        raise click.UsageError("found both SCENES and --example; expected one of them")
    settings = Settings()
    start_rounds = settings.random_start_rounds
    if rounds <= start_rounds:
        raise click.UsageError(
            f"found --rounds {rounds}; expected more than {start_rounds}, the rounds that are drawn at random "
            "(random_start_rounds), since a strategy chooses only after them"
        )
    from workers.main import prepare_threads

    prepare_threads(settings)  # the next imports load torch
    from cli.simulate_run import run_simulation
    from experiments.learner import LoopConfig
    from experiments.patch_annotator import Annotator

    (drawn_by,) = (name for name in get_args(Annotator) if name == annotator)
    config = LoopConfig(round_size, start_rounds, rounds - start_rounds, steps, annotator=drawn_by)
    failed = run_simulation(
        scenes, example, strategies, seeds, config, patch_size, processes or len(os.sched_getaffinity(0))
    )
    if failed:
        raise StartError(
            f"{failed} processes ended with the errors above; what is finished is kept: call again to resume"
        )
