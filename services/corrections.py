"""Corrections on the map: what a person submits for a window of a scene becomes one label event for each patch.

An event holds all that its label is drawn from: the classes of its patch, 255 where nobody judged. So the ledger alone
is enough to draw the label again, and the patches of a correction are applied, fail and are replayed one by one.
"""

import hashlib
import logging
from collections.abc import Sequence
from typing import Final
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Integer, case, cast, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import jobs, scene_locks
from catalog.context import Catalog
from catalog.errors import ConflictError, InvalidInputError
from catalog.event_order import CORRECTED, MAP
from catalog.records import BytesToStore, EventState, JobKind, LabelEvent, Patch, Scene, SceneRole, SceneState, now
from imagery.classes import UNKNOWN, ClassScheme
from imagery.grid import Window
from services.scenes import window_of

log = logging.getLogger(__name__)

LARGEST_SIDE: Final = 1024
"""Most pixels along a side of a corrected window."""
MOST_RUNS: Final = 1 << 20
"""Most runs of a correction in all its patches, some 6 MB of JSON: a comb of single pixels would have hundreds."""


class Shown(BaseModel):
    """The map that a correction began with."""

    model_config = ConfigDict(frozen=True)

    layer: str
    version: int | None


class Correction(BaseModel):
    """A correction of a window, without its classes; the same in every event of it.

    Attributes:
        id: The client's id: what is submitted twice is one correction.
        row_off: First row of the window in the scene.
        col_off: First column.
        height: Rows.
        width: Columns.
        shown: The map that it began with; None if it began empty.
        seconds: Working time; None if nobody measured it.
        annotator: Who corrected.
    """

    model_config = ConfigDict(frozen=True)

    id: UUID
    row_off: int
    col_off: int
    height: int
    width: int
    shown: Shown | None
    seconds: float | None
    annotator: str

    @property
    def window(self) -> Window:
        """The window in the scene."""
        return Window(self.row_off, self.col_off, self.height, self.width)


class CorrectedPatch(BaseModel):
    """The body of a label event: one patch of a correction.

    Attributes:
        correction: The whole.
        patch: Number of the patch.
        share: Seconds of the working time that fall to this patch, by its judged pixels; None if it is not known.
        edited_px: Pixels of the patch that differ from what was shown.
        runs: Classes of the patch as `encode_runs` writes them.
    """

    model_config = ConfigDict(frozen=True)

    correction: Correction
    patch: int
    share: float | None
    edited_px: int
    runs: list[int]


def encode_runs(values: NDArray[np.uint8]) -> list[int]:
    """Return the run lengths of class values (h, w), row by row: value, length, value, length, ..."""
    flat = values.ravel()
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(np.concatenate([starts, [flat.size]]))
    runs: list[int] = np.stack([flat[starts].astype(np.int64), lengths], axis=1).ravel().tolist()
    return runs


def decode_runs(runs: Sequence[int], height: int, width: int, scheme: ClassScheme) -> NDArray[np.uint8]:
    """Return class values (height, width); the lengths are checked before anything is made of them.

    Raises:
        InvalidInputError: The lengths do not add up to the window, or a value is no class.
    """
    if len(runs) % 2:
        raise InvalidInputError(f"found {len(runs)} numbers as runs; expected pairs of a class value and a length")
    values, lengths = np.asarray(runs, dtype=np.int64).reshape(-1, 2).T
    if (lengths < 1).any() or (lengths > height * width).any() or lengths.sum() != height * width:
        raise InvalidInputError(
            f"found runs of {lengths.sum()} pixels; expected lengths of at least 1 that add up to the "
            f"{height * width} pixels of the window ({height} x {width})"
        )
    known = [item.value for item in scheme.legend]
    if strange := sorted(set(values.tolist()) - set(known)):
        raise InvalidInputError(f"found the class values {strange[:5]}; expected {known}, {UNKNOWN} where not judged")
    return np.repeat(values.astype(np.uint8), lengths).reshape(height, width)


def check_may_correct(scene: Scene, window: Window) -> None:
    """Refuse a scene that teaches nobody, and a window beyond it.

    Raises:
        ConflictError: The scene is not ready, or judges models.
        InvalidInputError: The window is not inside the scene.
    """
    if scene.role is not SceneRole.POOL:
        raise ConflictError(
            f"scene {scene.name!r} is a {scene.role.value} scene: it judges models, so nothing that is drawn on it may "
            "teach them; correct a scene of the pool"
        )
    _check_ready(scene)
    height, width = scene.source["grid"]["height"], scene.source["grid"]["width"]
    if window.row_off + window.height > height or window.col_off + window.width > width:
        raise InvalidInputError(f"found {window}; expected one inside the scene's {height} rows x {width} columns")


def _check_ready(scene: Scene) -> None:
    if scene.state is not SceneState.READY:
        raise ConflictError(f"scene {scene.name!r} is {scene.state.value}; only a ready scene can be corrected")


def record(
    catalog: Catalog,
    scene: Scene,
    correction: Correction,
    classes: NDArray[np.uint8],
    shown: NDArray[np.uint8],
) -> tuple[list[LabelEvent], bool]:
    """Store a correction in the ledger, one event for each patch with a judged pixel, and enqueue their ingestion.

    What is stored is composed before the write lock is taken: Label Studio's webhooks wait for it, a second at most.

    Args:
        catalog: The catalog.
        scene: Its scene, as it was when the correction was read.
        correction: Window, time and person.
        classes: (h, w) of the window; `UNKNOWN` where the person did not judge.
        shown: (h, w) what the correction began with.

    Returns:
        The events, and whether they are new.

    Raises:
        ConflictError: Another correction was submitted under this id, or the scene was removed or replaced meanwhile.
        InvalidInputError: No pixel is judged, no patch lies there, or there are more than `MOST_RUNS` runs.
    """
    content = hashlib.sha256(f"{scene.id} {correction.window}".encode() + classes.tobytes()).hexdigest()
    with catalog.read() as session:
        known = _recorded(session, correction.id, content)
        patches = [] if known else _touched(session, scene, correction.window)
    if known:
        return known, False
    if (classes == UNKNOWN).all():
        raise InvalidInputError("found no judged pixel; expected at least one with a class")
    bodies = _bodies(patches, correction, classes, shown)
    events = [
        LabelEvent(
            dedupe_key=f"{_key(correction.id)}{patch_id}",
            action=CORRECTED,
            origin=MAP,
            annotation_uid=str(correction.id),
            annotation_updated_at=now(),
            content_sha256=content,
            body=body,
        )
        for patch_id, body in bodies.items()
    ]
    with catalog.write() as session:
        known = _recorded(session, correction.id, content)  # another process may have stored it meanwhile
        if known:
            return known, False
        _check_unchanged(scene_locks.hold(session, scene.id), scene)
        if not events:
            raise InvalidInputError(
                f"found no patch of scene {scene.name!r} under the judged pixels; choose another window"
            )
        try:
            with session.begin_nested():
                session.add_all(events)
        except IntegrityError:  # another process has just stored it
            return _recorded(session, correction.id, content), False
        subjects = {str(event.id): {"event_id": event.id, "comes_last": True} for event in events}
        jobs.enqueue_new(session, JobKind.INGEST_LABEL, subjects)
    for event, patch_id in zip(events, bodies, strict=True):
        fields = {"correction": str(correction.id), "patch": patch_id, "event": event.id}
        log.info("label event %d (%s) is received by %s", event.id, event.action, event.origin, extra=fields)
    return events, True


def _check_unchanged(stored: Scene, read: Scene) -> None:
    """Refuse a scene that is not ready any more, or was replaced since it was read.

    Raises:
        ConflictError: It is not the same.
    """
    _check_ready(stored)
    if stored.revision != read.revision:
        raise ConflictError(
            f"scene {stored.name!r} was replaced while this was received, so nothing is stored; look at the scene as "
            "it is now, and submit again"
        )


def are_waiting(session: Session, scene_id: int) -> bool:
    """Return whether corrections of a scene wait to be ingested."""
    return bool(unapplied(session, scene_id, EventState.RECEIVED))


def unapplied(session: Session, scene_id: int, state: EventState) -> list[int]:
    """Return the ids of the events of corrections of a scene that are no labels yet: received ones, or failed ones.

    They have no proposal yet; only their keys say of which patch they are.
    """
    found = select(LabelEvent.id).join(Patch, Patch.id == corrected_patch_id())
    return list(session.scalars(found.where(LabelEvent.state == state, Patch.scene_id == scene_id)))


def corrected_patch_id() -> ColumnElement[int | None]:
    """Return the id of the patch in the key of a correction's event; null for other events."""
    behind_id = func.length(_key("")) + func.length(LabelEvent.annotation_uid)
    number = cast(func.substr(LabelEvent.dedupe_key, behind_id + 1), Integer)
    return case((LabelEvent.origin == MAP, number))


def _key(correction: UUID | str) -> str:
    return f"map:{correction}:"


def _recorded(session: Session, correction: UUID, content: str) -> list[LabelEvent]:
    """Return the events of a correction that is stored already.

    Raises:
        ConflictError: What is stored under its id has other content.
    """
    of_correction = (LabelEvent.annotation_uid == str(correction)) & (LabelEvent.origin == MAP)
    found = list(session.scalars(select(LabelEvent).where(of_correction).order_by(LabelEvent.id)))
    if found and {event.content_sha256 for event in found} != {content}:
        raise ConflictError(f"another correction was submitted under the id {correction}; use a new one")
    return found


def _touched(session: Session, scene: Scene, window: Window) -> Sequence[Patch]:
    """Return the patches of a scene that a window touches, ordered by id."""
    size = scene.patch_size_px
    touched = select(Patch).where(
        Patch.scene_id == scene.id,
        Patch.row_off < window.row_off + window.height,
        Patch.row_off > window.row_off - size,
        Patch.col_off < window.col_off + window.width,
        Patch.col_off > window.col_off - size,
    )
    return session.scalars(touched.order_by(Patch.id)).all()


def _bodies(
    patches: Sequence[Patch], correction: Correction, classes: NDArray[np.uint8], shown: NDArray[np.uint8]
) -> dict[int, BytesToStore]:
    """Return the body of the event of each patch with a judged pixel, by the number of the patch.

    Raises:
        InvalidInputError: There are more than `MOST_RUNS` runs in all.
    """
    masks = {patch.id: onto_patch(classes, correction.window, window_of(patch)) for patch in patches}
    judged = {patch_id: count for patch_id, mask in masks.items() if (count := int((mask != UNKNOWN).sum()))}
    runs = sum(_count_runs(masks[patch_id]) for patch_id in judged)
    if runs > MOST_RUNS:
        raise InvalidInputError(
            f"found {runs} runs of pixels of one class in all patches; expected at most {MOST_RUNS}: submit a smaller "
            "part of the scene at a time, or smoother outlines"
        )
    total, seconds = sum(judged.values()), correction.seconds
    bodies = {}
    for patch in patches:
        if patch.id not in judged:
            continue
        mask, before = masks[patch.id], onto_patch(shown, correction.window, window_of(patch))
        body = CorrectedPatch(
            correction=correction,
            patch=patch.id,
            share=None if seconds is None else seconds * judged[patch.id] / total,
            edited_px=int(((mask != before) & (mask != UNKNOWN)).sum()),
            runs=encode_runs(mask),
        )
        bodies[patch.id] = BytesToStore(body.model_dump_json().encode())
    return bodies


def _count_runs(values: NDArray[np.uint8]) -> int:
    """Return the number of runs that `encode_runs` makes of class values."""
    flat = values.ravel()
    return 1 + int(np.count_nonzero(flat[1:] != flat[:-1]))


def onto_patch(values: NDArray[np.uint8], window: Window, patch: Window) -> NDArray[np.uint8]:
    """Return the part of a window's values that lies in a patch, `UNKNOWN` elsewhere in the patch."""
    mask: NDArray[np.uint8] = np.full(patch.shape, UNKNOWN, dtype=np.uint8)
    top, left = max(patch.row_off, window.row_off), max(patch.col_off, window.col_off)
    bottom = min(patch.row_off + patch.height, window.row_off + window.height)
    right = min(patch.col_off + patch.width, window.col_off + window.width)
    if top < bottom and left < right:
        mask[top - patch.row_off : bottom - patch.row_off, left - patch.col_off : right - patch.col_off] = values[
            top - window.row_off : bottom - window.row_off, left - window.col_off : right - window.col_off
        ]
    return mask
