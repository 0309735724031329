"""Which files a request to register a scene may reach: below one folder by HTTP, every file by the command line.

A product consists of many files, and a STAC item or a virtual raster names further ones. Links are followed before a
file is opened, and it has to lie where the caller may read.
"""

import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

from imagery.errors import OutlineError, SceneError
from imagery.paths import is_address
from imagery.products.stac_item import is_http
from imagery.raster_file import check_files_below, is_vrt

_MOST_FILES: Final = 20_000
_METADATA: Final = re.compile(r"(_MTL\.(txt|json|xml)|MTD_\w+\.xml)$", re.IGNORECASE)
"""Files that stand for all files beside them (see `imagery.products.recognise`)."""
# "/vsizip/{/scenes/a.zip}/B4.TIF": GDAL's way to name a member of an archive.
_MEMBER: Final = re.compile(r"/vsi(?:zip|tar)/\{(?P<archive>.+)\}/.*")


def archive_of(path: str) -> str | None:
    """Return the archive that a file of a scene is a member of; None if it lies in a folder."""
    member = _MEMBER.fullmatch(path)
    return member["archive"] if member else None


class RemoteFileError(SceneError):
    """A file of the scene lies at an address that may be read, but not here and now: reading it may take long."""


class SceneFiles(Protocol):
    """The files that a caller may read."""

    def __call__(self, name: str) -> str:
        """Return the path of a file or folder, or an address, that the caller names.

        Raises:
            SceneError: there is none, or the caller may not read it.
        """
        ...

    def permit(self, path: str) -> str:
        """Return an absolute path or address that a file of the scene names.

        Raises:
            SceneError: the caller may not read it.
        """
        ...

    def shown(self, text: str) -> str:
        """Return a text with the paths in it as the caller writes them."""
        ...


class BelowRoot:
    """Files below one folder, and addresses of some hosts: what an HTTP request may name."""

    def __init__(self, root: Path, hosts: Collection[str] = (), *, only_local: bool = False) -> None:
        """Allow a folder and some hosts.

        Args:
            root: The folder.
            hosts: Such as "data.example.org" or "127.0.0.1:8080".
            only_local: Whether an address of these hosts, too, is refused, by `RemoteFileError`.
        """
        self._root = root
        self._hosts = frozenset(hosts)
        self._only_local = only_local

    def __call__(self, name: str) -> str:
        """See `SceneFiles`; a name is relative to the folder."""
        if is_http(name):
            return self.permit(name)
        if "\0" in name:
            raise SceneError(f"found a null byte in the name {name!r}; expected the name of a file or folder")
        path = (self._root / name).resolve()
        # Unlike Path.exists, os.path.exists returns False for a name that is too long for the file system.
        if path == self._root.resolve() or not self._is_inside(path) or not os.path.exists(path):  # noqa: PTH110
            raise SceneError(
                f"found no file or folder {name!r} below the scene root of this server; copy it there first"
            )
        if path.is_dir():
            self._check_folder(name, path)
        elif _METADATA.search(path.name):
            self._check_folder(name, path.parent)
        else:
            self._check_leading(path)
        return str(path)

    def permit(self, path: str) -> str:
        """See `SceneFiles`."""
        if is_http(path):
            self._check_host(path)
            return path
        archive = archive_of(path)
        local = archive or path
        if is_address(local) or not self._is_inside(Path(local).resolve()):
            raise SceneError(
                f"found {path!r} among the files of the scene; expected files below the scene root of this server"
            )
        if archive is None:
            self._check_leading(Path(local))
        return path

    def shown(self, text: str) -> str:
        """See `SceneFiles`; the folder is left out."""
        for root in {str(self._root), str(self._root.resolve())}:
            text = text.replace(f"{root}/", "")
        return text

    def _is_inside(self, path: Path) -> bool:
        return path.is_relative_to(self._root.resolve())

    def _check_leading(self, path: Path) -> None:
        """Refuse a file that leads out of the root, or what is neither a file nor a folder."""
        if path.is_file():
            check_files_below(str(path), self._root)
        elif path.exists() and not path.is_dir():
            raise SceneError(f"found {self.shown(str(path))!r}, which is no file: a pipe or a device; expected a file")

    def _check_folder(self, name: str, folder: Path) -> None:
        """Refuse a folder with a link out of the root, a virtual raster of files out of it, or too many files."""
        for count, entry in enumerate(_entries(folder)):
            if count >= _MOST_FILES:
                raise SceneError(f"found more than {_MOST_FILES:,} files in {name!r}; expected those of one product")
            if entry.is_symlink() and not self._is_inside(entry.resolve()):
                raise SceneError(
                    f"found the link {self.shown(str(entry))!r}, which leads out of the scene root of this server; "
                    "copy the file itself"
                )
            # What lies beside the others was looked at just as well.
            if not entry.is_file() or is_vrt(str(entry)):
                self._check_leading(entry)

    def _check_host(self, address: str) -> None:
        if not address.isprintable():  # urlsplit drops tabs and line ends; who fetches may not
            raise SceneError(f"found characters that cannot be printed in the address {address!r}; expected none")
        try:
            parts = urlsplit(address)
            _ = parts.port  # raises ValueError unless it is a number up to 65535
        except ValueError as error:
            raise SceneError(f"found the address {address!r}, which is none ({error}); expected one") from error
        if parts.username is not None or not {parts.netloc, parts.hostname} & self._hosts:
            raise SceneError(
                f"found the host {parts.netloc.rpartition('@')[2]!r}; expected one that this server may read from "
                f"(setting GLACIER_AL_SCENE_HOSTS: {', '.join(sorted(self._hosts)) or 'none'}), or files below its "
                "scene root"
            )
        if self._only_local:
            raise RemoteFileError(f"{address} lies on another machine; expected files of this one")


class AnyFile:
    """Every file and address: what a user at the machine may name."""

    def __call__(self, name: str) -> str:
        """See `SceneFiles`; a name is relative to the current folder."""
        if is_address(name):
            return name
        if not os.path.exists(name):  # noqa: PTH110
            raise SceneError(f"found no file or folder {name}")
        return str(Path(name).resolve())

    def permit(self, path: str) -> str:
        """See `SceneFiles`."""
        return path

    def shown(self, text: str) -> str:
        """See `SceneFiles`; nothing is changed."""
        return text


@contextmanager
def shown_as_named(files: SceneFiles) -> Iterator[SceneFiles]:
    """Let errors about the files of a scene name them as the caller does."""
    try:
        yield files
    except RemoteFileError:
        raise
    except (SceneError, OutlineError) as error:
        kind = SceneError if isinstance(error, SceneError) else OutlineError
        raise kind(files.shown(str(error))) from error


def _entries(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent) / name
