"""Logging of the long-running processes: one line per event, as text or as JSON, with fields to search by.

A line has the fields of its call (``extra``) and those that are bound around it (`bound`). The field ``proposal``, the
uid of a proposal, and the list ``proposals`` follow a label from the webhook to the versions that learnt from it first;
``correction``, the id of a drawing on the map or in a file, follows one to its application, which makes its proposals;
``event``, ``label``, ``run``, ``version`` and ``job`` are ids of our rows, and numbers of versions.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final, Literal

# They log each request, harmless GDAL warnings as errors, and each rewriting step of an exported graph.
_VERBOSE_LIBRARIES = ("httpx", "rasterio", "alembic", "mlflow", "onnxscript", "onnx_ir")

_OWN_ATTRIBUTES: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
_bound: ContextVar[Mapping[str, object]] = ContextVar("bound", default=MappingProxyType({}))


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Give all lines that this thread logs during the block these fields; those of None are left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    token = _bound.set({**_bound.get(), **known})
    try:
        yield
    finally:
        _bound.reset(token)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a line; those of its call override those that are bound."""
    own = {name: value for name, value in vars(record).items() if name not in _OWN_ATTRIBUTES and value is not None}
    return {**_bound.get(), **own}


class TextFormatter(logging.Formatter):
    """A line for people: time, level, logger, message, and the fields as ``name=value`` in brackets."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - a method of logging.Formatter
        """Return the line, without a traceback."""
        fields = " ".join(f"{name}={_as_text(value)}" for name, value in fields_of(record).items())
        return super().formatMessage(record) + (f" [{fields}]" if fields else "")


class JsonFormatter(logging.Formatter):
    """One JSON object per line: ``time`` (ISO 8601, UTC), ``level``, ``logger``, ``message`` and the fields.

    An error also has its traceback as ``exception``.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(form: Literal["text", "json"]) -> None:
    """Log to standard error, one line per event, and only warnings of verbose libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in _VERBOSE_LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def _as_text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
