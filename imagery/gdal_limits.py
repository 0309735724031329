"""Limits on what GDAL may open, set once for each copy of the library: rasterio and pyogrio bring one each.

Of its own accord GDAL opens the files that a file names or that lie beside it (overviews, masks), with whatever driver
recognises them, and dozens of its drivers fetch addresses or read further files. So all drivers but those of the
formats that are read or written here are removed, and requests over HTTP are cut off in the library itself. Neither
package offers this, and GDAL's variables for it (``GDAL_SKIP``, ``OGR_SKIP``) list what to remove instead of what to
keep, in an environment that both copies share: therefore GDAL's own functions are called, by ctypes.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

_RASTER_DRIVERS: Final = frozenset(
    # The last two hold what rasterio makes in memory, rasters and shapes.
    {"GTiff", "COG", "JP2OpenJPEG", "VRT", "SRTMHGT", "AAIGrid", "MEM", "Memory"}
)
# GDAL with the library libkml reads KML by a driver of that name.
_VECTOR_DRIVERS: Final = frozenset({"GPKG", "GeoJSON", "ESRI Shapefile", "FlatGeobuf", "KML", "LIBKML", "MEM"})

# libcurl connects to this instead of to any host: it is no socket.
_NOWHERE: Final = b"/dev/null"
# CPLHTTPFetchCallbackFunc of GDAL's cpl_http.h.
_FETCH: Final = ctypes.CFUNCTYPE(ctypes.c_void_p, *[ctypes.c_void_p] * 7)
_RESULT_BYTES: Final = 256  # more than a CPLHTTPResult has
_ALLOWED: Final = b"CPL_VSIL_CURL_ALLOWED_FILENAME"
_NO_FILE: Final = b"none"
_STREAMING: Final = ("vsicurl", "vsis3", "vsigs", "vsiaz", "vsioss", "vsiswift")
# What rasterio puts in the place of a scheme.
_SCHEMES: Final = {"s3": "/vsis3/", "gs": "/vsigs/", "az": "/vsiaz/", "oss": "/vsioss/", "swift": "/vsiswift/"}

_lock = threading.Lock()
_limited: set[str] = set()
_callbacks: list[Any] = []  # GDAL keeps them: they must not be freed


def limit_rasterio() -> None:
    """Keep rasterio's GDAL from every raster format but those that are read here, and from every address.

    `allowed_file` makes an exception.
    """
    import rasterio
    from rasterio import _env

    with _lock:
        if "rasterio" not in _limited:
            with rasterio.Env():  # registers the drivers
                gdal = _functions(_env.__file__)
            _keep_drivers(gdal, _RASTER_DRIVERS)
            _cut_off(gdal)
            _limited.add("rasterio")


def limited_pyogrio() -> Any:
    """Return the module pyogrio, whose GDAL reads and writes only the vector formats used here, and no address."""
    import pyogrio  # brings pandas along, 90 MB: only a process that reads outlines pays for it

    with _lock:
        if "pyogrio" not in _limited:
            gdal = _functions(pyogrio._ogr.__file__)
            _keep_drivers(gdal, _VECTOR_DRIVERS)
            _cut_off(gdal)
            _limited.add("pyogrio")
    return pyogrio


@contextmanager
def allowed_file(address: str) -> Iterator[None]:
    """Let this thread open one file behind an address with rasterio, and no other, inside the block.

    An open file can be read afterwards. The options of `rasterio.Env` would not do: on leaving they are deleted, and in
    the main thread they hold for all threads.

    Args:
        address: As `rasterio.open` takes it.
    """
    from rasterio import _env

    scheme, separator, rest = address.partition("://")
    if separator and not address.startswith("/vsi"):
        address = f"{_SCHEMES[scheme]}{rest}" if scheme in _SCHEMES else f"/vsicurl/{address}"
    gdal = _functions(_env.__file__)
    gdal.CPLSetThreadLocalConfigOption(_ALLOWED, address.encode())
    try:
        yield
    finally:
        gdal.CPLSetThreadLocalConfigOption(_ALLOWED, None)


def _functions(extension: str) -> Any:
    """Return the functions of the GDAL to which an extension module is linked."""
    gdal = ctypes.CDLL(extension)
    gdal.GDALGetDriver.restype = ctypes.c_void_p
    gdal.GDALGetDescription.restype = ctypes.c_char_p
    gdal.GDALGetDescription.argtypes = [ctypes.c_void_p]
    for function in (gdal.CPLSetConfigOption, gdal.CPLSetThreadLocalConfigOption):
        function.argtypes, function.restype = [ctypes.c_char_p, ctypes.c_char_p], None
    gdal.CPLHTTPSetFetchCallback.argtypes, gdal.CPLHTTPSetFetchCallback.restype = [_FETCH, ctypes.c_void_p], None
    gdal.VSICalloc.argtypes, gdal.VSICalloc.restype = [ctypes.c_size_t, ctypes.c_size_t], ctypes.c_void_p
    path_option = gdal.VSISetPathSpecificOption
    path_option.argtypes, path_option.restype = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p], None
    return gdal


def _keep_drivers(gdal: Any, kept: frozenset[str]) -> None:
    """Remove all other drivers, and keep GDAL from registering them again."""
    names = [gdal.GDALGetDescription(gdal.GDALGetDriver(index)) for index in range(gdal.GDALGetDriverCount())]
    gdal.CPLSetConfigOption(b"GDAL_SKIP", b",".join(name for name in names if name.decode() not in kept))
    gdal.GDALAllRegister()


def _cut_off(gdal: Any) -> None:
    """Keep GDAL from fetching: what its drivers and CRSs name, and files in its virtual file systems."""

    def fetch_nothing(*_: object) -> int:
        # GDAL would fetch after all if there were no result. Zeros are valid, but for the status: 0 is success.
        result = int(gdal.VSICalloc(1, _RESULT_BYTES))
        ctypes.c_int.from_address(result).value = 1
        return result

    callback = _FETCH(fetch_nothing)
    _callbacks.append(callback)
    gdal.CPLHTTPSetFetchCallback(callback, None)
    gdal.CPLSetConfigOption(_ALLOWED, _NO_FILE)
    for kind in _STREAMING:  # which do not heed that option
        gdal.VSISetPathSpecificOption(f"/{kind}_streaming/".encode(), b"GDAL_HTTP_UNIX_SOCKET_PATH", _NOWHERE)
