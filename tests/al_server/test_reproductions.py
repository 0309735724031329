"""Versions are trained again over HTTP: who may ask, what is refused, and what the newest report says."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from catalog import jobs, registry_copy
from catalog.context import Catalog
from catalog.records import Job, JobKind
from catalog.registry import ModelVersion
from services.reproductions import OTHER, Reproduction
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role, pushed

ADDRESS = "/api/v1/models/2/reproductions"
FOUND = Reproduction(
    version=2,
    largest_difference=float("nan"),
    rms_difference=0.25,
    rms_weight=1.0,
    metrics={"validation": {"mean": (0.5, 0.25), "rock": (None, None)}},
    same_class=0.75,
    same_circumstances=False,
    notes=("threads: then 1, here 2",),
)


@pytest.fixture
def registered(catalog: Catalog) -> Catalog:
    """An installation with the versions 1 and 2."""
    with catalog.database.write() as session:
        registry_copy.store(
            session, [ModelVersion(number, "run", datetime(2026, 11, 20, tzinfo=UTC), {}) for number in (1, 2)]
        )
    return catalog


def ask(client: FlaskClient, catalog: Catalog, **body: Any) -> Any:
    return client.post(ADDRESS, json=body, headers=as_role(catalog, "operator"))


def told(client: FlaskClient, catalog: Catalog) -> Any:
    response = client.get(ADDRESS, headers=as_role(catalog, "reader"))
    assert response.status_code == 200
    return response.json


def end(catalog: Catalog, job_id: str) -> None:
    """Leave a report and finish, as the job does."""
    with catalog.database.write() as session:
        jobs.claim(session, job_id)
        jobs.keep_report(session, job_id, 1, FOUND.to_json(OTHER))
        jobs.finish(session, job_id, 1)


def test_an_operator_asks_and_everybody_reads_the_outcome(client: FlaskClient, registered: Catalog) -> None:
    assert told(client, registered) == {"job": None, "last": None}
    accepted = ask(client, registered, threads=2, pixels=1)
    assert (accepted.status_code, accepted.json["kind"], accepted.json["state"]) == (202, "reproduce_version", "queued")
    assert accepted.json["subject"] == {"version": 2, "by": "operator", "threads": 2, "pixels": 1.0}
    assert accepted.headers["Location"] == f"/api/v1/jobs/{accepted.json['id']}"
    assert pushed(registered) == [f"{accepted.json['id']}-0"]
    assert told(client, registered) == {"job": accepted.json, "last": None}

    end(registered, accepted.json["id"])
    second = ask(client, registered).json
    found = told(client, registered)
    assert found["job"]["id"] == second["id"]
    assert (found["last"]["job"]["id"], found["last"]["job"]["state"]) == (accepted.json["id"], "finished")
    report = found["last"]["report"]
    # A quarter of the pixels changed their class, and the mean IoU by a quarter: more than a tenth.
    assert (report["outcome"], report["within_tolerance"], report["exact"]) == ("outside", False, False)
    assert report["tolerance"] == {"pixels": 0.1, "metric": 0.1}
    assert report["metrics"] == {"validation": {"mean": [0.5, 0.25], "rock": [None, None]}}
    assert (report["largest_difference"], report["rms_difference"], report["same_class"]) == (None, 0.25, 0.75)
    assert report["notes"] == ["threads: then 1, here 2"]


def test_one_that_is_open_is_not_doubled_and_other_options_are_refused(
    client: FlaskClient, registered: Catalog
) -> None:
    first = ask(client, registered, threads=2).json
    assert ask(client, registered, threads=2).json["id"] == first["id"]
    assert_problem(ask(client, registered, threads=4), 409, "asked for by operator with threads 2; wait for that")
    assert client.post(f"/api/v1/jobs/{first['id']}/cancel", headers=as_role(registered, "operator")).status_code == 200
    assert ask(client, registered, threads=4).status_code == 202


@pytest.mark.parametrize("role", ["reader", "annotator"])
def test_others_than_operators_only_read(client: FlaskClient, registered: Catalog, role: str) -> None:
    assert client.post(ADDRESS, json={}, headers=as_role(registered, role)).status_code == 403
    with registered.read() as session:
        assert session.query(Job).count() == 0


def test_a_version_that_does_not_exist_is_404(client: FlaskClient, registered: Catalog) -> None:
    missing = ADDRESS.replace("/2/", "/3/")
    assert_problem(client.post(missing, json={}, headers=as_role(registered, "operator")), 404)
    assert_problem(client.get(missing, headers=as_role(registered, "reader")), 404)


@pytest.mark.parametrize(
    "body",
    [
        {"threads": 0},
        {"threads": 1025},
        {"threads": "2"},
        {"precision": "auto"},
        {"pixels": -0.1},
        {"metric": 1.1},
        {"seed": 1},
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(client: FlaskClient, registered: Catalog, body: dict[str, Any]) -> None:
    refused = assert_problem(ask(client, registered, **body), 422)
    assert next(iter(body)) in json.dumps(refused)
    with registered.read() as session:
        assert jobs.last_of(session, JobKind.REPRODUCE_VERSION, "2") is None


def test_all_members_may_be_left_out(client: FlaskClient, registered: Catalog) -> None:
    accepted = ask(client, registered)
    assert (accepted.status_code, accepted.json["subject"]) == (202, {"version": 2, "by": "operator"})
