"""A command acts on the system of its own data folder, or on none."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog.settings import Settings
from cli.exit_codes import ExitCode
from cli.main import main
from cli.running import ADDRESSES, NotRunningError, local_settings, lock_file, published, running_settings

ELSEWHERE = {
    name: f"{'redis' if name == 'redis_url' else 'http'}://127.0.0.1:{9000 + number}"
    for number, name in enumerate(ADDRESSES)
}
NEEDS_THE_SYSTEM = [
    ["round"],
    ["round", "abandon", "1"],
    ["train"],
    ["models"],
    ["models", "promote", "3", "--reason", "checked"],
    ["models", "rollback", "--reason", "wrong"],
    ["jobs", "cancel", "1"],
    ["jobs", "retry", "1"],
]


@contextmanager
def up_on(var_dir: Path) -> Iterator[Settings]:
    """What `up` leaves for others as long as it lives."""
    settings = Settings(var_dir=var_dir, **ELSEWHERE)
    var_dir.mkdir(parents=True, exist_ok=True)
    with lock_file(var_dir).open("w") as lock, published(settings):
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield settings


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(tmp_path / "here"))
    return tmp_path / "here"


def test_the_addresses_are_those_of_the_system_on_the_folder(here: Path):
    with up_on(here):
        assert {name: getattr(running_settings(), name) for name in ADDRESSES} == ELSEWHERE
        assert local_settings() == running_settings()


@pytest.mark.parametrize("arguments", NEEDS_THE_SYSTEM, ids=" ".join)
def test_the_system_of_another_folder_is_out_of_reach(here: Path, tmp_path: Path, arguments: list[str]):
    with up_on(tmp_path / "there"):
        result = call(*arguments)
    assert result.exit_code == ExitCode.NOT_RUNNING
    assert f"No system runs on {here}. Start it with `glacier-al up`, or name the folder" in result.output
    assert not here.exists()  # least of all a database with the reason for what was done there


def test_addresses_without_their_database_do_not_count(here: Path, monkeypatch: pytest.MonkeyPatch):
    # Preferred ports in the shell, and a mistyped folder: they may be those of another folder's system.
    for name, address in ELSEWHERE.items():
        monkeypatch.setenv(f"GLACIER_AL_{name.upper()}", address)
    with pytest.raises(NotRunningError, match="GLACIER_AL_DATABASE_URL, GLACIER_AL_REDIS_URL, GLACIER_AL_MLFLOW_URL"):
        running_settings()


def test_a_database_and_its_services_that_are_all_named_do(here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    named = {"database_url": f"sqlite:///{tmp_path / 'catalog.sqlite'}", **ELSEWHERE}
    for name, address in named.items():
        monkeypatch.setenv(f"GLACIER_AL_{name.upper()}", address)
    assert {name: getattr(running_settings(), name) for name in named} == named


def test_what_a_killed_up_left_does_not_count(here: Path):
    with up_on(here):
        left = (here / "running.json").read_text()
    (here / "running.json").write_text(left)
    with pytest.raises(NotRunningError):
        running_settings()


def test_commands_that_need_the_database_only_work_without_the_system(here: Path):
    here.mkdir()
    assert call("scene", "list").exit_code == 0
    assert call("jobs").exit_code == 0


def test_without_the_system_nothing_that_listens_at_the_usual_addresses_is_asked(here: Path):
    usual = Settings()
    settings = local_settings()
    for name in ADDRESSES:
        assert getattr(settings, name) != getattr(usual, name)
    assert settings.model_dump(exclude=set(ADDRESSES)) == usual.model_dump(exclude=set(ADDRESSES))


def test_the_password_of_redis_is_for_its_owner_only(here: Path):
    with up_on(here) as settings:
        file = here / "running.json"
        assert json.loads(file.read_text())["redis_url"] == settings.redis_url
        assert file.stat().st_mode & 0o777 == 0o600
    assert not file.exists()
