"""``glacier-al events``: subscribe to events such as a promotion, see what became of them, send them again."""

import getpass
from datetime import UTC, datetime

import click

from catalog.context import Catalog
from catalog.paging import Cut
from catalog.webhook_records import DeliveryState, Subscription
from cli.installation import installed_catalog, running_catalog
from cli.output import Columns, json_option, moment, print_records, tell
from services import outgoing_events
from services.event_secrets import fault_of, signing_secret


class Moment(click.ParamType[datetime]):
    """A time in ISO 8601; UTC, unless it names a zone."""

    name = "time"

    def convert(self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse the time."""
        if isinstance(value, datetime):
            return value
        try:
            parsed = datetime.fromisoformat(value)
            return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        except (ValueError, OverflowError):  # in UTC it may lie outside the years 1 to 9999
            self.fail(f"found {value!r}, expected a time such as 2026-11-26T12:00:00Z", param, ctx)


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="only deliveries like that")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="deliveries, newest first")
@json_option
@click.pass_context
def events(context: click.Context, state: str | None, limit: int) -> None:
    """List what became of events, newest first; with a subcommand, say who is told of them."""
    if context.invoked_subcommand is not None:
        return
    with installed_catalog() as catalog, catalog.read() as session:
        records = [
            {
                "id": item.id,
                "event": item.event.uid,
                "type": item.event.type,
                "happened_at": item.event.happened_at,
                "subscription_id": item.subscription_id,
                "state": item.state.value,
                "attempts": item.attempts,
                "last_error": item.last_error,
            }
            for item in outgoing_events.deliveries(session, Cut(limit), DeliveryState(state) if state else None)
        ]
    columns: Columns = {
        "id": "id",
        "event": "type",
        "happened": moment("happened_at"),
        "subscription": "subscription_id",
        "state": "state",
        "attempts": "attempts",
        "last error": "last_error",
    }
    print_records(records, columns)


@events.command()
@click.argument("url")
@json_option
def subscribe(url: str) -> None:
    """Send events to URL from now on; its host must be named in the setting event_hosts."""
    with installed_catalog() as catalog, catalog.write() as session:
        added = outgoing_events.subscribe(session, url, getpass.getuser(), catalog.settings.event_hosts)
        _show_secret(catalog, added)


@events.command()
@click.argument("number", type=int)
@json_option
def rotate(number: int) -> None:
    """Replace the secret of the subscription NUMBER at once."""
    with installed_catalog() as catalog, catalog.write() as session:
        _show_secret(catalog, outgoing_events.rotate(session, number))


@events.command()
@json_option
def subscriptions() -> None:
    """List who is told of events."""
    with installed_catalog() as catalog, catalog.read() as session:
        records = [
            {
                "id": item.id,
                "url": item.url,
                "created_by": item.created_by,
                "created_at": item.created_at,
                "fault": fault_of(item),
            }
            for item in outgoing_events.subscriptions(session)
        ]
    columns: Columns = {
        "id": "id",
        "address": "url",
        "by": "created_by",
        "since": moment("created_at"),
        "fault": "fault",
    }
    print_records(records, columns)


@events.command()
@click.argument("number", type=int)
@json_option
def unsubscribe(number: int) -> None:
    """Stop telling the subscription NUMBER; what is not delivered yet will not be."""
    with installed_catalog() as catalog, catalog.write() as session:
        removed = outgoing_events.unsubscribe(session, number)
    tell(f"Nothing more is sent to {removed.url}.", id=removed.id, url=removed.url)


@events.command()
@click.argument("number", type=int)
@click.option("--since", type=Moment(), required=True, help="a time such as 2026-11-26T12:00:00Z")
@json_option
def replay(number: int, since: datetime) -> None:
    """Send all events since a time to the subscription NUMBER again."""
    with running_catalog() as catalog, catalog.write() as session:
        again = outgoing_events.replay(session, number, since)
    tell(f"{len(again)} events are sent again.", events=len(again))


def _show_secret(catalog: Catalog, subscription: Subscription) -> None:
    secret = signing_secret(catalog.secrets.event_signing_key, subscription)
    text = f"Subscription {subscription.id}. The secret of its signatures, which is not shown again: {secret}"
    tell(text, id=subscription.id, url=subscription.url, secret=secret)
