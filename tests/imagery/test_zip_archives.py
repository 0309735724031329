"""Zip archives with faults: each reader refuses them with a reason."""

import errno
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from imagery.errors import OutlineError, SceneError, UnreadableOutlinesError
from imagery.glims_archives import check_archive
from imagery.grid import Grid
from imagery.products.listing import list_files
from imagery.vector_archives import open_archive
from imagery.vectors import read_layer
from tests.imagery.forge import NORTH_UP, UTM_45N

NAME = "größe/karte/glaciers.shp"
IN_UTF8 = NAME.encode()
GRID = Grid(UTM_45N, NORTH_UP, width=64, height=64)


def outlines(path: str) -> None:
    with open_archive(path):
        pass


def product(path: str) -> None:
    listing = list_files(path)
    for member in listing.members:
        listing.read(member)


READERS: tuple[Callable[[str], object], ...] = (outlines, product, check_archive)


def archive(path: Path, method: int) -> bytes:
    with zipfile.ZipFile(path, "w", method) as file:
        file.writestr(NAME, bytes(1000))
    return path.read_bytes()


def with_number(data: bytes, place: int, number: int, record: bytes = b"PK\1\2") -> bytes:
    """Put another number of two bytes into a record, by default that of the file in the directory."""
    at = data.index(record) + place
    return data[:at] + number.to_bytes(2, "little") + data[at + 2 :]


def nameless(data: bytes) -> bytes:
    """The name becomes a part of the extra field, of a kind that nobody knows."""
    length = len(IN_UTF8)
    unknown = b"\xfe\xff" + (length - 4).to_bytes(2, "little") + bytes(length - 4)
    return with_number(with_number(data, 28, 0), 30, length).replace(IN_UTF8, unknown)


def in_zip64(data: bytes) -> bytes:
    """In the directory, what follows the first part of the name becomes an extra field: a place beyond every file."""
    at = data.index(b"PK\1\2")
    place = with_number(with_number(data[at:], 42, 0xFFFF), 44, 0xFFFF)
    place = with_number(with_number(place, 28, 12), 30, len(IN_UTF8) - 12)
    extra = b"\1\0\10\0" + (2**63).to_bytes(8, "little")
    return data[:at] + place.replace(IN_UTF8, b"glaciers.shp" + extra + bytes(len(IN_UTF8) - 24))


def damaged(data: bytes, place: int) -> bytes:
    """Change the packed content, which lies behind the name."""
    at = data.index(IN_UTF8) + len(IN_UTF8) + place
    return data[:at] + bytes(byte ^ 255 for byte in data[at : at + 4]) + data[at + 4 :]


FAULTS: dict[str, tuple[int, Callable[[bytes], bytes], str]] = {
    "no name": (zipfile.ZIP_DEFLATED, nameless, "a file without a name"),
    "a name that is no text": (zipfile.ZIP_DEFLATED, lambda data: data.replace(b"\xc3", b"\xff"), "'utf-8'"),
    "a version to come": (zipfile.ZIP_DEFLATED, lambda data: with_number(data, 6, 99), "zip file version 9.9"),
    "another method": (zipfile.ZIP_DEFLATED, lambda data: with_number(data, 10, 97), "method is not supported"),
    "a file before its begin": (
        zipfile.ZIP_DEFLATED,
        lambda data: with_number(data, 16, 65535, b"PK\5\6"),
        "Invalid argument",
    ),
    "a place that no file has": (zipfile.ZIP_DEFLATED, in_zip64, "."),
    "damaged, deflate": (zipfile.ZIP_DEFLATED, lambda data: damaged(data, 2), "while decompressing data"),
    "damaged, LZMA": (zipfile.ZIP_LZMA, lambda data: damaged(data, 12), "Corrupt input data"),
    "damaged, bzip2": (zipfile.ZIP_BZIP2, lambda data: damaged(data, 6), "Invalid data stream"),
}


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_archive_is_refused_with_the_reason(
    tmp_path: Path, read: Callable[[str], object], fault: str
) -> None:
    path = tmp_path / "a.zip"
    method, change, reason = FAULTS[fault]
    path.write_bytes(change(archive(path, method)))
    with pytest.raises((OutlineError, SceneError), match=rf"a\.zip: .*{reason}"):
        read(str(path))


def test_a_disk_that_fails_is_no_damaged_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scene is tried again then, and not rejected."""

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    archive(tmp_path / "a.zip", zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(zipfile, "ZipFile", fail)
    with pytest.raises(UnreadableOutlinesError, match=r"a\.zip: .*Input/output error"):
        read_layer(str(tmp_path / "a.zip"), None, GRID)


def test_a_file_that_is_not_there_is_no_damaged_archive(tmp_path: Path) -> None:
    with pytest.raises(UnreadableOutlinesError, match=r"a\.zip: .*No such file"):
        read_layer(str(tmp_path / "a.zip"), None, GRID)
