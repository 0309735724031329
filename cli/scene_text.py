"""A scene's summary as text, to be read before the scene is registered."""

from collections.abc import Iterator

from services.scene_summary import QualitySummary, RasterSummary, SceneSummary


def describe(summary: SceneSummary) -> str:
    """Return the summary as lines."""
    return "\n".join(_lines(summary))


def _lines(summary: SceneSummary) -> Iterator[str]:
    yield f"Scene {summary.name} ({summary.role.value})"
    for label, text in _facts(summary):
        yield f"  {label + ':' if label else '':<12}{text}"
    for item in summary.outlines:
        told = f", where {item.class_field} is {' or '.join(map(repr, item.class_values))}" if item.class_field else ""
        layer = f":{item.layer}" if item.layer else ""
        yield f"  outlines:   {item.class_name} from {item.file}{layer}{told}: {item.polygons} polygons"
        yield from (f"              {note}" for note in item.notes)
    for area in summary.classes:
        yield f"  truth:      {area.class_name}: {area.pixels} pixels, {area.area_km2:.3f} km²"
    if summary.left_out:
        yield "Not used"
        yield from (f"  {item.file}: {item.reason}" for item in summary.left_out)
    if summary.notes:
        yield "Please check"
        yield from (f"  - {note}" for note in summary.notes)


def _facts(summary: SceneSummary) -> Iterator[tuple[str, str]]:
    identity = f" ({summary.product_id})" if summary.product_id else ""
    yield "product", f"{summary.kind}{identity}"
    yield "sensor", summary.sensor or "unknown"
    yield "level", f"{summary.level} reflectance" if summary.level else _without_level(summary)
    yield "acquired", summary.acquired or "unknown"
    width, height = summary.pixel_size
    size = f"{width:g}" if width == height else f"{width:g} × {height:g}"
    yield "grid", f"{summary.width} × {summary.height} pixels of {size}, {summary.crs}"
    for index, band in enumerate(summary.bands):
        yield "bands" if index == 0 else "", _raster(band)
    for band in summary.further_channels:
        yield "channel", _raster(band)
    for quality in summary.quality:
        yield "flags", _quality(quality)
    yield "pixels", f"{_percent(summary.pixels.no_data)} without data (fill), {_percent(summary.pixels.usable)} usable"
    raised = [f"{name} {_percent(share)}" for name, share in summary.pixels.flags.items() if share and name != "fill"]
    if raised:
        yield "", f"of those with data: {', '.join(raised)}"
    if summary.cloud_share is not None or summary.provider_cloud_percent is not None:
        yield "clouds", _clouds(summary)
    if summary.elevation:
        yield "elevation", f"{', '.join(summary.elevation.files)}; covers {_percent(summary.elevation.coverage)}"
    if summary.border:
        yield "border", summary.border


def _without_level(summary: SceneSummary) -> str:
    return "unknown" if any(band.unit == "reflectance" for band in summary.bands) else "none (digital numbers)"


def _raster(band: RasterSummary) -> str:
    scaled = f", stored × {band.scale:g} {band.offset:+g}" if (band.scale, band.offset) != (1, 0) else ""
    nodata = "" if band.nodata is None else f", no data {band.nodata:g}"
    place = f"{band.file.rpartition('/')[2]}:{band.index}"
    return f"{band.name}, {band.unit}{scaled}{nodata} ({place})"


def _quality(quality: QualitySummary) -> str:
    if quality.table is None:
        return f"{quality.name}: not decoded, masks nothing"
    return f"{quality.name} ({quality.table}): masks {', '.join(quality.masked) or 'nothing'}"


def _clouds(summary: SceneSummary) -> str:
    ours = "not known here" if summary.cloud_share is None else f"{_percent(summary.cloud_share)} by the flags"
    stated = summary.provider_cloud_percent
    return ours if stated is None else f"{ours}, {stated:g} % by the provider"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
