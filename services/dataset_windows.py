"""Which windows and labels a data set holds, with their masks."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, select
from sqlalchemy.orm import Session, joinedload

from catalog.records import Label, Patch, Proposal, Scene, SceneRole
from catalog.references import TEACHES
from catalog.set_aside import Kind, numbers
from imagery.classes import UNKNOWN, ClassScheme
from imagery.maps import read_map
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from services import raster_keys
from services.composed_labels import compose_labels
from services.scenes import ready_scenes, window_of

SPLITS: Final = {SceneRole.POOL: "train", SceneRole.VALIDATION: "validation", SceneRole.TEST: "test"}
"""Part of a data set by the role of the scene: networks learn from the pool only, and no two roles share ground."""


@dataclass(frozen=True)
class LabelledWindow:
    """A window whose classes are known, at least in part.

    Attributes:
        patch: Its row, with its scene loaded.
        labels: The standing labels of a window of the pool, oldest first, each with its round loaded. Empty for other
            scenes, whose classes come from their outlines.
    """

    patch: Patch
    labels: tuple[Label, ...]

    @property
    def name(self) -> str:
        """Name of the window in the data set, the same in every export."""
        return f"{self.patch.id:06d}"

    @property
    def split(self) -> str:
        """Part of the data set."""
        return SPLITS[self.patch.scene.role]

    @property
    def origin(self) -> str:
        """Where the classes come from: "outlines", "expert", "simulated", or "expert and simulated"."""
        kinds = {"simulated" if label.simulated else "expert" for label in self.labels}
        return " and ".join(sorted(kinds)) or "outlines"

    def mask(self, store: RasterStore, scheme: ClassScheme) -> NDArray[np.uint8]:
        """Return the label mask (h, w), unknown where nobody judged.

        Raises:
            StoreError: A mask is not in the store.
            SceneError: A mask cannot be read.
        """
        if not self.labels:
            truth = store.uri(raster_keys.truth(self.patch.scene_id))
            return np.asarray(read_map(truth, window_of(self.patch)), dtype=np.uint8)

        def read(label: Label) -> NDArray[np.uint8]:
            return mask_from_geotiff(store.get(label.mask_key, label.mask_sha256), scheme)

        return compose_labels(self.labels, read, self.patch.size_px, UNKNOWN)


def labelled_windows(
    session: Session, roles: Collection[SceneRole], *, simulated: bool
) -> Iterator[tuple[Scene, list[LabelledWindow]]]:
    """Yield the scenes of these roles with their labelled windows, ordered by id; scenes without any are left out.

    A label that was superseded, by an update, a skip or a deletion, or is set aside does not count, and neither does
    one that was drawn on a honeypot.

    Args:
        session: A session for reading.
        roles: Roles of the scenes.
        simulated: Whether labels of a simulated annotator count as well.
    """
    for scene in ready_scenes(session, roles):
        is_pool = scene.role is SceneRole.POOL
        windows = _judged(session, scene, simulated=simulated) if is_pool else _outlined(session, scene)
        if windows:
            yield scene, windows


def labelled_scenes(session: Session, roles: Collection[SceneRole], *, simulated: bool) -> Iterator[Scene]:
    """Yield the scenes that `labelled_windows` yields for the same arguments; of each, one row at most is read."""
    for scene in ready_scenes(session, roles):
        is_pool = scene.role is SceneRole.POOL
        windows = _judging(scene, simulated=simulated) if is_pool else _with_data(scene)
        if (is_pool or scene.outlines) and session.execute(windows.limit(1)).first() is not None:
            yield scene


def count_simulated(session: Session) -> int:
    """Return the number of standing labels of a simulated annotator."""
    statement = select(Label.id).where(Label.superseded_at.is_(None), Label.simulated)
    return len(session.scalars(statement).all())


def _judging(scene: Scene, *, simulated: bool) -> Select[Label]:
    """Select the labels of a scene of the pool that count, by window and then from the oldest to the newest."""
    statement = (
        select(Label)
        .join(Patch, Label.patch_id == Patch.id)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(
            Patch.scene_id == scene.id,
            Label.superseded_at.is_(None),
            Label.id.not_in(numbers(Kind.LABEL)),
            TEACHES,
        )
        .order_by(Label.patch_id, Label.event_id)
    )
    return statement if simulated else statement.where(Label.simulated.is_(False))


def _judged(session: Session, scene: Scene, *, simulated: bool) -> list[LabelledWindow]:
    loaded = (joinedload(Label.patch).joinedload(Patch.scene), joinedload(Label.proposal).joinedload(Proposal.round))
    by_patch: dict[int, list[Label]] = {}
    for label in session.scalars(_judging(scene, simulated=simulated).options(*loaded)):
        by_patch.setdefault(label.patch_id, []).append(label)
    return [LabelledWindow(labels[0].patch, tuple(labels)) for labels in by_patch.values()]


def _with_data(scene: Scene) -> Select[Patch]:
    return select(Patch).where(Patch.scene_id == scene.id, Patch.valid_share > 0).order_by(Patch.id)


def _outlined(session: Session, scene: Scene) -> list[LabelledWindow]:
    """Return the windows of a scene with outlines that have any data."""
    if not scene.outlines:
        return []
    return [LabelledWindow(patch, ()) for patch in session.scalars(_with_data(scene).options(joinedload(Patch.scene)))]
