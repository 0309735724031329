import errno
import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import rasterio

from imagery.cog import float_map_writer
from imagery.errors import DamagedFileError, StoreError
from imagery.grid import Grid
from imagery.store import RasterStore
from tests.imagery.forge import NORTH_UP, UTM_45N


@pytest.fixture(params=["local", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RasterStore:
    return RasterStore(str(tmp_path / "root") if request.param == "local" else f"memory://{uuid4().hex}")


def test_what_is_put_is_got_with_its_checksum(store: RasterStore) -> None:
    assert not store.exists("masks/17.tif")
    assert store.put("masks/17.tif", b"abc") == hashlib.sha256(b"abc").hexdigest()
    assert store.exists("masks/17.tif")
    assert store.get("masks/17.tif") == b"abc"


def test_a_second_put_replaces_the_first(store: RasterStore) -> None:
    store.put("a", b"first")
    store.put("a", b"second")
    assert store.get("a") == b"second"


def test_a_file_is_put_as_a_copy_replacing_what_was_there(store: RasterStore, tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"from a file")
    store.put("a/b.bin", b"first")
    store.put_file("a/b.bin", tmp_path / "a.bin")
    assert store.get("a/b.bin") == b"from a file"
    assert (tmp_path / "a.bin").read_bytes() == b"from a file"


def test_what_is_deleted_is_gone(store: RasterStore) -> None:
    store.put("a/b.tif", b"x")
    store.delete("a/b.tif")
    assert not store.exists("a/b.tif")
    with pytest.raises(StoreError, match=r"found nothing under .*a/b\.tif"):
        store.get("a/b.tif")
    with pytest.raises(StoreError, match=r"found nothing under .*a/b\.tif"):
        store.delete("a/b.tif")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a//b",
        "a/",
        ".hidden",
        "a/.b",
        "a b",
        "a\\b",
        "a\n",
        "a:b",
        "ä",
        "a" * 513,
    ],
)
def test_malformed_keys_are_refused_by_every_call(store: RasterStore, key: str) -> None:
    puts = (lambda bad: store.put(bad, b""), lambda bad: store.put_file(bad, Path(__file__)))
    for call in (store.get, store.exists, store.delete, store.uri, *puts):
        with pytest.raises(StoreError, match="found the key"):
            call(key)


def test_nothing_half_written_stays_beside_a_key(tmp_path: Path) -> None:
    store = RasterStore(str(tmp_path))
    store.put("a/b.tif", b"x")
    store.put_file("a/b.tif", Path(__file__))
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [".b.tif.sha256", "b.tif"]


def test_what_a_killed_writer_left_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    store = RasterStore(str(tmp_path))
    store.put("masks/17.tif", b"whole")
    left, arriving = (tmp_path / "masks" / f".17.tif.{uuid4().hex}" for _ in range(2))
    for path in (left, arriving):
        path.write_bytes(b"ha")
    two_hours_ago = left.stat().st_mtime - 7200
    for path in [left, *(tmp_path / "masks").glob(".17.tif.*"), tmp_path / "masks" / "17.tif"]:
        if path != arriving:  # the file and its checksum are old, too
            os.utime(path, (two_hours_ago, two_hours_ago))
    assert store.remove_half_written(3600.0) == [str(left)]
    assert (store.get("masks/17.tif"), arriving.read_bytes()) == (b"whole", b"ha")


def test_a_failed_rename_leaves_the_old_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RasterStore(str(tmp_path))
    store.put("a", b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(store._fs, "mv", fail)
    with pytest.raises(OSError, match="disk full"):
        store.put("a", b"new")
    with pytest.raises(OSError, match="disk full"):
        store.put_file("a", Path(__file__))
    assert store.get("a") == b"old"


def test_rasterio_reads_a_local_uri(tmp_path: Path) -> None:
    store = RasterStore(str(tmp_path / "root"))
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    with float_map_writer(tmp_path / "a.tif", Grid(UTM_45N, NORTH_UP, width=3, height=2), "a map") as write:
        write(0, array)
    store.put_file("map.tif", tmp_path / "a.tif")
    with rasterio.open(store.uri("map.tif")) as dataset:
        np.testing.assert_array_equal(dataset.read(1), array)


def test_a_remote_uri_is_a_url() -> None:
    assert RasterStore("memory://bucket/prefix/").uri("a.tif") == "memory:///bucket/prefix/a.tif"


def _damage(store: RasterStore, key: str, content: bytes) -> None:
    """Change a file behind the store's back, by the same way for both kinds of store."""
    store._fs.pipe_file(store._path(key), content)


@pytest.mark.parametrize("content", [b"whol", b"whole map!", b"whOle map", b""])
def test_a_damaged_file_is_refused_moved_aside_and_absent_from_then_on(store: RasterStore, content: bytes) -> None:
    good = store.put("a/b.tif", b"whole map")
    _damage(store, "a/b.tif", content)
    with pytest.raises(DamagedFileError, match=rf"b\.tif is damaged: found the SHA-256 \w+, expected {good}") as raised:
        store.get("a/b.tif")
    assert raised.value.key == "a/b.tif"
    assert store.damaged() == ["a/b.tif"]
    assert not store.exists("a/b.tif")
    assert store.checksum("a/b.tif") == good, "to compare what takes its place"
    assert store.all_keys() == []
    store.put("a/b.tif", b"whole map")
    store.forget_damaged("a/b.tif")
    assert (store.get("a/b.tif"), store.damaged()) == (b"whole map", [])


def test_a_file_is_compared_with_the_checksum_of_its_row(store: RasterStore) -> None:
    store.put("a/b.tif", b"one")
    expected = store.put("a/b.tif", b"two")
    assert store.get("a/b.tif", expected) == b"two"
    store.put("a/b.tif", b"a mask of somebody else")  # with a checksum of its own beside it
    with pytest.raises(DamagedFileError):
        store.get("a/b.tif", expected)


def test_maps_that_gdal_reads_are_checked_again_when_they_changed(tmp_path: Path) -> None:
    store = RasterStore(str(tmp_path))
    store.put("a.tif", b"whole map")
    file = Path(store.uri("a.tif"))
    before = file.stat()
    file.write_bytes(b"whole mop")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a tool that restores times does
    with pytest.raises(DamagedFileError):
        store.uri("a.tif")
    assert store.uri("a.tif") == str(file), "an absent file has an address, too"


def test_an_unchanged_map_is_read_once_for_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RasterStore(str(tmp_path))
    store.put("a.tif", b"whole map")
    store.uri("a.tif")
    monkeypatch.setattr(RasterStore, "check", None)  # would raise
    assert store.exists("a.tif")


def test_a_file_without_a_noted_checksum_is_of_an_earlier_release(tmp_path: Path) -> None:
    store = RasterStore(str(tmp_path))
    (tmp_path / "a.tif").write_bytes(b"old")
    assert (store.get("a.tif"), store.checksum("a.tif")) == (b"old", None)


def test_readers_never_find_damage_while_a_file_is_replaced(tmp_path: Path) -> None:
    store = RasterStore(str(tmp_path))
    store.put("a.tif", b"0")
    with ThreadPoolExecutor(1) as pool:
        writer = pool.submit(lambda: [store.put("a.tif", str(count).encode()) for count in range(300)])
        while not writer.done():
            store.get("a.tif")
    assert store.damaged() == []


@pytest.mark.parametrize("by_file", [False, True])
def test_a_write_that_fails_leaves_no_half_written_file(tmp_path: Path, by_file: bool) -> None:
    """As on a full disk: the file system takes a part of the bytes."""
    source = tmp_path / "source"
    source.write_bytes(b"0123456789")
    code = """
import resource, signal, sys
from pathlib import Path
from imagery.store import RasterStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))
store, source = RasterStore(sys.argv[1]), Path(sys.argv[2])
try:
    store.put_file("labels/1.tif", source) if sys.argv[3] == "True" else store.put("labels/1.tif", source.read_bytes())
except OSError as error:
    sys.exit(error.errno)
"""
    root = tmp_path / "store"
    ended = subprocess.run([sys.executable, "-c", code, str(root), str(source), str(by_file)], check=False)
    assert ended.returncode == errno.EFBIG
    assert [path for path in root.rglob("*") if path.is_file()] == []
