"""``glacier-al models``: list versions, promote one, roll back."""

import getpass

import click

from catalog.records import SceneRole
from catalog.registry import registry_of
from cli.installation import running_catalog
from cli.output import print_table
from cli.running import running_settings
from services import promotion
from services.gate_figures import GateFigures
from services.version_figures import figures_of


@click.group(invoke_without_command=True)
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="versions to list, newest first")
@click.pass_context
def models(context: click.Context, limit: int) -> None:
    """List the newest model versions; with a subcommand, promote one or roll back."""
    if context.invoked_subcommand is not None:
        return
    registry = registry_of(running_settings())
    aliases = registry.aliases()
    rows = []
    for version in registry.versions(limit):
        figures = figures_of(version)
        validation = figures.regions.get(SceneRole.VALIDATION.value)
        mean, gain = (validation.mean_iou, validation.gain_mean_iou) if validation else (None, None)
        rows.append(
            (
                str(version.version),
                ", ".join(sorted(alias for alias, number in aliases.items() if number == version.version)),
                str(figures.labels),
                "–" if mean is None else f"{mean:.3f}",
                "–" if gain is None else f"{gain:+.3f}",
                _interval(figures.gate),
                f"{figures.verdict}: {figures.verdict_reason}",
            )
        )
    print_table(("version", "aliases", "labels", "mean IoU", "gain", "interval", "gate"), rows)


@models.command()
@click.argument("version", type=int)
@click.option("--reason", required=True, help="why; stored with the decision")
def promote(version: int, reason: str) -> None:
    """Serve VERSION: make it the champion, and the learner, from which training goes on."""
    with running_catalog() as catalog:
        promotion.promote(catalog, registry_of(catalog.settings), version, reason, getpass.getuser())
        click.echo(f"Version {version} is served.")


@models.command()
@click.option("--reason", required=True, help="why; stored with the decision")
def rollback(reason: str) -> None:
    """Serve the version again that was the champion before the present one; training goes on from it."""
    with running_catalog() as catalog:
        moved = promotion.roll_back(catalog, registry_of(catalog.settings), reason, getpass.getuser())
        click.echo(f"Version {moved.model_version} is served again.")


def _interval(gate: GateFigures | None) -> str:
    """Return the interval of the gain in mean IoU, e.g. "+0.004 to +0.038"."""
    if gate is None or gate.mean_iou.low is None or gate.mean_iou.high is None:
        return "–"
    return f"{gate.mean_iou.low:+.3f} to {gate.mean_iou.high:+.3f}"
