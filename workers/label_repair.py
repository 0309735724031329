"""Check the masks of labels before they are used; draw damaged ones again from the ledger, set aside what cannot be."""

import logging
from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import undefer

from catalog import event_order, set_aside, training
from catalog.context import Catalog
from catalog.records import Label, LabelEvent, Patch, Proposal, Scene
from catalog.set_aside import Kind
from imagery.errors import OutlineError, SceneError, StoreError, UnreadableFileError
from labeling.errors import EventError, RegionError
from labeling.events import AnnotationSaved
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import window_of
from services.unusable_scenes import set_aside_scenes
from workers.correction_drawing import draw_correction, read_body
from workers.label_drawing import draw_annotation, event_of_row, read_shown
from workers.passing_errors import may_pass

log = logging.getLogger(__name__)


def usable_labels(catalog: Catalog, labels: Iterable[Label]) -> list[Label]:
    """Return the labels whose masks are whole, after drawing damaged and missing masks again.

    A label whose mask cannot be had is set aside, with the reason.

    Raises:
        UnreadableFileError: a mask must be drawn again, and its scene cannot be read.
        SceneError, OutlineError: as `make_whole`.
    """
    return [label for label in labels if make_whole(catalog, label)]


def check_standing(catalog: Catalog) -> dict[int, str]:
    """Check the masks of all standing labels, and make them whole; return those that are set aside, id -> reason."""
    with catalog.read() as session:
        standing = session.scalars(select(Label).where(Label.superseded_at.is_(None)).order_by(Label.id)).all()
    for label in standing:
        try:
            make_whole(catalog, label)
        except UnreadableFileError as error:
            set_aside_scenes(catalog, error)
    with catalog.read() as session:
        return training.left_out(session)


def make_whole(catalog: Catalog, label: Label) -> bool:
    """Check the mask of a label, and draw it again if it is damaged or missing; return False if that is impossible.

    Raises:
        UnreadableFileError: the mask must be drawn again, and its scene cannot be read.
        SceneError, OutlineError: the mask must be drawn again, and memory or file handles were lacking.
    """
    try:
        raster_store(catalog).check(label.mask_key, label.mask_sha256)
    except StoreError as error:
        log.warning("the mask of label %d is drawn again: %s", label.id, error)
    else:
        return True
    try:
        _redraw(catalog, label)
    except UnreadableFileError:
        raise
    except (EventError, RegionError, SceneError, OutlineError) as error:
        if may_pass(error):
            raise
        reason = f"its mask {label.mask_key} is damaged or missing and cannot be drawn again from the ledger: {error}"
        with catalog.write() as session:
            set_aside.set_aside(session, Kind.LABEL, f"label {label.id}", reason, label.id)
        log.exception("label %d is set aside", label.id)
        return False
    return True


def _redraw(catalog: Catalog, label: Label) -> None:
    with catalog.read() as session:
        event = session.get_one(LabelEvent, label.event_id, options=[undefer(LabelEvent.body)])
        proposal = session.get_one(Proposal, label.proposal_id)
        patch = session.get_one(Patch, label.patch_id)
        scene = session.get_one(Scene, patch.scene_id)
    scheme, store = class_scheme(catalog), raster_store(catalog)
    if event.origin == event_order.MAP:
        drawing = draw_correction(read_body(event), patch, scene, scheme)
    else:
        saved = event_of_row(event, catalog.settings.webhook_max_bytes)
        if not isinstance(saved, AnnotationSaved):
            raise EventError(f"label event {event.id} holds no drawing")
        shown = read_shown(store, proposal, scheme, window_of(patch))
        drawing = draw_annotation(saved, proposal, patch, scene, scheme, shown)
    checksum = store.put(label.mask_key, drawing.geotiff)
    store.forget_damaged(label.mask_key)
    if checksum != label.mask_sha256:  # another release draws or compresses otherwise; the ledger is what counts
        log.warning("the mask of label %d has the SHA-256 %s now, was %s", label.id, checksum, label.mask_sha256)
        with catalog.write() as session:
            session.get_one(Label, label.id).mask_sha256 = label.mask_sha256 = checksum
