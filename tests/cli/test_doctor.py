"""What `glacier-al doctor` finds in an installation that does not run, and mends."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catalog import jobs, training
from catalog.context import Catalog
from catalog.data_set_records import DataSet
from catalog.records import JobKind, RunState, RunTrigger, TrainingRun, now
from catalog.registry_records import PartState
from catalog.settings_sources import variable
from cli.main import main
from imagery.store import RasterStore
from services import raster_keys
from tests.catalog.test_database import downgrade
from tests.catalog_fixtures import NOBODY
from tests.dashboard_world import tick
from tests.workers.installed import populate


@pytest.fixture
def installed(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A catalog that the commands find: a pool scene with a label of which the ledger holds no drawing."""
    for name in ("var_dir", "database_url", "raster_store", "secrets_file"):
        monkeypatch.setenv(variable(name), str(getattr(catalog.settings, name)))
    populate(catalog, tmp_path)
    return catalog


def doctor(*options: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run the command; return its exit status, and the findings that are not well by what was checked."""
    done = CliRunner().invoke(main, ["doctor", "--json", *options])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    findings = json.loads(done.stdout)
    return done.exit_code, {item["check"]: item for item in findings if item["level"] != "ok" or item["fixed"]}


def file_of(catalog: Catalog, key: str) -> Path:
    return Path(catalog.settings.raster_store) / key


def test_a_whole_installation_has_no_fault(installed: Catalog) -> None:
    status, found = doctor()
    assert status == 0
    assert {item["level"] for item in found.values()} <= {"warning"}  # a port may be taken, the disk scarce


def test_it_says_what_was_found_and_expected_and_what_to_do(installed: Catalog) -> None:
    installed.settings.secrets_file.chmod(0o644)
    done = CliRunner().invoke(main, ["doctor"])
    assert done.exit_code == 3
    path = installed.settings.secrets_file
    line = f"fault   permissions of {path}: found 644; expected 600: its owner only; chmod 600 {path} (--fix does it)"
    assert line in done.output.splitlines()
    assert doctor("--fix")[0] == 0
    assert path.stat().st_mode & 0o777 == 0o600
    assert doctor()[0] == 0


def test_masks_burned_from_outlines_are_made_again(installed: Catalog, tmp_path: Path) -> None:
    key = raster_keys.truth(1)
    whole = file_of(installed, key).read_bytes()
    file_of(installed, key).write_bytes(whole[:100])
    status, found = doctor()
    assert (status, found["checksums"]["found"]) == (3, f"1 damaged: {key}")
    status, found = doctor("--fix")
    assert (status, found["checksums"]["fixed"]) == (0, "1 made again")
    assert file_of(installed, key).read_bytes() == whole


def test_a_label_that_cannot_be_drawn_again_stays_a_fault_and_is_named(installed: Catalog) -> None:
    with installed.read() as session:
        (label,) = training.training_labels(session)
    file_of(installed, label.mask_key).unlink()
    status, found = doctor("--fix")
    assert status == 3
    assert label.mask_key in found["rows without file"]["found"]
    assert f"label {label.id}" in doctor()[1]["set aside: label"]["found"]


def test_files_without_row_are_deleted_but_never_what_was_drawn(installed: Catalog) -> None:
    store = RasterStore(installed.settings.raster_store)
    drawn, others = "labels/patch-1/annotation-7-event-9.tif", ["views/patch-99/a.png", "scorings/5/patches.npy", "x"]
    for key in (drawn, *others):
        store.put(key, b"x")
    assert doctor()[1]["files without row"]["level"] == "warning"
    doctor("--fix")
    assert [key for key in (drawn, *others) if store.exists(key)] == [drawn]


def test_files_of_data_sets_are_wanted_as_long_as_these_stand(installed: Catalog) -> None:
    store, key = RasterStore(installed.settings.raster_store), raster_keys.data_set("a" * 32)
    with installed.database.write() as session:
        job = jobs.enqueue(session, JobKind.EXPORT_DATASET, "a" * 32, uid="a" * 32)
        row = DataSet(uid="a" * 32, request={}, with_model=False, asked_by="olga", job_id=job.id)
        session.add(row)
    store.put(key, b"PK")  # stored, and not noted yet
    assert doctor("--fix")[0] == 0
    assert store.exists(key)
    with installed.database.write() as session:
        session.get_one(DataSet, row.id).contents = {}
    file_of(installed, key).unlink()
    status, found = doctor()
    assert (status, found["rows without file"]["found"]) == (3, f"1: {key}")
    store.put(key, b"PK")
    with installed.database.write() as session:
        session.delete(session.get_one(DataSet, row.id))
    assert doctor()[1]["files without row"]["found"] == f"1: {key}"
    doctor("--fix")
    assert not store.exists(key)


def test_a_run_that_no_job_can_end_is_closed(installed: Catalog) -> None:
    with installed.database.write() as session:
        run = training.begin_run(session, RunTrigger.MANUAL)
    assert doctor()[1]["training runs"]["found"] == f"run {run.id} open, but no job"
    doctor("--fix")
    with installed.read() as session:
        assert session.get_one(TrainingRun, run.id).state is RunState.KILLED


def test_a_moved_scene_is_a_fault(installed: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.tif").rename(tmp_path / "b.tif")
    status, found = doctor()
    assert status == 3
    assert "a.tif: found no such file" in found["scene a-pool"]["found"]


def test_an_old_schema_is_brought_up_to_date(installed: Catalog) -> None:
    with installed.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0008")
    installed.database.dispose()
    status, found = doctor()
    assert (status, found["schema"]["found"]) == (3, "revision 0008")
    assert doctor("--fix")[0] == 0


def test_of_a_running_system_each_part_that_does_not_answer_is_named(
    installed: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("api_url", "redis_url", "mlflow_url", "label_studio_url"):  # so that it counts as running
        monkeypatch.setenv(variable(name), installed.settings.redis_url if name == "redis_url" else NOBODY)
    tick(installed)
    with installed.database.write() as session:
        session.merge(PartState(name="redis", fault="no worker listens to io", checked_at=now()))
    status, found = doctor()
    assert status == 3
    faults = {check: item["found"] for check, item in found.items() if item["level"] == "fault"}
    assert list(faults) == ["part api", "part redis", "MLflow", "model versions", "Label Studio"]
    assert faults["part api"].startswith(f"no answer at {NOBODY}/healthz")
    assert faults["part redis"] == "no worker listens to io"
    assert "MLflow does not answer" in faults["MLflow"]
