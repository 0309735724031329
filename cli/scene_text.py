"""A scene's summary as text, to be read before the scene is registered."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from imagery.coordinates import format_place
from imagery.units import REFLECTANCE
from services.scene_summary import (
    ElevationSummary,
    OutlineSummary,
    PriorSummary,
    QualitySummary,
    RasterSummary,
    SceneSummary,
)

_UNITS: Final = {"metre": "m", "degree": "°"}


def describe(summary: SceneSummary) -> str:
    """Return the summary as lines."""
    return "\n".join(_lines(summary))


def _lines(summary: SceneSummary) -> Iterator[str]:
    yield f"Scene {summary.name} ({summary.role.value})"
    for label, text in _facts(summary):
        yield f"  {label + ':' if label else '':<12}{text}"
    if summary.left_out:
        yield "Not used"
        yield from (f"  - {item.file}: {item.reason}" for item in summary.left_out)
    if summary.notes:
        yield "Please check"
        yield from (f"  - {note}" for note in summary.notes)


def _facts(summary: SceneSummary) -> Iterator[tuple[str, str]]:
    identity = f" ({summary.product_id})" if summary.product_id else ""
    yield "product", f"{summary.kind}{identity}"
    yield "sensor", summary.sensor or "unknown"
    yield "level", _level(summary)
    yield "acquired", summary.acquired or "unknown"
    yield "place", f"{format_place(*summary.center)} (middle)"
    yield "grid", f"{summary.width} × {summary.height} pixels of {_pixel_size(summary)}, {summary.crs}"
    yield from _rasters("bands", summary.bands)
    yield from _rasters("channels", summary.further_channels)
    for quality in summary.quality:
        yield "flags", _quality(quality)
    yield "pixels", f"{_percent(summary.pixels.no_data)} without data (fill), {_percent(summary.pixels.usable)} usable"
    raised = [f"{name} {_percent(share)}" for name, share in summary.pixels.flags.items() if share and name != "fill"]
    if raised:
        yield "", f"of those with data: {', '.join(raised)}"
    if summary.cloud_share is not None or summary.provider_cloud_percent is not None:
        yield "clouds", _clouds(summary)
    if summary.elevation:
        yield "elevation", ", ".join(summary.elevation.files)
        yield "", _elevation(summary.elevation)
    if summary.border:
        yield "border", summary.border
    for item in summary.outlines:
        yield "outlines", _outlines(item)
        yield from (("", f"  {note}") for note in item.notes)
    if summary.prior_outlines:
        yield from _prior_outlines(summary.prior_outlines)
    for area in summary.classes:
        yield "truth", f"{area.class_name}: {_counted(area.pixels, 'pixel')}, {area.area_km2:.3f} km²"


def _level(summary: SceneSummary) -> str:
    if summary.level:
        level, comma, more = summary.level.partition(",")
        return f"{level} reflectance{comma}{more}"
    return "unknown" if any(band.unit == REFLECTANCE for band in summary.bands) else "none (digital numbers)"


def _pixel_size(summary: SceneSummary) -> str:
    unit = _UNITS.get(summary.pixel_unit, f" {summary.pixel_unit}")
    size = _sides(summary.pixel_size)
    return f"{size} m" if unit == "m" else f"{size}{unit} ({_sides(summary.pixel_size_m)} m)"


def _sides(sides: tuple[float, float]) -> str:
    width, height = (f"{side:.4g}" for side in sides)
    return width if width == height else f"{width} × {height}"


def _rasters(label: str, bands: Sequence[RasterSummary]) -> Iterator[tuple[str, str]]:
    """Rasters, those of one unit and scale below one heading."""
    longest = max((len(band.name) for band in bands), default=0)
    files = [band.file for band in bands]
    for scaling, group in groupby(bands, _scaling):
        yield label, scaling
        label = ""
        for band in group:
            index = f":{band.index}" if band.index > 1 or files.count(band.file) > 1 else ""
            resampled = ", resampled onto the grid" if band.resampled else ""
            yield "", f"  {band.name:<{longest}}  {band.file.rpartition('/')[2]}{index}{resampled}"


def _scaling(band: RasterSummary) -> str:
    scaled = f" = stored × {band.scale:g}" if (band.scale, band.offset) != (1, 0) else ""
    offset = f" {'-' if band.offset < 0 else '+'} {abs(band.offset):g}" if band.offset else ""
    nodata = "" if band.nodata is None else f"; no data: {band.nodata:g}"
    unit = "without a unit" if band.unit == "1" else band.unit
    return f"{unit}{scaled}{offset}{nodata}"


def _quality(quality: QualitySummary) -> str:
    if quality.table is None:
        return f"{quality.name}: not decoded, masks nothing"
    return f"{quality.name} ({quality.table}): masks {', '.join(quality.masked) or 'nothing'}"


def _clouds(summary: SceneSummary) -> str:
    ours = "not known here" if summary.cloud_share is None else f"{_percent(summary.cloud_share)} by the flags"
    stated = summary.provider_cloud_percent
    return ours if stated is None else f"{ours}, {stated:g} % by the provider"


def _elevation(dem: ElevationSummary) -> str:
    return f"{dem.lowest_m:,.0f} to {dem.highest_m:,.0f} m; covers {_percent(dem.coverage)}"


def _outlines(item: OutlineSummary) -> str:
    told = f", where {item.class_field} is {' or '.join(map(repr, item.class_values))}" if item.class_field else ""
    layer = f":{item.layer}" if item.layer else ""
    return f"{item.class_name} from {item.file}{layer}{told}: {_counted(item.polygons, 'polygon')} near the scene"


def _prior_outlines(prior: PriorSummary) -> Iterator[tuple[str, str]]:
    yield "prior", f"outlines of {prior.date or 'an unknown date'} by {prior.source or 'an unknown source'}"
    for item in prior.outlines:
        yield "", _outlines(item)
        yield from (("", f"  {note}") for note in item.notes)
    for area in prior.classes:
        yield "", f"{area.class_name}: {_counted(area.pixels, 'pixel')}, {area.area_km2:.3f} km²"
    if prior.ring_m:
        yield "", f"pixels within {prior.ring_m:g} m of an edge teach nothing"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
