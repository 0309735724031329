"""Base classes and types of what requests say."""

from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import to_json

MAX_INTEGER = 2**31 - 1  # of a database column

Integer = Annotated[int, Field(ge=0, le=MAX_INTEGER)]


def _parse_moment(given: object) -> datetime:
    """Parse a time with a zone and return it in UTC; pydantic alone takes numbers for seconds since 1970."""
    try:
        moment = datetime.fromisoformat(str(given))
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # in UTC it may lie outside the years 1 to 9999
        raise ValueError("expected a time with its zone in ISO 8601, e.g. 2026-11-26T12:00:00Z") from error


Time = Annotated[AwareDatetime, BeforeValidator(_parse_moment)]


class Closed(BaseModel):
    """Base of schemas that refuse unknown members, so that a misspelt name is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class Body(Closed):
    """Base of the JSON bodies of requests, whose types are those of JSON: false is no number, and neither is "1"."""

    @classmethod
    def model_validate(cls, obj: Any, **_: Any) -> Self:
        """Check what was parsed from JSON; pydantic is strict by the rules of JSON only where it parses itself."""
        return cls.model_validate_json(to_json(_whole(obj), inf_nan_mode="constants"), strict=True)


def _whole(given: Any) -> Any:
    """Return JSON with 2 for 2.0, which are the same number there."""
    match given:
        case float() if given.is_integer():
            return int(given)
        case list():
            return [_whole(item) for item in given]
        case dict():
            return {name: _whole(item) for name, item in given.items()}
        case _:
            return given
