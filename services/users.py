"""People: their roles and passwords. A name is given once, to a person or to a token, since decisions name them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from catalog.access_records import NAME_LENGTH, AccessToken, LogIn, Role, User
from catalog.errors import AccessRefusedError, ConflictError, InvalidInputError, NotFoundError
from catalog.paging import Cut, cut_out
from catalog.records import now
from services import passwords

_NAME = re.compile(rf"[a-z0-9][a-z0-9._@-]{{0,{NAME_LENGTH - 1}}}")


@dataclass(frozen=True)
class Identity:
    """Who asks.

    Attributes:
        name: of a user, or of a token that belongs to no user.
        role: what they may do.
        token: name of the token that was shown; None by a log-in. It makes nobody another person.
    """

    name: str
    role: Role
    token: str | None = field(default=None, compare=False)


def add(session: Session, name: str, role: Role, password: str) -> User:
    """Add a user.

    Raises:
        ConflictError: a user or a token has this name.
        InvalidInputError: the name or the password is not as it should be.
    """
    check_name(session, name)
    user = User(name=name, role=role, password_hash=passwords.hashed(password))
    session.add(user)
    session.flush()
    return user


def check_name(session: Session, name: str) -> None:
    """Refuse a name that a user or a token has, even a disabled or revoked one.

    Raises:
        ConflictError: it is taken.
        InvalidInputError: it has other characters than a name may have.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidInputError(
            f"the name {name!r} is none: expected 1 to {NAME_LENGTH} characters of a-z, 0-9 and . _ @ -, "
            "the first a letter or digit"
        )
    for kind, table in (("user", User), ("token", AccessToken)):
        if session.scalar(select(func.count()).select_from(table).where(table.name == name)):
            raise ConflictError(f"there is a {kind} with the name {name!r}, or there was one; choose another name")


def listed(session: Session, cut: Cut | None = None) -> Sequence[User]:
    """Return the users by name; all of them, or a page."""
    return session.scalars(cut_out(select(User), User.name, cut, newest_first=False)).all()


def who_may_log_in(session: Session) -> Sequence[str]:
    """Return the names of all users who are not disabled."""
    return session.scalars(select(User.name).where(User.disabled_at.is_(None)).order_by(User.name)).all()


def find(session: Session, name: str) -> User:
    """Return a user; raise NotFoundError if there is none of this name."""
    user = session.scalar(select(User).where(User.name == name))
    if user is None:
        raise NotFoundError(f"there is no user with the name {name!r}")
    return user


def identity_of(user: User) -> Identity:
    """Return who a user is who is logged in; raise AccessRefusedError if the user is disabled."""
    if user.disabled_at is not None:
        raise AccessRefusedError(f"the user {user.name!r} is disabled")
    return Identity(user.name, user.role)


def set_password(session: Session, name: str, password: str) -> User:
    """Give a user another password; the user is logged out everywhere.

    Raises:
        NotFoundError: there is no such user.
        InvalidInputError: the password is too short or too long.
    """
    user = find(session, name)
    user.password_hash = passwords.hashed(password)
    _log_out_everywhere(session, user)
    return user


def set_role(session: Session, name: str, role: Role) -> User:
    """Give a user another role, at once.

    Raises:
        NotFoundError: there is no such user.
        ConflictError: it is the last administrator.
    """
    user = find(session, name)
    if role is not Role.ADMINISTRATOR:
        _keep_an_administrator(session, user)
    user.role = role
    return user


def disable(session: Session, name: str) -> User:
    """Let a user in no more: log-ins end, the user's tokens are refused. What the user did stays.

    Raises:
        NotFoundError: there is no such user.
        ConflictError: it is the last administrator.
    """
    user = find(session, name)
    _keep_an_administrator(session, user)
    user.disabled_at = user.disabled_at or now()
    _log_out_everywhere(session, user)
    return user


def enable(session: Session, name: str) -> User:
    """Let a disabled user in again; raise NotFoundError if there is none of this name."""
    user = find(session, name)
    user.disabled_at = None
    return user


def _log_out_everywhere(session: Session, user: User) -> None:
    session.execute(delete(LogIn).where(LogIn.user_id == user.id))


def _keep_an_administrator(session: Session, user: User) -> None:
    """Raise ConflictError if a user is the only administrator.

    Whoever changes an administrator locks all of them, in the same order: two who change each other at once would each
    see the other one stay.
    """
    administrators = select(User.id).where(User.role == Role.ADMINISTRATOR, User.disabled_at.is_(None))
    if session.scalars(administrators.order_by(User.id).with_for_update()).all() == [user.id]:
        raise ConflictError(f"{user.name} is the only administrator; make another user one first")
