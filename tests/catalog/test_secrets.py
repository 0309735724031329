import json
import stat
import subprocess
import sys
import threading
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from catalog.secrets import Secrets, SecretsError, load_or_create

ROOT = Path(__file__).parents[2]


def test_first_start_makes_secrets_that_only_the_owner_reads(tmp_path: Path) -> None:
    path = tmp_path / "var" / "secrets.json"
    made = load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert asdict(load_or_create(path)) == asdict(made)
    assert list(path.parent.iterdir()) == [path]


def test_every_token_is_another(tmp_path: Path) -> None:
    values = list(asdict(load_or_create(tmp_path / "secrets.json")).values())
    assert len(set(values)) == len(values)
    assert min(map(len, values)) >= 12


def test_processes_that_start_together_share_one_file(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    barrier, found = threading.Barrier(8), []

    def start() -> None:
        barrier.wait()
        found.append(json.dumps(asdict(load_or_create(path))))

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert list(tmp_path.iterdir()) == [path]


def complete(**changes: object) -> bytes:
    return json.dumps({**asdict(Secrets()), **changes}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON.*restore it from a backup"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "holds a list, expected an object.*restore it from a backup"),
        (complete(reader_token=""), "no text for reader_token; remove the entry, and a new one is made"),
        (complete(reader_token=" "), "no text for reader_token"),
        (complete(reader_token=7), "no text for reader_token"),
        (complete(reader_token=None, webhook_secret=""), "no text for reader_token, webhook_secret"),
    ],
)
def test_a_damaged_file_is_refused_and_kept(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(content)
    with pytest.raises(SecretsError, match=message):
        load_or_create(path)
    assert path.read_bytes() == content


def lacking(*names: str) -> dict[str, str]:
    return {name: value for name, value in asdict(Secrets()).items() if name not in names}


def test_secrets_that_an_older_version_did_not_have_are_made_and_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "secrets.json"
    kept = lacking("webhook_secret", "redis_password") | {"of_a_newer_version": "word"}
    path.write_text(json.dumps(kept))
    path.chmod(0o600)
    made = load_or_create(path)
    stored = json.loads(path.read_bytes())
    assert {name: stored[name] for name in kept} == kept
    assert len(stored["webhook_secret"]) == 40
    assert {name: stored[name] for name in asdict(made)} == asdict(made)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert asdict(load_or_create(path)) == asdict(made)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} lacked webhook_secret, redis_password; made and stored"
    ]


@pytest.mark.parametrize("content", [None, "{}", json.dumps(lacking("webhook_secret", "url_signing_key"))])
def test_processes_that_start_together_agree(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "secrets.json"
    if content is not None:
        path.write_text(content)
    code = (
        "import json, sys; from dataclasses import asdict; from pathlib import Path\n"
        "from catalog.secrets import load_or_create\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        f"print(json.dumps(asdict(load_or_create(Path({str(path)!r})))))"
    )
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    found = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(found) == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match=f"cannot use the secrets file {tmp_path}: Is a directory; let this user"):
        load_or_create(tmp_path)


def test_secrets_that_cannot_be_stored_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SecretsError, match="cannot use the secrets file"):
        load_or_create(tmp_path / "file" / "secrets.json")


def test_no_log_shows_a_secret() -> None:
    secrets = Secrets()
    shown = f"{secrets!r} {secrets} {[secrets]}"
    assert [item.name for item in fields(Secrets) if getattr(secrets, item.name) in shown] == []
