from pathlib import Path

import pytest

from labeling.server import executable, start_command

LOGIN = {"email": "admin@glacier.local", "password": "long enough", "token": "0123456789abcdef"}


def command(**changes: str) -> tuple[list[str], dict[str, str]]:
    return start_command(
        Path("/opt/ls/bin/label-studio"), Path("/data"), host="127.0.0.1", port=8090, **{**LOGIN, **changes}
    )


def test_it_listens_where_it_is_told_and_calls_nobody():
    arguments, environment = command()
    assert arguments == [
        *["/opt/ls/bin/label-studio", "start", "--no-browser"],
        *["--internal-host", "127.0.0.1", "--port", "8090"],
    ]
    assert environment["LABEL_STUDIO_BASE_DATA_DIR"] == "/data"
    assert environment["LABEL_STUDIO_ALLOWED_HOSTS"] == "127.0.0.1,localhost"
    assert environment["LABEL_STUDIO_COLLECT_ANALYTICS"] == "false"
    assert environment["LABEL_STUDIO_SENTRY_DSN"] == ""
    assert environment["LABEL_STUDIO_FRONTEND_SENTRY_DSN"] == ""


def test_the_secrets_stay_off_the_command_line():
    arguments, environment = command()
    assert environment["LABEL_STUDIO_PASSWORD"] == "long enough"
    assert not any(secret in argument for argument in arguments for secret in LOGIN.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"email": "a@b.c"}, "refuses the address 'a@b.c'"),
        ({"email": "admin"}, "refuses the address 'admin'"),
        ({"password": "short"}, "has 5 characters; expected at least 8"),
        ({"token": "x" * 41}, "1 to 40 letters and digits"),
        ({"token": ""}, "1 to 40 letters and digits"),
    ],
)
def test_logins_that_would_not_work_later_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        command(**change)


def test_the_executable_can_be_named(monkeypatch, tmp_path):
    program = tmp_path / "label-studio"
    program.touch()
    monkeypatch.setenv("GLACIER_AL_LABEL_STUDIO", str(program))
    assert executable() == program


def test_the_executable_is_looked_for_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("GLACIER_AL_LABEL_STUDIO", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = tmp_path / "glacier-al" / "label-studio-1.23.2" / "bin" / "label-studio"
    with pytest.raises(FileNotFoundError, match="make setup"):
        executable()
    program.parent.mkdir(parents=True)
    program.touch()
    assert executable() == program
