"""Handing names of files to GDAL so that a local path means exactly the file of that name.

rasterio and pyogrio read more into a name than a file system does: "!" separates an archive from its member, ";" and
"?" begin parameters, "zip+file:" is a scheme, and "/vsi..." names one of GDAL's virtual file systems. Users' folders
hold all of these. A name that contains "://" or begins with "/vsi" is taken as an address only if there is no local
file of that name.
"""

import errno
import os


def is_address(path: str) -> bool:
    """Return whether a name is an address that GDAL reads ("s3://bucket/key", "/vsicurl/https://...")."""
    # Unlike Path.exists, os.path.exists answers False for a name that is too long or holds a null byte.
    return ("://" in path or path.startswith("/vsi")) and not os.path.exists(path)  # noqa: PTH110


def name_for_rasterio(path: str) -> str:
    """Return what `rasterio.open` takes to open a local path literally; an address is returned as it is.

    Raises:
        OSError: The local path is not valid UTF-8, so that rasterio cannot pass it on.
    """
    # rasterio looks for a scheme only in front of the first slash.
    return path if is_address(path) else _absolute(path)


def name_for_pyogrio(path: str) -> str:
    """Return what pyogrio's reading functions take to open a local path literally.

    Raises:
        OSError: The path is not valid UTF-8, so that pyogrio cannot pass it on.
    """
    from pyogrio.util import vsi_path  # brings pandas along: see `imagery.vectors`

    absolute = _absolute(path)
    # pyogrio passes names that begin with "/vsi" to GDAL unchanged, and GDAL's "/vsisubfile/0,NAME" is the whole of the
    # file NAME. Not used for every file, because SQLite opens a GeoPackage in WAL mode by its plain name only.
    return absolute if vsi_path(absolute) == absolute else f"/vsisubfile/0,{absolute}"


def _absolute(path: str) -> str:
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise OSError(errno.EILSEQ, "its name is not valid UTF-8: rename it", path) from error
    # A name with a leading "//" would be taken for a network address, one with "/vsi" for a virtual file system.
    absolute = "/" + os.path.abspath(path).lstrip("/")  # noqa: PTH100
    return f"/.{absolute}" if absolute.startswith("/vsi") else absolute
