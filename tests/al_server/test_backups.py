"""A backup is made by the dashboard as by the command line, into the folder that the setting names."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from catalog import jobs
from catalog.context import Catalog
from catalog.records import Job, JobState
from services.backup import last_backup
from services.backup_folder import BackupFolder
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import as_role
from workers.jobs import perform

BACKUPS = "/api/v1/backups"


@pytest.fixture
def folder(catalog: Catalog, tmp_path: Path) -> Path:
    folder = tmp_path / "other-disk"
    catalog.settings = catalog.settings.model_copy(update={"backup_folder": folder})
    return folder


def ask(client: FlaskClient, catalog: Catalog) -> Job:
    accepted = client.post(BACKUPS, headers=as_role(catalog, "administrator"))
    assert accepted.status_code == 202, accepted.text
    with catalog.read() as session:
        return session.get_one(Job, accepted.json["id"])


def carry_out(catalog: Catalog, job: Job) -> Job:
    with catalog.write() as session:
        claimed = jobs.claim(session, job.id)
    assert claimed is not None
    perform(catalog, claimed)
    with catalog.read() as session:
        return session.get_one(Job, job.id)


def section(client: FlaskClient, catalog: Catalog, role: str = "administrator") -> str:
    return client.get("/dashboard/backup", headers=as_role(catalog, role)).text


def test_without_a_folder_the_page_says_how_to_set_it(client: FlaskClient, catalog: Catalog) -> None:
    refused = client.post(BACKUPS, headers=as_role(catalog, "administrator"))
    assert "set backup_folder" in assert_problem(refused, 409)["detail"]
    assert client.get(BACKUPS, headers=as_role(catalog, "administrator")).json == {"folder": None, "last": None}
    shown = section(client, catalog)
    assert "<code>backup_folder</code>" in shown
    assert "Back up now" not in shown


def test_a_backup_is_whole_and_told_of(client: FlaskClient, catalog: Catalog, folder: Path) -> None:
    job = ask(client, catalog)
    assert ask(client, catalog).id == job.id, "one at a time"
    assert "One is being made" in section(client, catalog)
    done = carry_out(catalog, job)
    assert (done.state, done.error) == (JobState.FINISHED, None)
    (name,) = BackupFolder(folder).names()
    manifest = BackupFolder(folder).read(name)
    assert BackupFolder(folder).damaged(manifest.files) == []
    assert "catalog" in {file.part for file in manifest.files}
    last = client.get(BACKUPS, headers=as_role(catalog, "administrator")).json["last"]
    assert (last["name"], last["folder"], last["files"]) == (name, str(folder), len(manifest.files))
    assert "Last made" in section(client, catalog)
    assert "Back up now" in section(client, catalog)


def test_others_see_nothing_of_backups(client: FlaskClient, catalog: Catalog, folder: Path) -> None:
    assert section(client, catalog, "operator").strip() == ""


def test_a_folder_that_cannot_be_made_fails_the_job_with_its_reason(
    client: FlaskClient, catalog: Catalog, folder: Path
) -> None:
    folder.write_text("a file")
    catalog.settings = catalog.settings.model_copy(update={"job_attempts": 1})
    failed = carry_out(catalog, ask(client, catalog))
    assert failed.state is JobState.FAILED
    assert str(folder) in (failed.error or "")
    assert last_backup(catalog.settings) is None
