"""Understand the files of a scene that a request names: its row, not yet stored, and a summary to show."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import groupby
from typing import Any, Final

from pyproj import CRS

from catalog.records import Scene, SceneRole
from catalog.settings import Settings
from imagery.border import Border, BorderSource
from imagery.class_fields import notes_on_status, unrecognised_fields
from imagery.classes import ClassScheme
from imagery.describe_elevation import Coverage, check_coverage, describe_dem, notes_on_steps
from imagery.describe_scene import describe
from imagery.errors import OutlineError, SceneError
from imagery.extra_channels import describe_extra
from imagery.grid import Grid, Window
from imagery.ground_metric import pixel_size_m
from imagery.masks import OutlineLayer
from imagery.products.bundle import Located
from imagery.products.plain import Stated, recognise_plain
from imagery.products.product import Product
from imagery.products.recognise import recognise
from imagery.projection import WGS84
from imagery.quality import mask_flags
from imagery.scene_source import BandSource, ElevationSource, SceneSource
from imagery.units import DIGITAL_NUMBER, REFLECTANCE
from services.outline_check import OutlineSummary, check_outlines, layers_to_propose, outline_layers, propose_outlines
from services.outline_dates import notes_on_truth
from services.pixel_check import check_pixels
from services.prior_outlines import PriorOutlines, describe_priors
from services.scene_files import SceneFiles
from services.scene_limits import check_size
from services.scene_request import DemRequest, OutlineRequest, SceneRequest
from services.scene_summary import (
    ClassSummary,
    ElevationSummary,
    LeftOut,
    PriorSummary,
    QualitySummary,
    RasterSummary,
    SceneSummary,
)
from services.scene_summary import OutlineSummary as LayerSummary
from services.unit_rules import bands_in_unit

# A day begins first at UTC+14, and ends last at UTC-12.
_EARLIEST_MIDNIGHT: Final = timedelta(hours=14)
_LONGEST_DAY: Final = timedelta(hours=24 + 14 + 12)


@dataclass(frozen=True)
class DescribedScene:
    """A scene that is understood and not yet stored.

    Attributes:
        scene: its row.
        summary: what was understood.
    """

    scene: Scene
    summary: SceneSummary


DescribeScene = Callable[[Settings, SceneRequest, SceneFiles, ClassScheme], DescribedScene]
"""`describe_scene`, or a function that calls it elsewhere."""


def describe_scene(settings: Settings, request: SceneRequest, files: SceneFiles, scheme: ClassScheme) -> DescribedScene:
    """Check the files of a scene, but not against other scenes.

    Args:
        settings: the settings.
        request: the scene.
        files: the files that the caller may read.
        scheme: the classes.

    Raises:
        SceneError: the files do not form a scene.
        OutlineError: the outlines cannot be used, a scene to judge by has none, or the border misses the scene.
    """
    product = _recognise(request, files)
    size = request.patch_size_px or settings.patch_size_px
    overlap = settings.patch_overlap_px if request.patch_overlap_px is None else request.patch_overlap_px
    source, notes = _describe_source(settings, request, product, files, (size, overlap))
    name = request.name or product.scene_name or _name_from(request.path or "")
    pixels, cloud_share, doubts = check_pixels(source)
    coverage = check_coverage(source, allow_partial_dem=request.allow_partial_dem) if source.dem else None
    steps = notes_on_steps(source)
    outlines, told = _outlines(request.outlines, files, scheme)
    if request.role is not SceneRole.POOL and not outlines:
        raise OutlineError(f"a scene with the role {request.role.value!r} judges models: expected outlines, found none")
    outlined = check_outlines(outlines, source.grid, scheme)
    prior, prior_summary, doubts_of_prior = _prior_outlines(settings, request, source.grid, files, scheme)
    acquired, told_of_date = _acquired(request.acquired, product)
    doubts_of_truth = notes_on_truth(outlines, source.grid, acquired)
    tell = partial(
        _tell,
        paths=[
            *(raster.path for raster in source.rasters),
            *(item.path for item in (*outlines, *(prior.layers if prior else ()))),
            *([source.border.path] if source.border else []),
        ],
    )
    summary = SceneSummary(
        name=name,
        role=request.role,
        kind=product.kind,
        product_id=product.product_id,
        sensor=product.sensor,
        level=source.level,
        acquired=_iso(acquired),
        crs=source.grid.crs,
        width=source.grid.width,
        height=source.grid.height,
        **_place(source.grid),
        patch_size_px=size,
        bands=[_raster(band, source, files) for band in source.bands],
        further_channels=[_raster(band, source, files) for band in source.extras],
        quality=[
            QualitySummary(name=band.name, table=band.table, masked=list(band.masked), file=files.shown(band.path))
            for band in source.quality
        ],
        channels=[name for name in source.channel_names if name not in {band.name for band in source.quality}],
        pixels=pixels,
        cloud_share=cloud_share,
        provider_cloud_percent=product.cloud_percent,
        elevation=_elevation(source.dem, coverage, files),
        outlines=_layers(outlined, files),
        classes=[ClassSummary(**asdict(item)) for item in outlined.classes],
        prior_outlines=prior_summary,
        border=files.shown(source.border.path) if source.border else None,
        notes=[
            files.shown(tell(note))
            for note in dict.fromkeys(
                (*product.notes, *told_of_date, *notes, *doubts, *steps, *told, *doubts_of_truth, *doubts_of_prior)
            )
        ],
        left_out=[LeftOut(file=files.shown(tell(file)), reason=reason) for file, reason in product.left_out],
    )
    scene = Scene(
        name=name,
        role=request.role,
        sensor=product.sensor,
        acquired=summary.acquired,
        source=source.to_json(),
        footprint=source.grid.footprint_wgs84().__geo_interface__,
        outlines=[asdict(item) for item in outlines],
        prior_outlines=prior.to_json() if prior else None,
        product={
            **summary.stored(),
            "allow_mixed_levels": request.allow_mixed_levels,
            "stated": request.stated(),
        },
        patch_size_px=size,
        patch_overlap_px=overlap,
    )
    return DescribedScene(scene, summary)


def _recognise(request: SceneRequest, files: SceneFiles) -> Product:
    """Recognise the product, or name and scale the bands given one by one."""
    further = [item.name for item in request.channels]
    if request.bands is not None:
        given = [BandSource(band.name, files(band.path), band.index) for band in request.bands]
        named = describe(given)  # refuses files without these bands
        located = [Located(band.name, band.path, band.index, f"the band {band.name!r}") for band in given]
        stated = Stated(request.sensor, request.level, further, request.acquired, request.nodata)
        product = recognise_plain(request.name or "the bands", located, stated, first_sets_grid=True)
        note = _check_first(named, product, has_region=request.region is not None)
        product = replace(product, product_id=None, notes=(*product.notes, *note))
    else:
        path = files(str(request.path))
        product = recognise(
            path,
            sensor=request.sensor,
            level=request.level,
            acquired=request.acquired,
            nodata=request.nodata,
            extra=further,
            permit=files.permit,
        )
        for member in product.paths:
            files.permit(member.removeprefix("/vsicurl/"))
    if request.unit == DIGITAL_NUMBER:
        return product.as_digital_numbers()
    return replace(product, bands=bands_in_unit(product.bands, request.unit))


def _check_first(named: SceneSource, product: Product, *, has_region: bool) -> list[str]:
    """Return a note if the first band named is none that sets the grid, such as the panchromatic one, and has another.

    Raises:
        SceneError: A region is stated, whose pixels are those of the first band named.
    """
    first, setting = named.bands[0], product.bands[0]
    grid = describe([setting]).grid
    if grid.coincides(named.grid):
        return []
    found = f"{first.name}, the first band named, is none that sets the grid"
    if has_region:
        raise SceneError(
            f"found a region in pixels of {first.path}, but {found}; expected it in pixels of "
            f"{setting.path}: name that file's band first"
        )
    return [f"{found}: the grid is that of {setting.path}"]


def _acquired(stated: date | None, product: Product) -> tuple[date | None, list[str]]:
    """Return when the image was taken, and notes: what the product states counts, then the request, then guesses.

    Raises:
        SceneError: The request states a day that is not the product's in any time zone.
    """
    found = product.acquired
    if found is None or stated is None:
        is_guess = found is not None and product.acquired_by is not None
        return stated or found, [f"the date {_iso(found)} follows from {product.acquired_by}"] if is_guess else []
    day = stated.date() if isinstance(stated, datetime) else stated
    if product.acquired_by is not None:
        doubt = f"taken on {_iso(stated)} as stated, though {_iso(found)} follows from {product.acquired_by}"
        return stated, [] if _is_within(found, day) else [doubt]
    if not _is_within(found, day):
        raise SceneError(
            f"found the date {_iso(stated)}, as stated, and {_iso(found)} in the product; expected them to agree: "
            "leave 'acquired' (--acquired) out, or give the product of that day"
        )
    return (found if isinstance(found, datetime) else stated), []


def _is_within(moment: date, day: date) -> bool:
    """Return whether a moment (UTC) or day may be on a day in some time zone of the Earth."""
    if not isinstance(moment, datetime):
        return moment == day
    begins = datetime.combine(day, time(), UTC) - _EARLIEST_MIDNIGHT
    return begins <= moment < begins + _LONGEST_DAY


def _describe_source(
    settings: Settings, request: SceneRequest, product: Product, files: SceneFiles, patches: tuple[int, int]
) -> tuple[SceneSource, list[str]]:
    """Describe the scene with everything that the request adds to the product; also return notes.

    Its size is checked from headers first, for patches of a side and an overlap.
    """
    region = Window(**request.region.model_dump()) if request.region else None
    flags = list(settings.masked_flags) if request.masked is None else request.masked
    is_reflectance = any(band.unit == REFLECTANCE for band in product.bands)
    level = (request.level or product.level) if is_reflectance else None
    border = BorderSource(files(request.border.path), request.border.layer) if request.border else None
    bands = describe(product.bands, region)
    check_size(settings, bands.grid, bands.resampled, *patches)
    grid = bands.grid
    named = {item.name for item in request.channels}
    extras = [extra for extra in product.extras if extra.name not in named]
    notes: list[str] = []
    if region and request.path and bands.resampled:
        notes.append(f"the region is in pixels of {bands.bands[0].path}, whose grid is the scene's; others differ")
    if shift := grid.unknown_shift(WGS84):
        notes.append(
            f"no transformation {shift} is known at the scene: on maps it may lie tens to hundreds of metres from its "
            "place, and files in other systems are refused"
        )
    for item in request.channels:
        stated = item.model_dump(include={"unit", "scale", "offset", "nodata"})
        extra, doubts = describe_extra(item.name, files(item.path), item.index, grid, **stated)
        extras.append(extra)
        notes += doubts
    dem, guesses = _describe_dem(request.dem, product.dem, grid, files)
    notes += guesses
    source = describe(
        product.bands,
        region,
        request.nodata,
        level=level,
        extras=extras,
        quality=mask_flags(product.quality, flags),
        dem=dem,
        border=border,
    )
    if border:
        notes += [f"border {border.path}: {note}" for note in Border(border, grid).notes]
    check_size(settings, grid, source.resampled, *patches)
    return source, notes


def _describe_dem(
    requests: Sequence[DemRequest], beside: ElevationSource | None, grid: Grid, files: SceneFiles
) -> tuple[ElevationSource | None, list[str]]:
    """Describe the elevation model that is asked for, else the one that came with the product; also return notes.

    Neighbouring tiles of which the same is stated are described together.
    """
    tiles: list[BandSource] = []
    notes: list[str] = []
    for tile in beside.tiles if beside and not requests else ():
        found, more = describe_dem([tile.path], grid, index=tile.index)
        tiles += found
        notes += more
    for stated, group in groupby(requests, key=lambda item: item.model_dump(exclude={"path"})):
        found, more = describe_dem([files(item.path) for item in group], grid, **stated)
        tiles += found
        notes += more
    return (ElevationSource(tuple(tiles)) if tiles else None), notes


def _outlines(
    requests: Sequence[OutlineRequest], files: SceneFiles, scheme: ClassScheme
) -> tuple[list[OutlineLayer], list[str]]:
    """Return the outlines of each class that are named, and notes: how classes were recognised, and what was not."""
    outlines: list[OutlineLayer] = []
    notes: list[str] = []
    for item in requests:
        path = files(item.path)
        place = f"{path}, layer {item.layer}" if item.layer else path
        if item.class_name is None and item.class_field is None and not item.classes:
            for layer in [item.layer] if item.layer else layers_to_propose(path):
                proposal, proposed = propose_outlines(path, layer, scheme)
                outlines += _of_period(proposed, item)
                place = f"{path}, layer {layer}" if layer else path
                notes += [f"{place}: {text}" for text in (proposal.describe(), *proposal.notes)]
        else:
            named = outline_layers(path, item.layer, scheme, item.class_name, item.class_field, item.classes)
            outlines += _of_period(named, item)
            doubts = notes_on_status(path, item.layer, scheme)
            if item.class_name is not None:
                doubts += unrecognised_fields(path, item.layer, scheme)
            notes += [f"{place}: {text}" for text in doubts]
    return outlines, notes


def _of_period(layers: Sequence[OutlineLayer], request: OutlineRequest) -> list[OutlineLayer]:
    return [replace(layer, drawn_from=request.drawn_from, drawn_to=request.drawn_to) for layer in layers]


def _prior_outlines(
    settings: Settings, request: SceneRequest, grid: Grid, files: SceneFiles, scheme: ClassScheme
) -> tuple[PriorOutlines | None, PriorSummary | None, list[str]]:
    """Return the prior outlines, what to show of them, and notes; None and no notes if there are none.

    Raises:
        OutlineError: They cannot be used.
    """
    if not request.prior_outlines:
        return None, None, []
    layers, told = _outlines(request.prior_outlines, files, scheme)
    found = check_outlines(layers, grid, scheme)
    prior, doubts = describe_priors(
        layers,
        found,
        grid,
        scheme,
        date=request.prior_date,
        source=request.prior_source,
        ring_m=settings.prior_ring_m,
    )
    summary = PriorSummary(
        date=prior.date,
        source=prior.source,
        ring_m=prior.ring_m,
        outlines=_layers(found, files),
        classes=[ClassSummary(**asdict(item)) for item in found.classes],
    )
    return prior, summary, [*told, *doubts]


def _name_from(path: str) -> str:
    """Return a name for a scene, made of that of its folder or file."""
    stem = path.rstrip("/").rpartition("/")[2].partition(".")[0]
    name = re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:99]
    if not name:
        raise SceneError("found no name for the scene; expected one (--name, 'name')")
    return name


def _tell(text: str, paths: Sequence[str]) -> str:
    """Return a text with the scene's files by their names alone: readers of the API need not know the folders."""
    for folder in sorted({path.rpartition("/")[0] for path in paths}, key=len, reverse=True):
        text = text.replace(f"{folder}/", "")
    return text


def _iso(acquired: date | None) -> str | None:
    return acquired.isoformat().replace("+00:00", "Z") if acquired else None


def _place(grid: Grid) -> dict[str, Any]:
    """Return where the middle of a scene is, and how large a pixel is there."""
    a, b, _, d, e, _ = grid.transform
    middle = Window(grid.height // 2, grid.width // 2, 1, 1)
    lon, lat = grid.centre_wgs84(middle)
    across, down = pixel_size_m(grid)
    return {
        "center": (round(lon, 5), round(lat, 5)),
        "pixel_size": ((a * a + d * d) ** 0.5, (b * b + e * e) ** 0.5),
        "pixel_unit": CRS.from_user_input(grid.crs).axis_info[0].unit_name,
        "pixel_size_m": (round(across, 2), round(down, 2)),
    }


def _raster(band: BandSource, source: SceneSource, files: SceneFiles) -> RasterSummary:
    resampled = any(item.path == band.path for item in source.resampled)
    return RasterSummary(**{**asdict(band), "file": files.shown(band.path), "resampled": resampled})


def _elevation(dem: ElevationSource | None, found: Coverage | None, files: SceneFiles) -> ElevationSummary | None:
    if dem is None or found is None:
        return None
    return ElevationSummary(
        files=[files.shown(tile.path) for tile in dem.tiles],
        coverage=round(found.share, 4),
        lowest_m=round(found.lowest_m, 1),
        highest_m=round(found.highest_m, 1),
    )


def _layers(outlined: OutlineSummary, files: SceneFiles) -> list[LayerSummary]:
    return [
        LayerSummary(
            file=files.shown(item.outline.path),
            layer=item.outline.layer,
            class_name=item.outline.class_name,
            class_field=item.outline.class_field,
            class_values=list(item.outline.class_values),
            drawn_from=item.outline.drawn_from,
            drawn_to=item.outline.drawn_to,
            polygons=item.polygons,
            notes=[files.shown(note) for note in item.notes],
        )
        for item in outlined.layers
    ]
