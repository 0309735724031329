"""Job: apply a label event; a saved annotation becomes a mask on the grid of its patch."""

import logging

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session, undefer

from catalog import event_order, labels, rounds, scene_locks, withdrawals
from catalog.installation import hold_installation
from catalog.logs import bound
from catalog.records import EventState, Label, LabelEvent, Patch, Proposal, Round, Scene
from imagery.classes import UNKNOWN, ClassScheme
from imagery.errors import SceneError, StoreError
from imagery.maps import read_map
from imagery.store import RasterStore
from labeling.errors import EventError, RegionError
from labeling.events import (
    AnnotationDeleted,
    AnnotationSaved,
    ProjectDeleted,
    TaskDeleted,
    TaskReturned,
    UnreadableEvent,
)
from labeling.regions import skip_reason
from services import annotators, raster_keys
from services.class_scheme import class_scheme
from services.label_events import identify
from services.label_studio import forget_project
from services.places import raster_store
from services.scenes import window_of
from workers.carried_drawings import carry_over
from workers.correction_drawing import apply_correction
from workers.doubted_event import is_contradicted
from workers.jobs import JobContext
from workers.label_drawing import check_not_removed, draw_annotation, event_of_row, read_shown

log = logging.getLogger(__name__)


def ingest_label(context: JobContext, event_id: int, comes_last: bool = False) -> None:
    """Apply a label event. Idempotent, and independent of the order of arrival.

    Args:
        context: the job.
        event_id: the event.
        comes_last: whether the job waits for those of all annotations; only the queue asks (`catalog.job_queue`).

    Raises:
        EventError: the event's body cannot be read, or its task is not ours, or its scene was removed.
        RegionError: a region cannot be read. In both cases the event stays in the ledger, marked as failed.
        SceneError: the scene cannot be read to find its pixels without data.
        LabelStudioError: Label Studio does not answer.
    """
    with context.catalog.read() as session:
        event = session.get_one(LabelEvent, event_id, options=[undefer(LabelEvent.body)])
        proposal = session.get(Proposal, event.proposal_id) if event.proposal_id is not None else None
    if event.state is EventState.RECEIVED:
        correction = event.annotation_uid if event.origin == event_order.MAP else None
        with bound(proposal=proposal and proposal.uid, correction=correction, event=event_id):
            _ingest(context, event)
    else:  # an earlier attempt settled it, but may have failed before it dropped the mask
        _drop_unused_mask(context, event_id)


def _ingest(context: JobContext, event: LabelEvent) -> None:
    try:
        if event.origin == event_order.MAP:
            apply_correction(context.catalog, event)
            return
        parsed = event_of_row(event, context.catalog.settings.webhook_max_bytes)
        if is_contradicted(context, event):
            _drop_unused_mask(context, event.id)
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
        _drop_unused_mask(context, event.id)
        log.warning("label event %d failed: %s", event.id, error)
        raise


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
        asked = select(Patch, Scene, Round).join(Scene, Patch.scene_id == Scene.id)
        patch, scene, of_round = session.execute(
            asked.join(Round, Round.id == proposal.round_id).where(Patch.id == proposal.patch_id)
        ).one()
        # One that was unreadable when it was received does not say yet which annotation it is about.
        ignored = event_order.why_ignored(session, event) if event.content_sha256 is not None else None
    if ignored is not None:  # before anything is drawn
        _settle(context, event, EventState.SUPERSEDED, ignored)
        _drop_unused_mask(context, event.id)  # of an attempt that was killed
        log.info("label event %d has no effect: %s", event.id, ignored)
        return
    check_not_removed(scene)
    label = None if saved.was_cancelled else _make_label(context, event, saved, (proposal, of_round), patch, scene)
    with context.catalog.write() as session:
        # Checked with all locked: another worker may have applied a newer state, or this one, or the scene was removed.
        hold_installation(session)
        locked = labels.lock(session, proposal)
        row = labels.lock_event(session, event.id)
        if _is_settled(session, row):
            return
        if row.content_sha256 is None:  # it was unreadable when it was received
            identify(session, row, saved)
        rounds.note_task(locked, saved.project_id, saved.task_id)
        ignored = event_order.why_ignored(session, row)
        if ignored is None:
            check_not_removed(scene_locks.hold(session, scene.id))
        if ignored is not None:
            labels.settle(row, EventState.SUPERSEDED, ignored)
            log.info("label event %d has no effect: %s", row.id, ignored)
        elif label is None:
            why = skip_reason(saved.result)
            labels.settle(row, EventState.APPLIED, labels.SKIPPED if why is None else f"{labels.SKIPPED}: {why}")
            labels.supersede(session, row.project_id, row.annotation_id, row.annotation_created_at)
            labels.refresh_states(session, locked, skipped=True)
            log.info("label event %d is applied: its task is skipped", row.id)
        else:
            labels.settle(row, EventState.APPLIED)
            labels.store(session, label)
            log.info("label event %d is applied: label %d is stored", row.id, label.id, extra={"label": label.id})
            withdrawals.withdraw_if_late(session, label)
    if ignored is not None:
        _drop_unused_mask(context, event.id)


def _is_settled(session: Session, event: LabelEvent) -> bool:
    """Return whether another attempt has settled a locked event; one whose label is stored is applied, if it is open.

    An attempt that seemed dead may end after the event was given up, or reopened.
    """
    if event.state in {EventState.APPLIED, EventState.SUPERSEDED}:
        return True
    if session.scalar(select(Label.id).where(Label.event_id == event.id).limit(1)) is None:
        return False
    labels.settle(event, EventState.APPLIED)
    return True


def _drop_unused_mask(context: JobContext, event_id: int) -> None:
    """Remove the mask that this attempt, or one that was killed, stored of an event that becomes no label."""
    with context.catalog.read() as session:
        event = session.get_one(LabelEvent, event_id)
        proposal = session.get(Proposal, event.proposal_id) if event.proposal_id is not None else None
        used = session.scalar(select(Label.id).where(Label.event_id == event_id).limit(1)) is not None
    if used or proposal is None or event.annotation_id is None:
        return
    store, key = raster_store(context.catalog), raster_keys.label(proposal.patch_id, event.annotation_id, event_id)
    if store.exists(key):
        store.delete(key)


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
    scheme = class_scheme(context.catalog)
    store = raster_store(context.catalog)
    shown = read_shown(store, proposal, scheme, window_of(patch))
    drawing = draw_annotation(saved, proposal, patch, scene, scheme, shown)
    drawn, asked, mask = drawing.drawn, drawing.asked, drawing.mask
    annotator = annotators.annotator(context.catalog, saved.drawn_by)  # before anything is stored: it may fail
    key = raster_keys.label(patch.id, saved.annotation_id, event.id)
    checksum = store.put(key, drawing.geotiff)
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
    try:
        predicted = read_map(store.uri(key), window_of(patch))
    except (SceneError, StoreError) as error:  # it was removed, or found damaged, a moment ago
        log.warning("what the scoring had wrong in patch %d is not counted: %s", patch.id, error)
        return None
    judged = (mask != UNKNOWN) & (predicted != UNKNOWN)
    count = len(scheme.classes)
    pairs = mask[judged].astype(np.int64) * count + predicted[judged]
    counts: list[list[int]] = np.bincount(pairs, minlength=count * count).reshape(count, count).tolist()
    return counts


def _is_simulated(context: JobContext, annotator: str) -> bool:
    """Compare addresses without their case, as Label Studio does."""
    return annotator.lower() == context.catalog.settings.simulated_annotator_email.lower()


def _apply_deleted(context: JobContext, event: LabelEvent) -> None:
    with context.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        labels.settle(row, EventState.APPLIED)
        proposal = session.get(Proposal, row.proposal_id) if row.proposal_id is not None else None
        if proposal is not None:
            locked = labels.lock_with_scene(session, proposal)
            # It may be applied late, after the annotation returned: what was received of it since stays.
            labels.supersede(session, row.project_id, row.annotation_id, row.annotation_created_at, before=row.id)
            labels.refresh_states(session, locked, skipped=labels.is_skipped(session, locked))


def _apply_task_deleted(context: JobContext, event: LabelEvent, deleted: TaskDeleted) -> None:
    carry_over(context.catalog, event)
    with context.catalog.write() as session:
        row = session.get_one(LabelEvent, event.id)
        proposal = session.get(Proposal, row.proposal_id) if row.proposal_id is not None else None
        if proposal is None:  # somebody's own task, imported by hand: nothing here hangs on it
            labels.settle(row, EventState.APPLIED, f"task {deleted.task_id} was no proposal of this server")
            return
        labels.settle(row, EventState.APPLIED)
        labels.delete_task(session, proposal, row)


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
        row = labels.lock_event(session, event.id)
        if not _is_settled(session, row):
            labels.settle(row, state, detail)
