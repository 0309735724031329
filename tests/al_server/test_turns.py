"""Slow requests leave threads to others."""

from contextlib import ExitStack

import pytest
from flask.testing import FlaskClient
from werkzeug.exceptions import ServiceUnavailable

from al_server.http_server import THREADS
from al_server.turns import ALL_TURNS, DESCRIPTIONS, Turns
from catalog.context import Catalog
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role


def test_slow_requests_leave_threads_free() -> None:
    assert sum(turns.most for turns in ALL_TURNS) < THREADS


def test_a_turn_is_free_again_after_an_error() -> None:
    turns = Turns(1)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), turns.required("tests"):
            1 / 0  # noqa: B018
    with turns.required("tests"), pytest.raises(ServiceUnavailable), turns.required("tests"):
        pass


def test_a_scene_too_many_at_once_is_refused_and_the_rest_goes_on(client: FlaskClient, catalog: Catalog) -> None:
    scene, operator = {"name": "a", "role": "pool", "path": "a.tif"}, as_role(catalog, "operator")
    with ExitStack() as others:  # scenes at an address that does not answer
        for _ in range(DESCRIPTIONS.most):
            others.enter_context(DESCRIPTIONS.required("scenes"))
        for refused in (
            client.post("/api/v1/scenes", json=scene, headers=operator),
            client.put("/api/v1/scenes/1", json=scene, headers=operator),
        ):
            assert_problem(refused, 503)
            assert refused.headers["Retry-After"] == "5"
        assert client.get("/api/v1/scenes", headers=operator).status_code == 200
    assert client.post("/api/v1/scenes", json=scene, headers=operator).status_code == 422  # there is no such file
