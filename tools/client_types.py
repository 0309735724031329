"""Generate the types of the Python client, ``glacier_al_client/types.py``, from the OpenAPI document.

``python -m tools.client_types`` writes the file; a test compares it with what the server says of itself. An object of
the document becomes a class, an enumeration a `Literal`, a list of the document nothing: the client reads `list[...]`.
"""

import keyword
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from al_server.app import create_app
from al_server.document import CALLED_BY_LABEL_STUDIO
from catalog.context import Catalog
from catalog.settings import Settings

TARGET: Final = Path(__file__).parents[1] / "glacier_al_client" / "types.py"
REF: Final = "#/components/schemas/"
CREDENTIALS_OF_LABEL_STUDIO: Final = frozenset(CALLED_BY_LABEL_STUDIO.values())
WIDTH: Final = 112  # of the text of docstrings, characters
PLAIN: Final = {"integer": "int", "number": "float", "boolean": "bool", "null": "None", "string": "str"}
BY_FORMAT: Final = {"date-time": "datetime", "date": "date"}
HEADER: Final = '''"""Requests and responses of the HTTP API.

Generated from the OpenAPI document by ``python -m tools.client_types``; do not edit.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from glacier_al_client.base import OR_NEWER, Schema

'''

Part = Mapping[str, Any]
"""A schema, or another part of the document."""


def read_document() -> dict[str, Any]:
    """Return the OpenAPI document of a server with an empty data folder."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog(Settings(var_dir=Path(folder)))
        try:
            catalog.database.migrate()
            return dict(create_app(catalog).test_client().get("/openapi.json").get_json())
        finally:
            catalog.close()


def generate(document: Mapping[str, Any]) -> str:
    """Return the text of the module.

    Raises:
        ValueError: the document holds a schema of a kind that is not known here.
    """
    schemas: dict[str, Part] = document["components"]["schemas"]
    wanted: dict[str, Part] = {}
    for operation in _operations(document):
        for name in sorted(_references(operation)):
            _add(name, schemas, wanted)
    parts = [_class(name, schema) if "properties" in schema else _enumeration(name, schema)
             for name, schema in wanted.items() if schema.get("type") != "array"]  # fmt: skip
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", TARGET.name, "-"]
    text = HEADER + "\n\n".join(parts) + "\n"
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=TARGET.parents[1])
    return done.stdout


def _operations(document: Mapping[str, Any]) -> Iterator[Part]:
    """Yield the calls that programs make, without those of Label Studio."""
    for item in document["paths"].values():
        for operation in item.values():
            if not any(CREDENTIALS_OF_LABEL_STUDIO & security.keys() for security in operation["security"]):
                yield operation


def _references(node: object) -> set[str]:
    """Return the names of all schemas that a part of the document refers to."""
    if isinstance(node, Mapping):
        found = {node["$ref"].removeprefix(REF)} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(_references(child) for child in node.values()))
    return set().union(*(_references(child) for child in node)) if isinstance(node, list) else set()


def _add(name: str, schemas: Mapping[str, Part], wanted: dict[str, Part]) -> None:
    """Add a schema behind those that it refers to."""
    if name in wanted:
        return
    for other in sorted(_references(schemas[name]) - {name}):
        _add(other, schemas, wanted)
    wanted[name] = schemas[name]


def _enumeration(name: str, schema: Part) -> str:
    docstring = f'\n"""{_sentence(schema["description"])}"""' if "description" in schema else ""
    return f"{name} = Annotated[{_type(schema)}, OR_NEWER]{docstring}"


def _class(name: str, schema: Part) -> str:
    lines = [f"class {name}(Schema):", textwrap.indent(_docstring(schema), "    "), ""]
    needed = schema.get("required", [])
    # Members with a default follow those without, as readers of a signature expect.
    for member in sorted(schema["properties"], key=lambda member: member not in needed):
        lines.append(f"    {_member(member, schema['properties'][member], is_needed=member in needed)}")
    return "\n".join(lines) + "\n"


def _member(name: str, schema: Part, *, is_needed: bool) -> str:
    kind = _type(schema)
    attribute = f"{name}_" if keyword.iskeyword(name) else name
    alias = f"alias={name!r}" if attribute != name else ""
    if is_needed:
        return f"{attribute}: {kind}" + (f" = Field({alias})" if alias else "")
    default = schema.get("default")
    if default is None and "None" not in kind:
        kind += " | None"
    if alias or isinstance(default, list | dict):  # of which pydantic gives each instance its own copy
        return f"{attribute}: {kind} = Field({default!r}{', ' + alias if alias else ''})"
    return f"{attribute}: {kind} = {default!r}"


def _docstring(schema: Part) -> str:
    summary, _, rest = _sentence(schema.get("description", "A part of a request or response.")).partition(". ")
    paragraphs = [
        textwrap.fill(summary + ("." if rest else ""), WIDTH),
        *([textwrap.fill(rest, WIDTH)] if rest else []),
    ]
    told = [
        textwrap.fill(
            f"{name}: {_sentence(member['description'])}", WIDTH, initial_indent=" " * 4, subsequent_indent=" " * 8
        )
        for name, member in schema["properties"].items()
        if "description" in member
    ]
    if told:
        paragraphs.append("\n".join(["Attributes:", *told]))
    return '"""' + "\n\n".join(paragraphs) + ('\n"""' if len(paragraphs) > 1 else '"""')


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _type(schema: Part) -> str:
    """Return the type hint of a schema."""
    if "$ref" in schema:
        return str(schema["$ref"].removeprefix(REF))
    if "enum" in schema:
        return f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    return _type_of_kind(schema, schema.get("type"))


def _type_of_kind(schema: Part, kind: str | None) -> str:
    if kind == "array" and "prefixItems" in schema:
        return f"tuple[{', '.join(_type(item) for item in schema['prefixItems'])}]"
    if kind == "array":
        return f"list[{_type(schema['items'])}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_type(values)}]" if isinstance(values, Mapping) else "dict[str, Any]"
    if kind in PLAIN:
        return BY_FORMAT.get(schema.get("format", ""), PLAIN[kind])
    if schema.keys() - {"title", "description", "default"}:
        raise ValueError(f"found a schema of the kind {kind!r} ({schema}), expected one of {', '.join(PLAIN)}")
    return "Any"


if __name__ == "__main__":
    TARGET.write_text(generate(read_document()), encoding="utf-8")
