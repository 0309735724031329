"""``glacier-al status`` against the real server, with a reader's token."""

import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result
from flask import Flask

from catalog import registry_copy
from catalog.context import Catalog
from catalog.records import Job, JobKind, now
from catalog.registry import CHAMPION, LEARNER, ModelVersion
from cli.exit_codes import ExitCode
from cli.main import main
from cli.status_command import JOBS_SHOWN
from glacier_al_client.client import Client
from tests.dashboard_world import add_alert, add_failed_event, populate, run_fine_tune, tick, version_tags
from tests.served_app import serving


@pytest.fixture
def address(app: Flask) -> Iterator[str]:
    with serving(app) as address:
        yield address


def status(address: str, token: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["status", "--url", address, "--token", token, *options])


def fill(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        populate(session)
        versions = [ModelVersion(number, "run", now(), tags) for number, tags in enumerate(version_tags(), start=1)]
        registry_copy.store(session, versions)
        registry_copy.set_aliases(session, {CHAMPION: 2, LEARNER: 3})
    tick(catalog)


def test_one_screen_says_where_the_loop_stands(address: str, catalog: Catalog) -> None:
    fill(catalog)
    with catalog.database.write() as session:
        run_fine_tune(session)
    done = status(address, catalog.secrets.reader_token)
    assert done.exit_code == 0, done.output
    lines = done.output.splitlines()
    assert lines[0].startswith("● Healthy")
    shown = {line[:10].strip(): line[10:] for line in lines if line[:10].strip()}
    assert shown["Next"].startswith("Round 3 waits for its annotators: 4 of 6 patches are done.")
    assert shown["Served"] == "version 2, mean IoU 0.600 on validation, 12 labels"
    assert shown["Learning"] == "version 3, mean IoU 0.610 on validation, 18 labels"
    assert "          4 of the 20 new labels that start a fine-tune" in lines
    assert shown["Round"] == "3 is open: 4 of 6 patches done"
    assert shown["Labels"] == "16 stand; label events: 0 waiting, 0 failed"
    assert shown["Scenes"] == "1 pool, 1 validation, 1 test ready"
    assert shown["Running"].startswith("fine tune, 50%")


def test_the_screen_holds_whatever_happens(address: str, catalog: Catalog) -> None:
    fill(catalog)
    with catalog.database.write() as session:
        for _ in range(6):
            add_alert(session)
        add_failed_event(session)
    done = status(address, catalog.secrets.reader_token)
    assert done.exit_code == ExitCode.FOUND
    lines = done.output.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("● Not healthy")
    assert "  - and 2 more, on the dashboard" in lines


def test_of_many_jobs_those_that_run_are_told_and_how_many_more_wait(address: str, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        for number in range(120):
            session.add(Job(kind=JobKind.INGEST_LABEL, key=f"ingest_label:{number}", subject={}))
        session.flush()
        running = run_fine_tune(session)
    with Client(address, catalog.secrets.reader_token) as client:
        found = client.status()
    assert (len(found.jobs), found.more_jobs) == (50, 71)
    assert (found.jobs[0].id, {job.state for job in found.jobs[1:]}) == (running, {"queued"})
    lines = status(address, catalog.secrets.reader_token).output.splitlines()
    assert lines[-JOBS_SHOWN - 1].startswith("Running   fine tune, 50%")
    assert lines[-1].strip() == f"and {121 - JOBS_SHOWN} more jobs"


def test_an_empty_system_says_how_to_begin(address: str, catalog: Catalog) -> None:
    tick(catalog)
    done = status(address, catalog.secrets.reader_token)
    assert "Next      Register a scene to map" in done.output
    assert "Served    no version yet" in done.output
    assert "Running   nothing" in done.output


def test_programs_read_what_the_api_says(address: str, catalog: Catalog) -> None:
    fill(catalog)
    with Client(address, catalog.secrets.reader_token) as client:
        expected = client.status()
    assert json.loads(status(address, catalog.secrets.reader_token, "--json").output) == expected.model_dump(
        mode="json"
    )


def test_refusals_and_silence_have_exit_codes(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused = status(address, "wrong")
    assert (refused.exit_code, "Traceback" in refused.output) == (ExitCode.NOT_ALLOWED, False)
    monkeypatch.setattr("glacier_al_client.transport.time.sleep", lambda _: None)
    assert status("http://127.0.0.1:1", "any").exit_code == ExitCode.NOT_RUNNING
    monkeypatch.delenv("GLACIER_AL_TOKEN", raising=False)
    assert CliRunner().invoke(main, ["status", "--url", address]).exit_code == ExitCode.USAGE
