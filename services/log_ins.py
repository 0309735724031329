"""Log in with a password, with a limit of attempts; recognise and end log-ins of browsers.

The attempts are counted in the database, not in Redis, which may lose its data at any time.
"""

import secrets
from datetime import timedelta
from ipaddress import IPv6Address, IPv6Network, ip_address

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.orm import Session, joinedload

from catalog.access_records import NAME_LENGTH, LogIn, LogInAttempt, User
from catalog.database import Database
from catalog.errors import AccessRefusedError, TooManyAttemptsError
from catalog.records import now
from services import passwords
from services.tokens import checksum
from services.users import Identity

WINDOW = timedelta(minutes=15)
# Failures within the window. Few for one person at one address; more for an address, which people behind one router
# share; still more for a person from everywhere, since this limit lets strangers lock the person out.
PERSON_AT_ADDRESS, ADDRESS, PERSON = 5, 20, 50
_REFUSED = "no user has this name and password"


def log_in(database: Database, name: str, password: str, address: str, lifetime: timedelta) -> str:
    """Check a password; return the secret for the browser's cookie.

    Args:
        database: the attempt is committed before the password is checked, so that parallel attempts are counted.
        name: of the user.
        password: as entered.
        address: from which the request came.
        lifetime: after which the person must log in again.

    Raises:
        AccessRefusedError: no user who may log in has this name and password.
        TooManyAttemptsError: too many attempts have failed; the password is not even checked.
    """
    verified = check_password(database, name, password, address)
    secret = secrets.token_urlsafe(32)
    with database.write() as session:
        user = lock_verified(session, name, verified)
        session.execute(delete(LogIn).where(LogIn.expires_at <= now()))
        session.add(LogIn(sha256=checksum(secret), user=user, expires_at=now() + lifetime))
    return secret


def check_password(database: Database, name: str, password: str, address: str) -> str:
    """Check a password, and return the hash that it was found to be of; count the attempt if it is wrong.

    What rests on the answer begins with `lock_verified`: a password takes time to check.

    Raises:
        AccessRefusedError: no user who may log in has this name and password.
        TooManyAttemptsError: too many attempts have failed; the password is not even checked.
    """
    attempt = LogInAttempt(user_name=name[:NAME_LENGTH], address=_network(address)[:64])
    with database.write() as session:
        session.execute(delete(LogInAttempt).where(LogInAttempt.at <= now() - WINDOW))
        _check_limits(session, attempt)
        session.add(attempt)
        user = session.scalar(select(User).where(User.name == name, User.disabled_at.is_(None)))
    stored = user.password_hash if user is not None else None
    if not passwords.matches(password, stored) or stored is None:
        raise AccessRefusedError(_REFUSED)
    with database.write() as session:
        session.execute(delete(LogInAttempt).where(*_by_person_at_address(attempt)))
    return stored


def lock_verified(session: Session, name: str, verified: str) -> User:
    """Return the user whose password was checked, locked until the transaction ends.

    Args:
        session: a writing session.
        name: of the user.
        verified: as `check_password` returned it.

    Raises:
        AccessRefusedError: the password was changed, or the user disabled, since then.
    """
    unchanged = select(User).where(User.name == name, User.password_hash == verified, User.disabled_at.is_(None))
    user = session.scalar(unchanged.with_for_update())
    if user is None:
        raise AccessRefusedError(_REFUSED)
    return user


def identify(session: Session, secret: str) -> Identity | None:
    """Return who is logged in with the secret of a cookie; None if the log-in has ended."""
    row = session.scalar(
        select(LogIn).where(LogIn.sha256 == checksum(secret), LogIn.expires_at > now()).options(joinedload(LogIn.user))
    )
    if row is None or row.user.disabled_at is not None:
        return None
    return Identity(row.user.name, row.user.role)


def log_out(session: Session, secret: str) -> None:
    """End a log-in."""
    session.execute(delete(LogIn).where(LogIn.sha256 == checksum(secret)))


def _check_limits(session: Session, attempt: LogInAttempt) -> None:
    person, address = _by_person_at_address(attempt)
    for limit, failures in ((PERSON_AT_ADDRESS, (person, address)), (ADDRESS, (address,)), (PERSON, (person,))):
        # The attempt that must leave the window before there is room for another one.
        oldest = session.scalar(
            select(LogInAttempt.at).where(*failures).order_by(LogInAttempt.at.desc()).offset(limit - 1).limit(1)
        )
        if oldest is not None:
            raise TooManyAttemptsError(max(1, round((oldest + WINDOW - now()).total_seconds())))


def _network(address: str) -> str:
    """Return what stands for one place: an IPv4 address, or the 2^64 of IPv6 that a host may choose from."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    return str(parsed.ipv4_mapped or IPv6Network((int(parsed) >> 64 << 64, 64)))


def _by_person_at_address(attempt: LogInAttempt) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return LogInAttempt.user_name == attempt.user_name, LogInAttempt.address == attempt.address
