import hashlib
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.bundle_cache import CARD, FILES, ONNX, WEIGHTS, BundleCache, CorruptBundleError, checksum_tag
from catalog.registry import ModelVersion

FILES_OF_VERSION = {CARD: b"the card", WEIGHTS: b"the weights", ONNX: b"the graph"}
VERSION = ModelVersion(
    3,
    "run",
    datetime(2026, 11, 21, tzinfo=UTC),
    {checksum_tag(name): hashlib.sha256(data).hexdigest() for name, data in FILES_OF_VERSION.items()},
)


class Artifacts:
    """MLflow's artifacts of one version, which counts what is asked for."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files, self.asked = dict(files), list[str]()

    def artifact(self, version: ModelVersion, name: str) -> bytes:
        self.asked.append(name)
        return self.files[name]


@pytest.fixture
def artifacts() -> Artifacts:
    return Artifacts(FILES_OF_VERSION)


@pytest.fixture
def cache(tmp_path: Path, artifacts: Artifacts) -> BundleCache:
    return BundleCache(artifacts, tmp_path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"T" + data[1:], lambda data: b""])
def test_a_damaged_file_is_fetched_again(cache: BundleCache, artifacts: Artifacts, name: str, damage) -> None:
    file = cache.file(VERSION, name)
    file.write_bytes(damage(file.read_bytes()))
    assert cache.file(VERSION, name).read_bytes() == FILES_OF_VERSION[name]
    assert artifacts.asked == [name, name]


def test_a_change_under_the_old_size_and_time_is_noticed(cache: BundleCache) -> None:
    file = cache.file(VERSION, ONNX)
    before = file.stat()
    file.write_bytes(b"the grope")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert cache.file(VERSION, ONNX).read_bytes() == b"the graph"


def test_an_unchanged_file_is_hashed_once(cache: BundleCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.file(VERSION, ONNX)
    cache.file(VERSION, ONNX)
    monkeypatch.setattr("catalog.bundle_cache.hashlib", None)  # would raise
    assert cache.file(VERSION, ONNX).read_bytes() == b"the graph"


def test_a_file_damaged_here_and_there_is_refused(cache: BundleCache, artifacts: Artifacts) -> None:
    file = cache.file(VERSION, WEIGHTS)
    file.write_bytes(b"x")
    artifacts.files[WEIGHTS] = b"changed in MLflow"
    with pytest.raises(CorruptBundleError, match="promote another version"):
        cache.directory(VERSION)
