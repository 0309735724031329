"""The types of the Python client are those of the server."""

import pytest
from flask.testing import FlaskClient

from tools.client_types import TARGET, generate


def test_the_types_are_up_to_date(client: FlaskClient) -> None:
    written = TARGET.read_text(encoding="utf-8")
    assert generate(client.get("/openapi.json").get_json()) == written, "run `python -m tools.client_types`"


def document(**properties: object) -> dict[str, object]:
    schema = {"type": "object", "properties": properties, "required": list(properties), "description": "one thing"}
    answer = {"responses": {"200": {"$ref": "#/components/schemas/Thing"}}, "security": [{"token": []}]}
    return {"paths": {"/thing": {"get": answer}}, "components": {"schemas": {"Thing": schema}}}


def test_members_become_attributes() -> None:
    text = generate(document(**{"class": {"type": "string"}, "at": {"anyOf": [{"type": "null"}, {"type": "integer"}]}}))
    assert text.endswith(
        'class Thing(Schema):\n    """One thing."""\n\n    class_: str = Field(alias="class")\n    at: None | int\n'
    )


def test_a_schema_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="found a schema of the kind 'tensor'"):
        generate(document(member={"type": "tensor"}))
