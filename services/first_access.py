"""The first user and the first tokens of an installation, so that its owner gets in without any further step."""

from contextlib import suppress

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog.access_records import Role, User
from catalog.database import Database
from catalog.errors import AccessRefusedError, NotFoundError
from catalog.secrets import Secrets
from services import passwords, tokens, users

ADMINISTRATOR = "admin"


def prepare(database: Database, secrets: Secrets) -> None:
    """Add the administrator, if there is no user at all, and bring the tokens of the file of secrets in."""
    with database.read() as session:
        if _has_users(session) and tokens.are_installed(session, secrets):
            return
    with suppress(IntegrityError), database.write() as session:  # PostgreSQL: another process was faster
        if not _has_users(session):
            users.add(session, ADMINISTRATOR, Role.ADMINISTRATOR, secrets.administrator_password)
        tokens.keep_installed(session, secrets)


def is_first_password_good(session: Session, secrets: Secrets) -> bool:
    """Return whether the administrator still has the password of the first start."""
    try:
        user = users.find(session, ADMINISTRATOR)
    except NotFoundError:
        return False
    return user.disabled_at is None and passwords.matches(secrets.administrator_password, user.password_hash)


def is_operator_token_good(session: Session, secrets: Secrets) -> bool:
    """Return whether the operator's token of the file of secrets is neither revoked nor replaced."""
    try:
        tokens.identify(session, secrets.operator_token)
    except AccessRefusedError:
        return False
    return True


def _has_users(session: Session) -> bool:
    return bool(session.scalar(select(func.count(User.id))))
