"""Check whether a folder of shapefiles keeps what GLIMS publishes about submissions.

The requirements and their sources are listed in `imagery.glims`; `imagery.glims_geometry` checks the outlines
themselves. The folder may come from any program: nothing that only this one writes is expected.
"""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from pyproj import CRS
from pyproj.exceptions import CRSError

from imagery.errors import ExportError
from imagery.glims import GLACIERS, IMAGES, OUTLINE_LAYERS, RGI, SESSION, LineType, place_of
from imagery.glims_findings import ERROR, WARNING, Finding, Table, read_table
from imagery.glims_geometry import check_outlines, check_places, check_topology
from imagery.projection import WGS84

_PARTS: Final = (".shx", ".dbf", ".prj")
_REQUIRED_FIELDS: Final = {
    GLACIERS: ("line_type", "glac_id", "src_date", "anlys_time", "area", "orig_id", "analysts", "proc_desc"),
    IMAGES: ("orig_id", "acq_time", "inst_name"),
    SESSION: ("anlst_surn", "anlys_time", "proc_desc"),
}
_WISHED_FIELDS: Final = {
    GLACIERS: ("loc_unc_x", "loc_unc_y", "glob_unc_x", "glob_unc_y"),
    IMAGES: ("platform",),
    SESSION: ("anlst_givn", "anlst_affl"),
}
_UNCERTAINTIES: Final = _WISHED_FIELDS[GLACIERS]
FIRST_IMAGE: Final = date(1849, 1, 1)
"""No image is older: the oldest photograph of a glacier that is known."""
_PSEUDONYM: Final = re.compile(r"analyst-[0-9a-f]{8}|simulated annotator|model .*")


def check_submission(folder: Path) -> list[Finding]:
    """Return what a folder lacks to be a GLIMS submission, errors first; nothing if it lacks nothing.

    Args:
        folder: With the shapefiles `glaciers`, `images` and `session`, and perhaps `debris`, `lakes` and `rgi`.

    Raises:
        ExportError: There is no such folder, or a shapefile cannot be read.
    """
    if not folder.is_dir():
        raise ExportError(f"{folder}: found no such folder; expected one with shapefiles for GLIMS")
    tables = {name: read_table(folder, name) for name in (*OUTLINE_LAYERS, IMAGES, SESSION, RGI)}
    present = {name: table for name, table in tables.items() if table is not None}
    findings = [finding for name in _REQUIRED_FIELDS for finding in _check_files(folder, name, tables[name])]
    for name in present.keys() - _REQUIRED_FIELDS:
        findings += _check_files(folder, name, present[name])
    for name, table in present.items():
        findings += _check_fields(name, table)
        if name in OUTLINE_LAYERS:
            findings += check_outlines(table)
            findings += _check_outline_table(table)
    if GLACIERS in present:
        findings += _check_glaciers(present[GLACIERS])
        findings += check_topology({name: present[name] for name in OUTLINE_LAYERS if name in present})
        if IMAGES in present:
            findings += _check_images(present[GLACIERS], present[IMAGES])
            findings += check_places(present[GLACIERS], present[IMAGES])
    if SESSION in present:
        findings += _check_session(present[SESSION])
    return sorted(findings, key=lambda finding: finding.severity)


def _check_files(folder: Path, name: str, table: Table | None) -> Iterator[Finding]:
    if table is None:
        yield Finding(ERROR, name, None, f"found no {name}.shp; expected this layer in every submission")
        return
    for ending in _PARTS:
        if not (folder / f"{name}{ending}").is_file():
            yield Finding(ERROR, name, None, f"found no {name}{ending}; a shapefile is not complete without it")
    if not len(table.geometries):
        yield Finding(ERROR, name, None, "found no features; expected at least one")
    if table.crs is not None and not _is_wgs84(table.crs):
        yield Finding(ERROR, name, None, f"found the CRS {table.crs[:60]}; expected longitude and latitude on WGS 84")


def _is_wgs84(crs: str) -> bool:
    try:
        return bool(CRS.from_user_input(crs).equals(CRS.from_user_input(WGS84), ignore_axis_order=True))
    except CRSError:
        return False


def _check_fields(name: str, table: Table) -> Iterator[Finding]:
    for severity, fields in ((ERROR, _REQUIRED_FIELDS.get(name, ())), (WARNING, _WISHED_FIELDS.get(name, ()))):
        for field in fields:
            if field not in table.fields:
                yield Finding(severity, name, None, f"found no field {field}; expected it in every table of {name}")
                continue
            empty = np.array([not text for text in table.texts(field)], dtype=np.bool_)
            if field == "area":  # of a glacier; that of a rock outcrop is not asked for
                empty &= np.array([kind != LineType.ROCK for kind in table.texts("line_type")], dtype=np.bool_)
            yield from table.rows(empty, severity, f"found no {field}; expected a value")


def _check_outline_table(table: Table) -> Iterator[Finding]:
    """Check the attributes that outlines of all kinds have."""
    allowed = [kind.value for kind in OUTLINE_LAYERS[table.name]]
    kinds = np.array([text not in allowed for text in table.texts("line_type")], dtype=np.bool_)
    yield from table.rows(kinds, ERROR, f"found another line_type than {' or '.join(allowed)}")
    for field in _UNCERTAINTIES:
        with np.errstate(invalid="ignore"):
            negative = table.numbers(field) < 0
        yield from table.rows(negative, ERROR, f"found a negative {field}; expected metres, 0 or more")
        if field in table.fields and table.fields[field].dtype.kind not in "fiu":
            yield Finding(ERROR, table.name, None, f"found {field} as text; expected a number of metres")
    identifiers = table.texts("glac_id")
    malformed = np.array([bool(text) and place_of(text) is None for text in identifiers], dtype=np.bool_)
    yield from table.rows(malformed, ERROR, "found a glac_id of another form than GnnnnnnEnnnnnN (or S)")


def _check_glaciers(glaciers: Table) -> Iterator[Finding]:
    kinds, identifiers = glaciers.texts("line_type"), glaciers.texts("glac_id")
    seen: set[tuple[str, str]] = set()
    repeated = np.zeros(len(kinds), dtype=np.bool_)
    for index, key in enumerate(zip(identifiers, glaciers.texts("src_date"), strict=True)):
        if kinds[index] == LineType.GLACIER and key[0]:
            repeated[index] = key in seen
            seen.add(key)
    yield from glaciers.rows(
        repeated, ERROR, "found the same glac_id and src_date for two glaciers; expected one outline"
    )
    source = [_day(text) for text in glaciers.texts("src_date")]
    analysed = [_day(text) for text in glaciers.texts("anlys_time")]
    tomorrow = date.today() + timedelta(days=1)
    for field, days in (("src_date", source), ("anlys_time", analysed)):
        stated = [bool(text) for text in glaciers.texts(field)]
        wrong = [
            is_stated and (day is None or not FIRST_IMAGE <= day <= tomorrow)
            for day, is_stated in zip(days, stated, strict=True)
        ]
        yield from glaciers.rows(
            np.array(wrong, dtype=np.bool_), ERROR, f"found no day of the past as {field}; expected YYYY-MM-DD"
        )
    backwards = [
        first is not None and second is not None and second < first
        for first, second in zip(source, analysed, strict=True)
    ]
    yield from glaciers.rows(
        np.array(backwards, dtype=np.bool_),
        ERROR,
        "found an analysis before its image; expected anlys_time after src_date",
    )
    at_edge = np.array([text.upper() == "Y" for text in glaciers.texts("edge")], dtype=np.bool_)
    yield from glaciers.rows(
        at_edge, WARNING, "the outline ends at the edge of the image or at unknown ground, not at that of the glacier"
    )


def _check_images(glaciers: Table, images: Table) -> Iterator[Finding]:
    known = dict(zip(images.texts("orig_id"), images.texts("acq_time"), strict=True))
    names, days = glaciers.texts("orig_id"), glaciers.texts("src_date")
    missing = np.array([bool(name) and name not in known for name in names], dtype=np.bool_)
    yield from glaciers.rows(missing, ERROR, "found an orig_id that is not in the layer images")
    differs = np.array(
        [
            name in known and _day(day) is not None and _day(known[name]) not in {None, _day(day)}
            for name, day in zip(names, days, strict=True)
        ],
        dtype=np.bool_,
    )
    yield from glaciers.rows(differs, ERROR, "found another src_date than the acq_time of its image")
    undated = np.array([bool(text) and _day(text) is None for text in images.texts("acq_time")], dtype=np.bool_)
    yield from images.rows(undated, ERROR, "found no day as acq_time; expected YYYY-MM-DD")


def _check_session(session: Table) -> Iterator[Finding]:
    anonymous = np.array([bool(_PSEUDONYM.fullmatch(text)) for text in session.texts("anlst_surn")], dtype=np.bool_)
    yield from session.rows(
        anonymous, WARNING, "found no name of a person as anlst_surn; GLIMS asks for the names of the analysts"
    )


def _day(text: str) -> date | None:
    """Read the day of an ISO 8601 date or time; None if the text is neither."""
    try:
        return datetime.fromisoformat(text).date()
    except ValueError:
        return None
