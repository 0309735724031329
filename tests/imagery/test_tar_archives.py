"""Tar archives with faults are refused with a reason, and read within bounds."""

import tarfile
from pathlib import Path

import pytest

from imagery.errors import SceneError
from imagery.products.listing import list_files

END = bytes(1024)
SPARSE_PARTS = 386
MORE_PARTS = 482


def member(
    content: bytes = b"",
    *,
    size: int | None = None,
    kind: bytes = tarfile.REGTYPE,
    attributes: dict[str, str] | None = None,
) -> bytes:
    """Write a member as in an archive; `size` is stated in its header, whatever its content."""
    info = tarfile.TarInfo("a.xml")
    info.type, info.size = kind, len(content) if size is None else size
    info.pax_headers = attributes or {}
    return info.tobuf(tarfile.PAX_FORMAT if attributes else tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def sparse_without_end() -> bytes:
    """Write the header of a sparse file that says that more of its parts follow, and nothing after it."""
    header = bytearray(member(kind=tarfile.GNUTYPE_SPARSE))
    header[SPARSE_PARTS:MORE_PARTS] = b"%011o\0" % 0 * 8
    header[MORE_PARTS] = 1
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + sum(header[156:]) + 8 * ord(" "))
    return bytes(header)


WHOLE = member(b"text")
FAULTS: dict[str, tuple[bytes, str]] = {
    "a file beyond every file": (member(size=2**70) + END, "cannot fit 'int'"),
    "a long name of negative size": (member(size=-512, kind=tarfile.GNUTYPE_LONGNAME) + WHOLE, "of -512 bytes"),
    "a long name beyond every file": (member(size=2**70, kind=tarfile.GNUTYPE_LONGNAME), f"of {2**70} bytes"),
    "a long name beyond all memory": (member(size=2**40, kind=tarfile.GNUTYPE_LONGNAME), f"of {2**40} bytes"),
    "attributes beyond every file": (member(size=2**70, kind=tarfile.XHDTYPE), f"of {2**70} bytes"),
    "attributes beyond all memory": (member(size=2**40, kind=tarfile.XGLTYPE), f"of {2**40} bytes"),
    "an attribute of a length of 5000 digits": (member(b"1" * 5000 + b" a=b\n", kind=tarfile.XHDTYPE), "4300 digits"),
    "a negative size among attributes": (member(attributes={"size": "-9000"}) + END, "[Ii]nvalid (argument|offset)"),
    "a sparse file of parts that are no numbers": (
        member(attributes={"GNU.sparse.map": "a,b"}) + END,
        "invalid literal for int",
    ),
    "a sparse file without its parts": (sparse_without_end(), "index out of range"),
    "names of names": (member(b"a", kind=tarfile.GNUTYPE_LONGNAME) * 2000 + WHOLE, "recursion"),
    "many attributes": (
        member(attributes={f"key {number}": "" for number in range(101)}) + END,
        "found 101 attributes of a member; expected at most 100",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_archive_is_refused_with_the_reason(tmp_path: Path, fault: str) -> None:
    content, reason = FAULTS[fault]
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(SceneError, match=rf"a\.tar: .*{reason}"):
        list_files(str(tmp_path / "a.tar"))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, b"Z"])
def test_a_member_that_leads_back_to_itself_does_not_do_so_without_end(tmp_path: Path, kind: bytes) -> None:
    """From 3.11.14 on, Python takes it for the end of the archive."""
    (tmp_path / "a.tar").write_bytes(WHOLE + member(size=-512, kind=kind) + END)
    try:
        found = list_files(str(tmp_path / "a.tar")).members
    except SceneError as error:
        assert "found more than 20,000 files; expected those of one product" in str(error)
    else:
        assert found == ("a.xml",)


def test_a_file_is_read_up_to_the_size_of_metadata(tmp_path: Path) -> None:
    for size, name in ((16 << 20, "largest"), ((16 << 20) + 1, "too large")):
        (tmp_path / f"{name}.tar").write_bytes(member(bytes(size)) + END)
    assert list_files(str(tmp_path / "largest.tar")).read("a.xml") == bytes(16 << 20)
    with pytest.raises(SceneError, match=r"found more than 16 MiB in a\.xml"):
        list_files(str(tmp_path / "too large.tar")).read("a.xml")


@pytest.mark.parametrize("fault", ["a file beyond every file", "a sparse file of parts that are no numbers"])
def test_an_archive_that_was_damaged_since_it_was_listed_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(WHOLE + END)
    listing = list_files(str(path))
    assert listing.read("a.xml") == b"text"
    content, reason = FAULTS[fault]
    path.write_bytes(content)
    with pytest.raises(SceneError, match=rf"a\.xml cannot be read \({reason}"):
        listing.read("a.xml")
