"""Reading vector files inside zip archives: zipped shapefiles as inventories distribute them, and KMZ."""

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from imagery.errors import OutlineError
from imagery.vector_files import ENDINGS, SHAPEFILE_PARTS, Bounds, Features, LayerHeader, VectorFile, open_plain
from imagery.zip_archives import content_of, files_of, open_zip

# The outlines of a large RGI region take about 300 MB. A zip bomb declares more, or is stopped when it reaches this.
_LARGEST_BYTES: Final = 1 << 29
_MOST_MEMBERS: Final = 10_000
# Shapefiles shrink to a tenth, their tables of attributes, which are filled up with spaces, to a hundredth.
_LARGEST_RATIO: Final = 200
_ALWAYS_BYTES: Final = 1 << 24


class ArchivedFiles:
    """The vector files of an archive as one file; its layers are the layers of all."""

    def __init__(self, files: Mapping[str, VectorFile]) -> None:
        """Take the files by the name that their layers get: of a file of one layer, its own.

        Layers of points and lines are left out only beside others, as inside of one file: GLIMS packs both.
        """
        self._polygonal = any(file.polygon_layers() for file in files.values())
        self._places: dict[str, tuple[VectorFile, str]] = {}
        for name, file in files.items():
            inner = file.polygon_layers() if self._polygonal else file.layers()
            for layer in inner:
                label = layer if len(files) == 1 else name if len(inner) == 1 else f"{name}/{layer}"
                self._places[label] = (file, layer)

    def layers(self) -> list[str]:
        """Return the names of the layers that may hold polygons, or of all if none may."""
        return list(self._places)

    def polygon_layers(self) -> list[str]:
        """Return the names of the layers that may hold polygons."""
        return list(self._places) if self._polygonal else []

    def header(self, layer: str) -> LayerHeader:
        """Return what a layer says about itself, under its name in the archive."""
        file, inner = self._places[layer]
        header = file.header(inner)
        return replace(header, name=layer)

    def read(self, header: LayerHeader, boxes: Sequence[Bounds], columns: Sequence[str]) -> Features:
        """Return the features whose bounds touch a box."""
        file, own = self._own(header)
        return file.read(own, boxes, columns)

    def attributes(self, header: LayerHeader, columns: Sequence[str]) -> Mapping[str, NDArray[Any]]:
        """Return attribute values of all features, in the order of the file."""
        file, own = self._own(header)
        return file.attributes(own, columns)

    def without_place(self, header: LayerHeader) -> NDArray[np.int64]:
        """Return the numbers of the features without a geometry or with coordinates that are not numbers."""
        file, own = self._own(header)
        return file.without_place(own)

    def _own(self, header: LayerHeader) -> tuple[VectorFile, LayerHeader]:
        file, inner = self._places[header.name]
        return file, replace(header, name=inner)


@contextmanager
def open_archive(path: str) -> Iterator[ArchivedFiles]:
    """Extract the vector files of an archive to a temporary folder, and open them.

    Raises:
        OutlineError: It is no zip archive, is damaged, encrypted or too large, names members outside of itself, or
            holds no vector file.
    """
    with tempfile.TemporaryDirectory(prefix="outlines-") as folder:
        with zip_faults(path), open_zip(path) as archive:
            extracted = _extract(path, archive, Path(folder))
        files = {}
        for name, file in extracted.items():
            try:
                files[name] = open_plain(str(file))
            except OutlineError as error:
                raise OutlineError(f"{path}: {str(error).replace(str(file), name)}") from error
        yield ArchivedFiles(files)


@contextmanager
def zip_faults(path: str) -> Iterator[None]:
    """Refuse an archive that cannot be read, as `imagery.zip_archives` finds out in the block.

    Raises:
        OutlineError: It is no zip archive, is damaged or encrypted.
    """
    try:
        yield
    except zipfile.BadZipFile as error:
        raise OutlineError(f"{path}: found an archive that cannot be read; expected a zip file ({error})") from error


def members_of(path: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by name.

    Raises:
        OutlineError: There are too many.
        zipfile.BadZipFile: One has no name.
    """
    members = {item.filename: item for item in files_of(archive)}
    if len(members) > _MOST_MEMBERS:
        raise OutlineError(f"{path}: found {len(members)} files in it; expected at most {_MOST_MEMBERS}")
    return members


def check_sizes(path: str, members: Sequence[zipfile.ZipInfo]) -> None:
    """Refuse files that are too large together, or that are packed as a zip bomb is.

    Raises:
        OutlineError: They are.
    """
    total, packed = sum(item.file_size for item in members), sum(item.compress_size for item in members)
    if total > _LARGEST_BYTES or total > max(_ALWAYS_BYTES, _LARGEST_RATIO * packed):
        raise OutlineError(
            f"{path}: found {total >> 20} MiB of vector files packed into {packed:,} bytes; expected at most "
            f"{_LARGEST_BYTES >> 20} MiB, and {_LARGEST_RATIO} times the packed size: unzip it first, and name the file"
        )


def check_name(path: str, name: str) -> None:
    """Refuse a name that leads out of the archive.

    Raises:
        OutlineError: It does.
    """
    if ".." in PurePosixPath(name).parts or name.startswith("/") or "\\" in name:
        raise OutlineError(f"{path}: found a member named {name!r}; expected names inside the archive")


def extract_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Extract a member to a file.

    Raises:
        zipfile.BadZipFile: It cannot be read.
    """
    with target.open("wb") as file:
        file.writelines(content_of(archive, member))


def _extract(path: str, archive: zipfile.ZipFile, folder: Path) -> dict[str, Path]:
    """Extract the vector files, each into a folder of its own; return them by their name without the ending."""
    members = members_of(path, archive)
    wanted = ENDINGS if Path(path).suffix.lower() == ".zip" else (".kml",)
    names = [name for name in members if _ending(name) in wanted and not _is_hidden(name)]
    if not names:
        listed = ", ".join(list(members)[:5]) or "nothing"
        raise OutlineError(f"{path}: found no vector file in it ({listed}); expected one of {', '.join(wanted)}")
    check_sizes(path, [members[part] for name in names for part in _parts(name, _stem(name), members)])
    extracted: dict[str, Path] = {}
    for number, name in enumerate(names):
        check_name(path, name)
        if _ending(name) in {".zip", ".kmz"}:
            raise OutlineError(f"{path}: found the archive {name!r} in it; expected vector files: unzip it first")
        target = folder / str(number)
        target.mkdir()
        stem = _stem(name)
        for part in _parts(name, stem, members):
            extract_member(archive, members[part], target / f"{_safe(stem)}{_ending(part)}")
        key = PurePosixPath(stem).name
        extracted[stem if key in extracted else key] = target / f"{_safe(stem)}{_ending(name)}"
    return extracted


def _parts(name: str, stem: str, members: Mapping[str, zipfile.ZipInfo]) -> list[str]:
    if _ending(name) != ".shp":
        return [name]
    return [
        part
        for part in members
        if part.removesuffix(PurePosixPath(part).suffix).lower() == stem.lower() and _ending(part) in SHAPEFILE_PARTS
    ]


def _stem(name: str) -> str:
    return name.removesuffix(PurePosixPath(name).suffix)


def _ending(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _is_hidden(name: str) -> bool:
    """Return whether macOS or an editor put the member there ("__MACOSX/._outlines.shp")."""
    return any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in PurePosixPath(name).parts)


def _safe(stem: str) -> str:
    """Return the name of a file for a member, which GDAL takes as the name of its layer."""
    return PurePosixPath(stem).name[:100].replace("\0", "")
