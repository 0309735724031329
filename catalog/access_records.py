"""The tables of who may do what: people, tokens of programs, log-ins of browsers, and attempts to log in."""

from datetime import datetime
from enum import IntEnum

from sqlalchemy import Enum, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.records import Base, now


class Role(IntEnum):
    """A role may do all that the roles of smaller numbers may do. Nobody in the database has the role PUBLIC."""

    PUBLIC = 0
    READER = 1
    ANNOTATOR = 2
    OPERATOR = 3
    ADMINISTRATOR = 4

    @property
    def title(self) -> str:
        """The name of the role as people and requests write it, e.g. "reader"."""
        return self.name.lower()

    @classmethod
    def titled(cls, title: str) -> "Role":
        """Return the role with this title; raise KeyError if there is none."""
        return cls[title.upper()]


ROLES = tuple(role.title for role in Role if role is not Role.PUBLIC)
NAME_LENGTH = 64

_ROLE = Enum(Role, native_enum=False, length=32, values_callable=lambda roles: [role.title for role in roles])
_SHA256 = String(64)  # hexadecimal


class User(Base):
    """A person who may log in to the pages. Users are disabled, not deleted, because decisions name them."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    role: Mapped[Role] = mapped_column(_ROLE)
    password_hash: Mapped[str] = mapped_column(String(255))  # argon2id, with its parameters and its salt
    created_at: Mapped[datetime] = mapped_column(default=now)
    disabled_at: Mapped[datetime | None]


class AccessToken(Base):
    """A token of a program. Only its checksum is stored; a token that was rotated may be good for a while longer."""

    __tablename__ = "access_tokens"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    role: Mapped[Role] = mapped_column(_ROLE)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id"))  # None: of no person, such as the web tool's
    sha256: Mapped[str] = mapped_column(_SHA256, unique=True)
    previous_sha256: Mapped[str | None] = mapped_column(_SHA256, unique=True)
    previous_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime | None]  # None: never
    last_used_at: Mapped[datetime | None]  # to within services.tokens.USE_NOTED_EVERY
    revoked_at: Mapped[datetime | None]

    user: Mapped[User | None] = relationship()


class LogIn(Base):
    """A browser that is logged in. The row is what counts: without it the browser's cookie is worth nothing."""

    __tablename__ = "log_ins"

    sha256: Mapped[str] = mapped_column(_SHA256, primary_key=True)  # of the secret in the cookie
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime]

    user: Mapped[User] = relationship()


class LogInAttempt(Base):
    """An attempt to log in that failed, or is not decided yet; counted to slow down who guesses passwords."""

    __tablename__ = "log_in_attempts"
    __table_args__ = (Index("ix_log_in_attempts_at", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    address: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(default=now)
