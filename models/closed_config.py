"""Base of the configurations of this package: strictly typed, without unknown keys, convertible to and from JSON."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict

# Unknown keys and wrong types are refused: a misspelt setting must not be ignored silently.
CLOSED = ConfigDict(extra="forbid", strict=True)


class ClosedConfig:
    """Base of the pydantic dataclasses that describe a network or a training."""

    def to_json(self) -> dict[str, int | float | str]:
        """Return the fields as a dictionary that JSON can hold."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild a configuration from :meth:`to_json`.

        Args:
            document: Field names and values.

        Returns:
            The configuration.

        Raises:
            pydantic.ValidationError: A key is unknown or missing, or a value has the wrong type or range (it is a
                ValueError, and names the key).
        """
        return cls(**document)
