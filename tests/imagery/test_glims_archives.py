"""Zipped submissions: what the check finds in one, and archives that were made to do harm."""

import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from imagery.errors import OutlineError
from imagery.glims_archives import check_archive
from imagery.glims_findings import ERROR
from tests.imagery.test_glims_check import Layers, layers, outlines, whole  # noqa: F401 - fixtures

Files = dict[str, bytes]


@pytest.fixture
def files(whole: Path) -> Files:  # noqa: F811
    """The files of a submission that lacks nothing, by name."""
    return {path.name: path.read_bytes() for path in whole.iterdir()}


def packed(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> str:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path)


def test_a_whole_submission_passes_wherever_it_lies_in_the_archive(files: Files, tmp_path: Path) -> None:
    assert check_archive(packed(tmp_path / "flat.zip", files)) == []
    inside = {f"khumbu/{name.upper()}": content for name, content in files.items()}
    beside = {"khumbu/processing.txt": b"by hand", "__MACOSX/khumbu/._glaciers.shp": b"a mark of macOS"}
    assert check_archive(packed(tmp_path / "inside.zip", inside | beside)) == []


def test_what_is_missing_is_found(files: Files, tmp_path: Path) -> None:
    del files["images.shp"], files["session.prj"]
    found = check_archive(packed(tmp_path / "a.zip", files))
    assert [
        (item.severity, item.layer, item.message.partition(";")[0]) for item in found if item.severity == ERROR
    ] == [
        (ERROR, "images", "found no images.shp"),
        (ERROR, "session", "found no session.prj"),
    ]


@pytest.mark.parametrize("name", ["../glaciers.shp", "/etc/glaciers.shp", "a/../../x.txt", "..\\glaciers.shp"])
def test_names_that_lead_out_of_the_archive_are_refused(files: Files, tmp_path: Path, name: str) -> None:
    with pytest.raises(OutlineError, match="expected names inside the archive"):
        check_archive(packed(tmp_path / "a.zip", {**files, name: b"x"}))
    assert not (tmp_path.parent / "glaciers.shp").exists()


def test_a_layer_that_is_there_twice_is_refused(files: Files, tmp_path: Path) -> None:
    with pytest.raises(OutlineError, match=r"found glaciers.shp twice \(glaciers.shp, old/glaciers.shp\)"):
        check_archive(packed(tmp_path / "a.zip", {**files, "old/glaciers.shp": files["glaciers.shp"]}))


def test_a_bomb_is_refused_before_it_is_unpacked(files: Files, tmp_path: Path) -> None:
    bomb = packed(tmp_path / "a.zip", {**files, "lakes.shp": bytes(40 << 20)})
    assert Path(bomb).stat().st_size < 1 << 20
    with pytest.raises(OutlineError, match=r"found 40 MiB of vector files packed into [\d,]+ bytes"):
        check_archive(bomb)


def test_a_member_that_holds_more_than_it_declares_is_refused(files: Files, tmp_path: Path) -> None:
    path = Path(packed(tmp_path / "a.zip", {"glaciers.shp": bytes(1000)}))
    content = path.read_bytes()
    lying = content.replace(struct.pack("<I", 1000), struct.pack("<I", 10))
    assert lying != content
    path.write_bytes(lying)
    with pytest.raises(OutlineError, match="cannot be read; expected a zip file"):
        check_archive(str(path))


def test_too_many_files_are_refused(files: Files, tmp_path: Path) -> None:
    with pytest.raises(OutlineError, match="found 10001 files in it; expected at most 10000"):
        check_archive(packed(tmp_path / "a.zip", {f"{number}.txt": b"" for number in range(10_001)}))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(10), b"hello"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(OutlineError, match="expected a zip file"):
        check_archive(str(tmp_path / "a.zip"))


def test_another_format_under_the_name_of_a_shapefile_is_not_opened(files: Files, tmp_path: Path) -> None:
    """GDAL would take the virtual format, which names any file or address."""
    vrt = b'<OGRVRTDataSource><OGRVRTLayer name="a"><SrcDataSource>http://127.0.0.1:9/x</SrcDataSource></OGRVRTLayer>'
    with pytest.raises(OutlineError, match=r"^glaciers\.shp: found another kind of file; expected a shapefile"):
        check_archive(packed(tmp_path / "a.zip", {**files, "glaciers.shp": vrt}))


def damaged(content: bytes) -> Iterator[bytes]:
    """Yield a file cut short, and with each of 60 bytes of its beginning and middle turned."""
    yield content[: len(content) // 2]
    for place in (*range(30), *range(32, 60), *range(len(content) // 2, len(content) // 2 + 30)):
        if place < len(content):
            yield content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


@pytest.mark.parametrize("name", ["glaciers.shp", "glaciers.dbf", "glaciers.shx", "debris.shp", "session.dbf"])
def test_damaged_files_are_reported_or_refused(files: Files, tmp_path: Path, name: str) -> None:
    """No other exception comes out: a request could not answer it. A file cut short is never taken as whole."""
    outcomes = []
    for content in damaged(files[name]):
        try:
            outcomes.append(bool(check_archive(packed(tmp_path / "a.zip", {**files, name: content}))))
        except OutlineError:
            outcomes.append(True)
    assert outcomes[0]


def with_point(content: bytes, x: float) -> bytes:
    """Return a shapefile whose first point of its first outline has another x, at the end of its ring, too."""
    (rings,) = struct.unpack_from("<i", content, 108 + 36)
    (first,) = struct.unpack_from("<d", content, 108 + 44 + 4 * rings)
    return content.replace(struct.pack("<d", first), struct.pack("<d", x))


@pytest.mark.parametrize("x", [float("nan"), float("inf"), 1e300])
def test_a_coordinate_beyond_all_bounds_is_found(files: Files, tmp_path: Path, x: float) -> None:
    moved = with_point(files["images.shp"], x)
    assert moved != files["images.shp"]
    files["glaciers.shp"] = with_point(files["glaciers.shp"], x)
    found = check_archive(packed(tmp_path / "a.zip", {**files, "images.shp": moved}))
    expected = "found coordinates beyond the Earth" if x == 1e300 else "found a coordinate that is no number"
    assert expected in {item.message.partition(";")[0] for item in found if item.layer == "glaciers"}


@pytest.mark.parametrize(
    ("crs", "message"),
    [
        (b'GEOGCS["x"]', "found no readable shapefile"),
        # GDAL cannot write this one as text.
        (
            b'GEOGCS["a",DATUM["b",SPHEROID["\x88",6378137.0,298.257223463]],PRIMEM["c",0.0],UNI\x01["d",0.01]]',
            "found a coordinate reference system that cannot be read",
        ),
    ],
)
def test_a_reference_system_that_cannot_be_read_is_refused(
    files: Files, tmp_path: Path, crs: bytes, message: str
) -> None:
    with pytest.raises(OutlineError, match=rf"^glaciers\.shp: {message}"):
        check_archive(packed(tmp_path / "a.zip", {**files, "glaciers.prj": crs}))


def test_a_table_without_records_is_found(files: Files, tmp_path: Path) -> None:
    files["glaciers.dbf"] = files["glaciers.dbf"][:4] + bytes(4) + files["glaciers.dbf"][8:]
    files["glaciers.shx"] = files["glaciers.shx"][:24] + struct.pack(">i", 50) + files["glaciers.shx"][28:100]
    found = check_archive(packed(tmp_path / "a.zip", files))
    assert "found no features; expected at least one" in {item.message for item in found if item.layer == "glaciers"}
