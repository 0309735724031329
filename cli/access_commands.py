"""``glacier-al user`` and ``glacier-al token``: who may do what. For whoever may read the data folder."""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
from sqlalchemy.orm import Session

from catalog.access_records import ROLES, Role
from catalog.records import now
from cli.installation import installed_catalog
from cli.output import Columns, json_option, print_records, tell
from services import first_access, tokens, users
from services.passwords import SHORTEST

_role = click.Choice(ROLES)
_given = click.option("--stdin", is_flag=True, help="read the password from standard input instead of making one")


@click.group()
def user() -> None:
    """List, add and change the people who may log in."""


@user.command("list")
@json_option
def list_users() -> None:
    """List all users."""
    with _access() as session:
        records = [
            {"name": item.name, "role": item.role.title, "disabled": item.disabled_at is not None}
            for item in users.listed(session)
        ]
    columns: Columns = {
        "name": "name",
        "role": "role",
        "state": lambda record: "disabled" if record["disabled"] else "",
    }
    print_records(records, columns)


@user.command("add")
@click.argument("name")
@click.option("--role", type=_role, required=True, help="what the user may do")
@_given
@json_option
def add_user(name: str, role: str, stdin: bool) -> None:
    """Add the user NAME and print the password, which the user can change on the page /account."""
    password = _password(stdin)
    with _access() as session:
        users.add(session, name, Role.titled(role), password)
    text = f"User {name} ({role}) is added." + ("" if stdin else f"  Password: {password}")
    tell(text, name=name, role=role, password=None if stdin else password)


@user.command()
@click.argument("name")
@_given
@json_option
def password(name: str, stdin: bool) -> None:
    """Give the user NAME another password; the user is logged out everywhere."""
    value = _password(stdin)
    with _access() as session:
        users.set_password(session, name, value)
    text = f"The password of {name} is changed." + ("" if stdin else f"  Password: {value}")
    tell(text, name=name, password=None if stdin else value)


@user.command("role")
@click.argument("name")
@click.argument("new_role", type=_role, metavar="ROLE")
@json_option
def set_role(name: str, new_role: str) -> None:
    """Give the user NAME the role ROLE."""
    with _access() as session:
        users.set_role(session, name, Role.titled(new_role))
    tell(f"{name} is {new_role}.", name=name, role=new_role)


@user.command()
@click.argument("name")
@json_option
def disable(name: str) -> None:
    """Let the user NAME in no more; the user's tokens are refused, too."""
    with _access() as session:
        users.disable(session, name)
    tell(f"{name} is disabled.", name=name, disabled=True)


@user.command()
@click.argument("name")
@json_option
def enable(name: str) -> None:
    """Let the user NAME in again."""
    with _access() as session:
        users.enable(session, name)
    tell(f"{name} may log in.", name=name, disabled=False)


@click.group()
def token() -> None:
    """List, add, rotate and revoke the tokens of programs."""


@token.command("list")
@json_option
def list_tokens() -> None:
    """List all tokens, without their values."""
    with _access() as session:
        records = [
            {
                "name": row.name,
                "role": row.role.title,
                "user": row.user.name if row.user is not None else None,
                "expires_at": row.expires_at,
                "last_used_at": row.last_used_at,
                "revoked_at": row.revoked_at,
            }
            for row in tokens.listed(session)
        ]
    columns: Columns = {
        "name": "name",
        "role": "role",
        "user": "user",
        "expires": lambda record: f"{record['expires_at']:%Y-%m-%d}" if record["expires_at"] else "never",
        "last used": lambda record: f"{record['last_used_at']:%Y-%m-%d %H:%M}" if record["last_used_at"] else "never",
        "state": lambda record: "revoked" if record["revoked_at"] else "",
    }
    print_records(records, columns)


@token.command("add")
@click.argument("name")
@click.option("--role", type=_role, required=True, help="what the token may do")
@click.option("--user", "owner", help="the user to whom it belongs; it may never do more than the user")
@click.option("--days", type=click.IntRange(0), default=365, show_default=True, help="how long it is good; 0: for ever")
@json_option
def add_token(name: str, role: str, owner: str | None, days: int) -> None:
    """Add the token NAME and print its value, which is not shown again."""
    expires_at = now() + timedelta(days=days) if days else None
    with _access() as session:
        _, value = tokens.add(session, name, Role.titled(role), user=owner, expires_at=expires_at)
    tell(value, name=name, role=role, user=owner, expires_at=expires_at, token=value)


@token.command()
@click.argument("name")
@click.option("--overlap-hours", type=click.FloatRange(0), default=0.0, help="how long the old value stays good")
@json_option
def rotate(name: str, overlap_hours: float) -> None:
    """Replace the value of the token NAME and print the new one."""
    with _access() as session:
        _, value = tokens.rotate(session, name, timedelta(hours=overlap_hours))
    tell(value, name=name, token=value)


@token.command()
@click.argument("name")
@json_option
def revoke(name: str) -> None:
    """Refuse the token NAME; a running server does so within five seconds."""
    with _access() as session:
        tokens.revoke(session, name)
    tell(f"The token {name} is revoked.", name=name, revoked=True)


@contextmanager
def _access() -> Iterator[Session]:
    """Yield a writing session on the database of the data folder, in which the first user and tokens exist."""
    with installed_catalog() as catalog:
        first_access.prepare(catalog.database, catalog.secrets)
        with catalog.database.write() as session:
            yield session


def _password(stdin: bool) -> str:
    return sys.stdin.readline().rstrip("\n") if stdin else secrets.token_urlsafe(SHORTEST)
