"""What programs rely on: ``--json`` everywhere, with nothing else on standard output, and exit codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from catalog.context import Catalog
from catalog.settings import Settings
from catalog.settings_sources import variable
from cli.exit_codes import ExitCode
from cli.main import main
from tests.catalog_fixtures import NOBODY, add_round, add_scene, label_of
from tests.dashboard_world import add_alert, run_fine_tune

ROOT = Path(__file__).parents[2]
WITHOUT_JSON = {"up", "demo", "completion"}
"""Two run until they are stopped and show a log; the third prints a script."""


def commands(group: click.Group, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield all commands that do something, with their names."""
    context = click.Context(group)
    for child_name in group.list_commands(context):
        child = group.get_command(context, child_name)
        assert child is not None
        full = f"{name} {child_name}".strip()
        if not isinstance(child, click.Group) or child.invoke_without_command:
            yield full, child
        if isinstance(child, click.Group):
            yield from commands(child, full)


@pytest.mark.parametrize(
    "command", [pytest.param(command, id=name) for name, command in commands(main) if name not in WITHOUT_JSON]
)
def test_every_command_speaks_json(command: click.Command) -> None:
    assert "--json" in {option for parameter in command.params for option in parameter.opts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder with a scene, a round, a label, a job and an alert."""
    folder = tmp_path_factory.mktemp("var")
    catalog = Catalog(Settings(var_dir=folder))
    catalog.database.migrate()
    with catalog.database.write() as session:
        _, patches = add_scene(session, "khumbu")
        _, proposals = add_round(session, patches[:2])
        session.add(label_of(session, proposals[0], 1))
        run_fine_tune(session)
        add_alert(session)
    catalog.close()
    yield folder


def run(folder: Path, *arguments: str, expected: int = 0, given: str | None = None) -> Result:
    done = CliRunner(env={"GLACIER_AL_VAR_DIR": str(folder)}).invoke(main, arguments, input=given)
    assert done.exit_code == expected, done.output
    return done


def as_json(folder: Path, *arguments: str, expected: int = 0) -> Any:
    return json.loads(run(folder, *arguments, "--json", expected=expected).stdout)


def test_jobs_are_told_as_the_api_tells_them(installed: Path) -> None:
    (job,) = as_json(installed, "jobs")
    assert (job["kind"], job["state"], job["progress"]) == ("fine_tune", "running", 0.5)
    assert "50%" in run(installed, "jobs").output


def test_scenes_are_told_with_numbers(installed: Path) -> None:
    (scene,) = as_json(installed, "scene", "list")
    assert (scene["name"], scene["width"], scene["height"], scene["patches"]) == ("khumbu", 160, 100, 20)
    assert "160 × 100" in run(installed, "scene", "list").output


def test_decisions_and_alerts_are_told(installed: Path) -> None:
    (decision,) = as_json(installed, "models", "decisions")
    assert (decision["version"], decision["previous_version"], decision["verdict"]) == (2, 1, "promoted")
    assert as_json(installed, "models", "champion")["version"] == 2
    (alert,) = as_json(installed, "models", "canary")
    assert alert["changed_share"] == 0.3  # 30 of 100 pixels
    assert "30.0%" in run(installed, "models", "canary").output


@pytest.mark.parametrize(
    "arguments", [["events"], ["events", "subscriptions"], ["labels", "withdrawals"]], ids=" ".join
)
def test_an_empty_list_is_a_list(installed: Path, arguments: list[str]) -> None:
    assert as_json(installed, *arguments) == []


def test_objects_are_told_with_the_values_behind_the_words(installed: Path, tmp_path: Path) -> None:
    added = as_json(installed, "token", "add", "web", "--role", "reader")
    assert (added["name"], added["role"], len(added["token"]) > 20) == ("web", "reader", True)
    assert "web" in {token["name"] for token in as_json(installed, "token", "list")}
    assert as_json(installed, "user", "add", "anna", "--role", "annotator")["password"]
    assert {"name": "anna", "role": "annotator", "disabled": False} in as_json(installed, "user", "list")
    assert as_json(installed, "quality")["annotators"] == []
    assert as_json(installed, "config", "round_size")["unit"] is None
    assert as_json(installed, "backup", str(tmp_path / "backup"))["files"] > 0
    shares = as_json(installed, "scene", "synthetic", str(tmp_path / "scene"), "--size", "128x128")["shares"]
    assert sum(shares.values()) == pytest.approx(1)


def test_exit_codes(installed: Path, tmp_path: Path) -> None:
    run(installed, "jobs", "list-them", expected=ExitCode.USAGE)
    run(installed, "train", expected=ExitCode.NOT_RUNNING)
    no_token = ["--url", "http://127.0.0.1:1", "--token", "gal_sec ret"]
    assert "sec ret" not in run(installed, "status", *no_token, expected=ExitCode.NOT_ALLOWED).output
    run(installed, "scene", "remove", "nobody", expected=ExitCode.FAILED)
    (tmp_path / "glims").mkdir()
    assert not as_json(installed, "export", "check", str(tmp_path / "glims"), expected=ExitCode.FOUND)["fit"]


def test_a_withdrawal_that_is_declined_is_not_told_as_a_dry_run(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable("database_url"), f"sqlite:///{installed / 'catalog.sqlite'}")
    monkeypatch.setenv(variable("redis_url"), "redis://127.0.0.1:1")
    monkeypatch.setenv(variable("mlflow_url"), NOBODY)
    command = ["labels", "withdraw", "--annotator", "glaciologist@glacier.local", "--reason", "shifted", "--json"]
    assert json.loads(run(installed, *command, "--dry-run").stdout)["labels"] == 1
    assert run(installed, *command, given="n\n", expected=ExitCode.FAILED).stdout == ""
    assert as_json(installed, "labels", "withdrawals") == []


def test_the_table_of_exit_codes_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    assert [int(code) for code in re.findall(r"^\| (\d) \|", page, re.MULTILINE)] == list(ExitCode)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_completes(shell: str) -> None:
    script = CliRunner().invoke(main, ["completion", shell])
    assert script.exit_code == 0
    assert f"_GLACIER_AL_COMPLETE={shell}_complete" in script.output


def test_completion_offers_commands_and_options() -> None:
    variables = {"_GLACIER_AL_COMPLETE": "bash_complete", "COMP_WORDS": "glacier-al jobs --", "COMP_CWORD": "2"}
    offered = CliRunner(env=variables).invoke(main, [], prog_name="glacier-al").output
    assert "plain,--json" in offered.splitlines()
