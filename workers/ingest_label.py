"""Job: apply a label event; a saved annotation becomes a mask on the grid of its patch."""

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from shapely import get_parts, make_valid
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy.orm import undefer

from catalog import event_order, labels, training
from catalog.pixel_regions import decode_region
from catalog.records import EventState, Label, LabelEvent, Patch, Proposal, Round, Scene, SceneState
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.grid import Window
from imagery.maps import read_map
from imagery.masks import compose, mask_from_geotiff, mask_to_geotiff
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.store import RasterStore
from labeling.errors import EventError, RegionError
from labeling.events import (
    AnnotationDeleted,
    AnnotationSaved,
    ProjectDeleted,
    TaskDeleted,
    TaskReturned,
    UnreadableEvent,
    parse_event,
)
from labeling.events import LabelEvent as ParsedEvent
from labeling.regions import BrushRegion, Region, iterate_regions
from services import raster_keys
from services.class_scheme import class_scheme
from services.label_events import describes, identify
from services.label_studio import forget_project, label_studio
from services.places import raster_store
from services.scenes import source_of, window_of
from workers.doubted_event import is_contradicted
from workers.jobs import JobContext

log = logging.getLogger(__name__)


def ingest_label(context: JobContext, event_id: int) -> None:
    """Apply a label event. Idempotent, and independent of the order of arrival.

    Raises:
        EventError: the event's body cannot be read, or its task is not ours, or its scene was removed.
        RegionError: a region cannot be read. In both cases the event stays in the ledger, marked as failed.
        SceneError: the scene cannot be read to find its pixels without data.
        OutlineError: the border of the scene cannot be read.
        LabelStudioError: Label Studio does not answer.
    """
    with context.catalog.read() as session:
        event = session.get_one(LabelEvent, event_id, options=[undefer(LabelEvent.body)])
    if event.state is not EventState.RECEIVED:
        return
    try:
        parsed = _parsed_event(event, context.catalog.settings.webhook_max_bytes)
        if is_contradicted(context, event):
            return
        match parsed:
            case AnnotationSaved() as saved:
                _apply_saved(context, event, saved)
            case AnnotationDeleted():
                _apply_deleted(context, event)
            case TaskDeleted() as deleted:
                _apply_task_deleted(context, event, deleted)
            case TaskReturned() as returned:
                _apply_task_returned(context, event, returned)
            case ProjectDeleted() as deleted:
                _apply_project_deleted(context, event, deleted)
            case UnreadableEvent(reason=reason):
                _refuse(reason)
    except (EventError, RegionError) as error:
        _settle(context, event, EventState.FAILED, str(error))
        raise


def _parsed_event(event: LabelEvent, max_bytes: int) -> ParsedEvent:
    """Return the event of a ledger row; its body may hold several deletions."""
    for item in parse_event(event.body, max_bytes):
        if describes(item, event):
            return item
    raise EventError(f"the body of label event {event.id} does not hold what its row says; it was damaged")


def _refuse(reason: str) -> None:
    raise EventError(reason)


def _apply_saved(context: JobContext, event: LabelEvent, saved: AnnotationSaved) -> None:
    with context.catalog.read() as session:
        proposal = labels.find_proposal(session, saved.proposal)
        if proposal is None:
            raise EventError(
                f"unknown task {saved.task_id} in project {saved.project_id}: it carries the proposal "
                f"{saved.proposal!r}, which this server has never made"
            )
        patch = session.get_one(Patch, proposal.patch_id)
        scene = session.get_one(Scene, patch.scene_id)
        of_round = session.get_one(Round, proposal.round_id)
    if scene.state is SceneState.REMOVED:
        raise EventError(f"its scene {scene.name!r} was removed")
    label = None if saved.was_cancelled else _make_label(context, event, saved, (proposal, of_round), patch, scene)
    with context.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        identify(session, row, saved)  # an event that was unreadable when received has no ids yet
        # Checked with the proposal locked, because another worker may have applied a newer state meanwhile.
        locked = labels.lock(session, proposal)
        ignored = event_order.why_ignored(session, row)
        if ignored is not None:
            labels.settle(row, EventState.SUPERSEDED, ignored)
            return
        if label is None:
            labels.settle(row, EventState.APPLIED, labels.SKIPPED)
            labels.supersede(session, row.project_id, row.annotation_id, row.annotation_created_at)
            labels.refresh_states(session, locked, skipped=True)
        else:
            labels.settle(row, EventState.APPLIED)
            labels.store(session, label)
            training.enqueue_if_due(session, context.catalog.settings)


def _make_label(
    context: JobContext,
    event: LabelEvent,
    saved: AnnotationSaved,
    asked_by: tuple[Proposal, Round],
    patch: Patch,
    scene: Scene,
) -> Label:
    """Draw the mask of an annotation and store its raster; return its row, not yet added."""
    proposal, of_round = asked_by
    source, window = source_of(scene), window_of(patch)
    height, width = window.shape
    scheme = class_scheme(context.catalog)
    regions = iterate_regions(saved.result, height=height, width=width, labels=scheme.labels)
    drawn = draw(regions, height, width, scheme)
    asked = decode_region(proposal.region, height, width)
    mask = np.where(asked & _has_data(source, window), drawn, np.uint8(UNKNOWN))
    store = raster_store(context.catalog)
    key = raster_keys.label(patch.id, saved.annotation_id, event.id)
    checksum = store.put(key, mask_to_geotiff(mask, source.grid, scheme, window))
    shown = np.zeros_like(drawn)
    if proposal.preannotated_by is not None:
        shown = mask_from_geotiff(store.get(raster_keys.preannotation(proposal.uid, proposal.preannotated_by)), scheme)
        shown[shown == UNKNOWN] = BACKGROUND  # no data: no pre-annotation was drawn there
    annotator = _annotator(context, saved.completed_by)
    return Label(
        patch_id=patch.id,
        proposal_id=proposal.id,
        event_id=event.id,
        project_id=saved.project_id,
        annotation_id=saved.annotation_id,
        annotated_at=saved.annotation_updated_at,
        mask_key=key,
        mask_sha256=checksum,
        annotator=annotator,
        simulated=_is_simulated(context, annotator),
        lead_time_s=saved.lead_time_s,
        edited_px=int(((drawn != shown) & asked).sum()),
        found=_found(store, scheme, of_round, patch, mask),
    )


def _found(
    store: RasterStore, scheme: ClassScheme, of_round: Round, patch: Patch, mask: NDArray[np.uint8]
) -> list[list[int]] | None:
    """Count the judged pixels by drawn class (rows) and class in the map of the scoring that the round chose by.

    What a version got wrong before it could learn from the label, whatever the annotator was shown. A binary head
    predicts the first foreground class only; which one a pixel has is then not an error, but counted as one.

    Returns:
        K rows of K counts; None without a scoring, or if its maps have been removed.
    """
    key = raster_keys.scored(of_round.scoring_id or 0, patch.scene_id, "classes")
    if of_round.scoring_id is None or not store.exists(key):
        return None
    predicted = read_map(store.uri(key), window_of(patch))
    judged = (mask != UNKNOWN) & (predicted != UNKNOWN)
    count = len(scheme.classes)
    pairs = mask[judged].astype(np.int64) * count + predicted[judged]
    counts: list[list[int]] = np.bincount(pairs, minlength=count * count).reshape(count, count).tolist()
    return counts


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
    outline = make_valid(Polygon(region.rings_px))  # hand-drawn outlines may cross themselves
    return [(value, part) for part in get_parts(outline) if part.geom_type in {"Polygon", "MultiPolygon"}]


def _has_data(source: SceneSource, window: Window) -> NDArray[np.bool_]:
    """Return where the scene has data in at least one band, inside its border and without masked flags.

    Pixels outside the border, under masked cloud, and the fill around a scene must not become background: nobody could
    judge them. Elevation and slope among the bands do not count, as they may have values there.
    Training also ignores pixels that lack one of the network's channels (:mod:`workers.labelled_patches`); labels do
    not depend on a network.

    Returns:
        (h, w).

    Raises:
        SceneError: the scene cannot be read.
        OutlineError: its border cannot be read.
    """
    measured = [source.band_names[position] for position in source.measured(source.band_names)]
    with SceneReader(source) as reader:
        invalid = np.isnan(reader.read(measured, window))
    has_data: NDArray[np.bool_] = ~np.logical_and.reduce(invalid, axis=0)
    return has_data


def _is_simulated(context: JobContext, annotator: str) -> bool:
    """Compare addresses without their case, as Label Studio does."""
    return annotator.lower() == context.catalog.settings.simulated_annotator_email.lower()


def _annotator(context: JobContext, user_id: int | None) -> str:
    """Return the e-mail address of the annotator, or "user N" if the account was deleted."""
    if user_id is None:
        return "unknown"
    return label_studio(context.catalog).user_emails().get(user_id, f"user {user_id}")


def _apply_deleted(context: JobContext, event: LabelEvent) -> None:
    with context.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        labels.settle(row, EventState.APPLIED)
        proposal = session.get(Proposal, row.proposal_id) if row.proposal_id is not None else None
        if proposal is not None:
            locked = labels.lock(session, proposal)
            labels.supersede(session, row.project_id, row.annotation_id, row.annotation_created_at)
            labels.refresh_states(session, locked, skipped=labels.is_skipped(session, locked))


def _apply_task_deleted(context: JobContext, event: LabelEvent, deleted: TaskDeleted) -> None:
    with context.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        proposal = session.get(Proposal, row.proposal_id) if row.proposal_id is not None else None
        if proposal is None:
            raise EventError(f"unknown task {deleted.task_id} in project {deleted.project_id} was deleted")
        labels.settle(row, EventState.APPLIED)
        labels.delete_task(session, proposal, deleted.project_id, deleted.task_id)


def _apply_task_returned(context: JobContext, event: LabelEvent, returned: TaskReturned) -> None:
    with context.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        proposal = session.get(Proposal, row.proposal_id) if row.proposal_id is not None else None
        if proposal is None:
            raise EventError(f"unknown task {returned.task_id} in project {returned.project_id} returned")
        labels.settle(row, EventState.APPLIED)
        labels.return_task(session, proposal, returned.project_id, returned.task_id)


def _apply_project_deleted(context: JobContext, event: LabelEvent, deleted: ProjectDeleted) -> None:
    with context.catalog.write() as session:
        forget_project(session, deleted.project_id)
        withdrawn = labels.withdraw_project(session, deleted.project_id)
        detail = f"project {deleted.project_id} was deleted in Label Studio; {withdrawn} proposals were withdrawn"
        labels.settle(session.get_one(LabelEvent, event.id), EventState.APPLIED, detail)
    log.error("%s", detail)


def _settle(context: JobContext, event: LabelEvent, state: EventState, detail: str) -> None:
    with context.catalog.write() as session:
        labels.settle(session.get_one(LabelEvent, event.id), state, detail)
