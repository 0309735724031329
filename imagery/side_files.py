"""Checking the files that GDAL reads along with a file: overviews, masks, world files, attributes, journals.

GDAL finds them by their names, which begin as that of the file does. A pipe or a device among them would hang the
process, a link could lead to any file of the machine, and overviews and masks are rasters that GDAL opens like any
other: as a VRT, for example.
"""

import os
import stat
from bisect import bisect_left
from itertools import islice
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import ParseError  # types and errors only  # nosec B405

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from imagery.crs_grids import grid_paths
from imagery.errors import SceneError

_TIFF: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_RASTERS: Final = (".ovr", ".msk")
_METADATA: Final = ".aux.xml"
_PROJECTION: Final = (".prj", ".qpj")
_LARGEST_CRS: Final = 1 << 16
_LARGEST_METADATA: Final = 16 << 20  # histograms and tables of a raster of many bands


class SideFiles:
    """Checks the files beside files; lists each folder once, since a mosaic may have thousands of tiles in one."""

    def __init__(self, root: Path | None = None) -> None:
        """Name the folder below which they must lie, links followed; None for any."""
        self._root = None if root is None else root.resolve()
        self._names: dict[str, list[str]] = {}

    def check(self, path: str) -> None:
        """Check the files beside a local file whose names begin as its own does.

        Raises:
            SceneError: One is neither a file nor a folder, lies elsewhere, or leads GDAL to further files.
        """
        folder, name = os.path.split(os.path.abspath(path))  # noqa: PTH100
        if folder not in self._names:
            self._names[folder] = sorted(os.listdir(folder))  # noqa: PTH208 - a path may be of any length here
        stem = name.rpartition(".")[0] or name
        # GDAL also tries endings in capitals, but never another case of the stem.
        for beside in islice(self._names[folder], bisect_left(self._names[folder], stem), None):
            if not beside.startswith(stem):
                break
            self._check_one(path, folder, beside)

    def _check_one(self, path: str, folder: str, name: str) -> None:
        file = os.path.join(folder, name)  # noqa: PTH118
        try:
            kind = os.stat(file)  # noqa: PTH116
        except OSError:  # a link to nothing, which GDAL does not find either
            return
        is_file = stat.S_ISREG(kind.st_mode)
        if not (is_file or stat.S_ISDIR(kind.st_mode)):
            raise SceneError(f"{path}: found {name!r} beside it, which is no file; expected files: remove it")
        if self._root and os.path.islink(file) and not Path(file).resolve().is_relative_to(self._root):  # noqa: PTH114
            raise SceneError(
                f"{path}: found the link {name!r} beside it, which leads out of the scene root of this server; "
                "expected the file itself: copy it"
            )
        lower = name.lower()
        if is_file and lower.endswith(_RASTERS) and not _first_bytes(file).startswith(_TIFF):
            raise SceneError(
                f"{path}: found overviews or a mask in {name!r} that are no TIFF; expected those that gdaladdo "
                "writes: remove the file, or make it again"
            )
        if is_file and lower.endswith(_METADATA):
            _check_metadata(path, file, kind.st_size)
        if is_file and lower.endswith(_PROJECTION):
            with open(file, "rb") as opened:  # noqa: PTH123
                _check_crs(path, name, opened.read(_LARGEST_CRS).decode(errors="replace"))


def _check_metadata(path: str, file: str, size: int) -> None:
    """Refuse metadata that name a file of overviews (https://gdal.org/en/stable/development/rfc/rfc2_pam.html)."""
    name = os.path.basename(file)  # noqa: PTH119
    if size > _LARGEST_METADATA:
        raise SceneError(
            f"{path}: found {size >> 20} MiB in {name!r}; expected metadata, at most {_LARGEST_METADATA >> 20} MiB: "
            "remove the file"
        )
    try:
        root = fromstring(Path(file).read_bytes())
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SceneError(f"{path}: found {name!r} beside it, which is no readable XML ({error}): remove it") from error
    _check_crs(path, name, " ".join(element.text or "" for element in root.iter()))
    if any(element.get("domain", "").upper() == "OVERVIEWS" for element in root.iter()):
        raise SceneError(
            f"{path}: found {name!r} beside it, which names another file as its overviews; expected overviews inside "
            "the file or in one whose name ends with .ovr: remove the entry"
        )


def _check_crs(path: str, name: str, text: str) -> None:
    if grids := grid_paths(text):
        raise SceneError(
            f"{path}: found {name!r} beside it, whose coordinate reference system names the file {grids[0]!r}; "
            "expected one without files: assign a system with a number (gdal_edit.py -a_srs, ogr2ogr -a_srs)"
        )


def _first_bytes(file: str) -> bytes:
    with open(file, "rb") as opened:  # noqa: PTH123
        return opened.read(4)
