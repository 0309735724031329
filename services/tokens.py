"""Tokens of programs: made, rotated, revoked, and recognised.

A token has 256 random bits, so that a plain SHA-256 protects it as well as a slow hash would. A token is looked up by
that checksum: how long this takes tells nothing about the token.
"""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session, joinedload

from catalog.access_records import AccessToken, Role
from catalog.errors import AccessRefusedError, ConflictError, InvalidInputError, NotFoundError
from catalog.paging import Cut, cut_out
from catalog.records import now
from catalog.secrets import Secrets
from services import users
from services.users import Identity

PREFIX = "gal_"  # lets scanners for secrets recognise a token that was published by mistake
USE_NOTED_EVERY = timedelta(minutes=10)

# Tokens that stand in the file of secrets since the first start, by name. Their truth is that file.
_INSTALLED = {"reader": Role.READER, "annotator": Role.ANNOTATOR, "operator": Role.OPERATOR}


def checksum(token: str) -> str:
    """Return what is stored of a token: its SHA-256 in hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def add(
    session: Session, name: str, role: Role, *, user: str | None = None, expires_at: datetime | None = None
) -> tuple[AccessToken, str]:
    """Add a token; return its row and the token, which is not stored and cannot be shown again.

    Args:
        session: a writing session.
        name: of a person's token, what it is for; else it stands for the person in decisions.
        role: what it may do; a user's token never more than the user.
        user: name of the user to whom it belongs, if any.
        expires_at: when it ends; None: never.

    Raises:
        ConflictError: a user or a token has this name.
        NotFoundError: there is no such user.
        InvalidInputError: the name is not as it should be, or the end has passed.
    """
    users.check_name(session, name)
    if expires_at is not None and expires_at <= now():
        raise InvalidInputError(f"the token would end at {expires_at:%Y-%m-%d %H:%M} UTC, which has passed")
    owner = users.find(session, user) if user is not None else None
    token = PREFIX + secrets.token_urlsafe(32)
    row = AccessToken(name=name, role=role, user=owner, sha256=checksum(token), expires_at=expires_at)
    session.add(row)
    session.flush()
    return row, token


def listed(session: Session, cut: Cut | None = None) -> Sequence[AccessToken]:
    """Return the tokens by name, with their users; all of them, or a page."""
    found = select(AccessToken).options(joinedload(AccessToken.user))
    return session.scalars(cut_out(found, AccessToken.name, cut, newest_first=False)).all()


def rotate(session: Session, name: str, overlap: timedelta = timedelta()) -> tuple[AccessToken, str]:
    """Replace a token by a new one with the same name, role and end; return its row and the new token.

    Args:
        session: a writing session.
        name: of the token.
        overlap: how long the old one stays good, so that a program can be changed without a gap.

    Raises:
        NotFoundError: there is no such token.
        ConflictError: it is revoked, or stands in the file of secrets.
    """
    row = _find(session, name)
    if name in _INSTALLED:
        raise ConflictError(
            f"the token {name!r} stands in the file of secrets: put a new value there as {name}_token and restart"
        )
    if row.revoked_at is not None:
        raise ConflictError(f"the token {name!r} is revoked; add another one")
    token = PREFIX + secrets.token_urlsafe(32)
    row.previous_sha256, row.previous_until = row.sha256, now() + overlap
    row.sha256 = checksum(token)
    return row, token


def revoke(session: Session, name: str) -> AccessToken:
    """Refuse a token from now on; raise NotFoundError if there is none of this name."""
    row = _find(session, name)
    row.revoked_at = row.revoked_at or now()
    return row


def identify(session: Session, token: str) -> tuple[AccessToken, Identity]:
    """Return the row of a token, and who asks with it.

    Raises:
        AccessRefusedError: it is unknown, has expired, is revoked or replaced, or its user is disabled.
    """
    sha256 = checksum(token)
    row = session.scalar(
        select(AccessToken)
        .where(or_(AccessToken.sha256 == sha256, AccessToken.previous_sha256 == sha256))
        .options(joinedload(AccessToken.user))
    )
    if row is None:
        raise AccessRefusedError("the token is not a token of this server")
    if row.sha256 != sha256 and (row.previous_until is None or row.previous_until <= now()):
        raise AccessRefusedError(f"the token {row.name!r} was replaced by a new one")
    return row, _identity_of(row)


def identify_again(session: Session, name: str, token: str | None) -> Identity:
    """Return who asked for something earlier, with the role that they have now.

    Args:
        session: a session.
        name: as `Identity`.
        token: likewise.

    Raises:
        AccessRefusedError: the token has expired or is revoked, or the user is disabled.
        NotFoundError: there is no such token or user.
    """
    return users.identity_of(users.find(session, name)) if token is None else _identity_of(_find(session, token))


def _identity_of(row: AccessToken) -> Identity:
    if row.revoked_at is not None:
        raise AccessRefusedError(f"the token {row.name!r} is revoked")
    if row.expires_at is not None and row.expires_at <= now():
        raise AccessRefusedError(f"the token {row.name!r} expired on {row.expires_at:%Y-%m-%d}; ask for another one")
    if row.user is None:
        return Identity(row.name, row.role, row.name)
    if row.user.disabled_at is not None:
        raise AccessRefusedError(f"the user of the token {row.name!r} is disabled")
    return Identity(row.user.name, min(row.role, row.user.role), row.name)


def note_use(session: Session, token_id: int) -> None:
    """Note that a token was used now. Needs a writing session."""
    session.execute(update(AccessToken).where(AccessToken.id == token_id).values(last_used_at=now()))


def keep_installed(session: Session, installed: Secrets) -> None:
    """Make the tokens of the file of secrets good: those of a first start, and values that were replaced there.

    One that was revoked stays so until its value is replaced. Needs a writing session.
    """
    for name, sha256 in _checksums(installed).items():
        row = session.scalar(select(AccessToken).where(AccessToken.name == name))
        if row is None:
            session.add(AccessToken(name=name, role=_INSTALLED[name], sha256=sha256))
        elif row.sha256 != sha256:
            row.sha256, row.revoked_at = sha256, None


def are_installed(session: Session, installed: Secrets) -> bool:
    """Return whether `keep_installed` has nothing to do."""
    names = select(AccessToken.name, AccessToken.sha256).where(AccessToken.name.in_(_INSTALLED))
    return {row.name: row.sha256 for row in session.execute(names)} == _checksums(installed)


def _checksums(installed: Secrets) -> dict[str, str]:
    return {name: checksum(getattr(installed, f"{name}_token")) for name in _INSTALLED}


def _find(session: Session, name: str) -> AccessToken:
    row = session.scalar(select(AccessToken).where(AccessToken.name == name))
    if row is None:
        raise NotFoundError(f"there is no token with the name {name!r}")
    return row
