"""Backups of a folder with the parts that `up` keeps there, in use while they are copied."""

import json
import os
import re
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import make_url, select, text

from catalog import jobs
from catalog.context import Catalog
from catalog.database import Database
from catalog.errors import BackupError
from catalog.records import Job, JobKind, JobState, Label, Scene
from catalog.settings import Settings
from catalog.settings_sources import variable
from cli import backup_commands, restore
from cli.errors import StartError
from cli.main import main
from imagery.store import RasterStore
from services import backup
from services.backup_folder import BackupFolder, Manifest
from services.database_copies import copy_sqlite, dump_postgresql, load_postgresql
from tests.catalog_fixtures import add_round, add_scene, label_of


@pytest.fixture
def installation(tmp_path: Path, migrated_database: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """An installation with a labelled scene, a mask, a model version and an annotation."""
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "var"))
    (tmp_path / "var").mkdir()
    shutil.copy(migrated_database, tmp_path / "var" / "catalog.sqlite")
    catalog = Catalog(Settings())
    store = RasterStore(catalog.settings.raster_store)
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, (proposal,) = add_round(session, patches[:1])
        label = label_of(session, proposal, 900)
        label.mask_sha256 = store.put(label.mask_key, b"what an expert drew")
        session.add(label)
    store.put("views/patch-1/true-colour.png", b"a picture")
    for part, database in (("mlflow", "mlflow.db"), ("label-studio", "label_studio.sqlite3")):
        (catalog.settings.var_dir / part).mkdir()
        with closing(sqlite3.connect(catalog.settings.var_dir / part / database)) as connection:
            connection.execute("CREATE TABLE things (name TEXT)")
            connection.execute("INSERT INTO things VALUES (?)", [part])
            connection.commit()
    artifact = catalog.settings.var_dir / "mlflow" / "artifacts" / "1" / "bundle" / "weights.safetensors"
    artifact.parent.mkdir(parents=True)
    artifact.write_bytes(b"weights")
    (catalog.settings.var_dir / "label-studio" / ".env").write_text("SECRET_KEY=k")
    (catalog.settings.var_dir / "logs").mkdir()
    (catalog.settings.var_dir / "config.toml").write_text("round_size = 3\n")
    return catalog


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def back_up(folder: Path, *options: str) -> str:
    """Back up; return the name of the backup."""
    done = call("backup", str(folder), *options)
    assert done.exit_code == 0, done.output
    return BackupFolder(folder).names()[-1]


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a data folder but databases, whose pages may lie elsewhere in a copy, and checksums beside files."""
    apart = (".sqlite", ".sqlite-shm", ".sqlite-wal", ".db", ".sqlite3", ".sha256")
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(apart)]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_both_show_how_far_they_are(installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In percent of the files; of a restoration the first half is checking them."""
    monkeypatch.setattr(backup_commands, "QUIET_S", 0.0)
    done = call("backup", str(tmp_path / "backup"))
    shown = re.findall(r"the backup, (\d+)%", done.stderr)
    assert len(shown) > 3
    assert list(map(int, shown)) == sorted(map(int, shown))
    assert shown[-1] == "100"
    assert call("backup", str(tmp_path / "backup"), "--json").exit_code == 0
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    done = call("restore", str(tmp_path / "backup"))
    shown = re.findall(r"the restoration, (\d+)%", done.stderr)
    assert any(int(percent) < 50 for percent in shown)
    assert list(map(int, shown)) == sorted(map(int, shown))
    assert shown[-1] == "100"


def test_a_restored_folder_has_all_that_was_there(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_there = contents(tmp_path / "var")
    back_up(tmp_path / "backup")
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    done = call("restore", str(tmp_path / "backup"))
    assert done.exit_code == 0, done.output
    assert contents(tmp_path / "fresh") == was_there
    restored = Catalog(Settings())
    assert restored.settings.round_size == 3
    assert restored.secrets == installation.secrets
    assert stat.S_IMODE(restored.settings.secrets_file.stat().st_mode) == 0o600
    with restored.read() as session:
        (label,) = session.scalars(select(Label))
        assert session.scalars(select(Scene.name)).all()
    assert RasterStore(restored.settings.raster_store).get(label.mask_key, label.mask_sha256) == b"what an expert drew"
    for part, database in (("mlflow", "mlflow.db"), ("label-studio", "label_studio.sqlite3")):
        with closing(sqlite3.connect(tmp_path / "fresh" / part / database)) as connection:
            assert connection.execute("SELECT name FROM things").fetchall() == [(part,)]
    restored.close()


def test_rows_that_are_not_committed_are_not_in_the_backup(installation: Catalog, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "var" / "catalog.sqlite")) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE scenes SET name = 'half done'")
        name = back_up(tmp_path / "backup")
        writer.rollback()
    folder = BackupFolder(tmp_path / "backup")
    (saved,) = [file for file in folder.read(name).files if file.part == "catalog"]
    with closing(sqlite3.connect(folder.object(saved.sha256))) as copy:
        assert copy.execute("SELECT count(*) FROM scenes WHERE name = 'half done'").fetchone() == (0,)


def test_a_further_database_is_copied_with_what_only_its_log_has(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As MLflow's users are, in `basic_auth.db`."""
    with closing(sqlite3.connect(tmp_path / "var" / "mlflow" / "users.db")) as users:
        users.execute("PRAGMA journal_mode = WAL")
        users.execute("CREATE TABLE users (name TEXT)")
        back_up(tmp_path / "backup")
        users.execute("INSERT INTO users VALUES ('glaciologist')")
        users.commit()
        back_up(tmp_path / "backup")
        monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
        assert call("restore", str(tmp_path / "backup")).exit_code == 0
    with closing(sqlite3.connect(tmp_path / "fresh" / "mlflow" / "users.db")) as restored:
        assert restored.execute("SELECT name FROM users").fetchall() == [("glaciologist",)]


def test_a_second_backup_stores_what_is_new_only(installation: Catalog, tmp_path: Path) -> None:
    def objects() -> set[str]:
        return {path.name for path in (tmp_path / "backup" / "objects").glob("*/*")}

    first = back_up(tmp_path / "backup")
    before = objects()
    RasterStore(installation.settings.raster_store).put("views/patch-2/true-colour.png", b"another picture")
    second = back_up(tmp_path / "backup")
    assert len(objects() - before) == 1  # the databases have not changed either
    folder = BackupFolder(tmp_path / "backup")
    assert len(folder.read(second).files) == len(folder.read(first).files) + 1
    assert call("backup", str(tmp_path / "backup"), "--keep", "1").exit_code == 0
    assert len(folder.names()) == 1
    assert folder.damaged(folder.read(folder.names()[0]).files) == []


@pytest.mark.parametrize("is_empty", [False, True])
def test_where_no_catalog_is_nothing_is_backed_up_or_deleted(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_empty: bool
) -> None:
    """As if the disk of the data folder were not mounted."""
    back_up(tmp_path / "backup")
    before = contents(tmp_path / "backup")
    (tmp_path / "unmounted").mkdir()
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "unmounted"))
    if is_empty:
        (tmp_path / "unmounted" / "catalog.sqlite").touch()
    done = call("backup", str(tmp_path / "backup"), "--keep", "1")
    assert done.exit_code == 1
    assert "found no catalog in" in done.output
    assert contents(tmp_path / "backup") == before
    assert (tmp_path / "unmounted" / "catalog.sqlite").exists() == is_empty


def test_where_the_raster_store_is_gone_nothing_is_backed_up_or_deleted(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if its disk were not mounted."""
    back_up(tmp_path / "backup")
    before = contents(tmp_path / "backup")
    (tmp_path / "unmounted").mkdir()
    monkeypatch.setenv(variable("raster_store"), str(tmp_path / "unmounted"))
    done = call("backup", str(tmp_path / "backup"), "--keep", "1")
    assert done.exit_code == 1
    assert f"found no file in the raster store {tmp_path / 'unmounted'}; the newest backup has" in done.output
    assert contents(tmp_path / "backup") == before


def test_what_was_not_finished_before_a_crash_is_not_in_the_copy(tmp_path: Path) -> None:
    """Of a database with a rollback journal, as MLflow and Label Studio have, whose process was killed as it wrote."""
    source = tmp_path / "killed.db"
    with closing(sqlite3.connect(source)) as first:
        first.execute("CREATE TABLE things (name TEXT)")
        first.executemany("INSERT INTO things VALUES (?)", [("ice" * 100,)] * 1000)
        first.commit()
    program = (
        "import os, sqlite3, sys\n"
        "live = sqlite3.connect(sys.argv[1])\n"
        "live.execute('PRAGMA cache_size = 5')\n"
        "live.execute(\"UPDATE things SET name = 'half'\")\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(source)], check=True)
    assert Path(f"{source}-journal").stat().st_size > 0
    copy_sqlite(source, tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
        assert copy.execute("SELECT DISTINCT name FROM things").fetchall() == [("ice" * 100,)]


def test_a_copy_has_what_only_the_log_has(tmp_path: Path) -> None:
    """Of a database in use, and of one whose index of the log (``-shm``) is missing; its name is no part of a URL."""
    source = tmp_path / "50% ?mode=rwc#.db"
    with closing(sqlite3.connect(source)) as live:
        live.execute("PRAGMA journal_mode = WAL")
        live.execute("CREATE TABLE things (name TEXT)")
        live.execute("INSERT INTO things VALUES ('ice')")
        live.commit()
        copy_sqlite(source, tmp_path / "in-use.db")
        killed = tmp_path / "killed.db"
        for suffix in ("", "-wal"):
            shutil.copy(f"{source}{suffix}", f"{killed}{suffix}")
    copy_sqlite(killed, tmp_path / "of-killed.db")
    for name in ("in-use.db", "of-killed.db"):
        with closing(sqlite3.connect(tmp_path / name)) as copy:
            assert copy.execute("SELECT name FROM things").fetchall() == [("ice",)]
    with pytest.raises(BackupError, match=r"missing\.db cannot be copied"):
        copy_sqlite(tmp_path / "missing.db", tmp_path / "none.db")
    assert not (tmp_path / "missing.db").exists()


def test_what_lies_on_another_disk_is_in_the_backup(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder and a file behind links; links that lead back or to no file are named."""
    artifacts, disk = tmp_path / "var" / "mlflow" / "artifacts", tmp_path / "disk"
    artifacts.rename(disk)
    artifacts.symlink_to(disk)
    (tmp_path / "figure.png").write_bytes(b"a figure")
    (disk / "figure.png").symlink_to(tmp_path / "figure.png")
    (disk / "1" / "back").symlink_to(tmp_path / "var" / "mlflow")
    (disk / "gone").symlink_to(tmp_path / "gone")
    left_out = BackupFolder(tmp_path / "backup").read(back_up(tmp_path / "backup")).left_out
    assert left_out == [
        f"mlflow: {artifacts / 'gone'} leads to no file",
        f"mlflow: {artifacts / '1' / 'back'} leads back to a folder that it lies in",
    ]
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    assert call("restore", str(tmp_path / "backup")).exit_code == 0
    restored = contents(tmp_path / "fresh" / "mlflow" / "artifacts")
    assert restored == {"figure.png": b"a figure", "1/bundle/weights.safetensors": b"weights"}


def test_secrets_that_are_missing_are_named(installation: Catalog, tmp_path: Path) -> None:
    installation.settings.secrets_file.unlink()
    (left_out,) = BackupFolder(tmp_path / "backup").read(back_up(tmp_path / "backup")).left_out
    assert left_out.startswith(f"secrets: there is no {installation.settings.secrets_file}")


def test_a_content_that_was_cut_off_in_the_folder_is_saved_again(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_there = contents(tmp_path / "var")
    folder = BackupFolder(tmp_path / "backup")
    for file in folder.read(back_up(folder.root)).files:
        if file.part == "store":
            os.truncate(folder.object(file.sha256), 0)
    back_up(folder.root)
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    done = call("restore", str(tmp_path / "backup"))
    assert done.exit_code == 0, done.output
    assert contents(tmp_path / "fresh") == was_there


def test_beside_a_damaged_manifest_backups_go_on_and_no_content_is_deleted(
    installation: Catalog, tmp_path: Path
) -> None:
    folder = BackupFolder(tmp_path / "backup")
    oldest, damaged = back_up(folder.root), back_up(folder.root)
    (folder.root / "snapshots" / damaged / "manifest.json").write_text("{")
    RasterStore(installation.settings.raster_store).delete("views/patch-1/true-colour.png")
    before = contents(folder.root / "objects")
    done = call("backup", str(folder.root), "--keep", "1")
    assert done.exit_code == 0, done.output
    assert f"the manifest of the backup {damaged} is damaged" in done.output
    kept, newest = folder.names()
    assert kept == damaged
    assert newest != oldest
    assert before.items() <= contents(folder.root / "objects").items()
    shutil.rmtree(folder.root / "snapshots" / damaged)
    assert call("backup", str(folder.root), "--keep", "1").exit_code == 0
    assert len(contents(folder.root / "objects")) < len(before)


def test_what_a_killed_backup_has_left_is_removed(installation: Catalog, tmp_path: Path) -> None:
    back_up(tmp_path / "backup")
    left = tmp_path / "backup" / "objects" / ".0123456789abcdef0123456789abcdef"
    left.write_bytes(b"half a cont")
    back_up(tmp_path / "backup")
    assert not left.exists()


def test_the_order_of_backups_is_not_that_of_a_clock_that_was_ahead(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=lambda tz: datetime.now(tz) + timedelta(days=365))
    with monkeypatch.context() as ahead:
        ahead.setattr(backup, "datetime", clock)
        first, second = back_up(tmp_path / "backup"), back_up(tmp_path / "backup")
    RasterStore(installation.settings.raster_store).put("labels/new.tif", b"a new label")
    done = call("backup", str(tmp_path / "backup"), "--keep", "2")
    assert done.exit_code == 0, done.output
    assert f"the backup {first} has not come yet" in done.output
    folder = BackupFolder(tmp_path / "backup")
    kept, third = folder.names()
    assert kept == second
    assert third < second
    assert third.endswith("-3")
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    assert call("restore", str(tmp_path / "backup")).exit_code == 0
    assert RasterStore(Settings().raster_store).get("labels/new.tif") == b"a new label"


def test_backups_of_earlier_releases_come_first(tmp_path: Path) -> None:
    """Their names have no number."""
    folder = BackupFolder(tmp_path)
    manifest = Manifest(created="", versions={}, taken={}, files=[], left_out=[])
    for name in ("2027-01-01T00-00-00.000000Z", "2026-01-01T00-00-00.000000Z"):
        folder.write(name, manifest)
    moments = [datetime(2026, 6, day, tzinfo=UTC) for day in range(1, 11)]
    for moment in moments:
        folder.write(folder.next_name(moment), manifest)
    assert folder.names() == [
        "2026-01-01T00-00-00.000000Z",
        "2027-01-01T00-00-00.000000Z",
        *(f"2026-06-{number:02}T00-00-00.000000Z-{number}" for number in range(1, 11)),
    ]
    assert folder.made_later(moments[8]) == ["2027-01-01T00-00-00.000000Z", "2026-06-10T00-00-00.000000Z-10"]


def test_backups_are_made_and_deleted_by_one_process_at_a_time(installation: Catalog, tmp_path: Path) -> None:
    """A deletion would take the contents of a backup that is being made: no manifest names them yet."""
    first = back_up(tmp_path / "backup")
    folder = BackupFolder(tmp_path / "backup")
    with folder.held():
        refused = CliRunner().invoke(main, ["backup", str(tmp_path / "backup"), "--keep", "1"])
    assert refused.exit_code == 1
    assert "another process is making a backup" in refused.output
    assert folder.names() == [first]
    assert CliRunner().invoke(main, ["backup", str(tmp_path / "backup"), "--keep", "1"]).exit_code == 0
    assert len(folder.names()) == 1
    assert first not in folder.names()


def test_only_the_owner_can_read_a_backup(installation: Catalog, tmp_path: Path) -> None:
    back_up(tmp_path / "backup")
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_damaged_backup_is_refused_before_anything_is_written(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = back_up(tmp_path / "backup")
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    folder = BackupFolder(tmp_path / "backup")
    mask = next(file for file in folder.read(name).files if file.path.startswith("labels/"))
    whole = folder.object(mask.sha256).read_bytes()
    folder.object(mask.sha256).write_bytes(b"?" * len(whole))
    done = call("restore", str(tmp_path / "backup"))
    assert done.exit_code == 1
    assert f"store/{mask.path}" in done.output
    assert not (tmp_path / "fresh").exists()
    folder.object(mask.sha256).write_bytes(whole)
    manifest = tmp_path / "backup" / "snapshots" / name / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"files": []}))
    done = call("restore", str(tmp_path / "backup"))
    assert (done.exit_code, "is damaged" in done.output) == (1, True)


def test_nothing_is_restored_over_an_installation(installation: Catalog, tmp_path: Path) -> None:
    back_up(tmp_path / "backup")
    before = contents(tmp_path / "var")
    done = call("restore", str(tmp_path / "backup"))
    assert (done.exit_code, "is not empty" in done.output) == (1, True)
    assert contents(tmp_path / "var") == before


def test_the_job_that_made_a_backup_does_not_run_where_it_is_restored(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would back up into the folder of the original; all other jobs go on."""
    with installation.database.write() as session:
        job = jobs.enqueue(session, JobKind.BACK_UP)
        other = jobs.enqueue(session, JobKind.SCORE_POOL)
        session.flush()
        assert jobs.claim(session, job.id) is not None
    back_up(tmp_path / "backup")
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    assert call("restore", str(tmp_path / "backup")).exit_code == 0
    restored = Database(Settings().database_url)
    with restored.read() as session:
        states = {row.id: row.state for row in session.scalars(select(Job))}
    restored.dispose()
    assert states == {job.id: JobState.CANCELLED, other.id: JobState.QUEUED}


@pytest.fixture
def outside(installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what a new data folder, `fresh`, does not hold: secrets, database and store; a backup was made."""
    back_up(tmp_path / "backup")
    folder = tmp_path / "outside"
    folder.mkdir()
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    monkeypatch.setenv(variable("secrets_file"), str(folder / "secrets.json"))
    monkeypatch.setenv(variable("database_url"), f"sqlite:///{folder / 'catalog.sqlite'}")
    monkeypatch.setenv(variable("raster_store"), str(folder / "store"))
    return folder


def test_secrets_that_lie_outside_are_kept_if_they_are_those_of_the_backup(
    installation: Catalog, outside: Path, tmp_path: Path
) -> None:
    path = outside / "secrets.json"
    path.write_text("{}")
    done = call("restore", str(tmp_path / "backup"))
    assert done.exit_code == 1
    assert f"{path} holds other secrets than the backup" in done.output
    assert contents(outside) == {"secrets.json": b"{}"}
    assert not (tmp_path / "fresh").exists()
    shutil.copy(installation.settings.secrets_file, path)
    path.chmod(0o400)
    done = call("restore", str(tmp_path / "backup"))
    assert done.exit_code == 0, done.output
    assert path.read_bytes() == installation.settings.secrets_file.read_bytes()


def test_a_restore_that_failed_late_can_be_repeated(
    installation: Catalog, outside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Settings) -> None:
        raise StartError("no room is left")

    with monkeypatch.context() as failing:
        failing.setattr(restore, "_end_backup", fail)
        done = call("restore", str(tmp_path / "backup"))
    assert (done.exit_code, "no room is left" in done.output) == (1, True)
    assert [path for path in outside.rglob("*") if path.is_file()] == []
    assert not (tmp_path / "fresh").exists()
    done = call("restore", str(tmp_path / "backup"))
    assert done.exit_code == 0, done.output
    assert {"secrets.json", "store/views/patch-1/true-colour.png"} <= contents(outside).keys()


def test_a_backup_of_a_later_release_is_refused(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = BackupFolder(tmp_path / "backup")
    manifest = folder.read(back_up(folder.root))
    later = manifest.model_copy(update={"versions": {**manifest.versions, "schema": "9999"}})
    folder.write("9999Z-9999", later)
    monkeypatch.setenv(variable("var_dir"), str(tmp_path / "fresh"))
    done = call("restore", str(folder.root))
    assert (done.exit_code, "does not know" in done.output) == (1, True)


def test_a_restore_that_was_cut_off_is_not_started(
    installation: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "var" / "restore-unfinished").touch()
    done = call("up")
    assert (done.exit_code, "was not restored to the end" in done.output) == (1, True)


def test_postgresql_is_dumped_as_it_is_and_loaded_into_an_empty_database(postgresql_url: str, tmp_path: Path) -> None:
    database = Database(postgresql_url)
    with database.write() as session:
        scene, _ = add_scene(session)
        session.execute(text("CREATE ROLE statistician"))
        session.execute(text("GRANT SELECT ON scenes TO statistician"))
    dump_postgresql(postgresql_url, tmp_path / "catalog.dump")
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("DROP OWNED BY statistician"))  # another cluster does not have this role
        connection.execute(text("DROP ROLE statistician"))
        connection.execute(text("CREATE DATABASE restored"))
    database.dispose()
    address = make_url(postgresql_url).set(database="restored").render_as_string(hide_password=False)
    load_postgresql(address, tmp_path / "catalog.dump")
    restored = Database(address)
    with restored.read() as session:
        assert session.scalars(select(Scene.name)).all() == [scene.name]
    restored.dispose()
    with pytest.raises(BackupError, match="pg_restore failed"):
        load_postgresql(address, tmp_path / "catalog.dump")
