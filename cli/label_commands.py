"""``glacier-al labels``: send labels drawn in a GIS, withdraw those of an annotator, list what was withdrawn."""

import getpass
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import ValidationError

from cli.errors import StartError, usage_error
from cli.installation import installed_catalog, running_catalog
from cli.output import Columns, as_json, json_option, moment, print_records, print_table, tell
from cli.server import connected
from glacier_al_client.types import SceneAnswer, UploadAnswer
from services.withdrawals import VersionAffected, WithdrawalEffect, WithdrawalRequest, list_withdrawals
from services.withdrawals import withdraw as withdraw_labels


@click.group()
def labels() -> None:
    """Send labels, withdraw labels, and list withdrawals."""


@labels.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--scene", required=True, help="name of the scene, or its number if none has that name")
@click.option("--version", type=click.IntRange(1), help="the model version whose prediction was edited, if one was")
@click.option("--minutes", type=click.FloatRange(0), help="working time, if it was measured")
@click.option("--dry-run", is_flag=True, help="show what is recognised, and send nothing")
@click.option("--yes", is_flag=True, help="do not ask")
@click.option("--url", help="address of another system than the one that runs on the data folder; needs a token")
@click.option("--token", envvar="GLACIER_AL_TOKEN", help="a token, an annotator's at least: whose labels these are")
@json_option
def upload(
    file: Path,
    scene: str,
    version: int | None,
    minutes: float | None,
    dry_run: bool,
    yes: bool,
    url: str | None,
    token: str | None,
) -> None:
    """Send the polygons of FILE, a GeoPackage edited in QGIS, as labels.

    What was recognised is shown first.
    """
    _check_closed(file)
    content, seconds = file.read_bytes(), None if minutes is None else 60.0 * minutes
    with connected(url, token) as client:
        found = _scene_called(scene, client.scenes())
        recognised = client.upload_labels(found.id, content, dry_run=True, version=version, seconds=seconds)
        if not as_json():
            _show_recognised(recognised)
        if dry_run:
            tell("Nothing was sent.", **recognised.model_dump(mode="json"))
            return
        if not yes:
            click.confirm(f"Send them as labels of {found.name}?", abort=True, err=as_json())
        sent = client.upload_labels(found.id, content, version=version, seconds=seconds)
    taken = f"{sent.judged_px} pixels are labels of {len(sent.label_events)} patches of {found.name}."
    before = "This very file was sent before: nothing is taken in again. Save it anew to send the same once more."
    tell(before if sent.sent_before else taken, **sent.model_dump(mode="json"))


def _check_closed(file: Path) -> None:
    """Refuse a GeoPackage whose last edits are not in the file.

    Raises:
        StartError: They are in the write-ahead log beside it, as while QGIS has it open.
    """
    log = file.with_name(f"{file.name}-wal")
    if log.exists() and log.stat().st_size:
        raise StartError(
            f"{log}: found edits that are not in {file.name} yet; expected a file that no program has open: remove its "
            "layers from the project in QGIS, or close the project, and send it again"
        )


@labels.command()
@click.option("--annotator", required=True, help="the account whose labels are withdrawn")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]),
    help="labels saved earlier stand; UTC, unless it ends in an offset such as +0545",
)
@click.option("--reason", required=True, help="why; stored with the withdrawal")
@click.option("--dry-run", is_flag=True, help="show what would happen, and change nothing")
@click.option("--yes", is_flag=True, help="do not ask")
@json_option
def withdraw(annotator: str, since: datetime | None, reason: str, dry_run: bool, yes: bool) -> None:
    """Withdraw an annotator's labels, and train again without them what learnt from them.

    What would happen is shown first.
    """
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    try:
        request = WithdrawalRequest(annotator=annotator, since=since, reason=reason, dry_run=True)
    except ValidationError as error:
        raise usage_error(error, "the labels") from error
    with running_catalog() as catalog:
        actor = getpass.getuser()
        effect = withdraw_labels(catalog, request, actor)
        if not as_json():
            _show(effect)
        if dry_run:
            tell("Nothing was changed.", **effect.model_dump(mode="json"))
            return
        if not yes:
            click.confirm("Withdraw them?", abort=True, err=as_json())
        done = withdraw_labels(catalog, request.model_copy(update={"dry_run": False}), actor)
    tell(f"Withdrawal {done.withdrawal} took {done.labels} labels: {done.note}.", **done.model_dump(mode="json"))


@labels.command()
@json_option
def withdrawals() -> None:
    """List all withdrawals, newest first."""
    with installed_catalog() as catalog, catalog.read() as session:
        found = list_withdrawals(session)
    columns: Columns = {
        "withdrawal": "id",
        "annotator": "annotator",
        "since": moment("since"),
        "labels": "labels",
        "versions": lambda record: _versions(record["versions"]),
        "reason": "reason",
        "by": "actor",
        "when": moment("withdrawn_at"),
    }
    print_records([dict(item) for item in found], columns)


def _scene_called(called: str, scenes: list[SceneAnswer]) -> SceneAnswer:
    """Return the scene of a name or, if none has that name, of a number."""
    named = [item for item in scenes if item.name == called] or [item for item in scenes if str(item.id) == called]
    if not named:
        raise click.UsageError(f"found no scene {called!r}; `glacier-al scene list` names those that exist")
    return named[0]


def _show_recognised(found: UploadAnswer) -> None:
    rows = [(layer.name, name, str(count)) for layer in found.layers for name, count in layer.features.items()]
    print_table(("layer", "class", "polygons"), rows)
    for layer in found.layers:
        for note in layer.notes:
            click.echo(f"{layer.name}: {note}")
    pixels = ", ".join(f"{count} {name}" for name, count in found.classes_px.items() if count)
    click.echo(f"Judged: {found.judged_px} pixels ({pixels}), of which {found.edited_px} differ from what was shown.")


def _show(effect: WithdrawalEffect) -> None:
    print_table(
        ("what", "how many"),
        [
            ("labels withdrawn", str(effect.labels)),
            ("of these, standing until now", str(effect.standing)),
            ("patches that may be proposed again", str(effect.patches)),
            ("labels left to learn from", str(effect.labels_left)),
            ("versions that learnt from them", _versions(effect.versions) or "none"),
        ],
    )
    click.echo(f"What follows: {effect.note}.")


def _versions(versions: list[VersionAffected]) -> str:
    return ", ".join(
        f"{item.version}" if item.directly else f"{item.version} (through its parent)" for item in versions
    )
