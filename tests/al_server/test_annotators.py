"""An administrator gives a new person an account in Label Studio, too."""

from dataclasses import replace

import httpx
import pytest
from flask.testing import FlaskClient

from al_server.app import create_app
from catalog.context import Catalog
from labeling.accounts import access_token
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import NOBODY, as_role
from tests.real_services import LabelStudioServer

ANNOTATORS = "/api/v1/annotators"
PERSON = {"email": "Ines@example.org", "password": "correct horse battery"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_person_can_draw_and_nobody_gets_the_address_twice(catalog: Catalog, label_studio: LabelStudioServer) -> None:
    catalog.settings = catalog.settings.model_copy(update={"label_studio_url": label_studio.url})
    catalog.secrets = replace(catalog.secrets, label_studio_token=label_studio.token)
    client, headers = create_app(catalog).test_client(), as_role(catalog, "administrator")
    made = client.post(ANNOTATORS, json=PERSON, headers=headers)
    assert (made.status_code, made.json) == (201, {"email": "ines@example.org", "address": label_studio.url})
    token = access_token(label_studio.url, "ines@example.org", PERSON["password"], 30.0)
    who = httpx.get(f"{label_studio.url}/api/current-user/whoami", headers={"Authorization": f"Token {token}"}).json()
    assert who["email"] == "ines@example.org"
    assert who["active_organization"], "who belongs to no organization fires no webhook"
    again = client.post(ANNOTATORS, json=PERSON, headers=headers)
    assert "the address is taken" in assert_problem(again, 409)["detail"]


def test_without_label_studio_it_is_said_and_tried_again_later(client: FlaskClient, catalog: Catalog) -> None:
    catalog.settings = catalog.settings.model_copy(update={"label_studio_url": NOBODY})
    refused = client.post(ANNOTATORS, json=PERSON, headers=as_role(catalog, "administrator"))
    assert "cannot be reached to issue an invitation" in assert_problem(refused, 503)["detail"]


@pytest.mark.parametrize("email", ["a@b.c", "ines", "ines@example", "i nes@example.org"])
def test_an_address_that_label_studio_takes_and_nobody_can_log_in_with_is_refused(
    client: FlaskClient, catalog: Catalog, email: str
) -> None:
    asked = {**PERSON, "email": email}
    assert_problem(client.post(ANNOTATORS, json=asked, headers=as_role(catalog, "administrator")), 422)
