"""An administrator has the installation checked without a terminal, one check at a time, and reads what was found."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from catalog import jobs
from catalog.context import Catalog
from catalog.records import Job
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from tests.workers.installed import populate
from workers.jobs import perform

CHECKS = "/api/v1/installation-checks"


@pytest.fixture
def administrator(catalog: Catalog, tmp_path: Path) -> dict[str, str]:
    populate(catalog, tmp_path)
    return as_role(catalog, "administrator")


def carry_out(catalog: Catalog, job_id: str) -> Job:
    with catalog.write() as session:
        job = jobs.claim(session, job_id)
    assert job is not None
    perform(catalog, job)
    return job


def test_before_the_first_there_is_nothing_to_tell(client: FlaskClient, administrator: dict[str, str]) -> None:
    assert client.get(CHECKS, headers=administrator).json == {"newest": None, "last": None}
    shown = client.get("/installation", headers=administrator).text
    assert "No check has been made here yet." in shown
    assert "Check and mend" in shown


def test_one_is_made_at_a_time(client: FlaskClient, administrator: dict[str, str]) -> None:
    accepted = client.post(CHECKS, json={}, headers=administrator)
    assert (accepted.status_code, accepted.json["kind"]) == (202, "check_installation")
    assert accepted.json["subject"]["fix"] is False
    assert accepted.headers["Location"] == f"/api/v1/jobs/{accepted.json['id']}"
    assert client.post(CHECKS, json={"fix": False}, headers=administrator).json["id"] == accepted.json["id"]
    refused = client.post(CHECKS, json={"fix": True}, headers=administrator)
    assert "a check that only looks is under way" in assert_problem(refused, 409)["detail"]
    kinds = [job["kind"] for job in client.get("/api/v1/jobs", headers=administrator).json]
    assert kinds.count("check_installation") == 1
    shown = client.get("/installation", headers=administrator).text
    assert "waits for its turn" in shown
    assert "Check now" not in shown


def test_the_report_tells_what_was_found_and_for_whom(
    client: FlaskClient, catalog: Catalog, administrator: dict[str, str]
) -> None:
    catalog.settings.secrets_file.chmod(0o644)
    asked = client.post(CHECKS, json={"fix": False}, headers=administrator).json
    carry_out(catalog, asked["id"])
    checks = client.get(CHECKS, headers=administrator).json
    last = checks["last"]
    assert checks["newest"]["id"] == last["job"]["id"] == asked["id"]
    assert (last["fix"], last["by"], last["made_at"]) == (False, asked["subject"]["by"], last["job"]["finished_at"])
    (loose,) = [item for item in last["findings"] if item["check"].startswith("permissions") and item["level"] != "ok"]
    assert (loose["level"], loose["found"], loose["can_be_fixed"], loose["fixed"]) == ("fault", "644", True, None)
    assert last["faults"] == sum(item["level"] == "fault" for item in last["findings"])


def test_the_page_shows_the_worst_first_and_folds_what_is_well(
    client: FlaskClient, catalog: Catalog, administrator: dict[str, str]
) -> None:
    path = catalog.settings.secrets_file
    path.chmod(0o644)
    carry_out(catalog, client.post(CHECKS, json={"fix": True}, headers=administrator).json["id"])
    shown = client.get("/installation", headers=administrator).text
    assert "Last checked and mended" in shown
    fault, mended, well = (shown.index(words) for words in (">fault<", ">mended<", '<details id="well">'))
    assert fault < mended < well
    assert "done: its mode is 600 now" in shown[mended:well]
    assert f"permissions of {path}" in shown[:well]
    assert "whole files in the store" in shown[well:]


def test_the_last_report_stands_while_another_check_is_made_or_has_failed(
    client: FlaskClient, catalog: Catalog, administrator: dict[str, str]
) -> None:
    first = client.post(CHECKS, json={}, headers=administrator).json["id"]
    carry_out(catalog, first)
    second = client.post(CHECKS, json={"fix": True}, headers=administrator).json["id"]
    with catalog.write() as session:
        job = jobs.claim(session, second)
        assert job is not None
        jobs.fail(session, second, job.attempt, "the disk is full")
    checks = client.get(CHECKS, headers=administrator).json
    assert (checks["newest"]["id"], checks["last"]["job"]["id"]) == (second, first)
    shown = client.get("/installation", headers=administrator).text
    assert "failed: the disk is full" in shown
    assert "Last checked" in shown


def test_only_administrators_are_led_there(client: FlaskClient, catalog: Catalog) -> None:
    for role, is_led in (("operator", False), ("administrator", True)):
        shown = client.get("/", headers=as_role(catalog, role)).text
        assert ('href="/installation"' in shown) == is_led
        assert ("Check the installation…" in shown) == is_led
