"""What `up` refuses before it starts anything, and what it tells."""

import fcntl
import stat
from pathlib import Path

import pytest

from catalog.database import Database
from catalog.secrets import Secrets, load_or_create
from catalog.settings import Settings
from cli.closing import close_to_others
from cli.errors import StartError
from cli.processes import Entry, _check_database, _saying_if_possible, summary, up
from services import tokens, users
from services.class_scheme import store_scheme
from tests.land_cover import SETTING
from tests.real_services import free_port


def local_settings(var_dir: Path, **others: str) -> Settings:
    names = ("api_url", "label_studio_url", "mlflow_url")
    urls = {name: f"http://127.0.0.1:{free_port()}" for name in names}
    return Settings(var_dir=var_dir, redis_url=f"redis://127.0.0.1:{free_port()}/0", **urls, **others)


def test_two_on_one_folder_are_refused_with_the_number_of_the_first(tmp_path: Path):
    (tmp_path / "up.lock").write_text("4711\n")
    with (tmp_path / "up.lock").open() as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        with pytest.raises(StartError, match=r"process 4711\).*`kill 4711`"):
            up(local_settings(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["up.lock"]


def test_a_missing_label_studio_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GLACIER_AL_LABEL_STUDIO", str(tmp_path / "nothing"))
    with pytest.raises(StartError, match="make setup"):
        up(local_settings(tmp_path))


def test_a_failed_migration_ends_the_start_with_the_end_of_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "program"
    program.touch()
    monkeypatch.setenv("GLACIER_AL_LABEL_STUDIO", str(program))
    said: list[str] = []
    with pytest.raises(StartError, match=r"migration failed with exit code 1(?s:.*)unable to open database file"):
        up(local_settings(tmp_path, database_url=f"sqlite:///{tmp_path}"), said.append)
    assert said == ["Bringing the database to the newest schema"]


def test_the_summary_holds_addresses_log_in_and_token(tmp_path: Path):
    settings = local_settings(tmp_path)
    secrets = Secrets()
    text = summary(settings, secrets, Entry(), [])
    assert "\nEverything is ready.\n" in text
    for fact in (
        settings.api_url,
        settings.label_studio_url,
        settings.mlflow_url,
        f"admin  password {secrets.administrator_password}",
        f"glacier-al  password {secrets.mlflow_password}",
        secrets.operator_token,
        secrets.label_studio_email,
        secrets.label_studio_password,
        str(tmp_path / "logs"),
    ):
        assert fact in text
    assert secrets.redis_password not in text


def test_the_summary_names_what_is_missing(tmp_path: Path):
    text = summary(local_settings(tmp_path), Secrets(), Entry(), ["mlflow", "worker-io"])
    assert "\nNot everything is ready; missing: mlflow, worker-io.\n" in text


def test_programs_of_a_killed_system_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("cli.processes._EARLIER_S", 0.2)
    said: list[str] = []
    (tmp_path / "supervisor").mkdir()
    with (tmp_path / "supervisor" / "programs.lock").open("w") as program:
        fcntl.flock(program, fcntl.LOCK_SH)
        with pytest.raises(StartError, match=r"still run after 0 s.*`fuser .*programs.lock`"):
            up(local_settings(tmp_path), said.append)
    assert said == ["Waiting for the end of an earlier system, whose `up` was killed"]


def test_the_first_start_lets_the_owner_in_and_secrets_that_are_good_no_more_are_not_printed(settings: Settings):
    secrets = load_or_create(settings.secrets_file)
    assert _check_database(settings, secrets) == Entry(password_is_good=True, operator_token_is_good=True)
    database = Database(settings.database_url)
    with database.write() as session:
        users.set_password(session, "admin", "another password")
        tokens.revoke(session, "operator")
    database.dispose()
    entry = _check_database(settings, secrets)
    text = summary(settings, secrets, entry, [])
    assert secrets.administrator_password not in text
    assert secrets.operator_token not in text


def test_what_an_earlier_release_left_open_is_closed_at_the_next_start(tmp_path: Path):
    folder, outside = tmp_path / "var", tmp_path / "outside"
    (folder / "store" / "labels").mkdir(parents=True)
    (folder / "store" / "labels" / "1.tif").touch()
    outside.touch()
    (folder / "link").symlink_to(outside)
    opened = (folder, 0o755), (folder / "store", 0o775), (folder / "store" / "labels", 0o755), (outside, 0o644)
    for path, mode in (*opened, (folder / "store" / "labels" / "1.tif", 0o664)):
        path.chmod(mode)
    close_to_others(folder)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
    assert modes == {"var": 0o700, "store": 0o700, "labels": 0o700, "1.tif": 0o600, "link": 0o644}


def test_classes_that_contradict_those_of_the_installation_end_the_start(settings: Settings):
    database = Database(settings.database_url)
    with database.write() as session:
        store_scheme(session, settings)
    database.dispose()
    secrets = load_or_create(settings.secrets_file)
    _check_database(settings, secrets)
    with pytest.raises(StartError, match=r"found the classes other.*this installation was begun with background"):
        _check_database(settings.model_copy(update={"class_scheme": SETTING}), secrets)


def test_an_output_on_a_full_disk_does_not_stop_the_system():
    with Path("/dev/full").open("wb", buffering=0) as full:

        def say(text: str) -> None:
            full.write(text.encode())

        with pytest.raises(OSError, match="No space left"):
            say("redis ended by itself and is started again.")
        _saying_if_possible(say)("redis ended by itself and is started again.")
