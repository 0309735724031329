"""`glacier-al user` and `glacier-al token`, on a data folder on which nothing runs."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from catalog.context import Catalog
from catalog.settings import Settings
from cli.main import main
from services import log_ins, tokens
from services.users import Identity


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(tmp_path))
    return tmp_path


def run(*arguments: str, entered: str | None = None, fails: bool = False) -> Result:
    result = CliRunner().invoke(main, arguments, input=entered)
    assert (result.exit_code != 0) == fails, result.output
    return result


def test_a_token_that_is_printed_works_until_it_is_revoked(folder: Path) -> None:
    catalog = Catalog(Settings())

    def name_of(token: str) -> str:
        with catalog.read() as session:
            return tokens.identify(session, token)[1].name

    token = run("token", "add", "web-tool", "--role", "reader").output.strip()
    assert name_of(token) == "web-tool"
    rotated = run("token", "rotate", "web-tool", "--overlap-hours", "1").output.strip()
    assert name_of(token) == name_of(rotated) == "web-tool"
    listed = run("token", "list").output
    assert "web-tool" in listed and "operator" in listed
    assert token not in listed and rotated not in listed
    run("token", "revoke", "web-tool")
    assert "revoked" in run("token", "list").output
    assert "is revoked" in run("token", "rotate", "web-tool", fails=True).output
    catalog.close()


@pytest.mark.parametrize(
    "command", ["token add web-tool --role reader", "user list", "jobs", "quality", "models decisions", "backup saved"]
)
def test_a_data_folder_that_does_not_exist_is_refused_and_not_made(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(folder / "mistyped"))
    assert f"There is no data folder {folder / 'mistyped'}." in run(*command.split(), fails=True).output
    assert list(folder.iterdir()) == []


def test_a_user_logs_in_with_the_password_that_is_printed(folder: Path) -> None:
    catalog = Catalog(Settings())
    printed = run("user", "add", "anna", "--role", "annotator").output
    password = printed.split("Password: ")[1].strip()
    log_ins.check_password(catalog.database, "anna", password, "here")
    entered = run("user", "password", "anna", "--stdin", entered="correct horse battery\n").output
    assert "correct horse battery" not in entered
    log_ins.check_password(catalog.database, "anna", "correct horse battery", "here")
    run("user", "role", "anna", "operator")
    token = run("token", "add", "annas", "--role", "administrator", "--user", "anna", "--days", "0").output.strip()
    with catalog.read() as session:
        assert tokens.identify(session, token)[1] == Identity("anna", tokens.Role.OPERATOR)
    run("user", "disable", "anna")
    assert "disabled" in run("user", "list").output
    run("user", "enable", "anna")
    assert "disabled" not in run("user", "list").output
    assert "only administrator" in run("user", "disable", "admin", fails=True).output
    catalog.close()
