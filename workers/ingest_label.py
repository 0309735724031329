"""Job: from a label event to a mask on the patch's own grid."""

import numpy as np
from numpy.typing import NDArray
from shapely import get_parts, make_valid
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry
from sqlalchemy.orm import undefer

from catalog import labels, training
from catalog.pixel_regions import decode_region
from catalog.records import EventState, Label, LabelEvent, Patch, Proposal, ProposalState, Scene
from imagery.channels import ELEVATION, SLOPE
from imagery.classes import BACKGROUND, UNKNOWN, by_name
from imagery.grid import Window
from imagery.masks import compose, mask_from_geotiff, mask_to_geotiff
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.sensors import holds_flags
from labeling.errors import EventError, RegionError
from labeling.events import AnnotationDeleted, AnnotationSaved, TaskDeleted, parse_event
from labeling.regions import BrushRegion, Region, decode_result
from services import raster_keys
from services.label_events import describes
from services.label_studio import LABELS, label_studio
from services.places import raster_store
from services.scenes import source_of, window_of
from workers.jobs import Work


def ingest_label(work: Work, event_id: int) -> None:
    """Apply a label event, once, whatever the order in which events arrive.

    Raises:
        EventError: the event's body cannot be read, or its task is not ours.
        RegionError: a region cannot be read. In both cases the event stays in the ledger, marked as failed.
        SceneError: the scene cannot be read, so that nobody knows where it has data.
        OutlineError: likewise its border.
        LabelStudioError: Label Studio does not answer.
    """
    with work.catalog.read() as session:
        event = session.get_one(LabelEvent, event_id, options=[undefer(LabelEvent.body)])
    if event.state is not EventState.RECEIVED:
        return
    try:
        match _content(event, work.catalog.settings.webhook_max_bytes):
            case AnnotationSaved() as saved:
                _apply_saved(work, event, saved)
            case AnnotationDeleted() as deleted:
                _apply_deleted(work, event, deleted)
            case TaskDeleted() as deleted:
                _apply_task_deleted(work, event, deleted)
    except (EventError, RegionError) as error:
        _settle(work, event, EventState.FAILED, str(error))
        raise


def _content(event: LabelEvent, max_bytes: int) -> AnnotationSaved | AnnotationDeleted | TaskDeleted:
    """Find in the body what this row of the ledger is about; a body may tell of several deletions."""
    for item in parse_event(event.body, max_bytes):
        if describes(item, event):
            return item
    raise EventError(f"the body of label event {event.id} does not hold what its row says; it was damaged")


def _apply_saved(work: Work, event: LabelEvent, saved: AnnotationSaved) -> None:
    with work.catalog.read() as session:
        proposal = labels.find_proposal(session, saved.proposal)
        if proposal is None:
            raise EventError(
                f"unknown task {saved.task_id} in project {saved.project_id}: it carries the proposal "
                f"{saved.proposal!r}, which this server has never made"
            )
        patch = session.get_one(Patch, proposal.patch_id)
        scene = session.get_one(Scene, patch.scene_id)
    label = None if saved.was_cancelled else _make_label(work, event, saved, proposal, patch, scene)
    with work.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        # Asked only now, with the proposal locked: another worker may have applied a newer state meanwhile.
        answered = labels.lock(session, proposal)
        if labels.is_outdated(session, saved.project_id, saved.annotation_id, saved.updated_at):
            labels.settle(row, EventState.SUPERSEDED, "a newer state of this annotation has been applied")
            return
        if answered.state is ProposalState.WITHDRAWN:
            labels.settle(row, EventState.SUPERSEDED, "its task has been deleted, and all annotations with it")
            return
        if label is None:
            labels.supersede(session, saved.project_id, saved.annotation_id)
            labels.refresh_states(session, answered, skipped=True)
        else:
            labels.store(session, label)
            training.enqueue_if_due(session, work.catalog.settings)
        labels.settle(row, EventState.APPLIED, "skipped" if label is None else None)


def _make_label(
    work: Work, event: LabelEvent, saved: AnnotationSaved, proposal: Proposal, patch: Patch, scene: Scene
) -> Label:
    """Draw the mask of an annotation and store its raster; the row is for the caller to add."""
    source, window = source_of(scene), window_of(patch)
    height, width = window.shape
    drawn = draw(decode_result(saved.result, height=height, width=width, labels=LABELS), height, width)
    asked = decode_region(proposal.region, height, width)
    mask = np.where(asked & _has_data(source, window), drawn, np.uint8(UNKNOWN.value))
    store = raster_store(work.catalog)
    key = raster_keys.label(patch.id, saved.annotation_id, event.id)
    checksum = store.put(key, mask_to_geotiff(mask, source.grid, window))
    shown = np.zeros_like(drawn)
    if proposal.preannotated_by is not None:
        shown = mask_from_geotiff(store.get(raster_keys.preannotation(proposal.uid, proposal.preannotated_by)))
        shown[shown == UNKNOWN.value] = BACKGROUND.value  # no data: nothing was drawn there to be edited
    annotator = _annotator(work, saved.completed_by)
    return Label(
        patch_id=patch.id,
        proposal_id=proposal.id,
        event_id=event.id,
        project_id=saved.project_id,
        annotation_id=saved.annotation_id,
        annotated_at=saved.updated_at,
        mask_key=key,
        mask_sha256=checksum,
        annotator=annotator,
        simulated=annotator.lower() == work.catalog.settings.simulated_annotator_email.lower(),  # as Label Studio does
        lead_time_s=saved.lead_time_s,
        edited_px=int(((drawn != shown) & asked).sum()),
    )


def draw(regions: list[Region], height: int, width: int) -> NDArray[np.uint8]:
    """Paint regions in drawing order onto background, as the annotator saw them: where they overlap the last one wins.

    Returns:
        (height, width) label mask; what nothing covers is background.
    """
    layers: list[tuple[int, BaseGeometry | NDArray[np.bool_]]] = []
    for region in regions:
        value = by_name(region.label).value
        if isinstance(region, BrushRegion):
            layers.append((value, region.mask))
            continue
        outline = make_valid(Polygon(region.rings_px))  # hand-drawn outlines may cross themselves
        layers += [(value, part) for part in get_parts(outline) if part.geom_type in {"Polygon", "MultiPolygon"}]
    return compose(layers, height, width)


def _has_data(source: SceneSource, window: Window) -> NDArray[np.bool_]:
    """Where the scene has anything to be judged: data in at least one measured band, and the border around it.

    Trap: ground outside the border that nobody could draw on would otherwise be stored as background, and so would the
    fill around a scene whose flags and relief have values there too. Training leaves out more, whatever lacks one of
    the network's channels (see :mod:`workers.labelled_patches`); that depends on the network, and a label does not.

    Returns:
        (h, w).

    Raises:
        SceneError: the scene cannot be read.
        OutlineError: its border cannot be read.
    """
    with SceneReader(source) as reader:
        invalid = np.isnan(reader.read(_measured_bands(source), window))
    known: NDArray[np.bool_] = ~np.logical_and.reduce(invalid, axis=0)
    return known


def _measured_bands(source: SceneSource) -> tuple[str, ...]:
    """Bands that show the ground; all of them if none does, for then they are what was judged by.

    A quality band has a value in the fill (1 in Landsat's), and so may elevation and slope among the bands.
    """
    relief = {ELEVATION, SLOPE}
    measured = tuple(name for name in source.band_names if not holds_flags(name) and name not in relief)
    return measured or source.band_names


def _annotator(work: Work, user_id: int | None) -> str:
    """Return the address of the person (or program) who drew; their number if the account is gone."""
    if user_id is None:
        return "unknown"
    return label_studio(work.catalog).user_emails().get(user_id, f"user {user_id}")


def _apply_deleted(work: Work, event: LabelEvent, deleted: AnnotationDeleted) -> None:
    with work.catalog.write() as session:
        proposal = labels.proposal_of_annotation(session, deleted.project_id, deleted.annotation_id)
        if proposal is not None:
            answered = labels.lock(session, proposal)
            labels.supersede(session, deleted.project_id, deleted.annotation_id)
            labels.refresh_states(session, answered, skipped=False)
        labels.settle(session.get_one(LabelEvent, event.id), EventState.APPLIED)


def _apply_task_deleted(work: Work, event: LabelEvent, deleted: TaskDeleted) -> None:
    with work.catalog.write() as session:
        if labels.withdraw_task(session, deleted.project_id, deleted.task_id) is None:
            raise EventError(f"unknown task {deleted.task_id} in project {deleted.project_id} was deleted")
        labels.settle(session.get_one(LabelEvent, event.id), EventState.APPLIED)


def _settle(work: Work, event: LabelEvent, state: EventState, detail: str) -> None:
    with work.catalog.write() as session:
        labels.settle(session.get_one(LabelEvent, event.id), state, detail)
