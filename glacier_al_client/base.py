"""What the generated types of requests and responses (`glacier_al_client.types`) have in common."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError, ValidatorFunctionWrapHandler, WrapValidator


class Schema(BaseModel):
    """Part of a request or response. Members that a newer server adds are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


def _accept_newer(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        if isinstance(value, str):
            return value
        raise


OR_NEWER: Final = WrapValidator(_accept_newer)
"""Lets a text pass that this release does not know: a newer server may have more states than are listed."""
