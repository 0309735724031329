"""Checking GDAL's virtual rasters (VRT), XML files that compose a raster of others, before GDAL opens one.

GDAL does whatever a VRT says: it fetches addresses, runs Python code, and reads any file that any of its drivers
understands. Only mosaics and stacks of plain local rasters are accepted, which is what gdalbuildvrt and gdal_translate
write.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element, ParseError  # a type and an error  # nosec B405

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from imagery.crs_grids import grid_paths
from imagery.errors import SceneError

_LARGEST_BYTES: Final = 32 << 20
_MOST_SOURCES: Final = 100_000
_DEEPEST: Final = 8  # levels of elements; a mask of a mask of a mask would have more
_HELP: Final = "write it as a GeoTIFF (gdal_translate IN.vrt OUT.tif) where you trust it"

# Elements by the element that holds them (https://gdal.org/en/stable/drivers/raster/vrt.html). Those that are missing
# compute pixels, name drivers or options, or point to files in ways of their own.
_SOURCES: Final = frozenset({"SimpleSource", "ComplexSource"})
_TEXTS: Final = frozenset(
    {"ColorInterp", "NoDataValue", "HideNoDataValue", "Description", "UnitType", "Offset", "Scale"}
)
_WITHOUT_FILES: Final = frozenset({"Metadata", "Histograms", "ColorTable", "CategoryNames", "GDALRasterAttributeTable"})
_KNOWN: Final = {
    "VRTDataset": {"SRS", "GeoTransform", "Metadata", "VRTRasterBand", "MaskBand", "OverviewList", "BlockXSize"}
    | {"BlockYSize", "GCPList"},
    "VRTRasterBand": {*_SOURCES, *_TEXTS, *_WITHOUT_FILES, "MaskBand"},
    "MaskBand": {"VRTRasterBand"},
    **dict.fromkeys(
        _SOURCES,
        {"SourceFilename", "SourceBand", "SourceProperties", "SrcRect", "DstRect", "NODATA", "ScaleOffset"}
        | {"ScaleRatio", "LUT", "ColorTableComponent", "UseMaskBand", "Exponent", "SrcMin", "SrcMax", "DstMin"}
        | {"DstMax", "Clamp"},
    ),
}
_BAND_CLASSES: Final = (None, "VRTSourcedRasterBand")  # other classes run functions or read raw bytes


def vrt_sources(path: str) -> list[str]:
    """Return the absolute paths of the files that a VRT is composed of, each once, after checking the VRT itself.

    The files are not opened.

    Raises:
        SceneError: The file is not a VRT, is too large, computes pixels, or names something else than a local file.
    """
    root = _parse(path)
    if root.tag != "VRTDataset":
        raise SceneError(f"{path}: found the XML element {root.tag}; expected a VRTDataset")
    written = (text for element in root.iter() for text in (element.text or "", *element.attrib.values()))
    if grids := [name for text in written for name in grid_paths(text)]:
        raise SceneError(
            f"{path}: found a coordinate reference system that names the file {grids[0]!r}; expected one without "
            "files: assign it by its number (gdal_edit.py -a_srs EPSG:...)"
        )
    if kind := root.get("subClass"):
        raise SceneError(f"{path}: found a {kind}; expected a mosaic or stack of files: {_HELP}")
    names = list(dict.fromkeys(_source_names(path, root, 0)))
    if not 1 <= len(names) <= _MOST_SOURCES:
        raise SceneError(f"{path}: found {len(names)} source files; expected 1 to {_MOST_SOURCES}")
    return names


def band_sources(path: str) -> list[frozenset[str]]:
    """Return, for each band of a VRT, the absolute paths of the files that it is composed of.

    Raises:
        SceneError: As `vrt_sources`.
    """
    bands = _parse(path).findall("VRTRasterBand")  # GDAL numbers them in this order
    return [
        frozenset(_source_path(path, name) for kind in _SOURCES for name in band.findall(f"{kind}/SourceFilename"))
        for band in bands
    ]


def _parse(path: str) -> Element:
    size = os.path.getsize(path)  # noqa: PTH202 - a path may be of any length here
    if size > _LARGEST_BYTES:
        raise SceneError(f"{path}: found a VRT of {size >> 20} MiB; expected at most {_LARGEST_BYTES >> 20} MiB")
    content = Path(path).read_bytes()
    # Entities could expand without end, or read other files.
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise SceneError(f"{path}: found a document type declaration; expected plain XML as gdalbuildvrt writes it")
    try:
        root: Element = fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise SceneError(
            f"{path}: found a VRT that is not well-formed XML ({error}): copy or build it again"
        ) from error
    return root


def _source_names(path: str, element: Element, depth: int) -> Iterator[str]:
    """Check an element and all below it; yield the paths of source files."""
    if depth > _DEEPEST:
        raise SceneError(f"{path}: found elements nested more than {_DEEPEST} deep; expected a VRT by gdalbuildvrt")
    for child in element:
        if child.tag not in _KNOWN[element.tag]:
            raise SceneError(f"{path}: found {child.tag} in a VRT; expected a mosaic or stack of files: {_HELP}")
        if child.tag == "SourceFilename":
            yield _source_path(path, child)
        elif child.tag in _KNOWN:
            if child.tag == "VRTRasterBand" and child.get("subClass") not in _BAND_CLASSES:
                raise SceneError(
                    f"{path}: found a band of class {child.get('subClass')}, which computes its pixels; expected a "
                    f"mosaic or stack of files: {_HELP}"
                )
            yield from _source_names(path, child, depth + 1)


def _source_path(path: str, element: Element) -> str:
    name = element.text or ""
    relative = element.get("relativeToVRT", "0").strip() == "1"
    # GDAL would take other names for an address, a virtual file system, or the subdataset of a file.
    if not relative and not name.startswith("/"):
        raise SceneError(
            f"{path}: found the source {name!r}; expected an absolute path, or one relative to the VRT "
            "(relativeToVRT=1): build it again where its files are"
        )
    # Not resolved: GDAL joins the names as they are.
    source = os.path.join(os.path.dirname(os.path.abspath(path)), name) if relative else name  # noqa: PTH100, PTH118, PTH120
    if os.path.normpath(source).startswith("/vsi"):
        raise SceneError(f"{path}: found the source {name!r}; expected a local file, copied along with the VRT")
    return source
