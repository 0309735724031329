import json
import stat
import threading
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from catalog.secrets import Secrets, SecretsError, load_or_create


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


def without_one() -> bytes:
    return json.dumps({name: value for name, value in asdict(Secrets()).items() if name != "webhook_secret"}).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[]", "holds list, expected exactly"),
        (without_one(), "restore it from a backup"),
        (complete(admin_token="x"), "admin_token"),
        (complete(reader_token=""), "no text for .'reader_token'"),
        (complete(reader_token=7), "no text for .'reader_token'"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_and_kept(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_bytes(content)
    with pytest.raises(SecretsError, match=message):
        load_or_create(path)
    assert path.read_bytes() == content


def test_no_log_shows_a_secret() -> None:
    secrets = Secrets()
    shown = f"{secrets!r} {secrets} {[secrets]}"
    assert [item.name for item in fields(Secrets) if getattr(secrets, item.name) in shown] == []
