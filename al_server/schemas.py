"""Schemas that several resources share, and rows as schemas; the OpenAPI document is made from all of them."""

from typing import Any, Final, Generic, TypeVar

from pydantic import BaseModel, Field, RootModel

from catalog.paging import MOST
from catalog.records import Base
from services.request_types import MAX_INTEGER, Closed, Integer

GEOJSON: Final = "application/geo+json"


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


class SceneId(Closed):
    """The number of a scene."""

    scene_id: Integer


class RequestId(Closed):
    """The number of a request that is carried out later."""

    request_id: Integer


class Limited(Closed):
    """A page of a list, of at most ``limit`` items."""

    limit: int = Field(100, ge=1, le=MOST)


class Page(Limited):
    """A page of a list, oldest first: up to ``limit`` items with ids greater than ``after``."""

    after: Integer = 0


class NewestPage(Limited):
    """A page of a list, newest first: up to ``limit`` items with ids smaller than ``before``."""

    before: int | None = Field(None, ge=1, le=MAX_INTEGER, description="only items with smaller ids")


class LongPage(Page):
    """A page of a list, oldest first, that is given as a whole unless it is very long."""

    limit: int = Field(MOST, ge=1, le=MOST)


class LongNewestPage(NewestPage):
    """A page of a list, newest first, that is given as a whole unless it is very long."""

    limit: int = Field(MOST, ge=1, le=MOST)


def media(media_type: str, description: str, *, text: bool = False) -> dict[str, Any]:
    """Describe a response that is a file or text, for the OpenAPI document."""
    schema = {"type": "string"} if text else {"type": "string", "format": "binary"}
    if media_type.endswith("json"):
        schema = {"type": "object"}
    return {"description": description, "content": {media_type: {"schema": schema}}}


UNCHANGED: Final[dict[str, Any]] = {"description": "Known to the client: its `If-None-Match` names the present `ETag`"}
"""The response 304, which has no body."""


def file_of(media_type: str, description: str) -> dict[str | int, Any]:
    """Describe the responses of a call that gives a file whole, or the part that `Range` asks for."""
    whole, part = media(media_type, description), media(media_type, f"{description}: the part that was asked for")
    return {200: whole, 206: part, 304: UNCHANGED}


class EstimateAnswer(BaseModel):
    """An estimated quantity with its 95 % interval (Student's t, unless a bootstrap is named)."""

    value: float
    low: float | None = Field(description="null where too few values tell nothing about the spread")
    high: float | None
    count: int = Field(description="number of values that it is estimated from")


Schema = TypeVar("Schema", bound=BaseModel)


def serialize_row(schema: type[Schema], row: Base, **computed: object) -> Schema:
    """Return a row as a schema: computed values, and the columns of the same names for the other fields."""
    columns = {name: getattr(row, name) for name in schema.model_fields if name in row.__mapper__.columns}
    return schema.model_validate(columns | computed)


Item = TypeVar("Item", bound=BaseModel)


class ListOf(RootModel[list[Item]], Generic[Item]):
    """Several items."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """Name the schema in the OpenAPI document, e.g. ``SceneList`` for ``ListOf[SceneAnswer]``."""
        name: str = params[0].__name__
        return f"{name.removesuffix('Answer')}List"
