"""A fine-tune is started by hand over HTTP and on the dashboard as by the command line."""

from flask.testing import FlaskClient

from catalog import jobs, labels
from catalog.context import Catalog
from catalog.records import Job, JobKind
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_round, add_scene, as_role, label_of, pushed

FINE_TUNES = "/api/v1/fine-tunes"
BUTTON = f'data-call="POST {FINE_TUNES}"'


def add_label(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, proposals = add_round(session, patches[:2])
        labels.store(session, label_of(session, proposals[0], 1))


def test_one_is_started_on_whatever_labels_there_are(client: FlaskClient, catalog: Catalog) -> None:
    add_label(catalog)
    accepted = client.post(FINE_TUNES, headers=as_role(catalog, "operator"))
    assert (accepted.status_code, accepted.json["kind"], accepted.json["state"]) == (202, "fine_tune", "queued")
    assert accepted.headers["Location"] == f"/api/v1/jobs/{accepted.json['id']}"
    assert pushed(catalog) == [f"{accepted.json['id']}-0"]
    with catalog.read() as session:
        assert session.get_one(Job, accepted.json["id"]).subject == {"trigger": "by hand"}
    again = client.post(FINE_TUNES, headers=as_role(catalog, "operator"))
    assert (again.status_code, again.json["id"]) == (202, accepted.json["id"])  # one is open at a time


def test_without_anything_to_learn_from_it_is_refused_with_the_reason(client: FlaskClient, catalog: Catalog) -> None:
    refused = client.post(FINE_TUNES, headers=as_role(catalog, "operator"))
    assert_problem(refused, 409, "found no label to learn from; label a round in Label Studio first")
    with catalog.read() as session:
        assert jobs.last_of(session, JobKind.FINE_TUNE) is None


def test_operators_have_a_button_for_it_while_none_is_open(client: FlaskClient, catalog: Catalog) -> None:
    for role, offered in (("reader", False), ("annotator", False), ("operator", True), ("administrator", True)):
        assert (BUTTON in client.get("/dashboard/work", headers=as_role(catalog, role)).text) == offered
    with catalog.database.write() as session:
        jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
    assert BUTTON not in client.get("/dashboard/work", headers=as_role(catalog, "operator")).text
