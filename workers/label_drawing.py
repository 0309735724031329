"""What an annotation in the ledger says, drawn as a mask on the grid of its patch."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from shapely import get_parts, make_valid
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from catalog.pixel_regions import decode_region
from catalog.records import LabelEvent, Patch, Proposal, Scene, SceneState
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.errors import StoreError
from imagery.grid import Window
from imagery.masks import compose, mask_from_geotiff, mask_to_geotiff
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.store import RasterStore
from labeling.errors import EventError
from labeling.events import AnnotationSaved, parse_event
from labeling.events import LabelEvent as ParsedEvent
from labeling.regions import BrushRegion, Region, iterate_regions
from services import raster_keys
from services.label_events import describes
from services.scenes import source_of, window_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Drawing:
    """An annotation as masks (h, w) of its patch.

    Attributes:
        drawn: Class values as they were drawn; background where no region lies.
        asked: Where the proposal asked for a judgement.
        mask: The label: unknown where nobody was asked, or the scene has no data.
        geotiff: The label as the file that is stored. The same drawing gives the same bytes.
    """

    drawn: NDArray[np.uint8]
    asked: NDArray[np.bool_]
    mask: NDArray[np.uint8]
    geotiff: bytes


def check_not_removed(scene: Scene) -> None:
    """Refuse what was drawn on a scene that was removed since.

    Raises:
        EventError: it was.
    """
    if scene.state is SceneState.REMOVED:
        raise EventError(f"its scene {scene.name!r} was removed")


def draw_annotation(
    saved: AnnotationSaved,
    proposal: Proposal,
    patch: Patch,
    scene: Scene,
    scheme: ClassScheme,
    shown: NDArray[np.uint8],
) -> Drawing:
    """Draw a saved annotation, which began from a class map (h, w), see `read_shown`.

    Raises:
        RegionError: a region cannot be read.
        SceneError: the scene cannot be read to find the pixels without data of a patch that has some.
    """
    source, window = source_of(scene), window_of(patch)
    height, width = window.shape
    regions = iterate_regions(saved.result, height=height, width=width, labels=scheme.labels)
    drawn = draw(_painted_last(regions, shown), height, width, scheme)
    asked = decode_region(proposal.region, height, width)
    judged = asked if patch.valid_share == 1 else asked & has_data(source, window)  # reading pixels takes longest
    mask = np.where(judged, drawn, np.uint8(UNKNOWN))
    return Drawing(drawn, asked, mask, mask_to_geotiff(mask, source.grid, scheme, window))


def read_shown(store: RasterStore, proposal: Proposal, scheme: ClassScheme, window: Window) -> NDArray[np.uint8]:
    """Return the mask (h, w) that the annotator started from; without data, or where nothing was drawn, background.

    A label must not be lost with it: if it is damaged or missing, the annotator is taken to have started from an empty
    mask.
    """
    empty = np.full(window.shape, BACKGROUND, dtype=np.uint8)
    if proposal.preannotated_by is None:
        return empty
    key = raster_keys.preannotation(proposal.uid, proposal.preannotated_by)
    try:
        shown = mask_from_geotiff(store.get(key), scheme)
    except StoreError as error:
        log.warning("the edits of proposal %s are counted from an empty mask: %s", proposal.uid, error)
        return empty
    shown[shown == UNKNOWN] = BACKGROUND  # no data: no pre-annotation was drawn there
    return shown


def _painted_last(regions: Iterable[Region], shown: NDArray[np.uint8]) -> Iterator[Region]:
    """Yield regions, and behind those of the proposal what the annotator added to each of them.

    Label Studio tells the order in which regions were created, not painted: what is added to the first region of a
    proposal would lie below the others.
    """
    added: list[Region] = []
    for region in regions:
        if not isinstance(region, BrushRegion) or region.proposed is None:
            yield from added
            added.clear()
        else:
            added.append(replace(region, mask=region.mask & (shown != region.proposed)))
        yield region
    yield from added


def draw(regions: Iterable[Region], height: int, width: int, scheme: ClassScheme) -> NDArray[np.uint8]:
    """Draw regions in their order onto background; where they overlap, the last one wins, as the annotator saw it.

    Returns:
        (height, width) label mask; pixels without a region are background.
    """
    return compose((layer for region in regions for layer in _layers(region, scheme)), height, width)


def _layers(region: Region, scheme: ClassScheme) -> list[tuple[int, BaseGeometry | NDArray[np.bool_]]]:
    value = scheme.by_name(region.label).value
    if isinstance(region, BrushRegion):
        return [(value, region.mask)]
    # Hand-drawn outlines may cross themselves; Label Studio fills what they go around, also twice (the nonzero rule).
    outline = make_valid(Polygon(region.rings_px), method="structure")
    return [(value, part) for part in get_parts(outline) if part.geom_type in {"Polygon", "MultiPolygon"}]


def has_data(source: SceneSource, window: Window) -> NDArray[np.bool_]:
    """Return where the scene has data in at least one band, inside its border and without masked flags.

    Pixels outside the border, under masked cloud, and the fill around a scene must not become background: nobody could
    judge them. Elevation and slope among the bands do not count, as they may have values there.
    Training also ignores pixels that lack one of the network's channels (:mod:`workers.labelled_patches`); labels do
    not depend on a network.

    Returns:
        (h, w).

    Raises:
        SceneError: the scene cannot be read.
    """
    measured = [source.band_names[position] for position in source.measured(source.band_names)]
    with SceneReader(source) as reader:
        invalid = np.isnan(reader.read(measured, window))
    has_data: NDArray[np.bool_] = ~np.logical_and.reduce(invalid, axis=0)
    return has_data


def event_of_row(event: LabelEvent, max_bytes: int) -> ParsedEvent:
    """Return the event of a ledger row; its body may hold several deletions.

    Raises:
        EventError: the body cannot be read, or does not hold the event.
    """
    for item in parse_event(event.body, max_bytes):
        if describes(item, event):
            return item
    raise EventError(f"the body of label event {event.id} does not hold what its row says; it was damaged")
