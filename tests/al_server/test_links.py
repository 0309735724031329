"""Links between our pages lead somewhere."""

import re
from pathlib import Path

import pytest
from flask.testing import FlaskClient

import al_server
from catalog.context import Catalog
from tests.catalog_fixtures import as_role

TEMPLATES = Path(al_server.__file__).parent / "templates"
BUNDLED = "/static/app/"  # from web/
_LINK = re.compile(r'(?:href|src)="(/[^"{}?#]*)(?:#([^"{}]+))?"')  # those that are not put together
LINKS = sorted(
    {match.groups() for path in TEMPLATES.rglob("*.html") for match in _LINK.finditer(path.read_text())}, key=str
)


@pytest.mark.parametrize(("address", "place"), [link for link in LINKS if not link[0].startswith(BUNDLED)])
def test_a_link_of_a_template_leads_to_a_page_and_a_place_on_it(
    client: FlaskClient, catalog: Catalog, address: str, place: str | None
) -> None:
    with client.get(address, headers=as_role(catalog, "administrator")) as page:
        assert page.status_code in {200, 302, 503}  # the last one is of what tells whether all parts answer
        assert place is None or f'id="{place}"' in page.text
