from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient

from services import raster_keys
from tests.al_server.test_error_shape import assert_problem

PNG = b"\x89PNG\r\n\x1a\nthe picture"


@pytest.fixture
def address(app: Flask) -> str:
    """The signed address of a stored picture of patch 17, without its host."""
    parts = app.extensions["parts"]
    parts.store.put(raster_keys.view(17, "false-colour"), PNG)
    return urlsplit(parts.image_urls.url(17, "false-colour"))._replace(scheme="", netloc="").geturl()


def test_who_holds_the_address_sees_the_picture_as_often_as_they_like(client: FlaskClient, address: str) -> None:
    for _ in range(2):
        response = client.get(address)
        assert (response.status_code, response.content_type, response.data) == (200, "image/png", PNG)
    assert "max-age" in response.headers["Cache-Control"]


def test_the_page_of_label_studio_may_load_it(client: FlaskClient, address: str) -> None:
    response = client.get(address, headers={"Origin": "http://label-studio.example"})
    assert response.headers["Access-Control-Allow-Origin"] in {"*", "http://label-studio.example"}
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_the_signature_of_one_picture_opens_no_other(client: FlaskClient, address: str) -> None:
    assert_problem(client.get(address.replace("/17/", "/18/")), 403, "another image")
    assert_problem(client.get(address.replace("false-colour", "heat")), 403, "another image")


@pytest.mark.parametrize("name", ["..%2Fx", "A", "x" * 41, "%2e%2e"])
def test_a_name_that_no_picture_has_is_refused(client: FlaskClient, name: str) -> None:
    response = client.get(f"/api/v1/patches/17/composites/{name}.png?signature=x")
    assert response.status_code in {404, 422}
    assert_problem(response, response.status_code)


def test_a_picture_that_is_not_there_is_missing(client: FlaskClient, app: Flask) -> None:
    url = urlsplit(app.extensions["parts"].image_urls.url(18, "heat"))
    assert_problem(client.get(f"{url.path}?{url.query}"), 404, "found nothing")
