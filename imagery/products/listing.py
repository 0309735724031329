"""The files of a product: a folder, or an archive as downloaded, which is read in place."""

import os
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from imagery import tar_archives
from imagery.errors import SceneError
from imagery.zip_archives import content_of, files_of, open_zip

# A Sentinel-2 product of many tiles, as delivered until 2016, holds about 2,000 files.
_MOST_FILES: Final = 20_000
_DEEPEST: Final = 6
# MTD_TL.xml, the largest metadata file of all products, has up to 1 MB.
_LARGEST_METADATA_BYTES: Final = 16 << 20


@dataclass(frozen=True)
class Listing:
    """Files below one folder, or in one archive.

    Attributes:
        root: The folder or archive, as an absolute path.
        name: Its name, without the ending of an archive.
        members: Names relative to the root, with "/" between folders, sorted.
        prefix: What to put before a member's name to open it.
        ending: What the names of all rasters end with after the band, as "_clip" in "..._B4_clip.tif"; or nothing.
    """

    root: str
    name: str
    members: tuple[str, ...]
    prefix: str
    ending: str = ""

    def path(self, member: str) -> str:
        """Return what GDAL takes to open a member."""
        return f"{self.prefix}{member.removeprefix('./')}"

    def base_names(self) -> Iterator[tuple[str, str]]:
        """Return every member's name without folders and without the common ending, and the member."""
        for member in self.members:
            stem, dot, kind = member.rpartition("/")[2].rpartition(".")
            yield f"{stem.removesuffix(self.ending)}{dot}{kind}", member

    def read(self, member: str) -> bytes:
        """Return the content of a small file.

        Raises:
            SceneError: It cannot be read, or is larger than a metadata file can be.
        """
        try:
            content = self._content(member)
        except (OSError, tarfile.TarError, zipfile.BadZipFile, KeyError) as error:
            raise SceneError(f"{self.root}: {member} cannot be read ({error}); download the product again") from error
        if len(content) > _LARGEST_METADATA_BYTES:
            raise SceneError(f"{self.root}: found more than 16 MiB in {member}; expected a file of metadata")
        return content

    def _content(self, member: str) -> bytes:
        most = _LARGEST_METADATA_BYTES + 1
        if self.root.lower().endswith(".zip") and not Path(self.root).is_dir():
            with open_zip(self.root) as archive:
                return next(content_of(archive, member, most), b"")
        if self.root.lower().endswith(".tar") and not Path(self.root).is_dir():
            with tar_archives.open_tar(self.root) as tar:
                members = {item.name: item for item in tar_archives.members_of(tar, _MOST_FILES)}
                content = bytearray()
                for part in tar_archives.content_of(tar, members[member]):
                    content += part
                    if len(content) > most:
                        break
                return bytes(content)
        with Path(self.path(member)).open("rb") as plain:
            return plain.read(most)


def is_archive(path: str) -> bool:
    """Return whether the name is that of an archive."""
    return path.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".7z", ".rar"))


def list_files(path: str) -> Listing:
    """List the files of a folder or of an archive; hidden files and links to folders are skipped.

    A .zip and a .tar are read in place. A compressed tar cannot be: every read would unpack it from its start.

    Raises:
        SceneError: It cannot be read, is of another format, or holds too many files.
    """
    root = os.path.abspath(path)  # noqa: PTH100
    name = Path(root).name
    if Path(root).is_dir():
        return Listing(root, name, _checked(path, tuple(sorted(islice(_walk(root), _MOST_FILES + 1)))), f"{root}/")
    lower = name.lower()
    if not lower.endswith((".zip", ".tar")):
        stem = name.split(".tar")[0].rpartition(".")[0] or name.split(".")[0]
        command = (
            f"mkdir {stem} && tar -xf {name} -C {stem}" if ".tar" in lower or lower.endswith(".tgz") else "unpack it"
        )
        raise SceneError(
            f"{path}: found a compressed archive; expected a folder, .zip or .tar: {command}, and give the folder"
        )
    try:
        if lower.endswith(".zip"):
            with open_zip(root) as archive:
                names = [item.filename for item in files_of(archive)]
                if any(item.flag_bits & 1 for item in archive.infolist()):
                    raise SceneError(f"{path}: found an archive with a password; expected one without: unpack it first")
        else:
            with tar_archives.open_tar(root) as tar:
                found = tar_archives.members_of(tar, _MOST_FILES + 1)
            _check_count(path, len(found))
            names = [item.name for item in found if item.isfile()]
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise SceneError(f"{path}: the archive cannot be read ({error}); download it again") from error
    scheme = "vsizip" if lower.endswith(".zip") else "vsitar"
    kept = tuple(sorted(name for name in names if not name.rpartition("/")[2].startswith(".")))
    return Listing(root, name.rpartition(".")[0], _checked(path, kept), f"/{scheme}/{{{root}}}/")


def _walk(root: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        relative = os.path.relpath(folder, root)
        depth = 0 if relative == "." else relative.count(os.sep) + 1
        folders[:] = [] if depth >= _DEEPEST else [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith("."):
                yield name if relative == "." else f"{relative}/{name}"


def _checked(path: str, members: tuple[str, ...]) -> tuple[str, ...]:
    if not members:
        raise SceneError(f"{path}: found no files; expected those of one product")
    _check_count(path, len(members))
    return members


def _check_count(path: str, count: int) -> None:
    if count > _MOST_FILES:
        raise SceneError(f"{path}: found more than {_MOST_FILES:,} files; expected those of one product")
