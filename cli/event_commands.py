"""``glacier-al events``: subscribe to events such as a promotion, see what became of them, send them again."""

import getpass
from datetime import UTC, datetime

import click

from catalog.context import Catalog
from catalog.webhook_records import DeliveryState, Subscription
from cli.installation import installed_catalog, running_catalog
from cli.output import print_table
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
        except ValueError:
            self.fail(f"found {value!r}, expected a time such as 2026-11-26T12:00:00Z", param, ctx)
        return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice([state.value for state in DeliveryState]), help="only deliveries like that")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="deliveries, newest first")
@click.pass_context
def events(context: click.Context, state: str | None, limit: int) -> None:
    """List what became of events, newest first; with a subcommand, say who is told of them."""
    if context.invoked_subcommand is not None:
        return
    rows = []
    with installed_catalog() as catalog, catalog.read() as session:
        for item in outgoing_events.deliveries(session, limit, DeliveryState(state) if state else None):
            happened = f"{item.event.happened_at:%Y-%m-%d %H:%M:%S}"
            told = (str(item.id), item.event.type, happened, str(item.subscription_id), item.state.value)
            rows.append((*told, str(item.attempts), item.last_error or ""))
    print_table(("id", "event", "happened", "subscription", "state", "attempts", "last error"), rows)


@events.command()
@click.argument("url")
def subscribe(url: str) -> None:
    """Send events to URL from now on; its host must be named in the setting event_hosts."""
    with installed_catalog() as catalog, catalog.write() as session:
        added = outgoing_events.subscribe(session, url, getpass.getuser(), catalog.settings.event_hosts)
        _show_secret(catalog, added)


@events.command()
@click.argument("number", type=int)
def rotate(number: int) -> None:
    """Replace the secret of the subscription NUMBER at once."""
    with installed_catalog() as catalog, catalog.write() as session:
        _show_secret(catalog, outgoing_events.rotate(session, number))


@events.command()
def subscriptions() -> None:
    """List who is told of events."""
    with installed_catalog() as catalog, catalog.read() as session:
        standing = outgoing_events.subscriptions(session)
        rows = [
            (str(item.id), item.url, item.created_by, f"{item.created_at:%Y-%m-%d %H:%M}", fault_of(item) or "")
            for item in standing
        ]
    print_table(("id", "address", "by", "since", "fault"), rows)


@events.command()
@click.argument("number", type=int)
def unsubscribe(number: int) -> None:
    """Stop telling the subscription NUMBER; what is not delivered yet will not be."""
    with installed_catalog() as catalog, catalog.write() as session:
        removed = outgoing_events.unsubscribe(session, number)
    click.echo(f"Nothing more is sent to {removed.url}.")


@events.command()
@click.argument("number", type=int)
@click.option("--since", type=Moment(), required=True, help="a time such as 2026-11-26T12:00:00Z")
def replay(number: int, since: datetime) -> None:
    """Send all events since a time to the subscription NUMBER again."""
    with running_catalog() as catalog, catalog.write() as session:
        again = outgoing_events.replay(session, number, since)
    click.echo(f"{len(again)} events are sent again.")


def _show_secret(catalog: Catalog, subscription: Subscription) -> None:
    secret = signing_secret(catalog.secrets.event_signing_key, subscription)
    click.echo(f"Subscription {subscription.id}. The secret of its signatures, which is not shown again: {secret}")
