"""Versions are trained again over HTTP: who may ask, what is refused, and what the newest report says."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from catalog import jobs, registry_copy
from catalog.context import Catalog
from catalog.records import Job, JobKind, RunState, RunTrigger, TrainingRun, now
from catalog.registry import ModelVersion
from models.bundle import write_bundle
from models.card import TrainingEnvironment
from models.training_config import TrainingConfig
from services.reproductions import OTHER, Reproduction
from tests.al_server.test_dashboard import Page
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role, pushed
from tests.models.cards import origin
from tests.models.networks import small_segmenter
from tests.served_version import add_version

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


def section(client: FlaskClient, catalog: Catalog, role: str = "operator") -> tuple[str, str]:
    """Return the page of version 2, and the words of the section about its reproductions."""
    response = client.get("/versions/2", headers=as_role(catalog, role))
    assert response.status_code == 200
    page = Page(response.text)
    assert page.open == []
    text = " ".join(page.text.split())
    return response.text, text.partition("Trained again ")[2].partition("Labels that it learnt from")[0]


def test_the_page_offers_it_to_operators_only(client: FlaskClient, registered: Catalog) -> None:
    html, words = section(client, registered)
    assert words.endswith("nothing is registered. Not yet. ")
    for expected in (
        f'data-call="POST {ADDRESS}"',
        'data-opens="reproduce"',
        'id="trained-again" data-live=',
        "empty: 0 if code, processor, threads and precision are those of its training, else 0.1",
        "It takes as long as its training did.",
    ):
        assert expected in html
    html, words = section(client, registered, "reader")
    assert words.endswith("Not yet. ")
    for hidden in ("<dialog", "data-topics", "<script", "Train it again"):
        assert hidden not in html


def test_the_page_tells_once_how_long_it_takes_and_why_it_was_begun_again(
    client: FlaskClient, registered: Catalog
) -> None:
    number = ask(client, registered).json["id"]
    with registered.database.write() as session:
        jobs.get(session, number).error = "the disk was full"
    assert section(client, registered)[1].count("the disk was full") == 1
    with registered.database.write() as session:
        jobs.claim(session, number)
        jobs.report_progress(session, number, 1, 30, 120, "training")
        jobs.get(session, number).started_at = now() - timedelta(seconds=10)
    assert section(client, registered)[1].count(" left") == 1


def test_the_form_says_how_the_version_was_trained(client: FlaskClient, registered: Catalog, tmp_path: Path) -> None:
    here = TrainingEnvironment(device="cpu", threads=3, torch_version="2.9.1", instructions="AVX2")
    trained = origin().model_copy(
        update={"environment": here, "training": TrainingConfig(steps=5, precision="bfloat16")}
    )
    (tmp_path / "bundle").mkdir()
    write_bundle(tmp_path / "bundle", small_segmenter(), trained)
    add_version(registered, 2, tmp_path / "bundle")
    with registered.database.write() as session:
        run = TrainingRun(trigger=RunTrigger.LABELS, label_ids=[], labels_sha256="a" * 64, seed=1)
        run.state, run.model_version, run.seconds = RunState.FINISHED, 2, {"load": 9.0, "train": 180.0}
        session.add(run)
    html, _ = section(client, registered)
    for expected in (
        "Its training took about 3 minutes, and this will, too.",
        "CPU threads; empty: as it was trained (3)</label>",
        '<option value="">as it was trained (bfloat16)</option><option>float32</option><option>bfloat16</option>',
    ):
        assert expected in html


def test_the_page_tells_how_far_it_is_and_that_fine_tunes_wait(client: FlaskClient, registered: Catalog) -> None:
    job_id = ask(client, registered, threads=1, precision="float32").json["id"]
    cancel = f'data-call="POST /api/v1/jobs/{job_id}/cancel"'
    html, words = section(client, registered)
    assert "operator asked for it, with 1 thread, in float32: it waits for its turn Cancel" in words
    assert "where there is one compute worker, fine-tunes wait" in words
    assert cancel in html
    assert "do-reproduce" not in html  # one at a time
    with registered.database.write() as session:
        jobs.claim(session, job_id)
        jobs.report_progress(session, job_id, 1, 3, 4, "training: step 3 of 4")
    html, words = section(client, registered, "reader")
    assert "training: step 3 of 4 75 %" in words
    assert 'data-topics="jobs"' in html  # it follows
    assert cancel not in html
    work = Page(client.get("/dashboard/work", headers=as_role(registered, "reader")).text)
    assert "reproduce version 2 running training: step 3 of 4" in " ".join(work.text.split())
    client.post(f"/api/v1/jobs/{job_id}/cancel", headers=as_role(registered, "operator"))
    html, words = section(client, registered)
    assert "in float32: it is being stopped" in words
    assert cancel not in html


def test_the_page_tells_the_outcome_and_what_failed_since(client: FlaskClient, registered: Catalog) -> None:
    end(registered, ask(client, registered, threads=2).json["id"])
    html, words = section(client, registered, "reader")
    for expected in (
        "Version 2 is outside of the tolerance (pixels 0.1, metrics 0.1). operator asked for it, with 2 threads;",
        "Weights differ by more than a number can tell. 75.0000 % of the pixels of the validation scenes",
        "validation mean 0.5000 0.2500 -0.2500 validation rock – – –",
        "threads: then 1, here 2",
    ):
        assert expected in words
    assert "Not yet" not in words
    failed = ask(client, registered).json["id"]
    with registered.database.write() as session:
        jobs.claim(session, failed)
        jobs.fail(session, failed, 1, "found 1 of the 4 labels of version 2 without a <mask>")
    html, words = section(client, registered)
    assert "failed: found 1 of the 4 labels of version 2 without a <mask> Retry" in words
    assert f'data-call="POST /api/v1/jobs/{failed}/retry"' in html
    assert "is outside of the tolerance" in words
    assert "do-reproduce" in html
