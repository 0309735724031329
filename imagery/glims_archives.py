"""Check a zipped GLIMS submission that somebody sends, which may come from any program and may be hostile."""

import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from imagery.errors import ExportError, OutlineError
from imagery.glims import IMAGES, OUTLINE_LAYERS, RGI, SESSION
from imagery.glims_check import check_submission
from imagery.glims_findings import Finding
from imagery.vector_archives import check_name, check_sizes, extract_member, members_of, zip_faults
from imagery.zip_archives import open_zip

_FILES: Final = frozenset(
    f"{layer}{ending}"
    for layer in (*OUTLINE_LAYERS, IMAGES, SESSION, RGI)
    for ending in (".shp", ".shx", ".dbf", ".prj", ".cpg")
)


def check_archive(path: str) -> list[Finding]:
    """Return what the shapefiles in a zip archive lack to be a GLIMS submission, as `check_submission`.

    They may lie in a folder of the archive. Nothing else is extracted, and small and capital letters of their names
    count as the same.

    Args:
        path: The archive.

    Raises:
        OutlineError: It is no zip archive, is damaged, encrypted or too large, names members outside of itself, holds a
            layer twice, or a shapefile cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="glims-") as folder:
        with zip_faults(path), open_zip(path) as archive:
            wanted = _wanted(path, archive)
            check_sizes(path, list(wanted.values()))
            for name, member in wanted.items():
                extract_member(archive, member, Path(folder, name))
        try:
            return check_submission(Path(folder))
        except ExportError as error:
            raise OutlineError(str(error).replace(f"{folder}/", "")) from error


def _wanted(path: str, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the files of the layers by the name that the check expects."""
    wanted: dict[str, zipfile.ZipInfo] = {}
    for member, item in members_of(path, archive).items():
        check_name(path, member)
        name = PurePosixPath(member).name.lower()
        if name in _FILES:
            if name in wanted:
                raise OutlineError(f"{path}: found {name} twice ({wanted[name].filename}, {member}); expected it once")
            wanted[name] = item
    return wanted
