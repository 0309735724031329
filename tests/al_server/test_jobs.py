from datetime import timedelta

import pytest
from flask.testing import FlaskClient

from catalog import jobs
from catalog.context import Catalog
from catalog.records import JobKind, now
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role, pushed

JOBS = "/api/v1/jobs"


def test_a_job_is_followed_from_queue_to_end(client: FlaskClient, catalog: Catalog) -> None:
    def told() -> dict[str, object]:
        found: dict[str, object] = client.get(f"{JOBS}/{job.id}", headers=as_role(catalog, "reader")).json
        return found

    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
    assert (told()["state"], told()["progress"], told()["eta_s"]) == ("queued", None, None)
    with catalog.database.write() as session:
        jobs.claim(session, job.id)
        jobs.report_progress(session, job.id, 1, 30, 120, "training: loss 0.4")
        jobs.get(session, job.id).started_at = now() - timedelta(seconds=10)
    running = told()
    assert (running["state"], running["progress"], running["message"]) == ("running", 0.25, "training: loss 0.4")
    assert running["eta_s"] == pytest.approx(30.0, rel=0.2)
    with catalog.database.write() as session:
        jobs.finish(session, job.id, 1)
    assert (told()["state"], told()["progress"], told()["eta_s"]) == ("finished", 1.0, None)


def test_jobs_are_listed_by_state_the_newest_first(client: FlaskClient, catalog: Catalog) -> None:
    ids = []
    for number in range(3):
        with catalog.database.write() as session:
            job = jobs.enqueue(session, JobKind.TILE_SCENE, str(number), scene_id=number)
            job.created_at = now() - timedelta(seconds=10 - number)
            ids.append(job.id)
    with catalog.database.write() as session:
        jobs.claim(session, ids[1])
        jobs.fail(session, ids[1], 1, "boom")

    def listed(query: str) -> list[str]:
        return [item["id"] for item in client.get(f"{JOBS}{query}", headers=as_role(catalog, "reader")).json]

    assert listed("") == ids[::-1]
    assert listed("?limit=1") == [ids[2]]
    assert listed("?state=failed") == [ids[1]]
    assert listed("?state=running") == []


def test_a_failed_job_is_tried_again_on_request_only(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.PREDICT_SCENE, "1", scene_id=1)
    address = f"{JOBS}/{job.id}/retry"
    assert_problem(client.post(address, headers=as_role(catalog, "operator")), 409, "only a failed or cancelled job")
    with catalog.database.write() as session:
        jobs.claim(session, job.id)
        jobs.fail(session, job.id, 1, "the disk was full")
    response = client.post(address, headers=as_role(catalog, "operator"))
    assert response.status_code == 202
    assert response.json["state"] == "queued"
    assert pushed(catalog) == [f"{job.id}-1"]


def test_a_queued_job_is_cancelled_and_a_running_one_asked_to_stop(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        queued = jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
        running = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
        jobs.claim(session, running.id)
    operator = as_role(catalog, "operator")
    first = client.post(f"{JOBS}/{queued.id}/cancel", headers=operator)
    assert (first.status_code, first.json["state"], first.json["error"]) == (200, "cancelled", "cancelled by a person")
    second = client.post(f"{JOBS}/{running.id}/cancel", headers=operator)
    assert (second.status_code, second.json["state"]) == (202, "running")
    assert_problem(client.post(f"{JOBS}/{queued.id}/cancel", headers=operator), 409, "is cancelled already")
    assert_problem(client.post(f"{JOBS}/{queued.id}/cancel", headers=as_role(catalog, "reader")), 403, "needs operator")
