"""``glacier-al reproduce``: train a registered version again and compare it."""

from typing import get_args

import click

from catalog.registry import registry_of
from cli.exit_codes import ExitCode
from cli.installation import running_catalog
from cli.output import as_json, json_option, print_json, print_table
from cli.progress import progress
from services.reproductions import OTHER, Options, Precision, ReproductionOutcome, in_words


@click.command()
@click.argument("version", type=int)
@click.option(
    "--pixels",
    type=click.FloatRange(0, 1),
    help="share of the pixels of the validation scenes that may change their class; default: 0 if code, device, "
    f"threads and torch are those of the training, else {OTHER.pixels:g}",
)
@click.option(
    "--metric",
    type=click.FloatRange(0, 1),
    help="how much the mean IoU, or the IoU of a class, may differ; default: likewise",
)
@click.option("--threads", type=click.IntRange(1), help="torch's threads; default: as the version was trained")
@click.option(
    "--precision",
    type=click.Choice(get_args(Precision)),
    help="of the passes; default: as the version was trained",
)
@json_option
def reproduce(
    version: int,
    pixels: float | None,
    metric: float | None,
    threads: int | None,
    precision: Precision | None,
) -> None:
    """Train VERSION again beside the running system, register nothing, and compare.

    The exit code is 3 if the result lies outside of the tolerance, and 1 if the version cannot be trained again.
    """
    from workers.main import prepare_threads

    with running_catalog() as catalog:
        prepare_threads(catalog.settings)  # the next import loads torch
        from workers.reproduction import reproduce as train_again

        registry_of(catalog.settings).get(version)  # first of all: is there such a version?
        with progress("the training") as told:
            found = train_again(catalog, version, threads, precision, lambda _, done, steps: told(done / steps, None))
    tolerance = found.tolerance(Options(pixels=pixels, metric=metric))
    outcome = found.outcome(tolerance)
    if as_json():
        print_json(found.to_json(tolerance))
    else:
        rows = [
            (role, name, _figure(then), _figure(now))
            for role, figures in found.metrics.items()
            for name, (then, now) in figures.items()
        ]
        print_table(("scenes", "IoU", "registered", "again"), rows, title=f"Version {version}, trained again")
        click.echo(
            f"Weights differ by {found.largest_difference:.3g} at most, {found.rms_difference:.3g} root mean square "
            f"(the weights themselves: {found.rms_weight:.3g}). {found.same_class:.4%} of the pixels of the validation "
            f"scenes have the same class."
        )
        for note in found.notes:
            click.echo(f"Note: {note}.")
        click.echo(in_words(version, outcome, tolerance))
    if outcome is ReproductionOutcome.OUTSIDE:
        raise SystemExit(ExitCode.FOUND)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"
