"""``glacier-al experiment``: repeat experiments of the papers on registered scenes."""

from typing import get_args

import click

from catalog.settings import Settings
from cli.experiment_options import checked, number_option
from cli.output import json_option
from services.experiment_options import EXAMPLES, QUESTIONS, Architecture, ExperimentOptions, SplitKind

_FIELDS = ExperimentOptions.model_fields


@click.command()
@click.argument("name", type=click.Choice(list(QUESTIONS)))
@click.argument("scenes", nargs=-1)
@click.option("--example", type=click.Choice(list(EXAMPLES)), help="an example scene instead of SCENES")
@click.option(
    "--architecture",
    type=click.Choice(get_args(Architecture)),
    default=_FIELDS["architecture"].default,
    show_default=True,
    help=_FIELDS["architecture"].description,
)
@number_option(ExperimentOptions, "depth")
@number_option(ExperimentOptions, "width")
@number_option(ExperimentOptions, "steps")
@number_option(ExperimentOptions, "seeds")
@number_option(ExperimentOptions, "patch_size")
@click.option(
    "--split",
    type=click.Choice(get_args(SplitKind)),
    default=_FIELDS["split"].default,
    show_default=True,
    help=_FIELDS["split"].description,
)
@json_option
def experiment(scenes: tuple[str, ...], **given: object) -> None:
    """Repeat an experiment of the papers on registered SCENES (default: all that have outlines).

    Writes a table (Markdown and CSV), a figure (PNG) and an MLflow run. An interrupted experiment resumes where it
    stopped when it is called again.
    """
    settings = Settings()
    options = checked(ExperimentOptions, given | {"scenes": list(scenes)}, settings)
    from workers.main import prepare_threads

    prepare_threads(settings)  # the next import loads torch
    from cli.experiment_run import run_experiment

    run_experiment(options)
