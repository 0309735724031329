"""Links between our pages lead somewhere."""

import re
from pathlib import Path

import pytest
from flask import Flask

import al_server

TEMPLATES = Path(al_server.__file__).parent / "templates"
_LINK = re.compile(r'(?:href|src)="(/[^"{}?#]*)(?:#([^"{}]+))?"')  # those that are not put together
LINKS = sorted(
    {match.groups() for path in TEMPLATES.rglob("*.html") for match in _LINK.finditer(path.read_text())}, key=str
)


@pytest.mark.parametrize(("address", "place"), LINKS)
def test_a_link_of_a_template_leads_to_a_page_and_a_place_on_it(app: Flask, address: str, place: str | None) -> None:
    endpoint, values = app.url_map.bind("localhost").match(address, method="GET")
    if endpoint == "static":
        source = Path(str(app.static_folder), str(values["filename"]))
        assert source.is_file() or values["filename"].startswith("app/")  # bundled from web/
    is_place = place is None or address == "/map"  # the map keeps its view behind the mark
    assert is_place or any(f'id="{place}"' in path.read_text() for path in TEMPLATES.rglob("*.html"))
