"""The job that checks a running installation: what its report tells, what it mends, and what it leaves alone."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import text

from catalog import jobs, training
from catalog.context import Catalog
from catalog.errors import JobCancelledError
from catalog.records import Job, JobKind, JobState, Proposal, RunTrigger
from imagery.store import RasterStore
from services import raster_keys
from services.installation_findings import Finding, FindingLevel, ok
from tests.catalog_fixtures import add_scoring
from tests.workers.installed import populate
from tests.workers.rows import claimed, patches
from workers import machine_checks, run_tracking, service_checks
from workers.database_checks import check_rows
from workers.installation_checks import Check, of_contents
from workers.jobs import perform
from workers.stored_file_checks import check_files


@pytest.fixture
def installed(catalog: Catalog, tmp_path: Path) -> Catalog:
    """An installation whose database answers; MLflow and Label Studio do not."""
    populate(catalog, tmp_path)
    return catalog


def check(catalog: Catalog, *, fix: bool) -> dict[str, Any]:
    """Have the job done; return its report."""
    job = claimed(catalog, JobKind.CHECK_INSTALLATION, fix=fix, by="anna")
    perform(catalog, job)
    with catalog.read() as session:
        done = session.get_one(Job, job.id)
        assert (done.state, done.error) == (JobState.FINISHED, None)
        reported = jobs.last_reported(session, JobKind.CHECK_INSTALLATION)
    assert reported is not None
    assert reported.id == job.id
    assert reported.report is not None
    return reported.report


def by_check(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {finding["check"]: finding for finding in report["findings"]}


def found_in(catalog: Catalog, name: str) -> Finding:
    (finding,) = [item for item in check_files(catalog) if item.check == name]
    return finding


def test_a_missing_mask_is_reported_and_mended_only_if_asked(installed: Catalog) -> None:
    key = raster_keys.truth(1)
    mask = Path(installed.settings.raster_store) / key
    whole = mask.read_bytes()
    mask.unlink()
    report = check(installed, fix=False)
    assert (report["fix"], report["by"]) == (False, "anna")
    missing = by_check(report)["rows without file"]
    assert (missing["level"], missing["found"], missing["can_be_fixed"]) == ("fault", f"1: {key}", True)
    assert not mask.exists()

    report = check(installed, fix=True)
    assert report["fix"] is True
    missing = by_check(report)["rows without file"]
    assert (missing["level"], missing["fixed"]) == ("ok", "1 made again")
    assert mask.read_bytes() == whole


def test_permissions_are_restricted_to_the_owner(installed: Catalog) -> None:
    path = installed.settings.secrets_file
    path.chmod(0o644)
    check(installed, fix=False)
    assert path.stat().st_mode & 0o777 == 0o644
    mended = by_check(check(installed, fix=True))[f"permissions of {path}"]
    assert (mended["found"], mended["fixed"]) == ("644", "its mode is 600 now")
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_disk_of_the_raster_store_is_looked_at_if_it_is_another(
    installed: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other-disk"
    other.mkdir()

    def disks() -> dict[str, Finding]:
        found = Check("machine", machine_checks.check_machine).results(installed, fix=False)
        return {item.check: item for item in found if item.check.startswith("disk")}

    def usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=0 if folder == other else 2**40, total=2**40)

    monkeypatch.setattr(machine_checks.shutil, "disk_usage", usage)
    installed.settings = installed.settings.model_copy(update={"raster_store": str(other / "not-made-yet")})
    assert list(disks()) == ["disk"]
    monkeypatch.setattr(machine_checks, "_file_system", lambda folder: folder == other)
    found = disks()
    assert {check: item.level for check, item in found.items()} == {
        "disk": FindingLevel.OK,
        "disk of the raster store": FindingLevel.FAULT,
    }
    assert f"at {other}" in found["disk of the raster store"].found
    installed.settings = installed.settings.model_copy(update={"raster_store": "memory://store"})
    assert list(disks()) == ["disk"]


class Tracker:
    """MLflow with three runs that have not ended: of a fine-tune that goes on, of one that is no more, of others."""

    def __init__(self, uid: str) -> None:
        self.runs, self.ended = {"ours": uid, "left": "unknown", "others": ""}, list[str]()

    def running(self, tag: str) -> dict[str, str]:
        return dict(self.runs)

    def end_run(self, run_id: str, status: str) -> None:
        self.ended.append(run_id)
        del self.runs[run_id]


def test_of_runs_in_mlflow_only_ours_are_ended(installed: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    with installed.database.write() as session:
        tracker = Tracker(training.begin_run(session, RunTrigger.MANUAL).uid)
    monkeypatch.setattr(run_tracking, "tracking_of", lambda catalog: tracker)
    monkeypatch.setattr(service_checks, "registry_of", lambda settings: SimpleNamespace(versions=lambda limit: []))
    mlflow = Check("MLflow", service_checks.check_mlflow)
    found = {item.check: item for item in mlflow.results(installed, fix=True)}
    assert tracker.ended == ["left"]
    assert (found["MLflow's runs"].found, found["MLflow's runs"].fixed) == ("left running", "1 ended as killed")
    others = found["MLflow's other runs"]
    assert (others.level, others.fix) == (FindingLevel.WARNING, None)
    assert others.found == "others running without the tag training_run_uid"
    levels = {item.check: item.level for item in mlflow.results(installed, fix=False)}
    assert levels["MLflow's runs"] == FindingLevel.OK


def test_services_that_do_not_answer_are_faults_among_the_others(installed: Catalog) -> None:
    report = check(installed, fix=False)
    faults = [finding["check"] for finding in report["findings"] if finding["level"] == "fault"]
    parts = ["part clock", "part redis", "part mlflow", "part label-studio"]  # no clock has looked at them
    assert faults == [*parts, "MLflow", "model versions", "Label Studio"]
    assert report["faults"] == len(faults)
    assert report["warnings"] == sum(finding["level"] == "warning" for finding in report["findings"])
    assert by_check(report)["checksums"]["level"] == "ok"


def test_a_failed_job_is_told_until_another_has_done_its_work(installed: Catalog) -> None:
    job = claimed(installed, JobKind.SCORE_POOL)
    with installed.database.write() as session:
        jobs.fail(session, job.id, job.attempt, "out of memory")
    assert [item.found for item in check_rows(installed) if item.check == "failed jobs"] == ["score_pool"]
    claimed(installed, JobKind.SCORE_POOL)
    assert [item.found for item in check_rows(installed) if item.check == "failed jobs"] == []


def test_a_schema_of_another_release_ends_the_check_and_is_not_migrated(installed: Catalog) -> None:
    engine = installed.database.engine
    with engine.execution_options(writes=True).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0025'"))
    report = check(installed, fix=True)
    last = report["findings"][-1]
    assert (last["check"], last["level"], last["can_be_fixed"]) == ("schema", "fault", False)
    with engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "0025"


def test_a_check_that_fails_is_a_fault_of_its_part(catalog: Catalog) -> None:
    def fail(_: Catalog) -> list[Finding]:
        raise ZeroDivisionError("division by zero")

    (finding,) = Check("rows", fail).results(catalog, fix=True)
    assert (finding.check, finding.level) == ("rows", FindingLevel.FAULT)
    assert finding.found == "an error of the check (ZeroDivisionError: division by zero)"


def test_the_end_of_the_job_is_no_finding(installed: Catalog) -> None:
    def cancelled(done: int, total: int) -> None:
        raise JobCancelledError("a person cancelled it")

    store = of_contents(cancelled)[-1]
    with pytest.raises(JobCancelledError):
        list(store.results(installed, fix=True))


def test_files_that_come_and_go_while_others_are_read_are_no_faults(installed: Catalog) -> None:
    store, (truth,) = RasterStore(installed.settings.raster_store), [raster_keys.truth(1)]
    for key in ("views/patch-1/a.png", "views/patch-1/b.png"):
        store.put(key, b"x")
    content = store.get(truth)
    store.delete(truth)

    def meanwhile(done: int, total: int) -> None:
        if done == 0:
            store.delete("views/patch-1/b.png")
            store.put(truth, content)

    levels = {finding.check: finding.level for finding in check_files(installed, meanwhile)}
    assert levels == {
        "checksums": FindingLevel.OK,
        "rows without file": FindingLevel.OK,
        "files without row": FindingLevel.OK,
    }


def test_a_file_that_got_its_row_since_it_was_found_is_not_deleted(installed: Catalog) -> None:
    store, keys = RasterStore(installed.settings.raster_store), ["scorings/1/patches.npy", "scorings/2/patches.npy"]
    for key in keys:
        store.put(key, b"x")
    lost = found_in(installed, "files without row")
    with installed.database.write() as session:
        assert add_scoring(session, 1, {patches(installed, 1)[0].id: 0.5}).id == 1
    assert lost.fix is not None
    assert lost.fix() == "1 deleted"
    assert [key for key in keys if store.exists(key)] == keys[:1]


class Studio:
    """Label Studio with a task of ours and three others, of which somebody has begun the first."""

    def __init__(self, ours: str) -> None:
        self.tasks: dict[int, str | None] = {1: ours, 2: "begun", 3: "unknown", 4: None}

    def proposals_of_tasks(self, project_id: int) -> dict[int, str | None]:
        return dict(self.tasks)

    def delete_unanswered(self, project_id: int, proposals: list[str]) -> int:
        gone = [task for task, uid in self.tasks.items() if uid in proposals and task > 2]
        for task in gone:
            del self.tasks[task]
        return len(gone)


def test_tasks_of_no_proposal_are_a_fault_until_all_are_gone(
    installed: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that somebody has begun, and one that names no proposal, are never deleted."""
    with installed.read() as session:
        studio = Studio(session.query(Proposal).one().uid)
    monkeypatch.setattr(service_checks, "label_studio", lambda catalog: studio)
    monkeypatch.setattr(service_checks, "find_project", lambda catalog, studio: 15)

    def look(*, fix: bool) -> Finding:
        (finding,) = Check("Label Studio", service_checks.check_label_studio).results(installed, fix=fix)
        return finding

    found = look(fix=False)
    assert (found.check, found.level, found.found) == ("tasks without proposal", FindingLevel.FAULT, "2, 3, 4")
    found = look(fix=True)
    assert (found.level, found.fixed) == (FindingLevel.FAULT, None)
    assert "1 deleted; 2, 4 left, because somebody has begun them or they name no proposal" in found.remedy
    assert list(studio.tasks) == [1, 2, 4]
    del studio.tasks[2], studio.tasks[4]
    studio.tasks[5] = "another"
    found = look(fix=True)
    assert (found.level, found.fixed) == (FindingLevel.OK, "1 deleted")


def test_a_report_holds_no_keys() -> None:
    shown = ok("part mlflow", "up at http://anna:secret@mlflow.example.org/api?key=1").to_json()
    assert shown["found"] == "up at http://mlflow.example.org/api?…"
