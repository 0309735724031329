"""What a correction on the map says of one patch, as a label mask; and its label."""

import logging

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from catalog import labels, scene_locks, withdrawals
from catalog.context import Catalog
from catalog.installation import hold_installation
from catalog.logs import bound
from catalog.pixel_regions import encode_region
from catalog.records import (
    EventState,
    Label,
    LabelEvent,
    Patch,
    Proposal,
    ProposalReason,
    ProposalState,
    Scene,
)
from imagery.classes import UNKNOWN, ClassScheme
from imagery.grid import Window
from imagery.masks import mask_to_geotiff
from labeling.errors import EventError
from services import raster_keys
from services.class_scheme import class_scheme
from services.corrections import CorrectedPatch, decode_runs, onto_patch
from services.places import raster_store
from services.scenes import source_of, window_of
from workers.label_drawing import Drawing, check_not_removed, has_data

log = logging.getLogger(__name__)


def read_body(event: LabelEvent) -> CorrectedPatch:
    """Return what an event of the map holds.

    Raises:
        EventError: It cannot be read; it was damaged.
    """
    try:
        return CorrectedPatch.model_validate_json(event.body)
    except ValidationError as error:
        raise EventError(f"the body of label event {event.id} cannot be read: {error}") from error


def draw_correction(body: CorrectedPatch, patch: Patch, scene: Scene, scheme: ClassScheme) -> Drawing:
    """Draw the label of a patch from a correction.

    What was asked for is what the person judged. Pixels of the window without data count as asked, too: nobody can
    judge them, and they must not keep the patch from being wholly labelled.

    Raises:
        SceneError: The scene cannot be read to find the pixels without data of a patch that has some.
    """
    source, window = source_of(scene), window_of(patch)
    drawn = decode_runs(body.runs, *window.shape, scheme)
    asked = drawn != UNKNOWN
    mask = drawn
    if patch.valid_share < 1:
        known = has_data(source, window)
        asked = asked | (_inside(body.correction.window, window) & ~known)
        mask = np.where(known, drawn, np.uint8(UNKNOWN))
    return Drawing(drawn, asked, mask, mask_to_geotiff(mask, source.grid, scheme, window))


def _inside(corrected: Window, patch: Window) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = onto_patch(np.zeros(corrected.shape, dtype=np.uint8), corrected, patch) == 0
    return inside


def apply_correction(catalog: Catalog, event: LabelEvent) -> None:
    """Store the label of an event of the map, with a proposal that belongs to no round. Idempotent.

    Raises:
        EventError: The body cannot be read, or the scene was removed.
        SceneError: The scene cannot be read.
    """
    body = read_body(event)
    with catalog.read() as session:
        patch = session.get(Patch, body.patch)
        if patch is None:  # it went with its scene
            raise EventError(f"its patch {body.patch} is gone: the scene was removed or replaced before it was applied")
        scene = session.get_one(Scene, patch.scene_id)
    check_not_removed(scene)
    drawing = draw_correction(body, patch, scene, class_scheme(catalog))
    key = raster_keys.correction(patch.id, event.id)
    checksum = raster_store(catalog).put(key, drawing.geotiff)
    annotator = body.correction.annotator
    with catalog.write() as session:
        hold_installation(session)
        row = session.get_one(LabelEvent, event.id, with_for_update=True)
        if row.state is not EventState.RECEIVED:
            return  # another attempt has applied it
        check_not_removed(scene_locks.hold(session, scene.id))
        proposal = Proposal(
            round_id=None,
            patch_id=patch.id,
            region=None if drawing.asked.all() else encode_region(drawing.asked),
            rank=0,
            reason=ProposalReason.CORRECTION,
            state=ProposalState.LABELLED,
        )
        session.add(proposal)
        session.flush()
        row.proposal_id = proposal.id
        labels.settle(row, EventState.APPLIED)
        label = Label(
            patch_id=patch.id,
            proposal_id=proposal.id,
            event_id=row.id,
            annotated_at=row.received_at,
            mask_key=key,
            mask_sha256=checksum,
            annotator=annotator,
            simulated=annotator.lower() == catalog.settings.simulated_annotator_email.lower(),
            lead_time_s=body.share,
            edited_px=body.edited_px,
        )
        labels.store(session, label)
        with bound(proposal=proposal.uid, patch=patch.id):
            log.info("label event %d is applied: label %d is stored", row.id, label.id, extra={"label": label.id})
            withdrawals.withdraw_if_late(session, label)
