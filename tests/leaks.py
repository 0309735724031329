"""Finds what an error response must not tell: files and lines of code, modules, classes, SQL, objects in memory."""

import json
import re
import sys
from collections.abc import Iterator

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

ROOMS = frozenset({"al_server", "catalog", "imagery", "labeling", "models", "services", "workers"})
PATTERNS = {
    "a file of code": r"[\w/\\.-]*\w\.py[cdi]?\b",
    "a traceback": r"Traceback|\bFile \"|\bline \d+, in\b",
    "SQL": r"\[SQL:|\bSELECT\s|\bINSERT INTO\s|\bUPDATE\s+\w+\s+SET\b|\bDELETE FROM\s",
    "the class of an exception": r"\b[A-Z]\w*(?:Error|Exception|Timeout|Warning)\b",
    "a call": r"\b[A-Z]\w+\(",
    "an object": r"<class '|<[\w.]+ object\b|\b0x[0-9a-f]{6,}",
}


def leaks(text: str) -> list[str]:
    """Return the passages of a text that tell of our insides, each with what it is."""
    found = [f"{what}: {hit.group()!r}" for what, pattern in PATTERNS.items() for hit in re.finditer(pattern, text)]
    # `sqlalchemy.exc` and `services.rounds`; not `catalog.sqlite`, which is no module.
    dotted = [hit.group() for hit in re.finditer(r"\b[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+", text)]
    found += [f"a module: {name!r}" for name in dotted if {name, name.rpartition(".")[0]} & _dotted_modules()]
    classes = _class_names()
    return found + [f"a class: {hit.group()!r}" for hit in re.finditer(r"\b\w+\b", text) if hit.group() in classes]


def _dotted_modules() -> set[str]:
    return {name for name in sys.modules if "." in name}


def _class_names() -> set[str]:
    """Names of the classes that our modules define or use; those of one word (Scene, Round) are English."""
    ours = [module for name, module in sys.modules.items() if name.partition(".")[0] in ROOMS]
    names = {item.__name__ for module in ours for item in vars(module).values() if isinstance(item, type)}
    return {name for name in names if re.match(r"[A-Z]+[a-z0-9]+[A-Z]", name)}


def _strings(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for key, value in node.items():
            yield key
            yield from _strings(value)
    elif isinstance(node, list):
        for item in node:
            yield from _strings(item)


class StrictClient(FlaskClient):
    """A test client that looks at every error response, of whatever test."""

    def open(self, *args: object, **options: object) -> TestResponse:  # type: ignore[override]
        response = super().open(*args, **options)  # type: ignore[arg-type]
        if response.status_code >= 400:
            text = response.get_data(as_text=True)
            if response.mimetype.endswith("json"):
                text = "\n".join(_strings(json.loads(text)))
            found = leaks(text)
            assert not found, f"an error response leaks {', '.join(found)}"
        return response
