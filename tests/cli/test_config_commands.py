"""`glacier-al init` and `glacier-al config`, as processes of their own where that makes a difference."""

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog.context import Catalog
from catalog.settings import Settings
from cli.main import main
from services import changing_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "var"
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(folder))
    return folder


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def described(name: str) -> dict[str, object]:
    result = run("config", name, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    return found


def process(*command: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GLACIER_AL_")}
    env |= {"PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=120
    )


def test_init_writes_a_file_for_its_owner_that_changes_nothing(folder: Path) -> None:
    before = Settings()
    result = run("init")
    assert result.exit_code == 0, result.output
    path = folder / "config.toml"
    assert f"Wrote {path}" in result.output
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(folder.iterdir()) == [path]
    assert Settings() == before


def test_init_never_overwrites(folder: Path) -> None:
    folder.mkdir()
    path = folder / "config.toml"
    path.write_text("mc_passes = 31\n")
    result = run("init")
    assert result.exit_code == 1
    assert f"{path} exists and is left as it is" in result.output
    assert "glacier-al init --print" in result.output
    assert path.read_text() == "mc_passes = 31\n"


def test_init_can_show_the_file_without_writing(folder: Path) -> None:
    result = run("init", "--print")
    assert result.exit_code == 0, result.output
    assert tomllib.loads(result.output) == {}
    assert "\n#mc_passes = 20\n" in result.output
    assert not folder.exists()


def test_commands_of_one_folder_see_one_file(tmp_path: Path) -> None:
    """Written in the usual place, below the working folder; nothing is exported."""
    done = process("cli.main", "init", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "var" / "config.toml"
    path.write_text(path.read_text().replace("#mc_passes = 20", "mc_passes = 31"))
    done = process("cli.main", "config", "mc_passes", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["value"] == 31
    done = process("cli.main", "config", "mc_passes", cwd=tmp_path, GLACIER_AL_MC_PASSES="32")
    assert "mc_passes = 32" in done.stdout
    assert "From: GLACIER_AL_MC_PASSES" in done.stdout


def test_it_is_shown_where_each_value_comes_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir()
    path = folder / "config.toml"
    path.write_text(
        '# Ours\narchitecture = "baraka"\nunet_depth = 3\nunet_width = "null"\nlabel_studio_url = "http://studio:8080"\n'
    )
    monkeypatch.setenv("GLACIER_AL_MC_PASSES", "31")
    result = run("config", "--json")
    found = {name: (item["value"], item["source"], item["place"]) for name, item in json.loads(result.stdout).items()}
    assert list(found) == list(Settings.model_fields)
    assert found["var_dir"] == (str(folder), "environment", "GLACIER_AL_VAR_DIR")
    assert found["scene_root"] == (f"{folder}/scenes", "derived", "var_dir")
    assert found["label_studio_public_url"] == ("http://studio:8080", "derived", "label_studio_url")
    assert found["architecture"] == ("baraka", "file", f"{path}, line 2")
    assert found["unet_depth"] == (3, "file", f"{path}, line 3")
    assert found["unet_width"] == (16, "architecture", "baraka")
    assert found["unet_dropout"] == (0.3, "architecture", "baraka")
    assert found["fine_tune_loss"] == ("dice", "architecture", "baraka")
    assert found["channels"] == (["baraka"], "architecture", "baraka")
    assert found["mc_passes"] == (31, "environment", "GLACIER_AL_MC_PASSES")
    assert found["mc_seed"] == (0, "default", "")


@pytest.mark.parametrize("architecture", ["default", "baraka", "aryal", "he"])
def test_every_setting_without_a_value_gets_one_from_the_architecture(
    folder: Path, monkeypatch: pytest.MonkeyPatch, architecture: str
) -> None:
    monkeypatch.setenv("GLACIER_AL_ARCHITECTURE", architecture)
    found = json.loads(run("config", "--json").stdout)
    unset = [name for name, item in found.items() if item["value"] is None]
    # No backups by page; the glacier scheme, or what the installation was begun with; the loss of the labels; and no
    # inventory.
    assert unset == ["backup_folder", "class_scheme", "prior_loss", "glacier_inventory"]


def test_the_table_shows_every_setting_and_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_EXPERIMENT", "long " * 60)
    result = run("config")
    assert result.exit_code == 0, result.output
    assert [name for name in Settings.model_fields if f" {name} " not in result.output] == []
    assert f'"{"long " * 60}"' in result.output  # no terminal: nothing is folded or cut
    assert f"File: none; `glacier-al init` writes {folder}/config.toml" in result.output
    run("init")
    assert f"File: {folder}/config.toml" in run("config").output


def test_one_setting_is_shown_with_its_meaning(folder: Path) -> None:
    assert run("config", "patch_size_px").output.splitlines() == [
        "patch_size_px = 512",
        "  Side of a patch, unless the scene names its own.",
        "  From: default",
        "  Unit: pixels",
        "  Allowed: a whole number, at least 32",
        "  Default: 512",
        "  Environment: GLACIER_AL_PATCH_SIZE_PX",
    ]


@pytest.mark.parametrize("name", ["MC_SHORTLIST_SHARE", "GLACIER_AL_MC_SHORTLIST_SHARE", "mc_contested_share"])
def test_a_setting_is_found_by_its_variable_and_its_old_name(folder: Path, name: str) -> None:
    assert described(name)["variable"] == "GLACIER_AL_MC_SHORTLIST_SHARE"


def test_what_was_changed_on_the_page_is_shown(folder: Path) -> None:
    catalog = Catalog(Settings())
    catalog.database.migrate()
    changing_settings.change(catalog, {"round_size": 7, "mc_passes": 40}, "olga")
    catalog.close()
    assert (described("round_size")["value"], described("round_size")["source"]) == (7, "page")
    assert "  From: the page /settings\n" in run("config", "round_size").output
    (folder / "config.toml").write_text("mc_passes = 31\n")
    assert (described("mc_passes")["value"], described("mc_passes")["source"]) == (31, "file")


def test_a_database_that_cannot_be_read_is_said_and_hides_nothing_else(folder: Path) -> None:
    folder.mkdir()
    (folder / "catalog.sqlite").write_text("no database")
    result = run("config", "round_size")
    assert "round_size = 20" in result.stdout
    assert "The database cannot be read (file is not a database)" in result.stderr


def test_a_misspelt_setting_is_told_the_nearest(folder: Path) -> None:
    result = run("config", "mc_pases")
    assert result.exit_code == 2
    assert "found no setting 'mc_pases'; did you mean mc_passes?" in result.output


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("database_url", "postgresql+psycopg://al:geheim@host/al", "postgresql+psycopg://al:***@host/al"),
        ("database_url", "postgresql://al:ge/heim@host/al", "postgresql://al:***@host/al"),
        ("database_url", "postgresql://host/al?user=al&password=geheim", "postgresql://host/al?user=al&password=***"),
        ("redis_url", "redis://:geheim@host:6379/0", "redis://:***@host:6379/0"),
        ("mlflow_url", "https://al:geheim@host", "https://al:***@host"),
        ("raster_store", "s3://key:geheim@bucket/store", "s3://key:***@bucket/store"),
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_no_password_is_shown(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str, place: str
) -> None:
    if place == "environment":
        monkeypatch.setenv(f"GLACIER_AL_{name.upper()}", value)
    else:
        folder.mkdir()
        (folder / "config.toml").write_text(f'{name} = "{value}"')
    assert described(name)["value"] == shown
    for arguments in (["config"], ["config", name]):
        output = run(*arguments).output
        assert shown in output
        assert "heim" not in output


BAD = ("mc_passes = 1", "mc_pases = 3")
TOLD = (
    "Error: the settings have 2 faults:\n"
    "  {path}, line 1: mc_passes is 1, expected a whole number, at least 2 and at most 1,000\n"
    "  {path}, line 2: mc_pases names no setting; did you mean mc_passes?\n"
    "docs/settings.md lists all settings.\n"
)


@pytest.mark.parametrize(
    "command", [["up"], ["demo"], ["config"], ["scene", "list"], ["experiment", "bands"]], ids=" ".join
)
def test_bad_settings_end_every_command_with_one_message(folder: Path, command: list[str]) -> None:
    folder.mkdir()
    path = folder / "config.toml"
    path.write_text("\n".join(BAD))
    result = run(*command)
    assert result.exit_code == 1
    assert result.output == TOLD.format(path=path)
    assert list(folder.iterdir()) == [path]


@pytest.mark.parametrize(
    "command", [["workers.main", "io"], ["workers.clock"], ["al_server.main"], ["catalog.migrate"]], ids=" ".join
)
def test_bad_settings_end_every_process_with_one_message(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "var").mkdir()
    path = tmp_path / "var" / "config.toml"
    path.write_text("\n".join(BAD))
    done = process(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == TOLD.format(path=path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "var", path]


def test_a_folder_that_may_not_be_written_ends_a_command_with_one_message(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:  # the tests may run as root, who may write everywhere
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "mkdir", denied)
    for command in ("init", "up"):
        result = run(command)
        assert (result.exit_code, result.output) == (1, f"Error: no permission: {folder}\n")


def test_damaged_secrets_end_commands_and_processes_with_one_message(folder: Path, tmp_path: Path) -> None:
    folder.mkdir()
    path = folder / "secrets.json"
    path.write_text("{")
    result = run("scene", "list")
    done = process("workers.clock", cwd=tmp_path)
    assert (result.exit_code, done.returncode) == (1, 1)
    assert result.output == done.stderr
    assert done.stderr.startswith(f"Error: {path} is not JSON")
    assert done.stderr.count("\n") == 1
