"""``glacier-al experiment``: repeat experiments of the papers on registered scenes."""

from typing import Any, Final, get_args

import click

from catalog.settings import Settings
from cli.output import json_option
from experiments.areas import EXAMPLES, Example
from experiments.division import SplitKind

EXPERIMENTS: Final = (
    "bands",
    "heads",
    "losses",
    "baselines",
    "debris-share",
    "geography",
    "saliency",
    "label-shares",
    "object-based",
)
_ARCHITECTURES: Final = get_args(Settings.model_fields["architecture"].annotation)


@click.command()
@click.argument("name", type=click.Choice(EXPERIMENTS))
@click.argument("scenes", nargs=-1)
@click.option("--example", type=click.Choice(EXAMPLES), help="an example scene instead of SCENES")
@click.option("--architecture", type=click.Choice(_ARCHITECTURES), default="default", show_default=True)
@click.option("--depth", type=click.IntRange(1, 7), help="down-sampling steps; default: the architecture's")
@click.option(
    "--width", type=click.IntRange(1, 256), help="feature maps of the first level; default: the architecture's"
)
@click.option("--steps", type=click.IntRange(1), default=400, show_default=True, help="training steps per network")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=3,
    show_default=True,
    help="networks trained per configuration, each with its own seed",
)
@click.option("--patch-size", type=click.IntRange(32), default=64, show_default=True, help="side of a window, pixels")
@click.option("--split", type=click.Choice(get_args(SplitKind)), default="fishnet", show_default=True)
@json_option
def experiment(
    name: str,
    scenes: tuple[str, ...],
    example: Example | None,
    architecture: Any,
    depth: int | None,
    width: int | None,
    steps: int,
    seeds: int,
    patch_size: int,
    split: SplitKind,
) -> None:
    """Repeat an experiment of the papers on registered SCENES (default: all that have outlines).

    Writes a table (Markdown and CSV), a figure (PNG) and an MLflow run. An interrupted experiment resumes where it
    stopped when it is called again.
    """
    if scenes and example:
        raise click.UsageError("found both SCENES and --example; expected one of them")
    from workers.main import prepare_threads

    prepare_threads(Settings())  # the next imports load torch
    from cli.experiment_run import run_experiment
    from experiments.study import Choices

    choices = Choices(architecture, depth, width, steps, seeds, patch_size, split)
    run_experiment(name, scenes, example, choices)
