"""``glacier-al labels``: withdraw the labels of an annotator, list what was withdrawn."""

import getpass
from datetime import UTC, datetime

import click
from pydantic import ValidationError

from cli.installation import installed_catalog, running_catalog
from cli.output import Columns, as_json, json_option, moment, print_records, print_table, tell
from services.withdrawals import VersionAffected, WithdrawalEffect, WithdrawalRequest, list_withdrawals
from services.withdrawals import withdraw as withdraw_labels


@click.group()
def labels() -> None:
    """Withdraw labels, and list withdrawals."""


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
        raise click.UsageError(str(error)) from error
    with running_catalog() as catalog:
        actor = getpass.getuser()
        effect = withdraw_labels(catalog, request, actor)
        if not as_json():
            _show(effect)
        if dry_run or not (yes or click.confirm("Withdraw them?", err=as_json())):
            tell("Nothing was changed.", **effect.model_dump(mode="json"))
            return
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
