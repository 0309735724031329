"""Schemas of requests and responses about users and tokens."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from al_server.schemas import Limited
from catalog.access_records import NAME_LENGTH, AccessToken, User
from catalog.paging import MOST
from services.passwords import LONGEST, SHORTEST
from services.request_types import Body, Closed

RoleName = Literal["reader", "annotator", "operator", "administrator"]


class AccessName(Closed):
    """The name of a user or of a token."""

    name: str = Field(min_length=1, max_length=NAME_LENGTH)


class NamePage(Limited):
    """A page of a list by name: up to ``limit`` items with names after ``after``."""

    after: str | None = Field(None, min_length=1, max_length=NAME_LENGTH, description="only items with names after it")
    limit: int = Field(MOST, ge=1, le=MOST)


class UserRequest(AccessName, Body):
    """A new user."""

    role: RoleName
    password: str = Field(min_length=SHORTEST, max_length=LONGEST)


class UserChange(Body):
    """What to change of a user; what is left out stays."""

    role: RoleName | None = None
    password: str | None = Field(None, min_length=SHORTEST, max_length=LONGEST)
    disabled: bool | None = None


class TokenRequest(AccessName, Body):
    """A new token."""

    role: RoleName
    user: str | None = Field(None, description="the user to whom it belongs: it can do no more than the user")
    expires_in_days: int | None = Field(365, ge=1, le=36500, description="null: never")


class RotateRequest(Body):
    """A new value for a token."""

    overlap_hours: float = Field(0, ge=0, le=24 * 30, description="how long the old value stays good beside the new")


class UserAnswer(BaseModel):
    """A user."""

    name: str
    role: RoleName
    created_at: datetime
    disabled_at: datetime | None


class TokenAnswer(BaseModel):
    """A token, without its value, of which only a checksum is stored."""

    name: str
    role: RoleName
    user: str | None
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to within ten minutes")
    revoked_at: datetime | None


class NewToken(TokenAnswer):
    """A token with its value, which is shown only this once."""

    token: str


def serialize_user(user: User) -> UserAnswer:
    """Describe a user."""
    return UserAnswer.model_validate(
        {
            "name": user.name,
            "role": user.role.title,
            "created_at": user.created_at,
            "disabled_at": user.disabled_at,
        }
    )


def serialize_token(row: AccessToken) -> TokenAnswer:
    """Describe a token, without its value."""
    return TokenAnswer.model_validate(
        {
            "name": row.name,
            "role": row.role.title,
            "user": row.user.name if row.user is not None else None,
            "created_at": row.created_at,
            "expires_at": row.expires_at,
            "last_used_at": row.last_used_at,
            "revoked_at": row.revoked_at,
        }
    )
