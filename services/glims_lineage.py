"""The standing outlines of a scene and where they come from: experts where they judged, the champion elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session, joinedload

from catalog.label_layers import in_layers, place_of
from catalog.pixel_regions import decode_region
from catalog.records import Label, Patch, PatchState, Proposal, ProposalReason
from catalog.reference_records import Reference
from catalog.references import REFERENCE_PATCHES
from catalog.set_aside import Kind, numbers
from imagery.classes import UNKNOWN, ClassScheme
from imagery.errors import ExportError
from imagery.glims import CODES, ClassMapping, LineType
from imagery.grid import Grid
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from services.composed_labels import reconcile
from services.scenes import window_of

_IS_ICE: Final[NDArray[np.bool_]] = np.isin(
    np.arange(256), [code for kind, code in CODES.items() if kind is not LineType.PROGLACIAL_LAKE]
)
_STANDING: Final = (Label.superseded_at.is_(None), Label.id.not_in(numbers(Kind.LABEL)))
_IS_BEST: Final = or_(Label.patch_id.not_in(REFERENCE_PATCHES), Label.id.in_(select(Reference.label_id)))
"""Condition on labels: an operator accepted no other label of their patches as the truth."""
_MOST_LABELS: Final = np.iinfo(np.uint16).max


@dataclass(frozen=True)
class Lineage:
    """The line type of each pixel of a scene, and who gave it.

    Attributes:
        predicted: (H, W) codes (`imagery.glims.CODES`) by the model; unknown everywhere without a prediction.
        drawn: (H, W) codes by experts, unknown where nobody judged.
        label: (H, W) 1 + index of the label that judged a pixel, 0 where none did.
        labels: The labels.
    """

    predicted: NDArray[np.uint8]
    drawn: NDArray[np.uint8]
    label: NDArray[np.uint16]
    labels: Sequence[Label]

    @property
    def judged(self) -> NDArray[np.bool_]:
        """(H, W) where an expert judged."""
        known: NDArray[np.bool_] = self.drawn != UNKNOWN
        return known

    def combined(self) -> NDArray[np.uint8]:
        """Return the standing codes (H, W): those of experts where they judged, else the model's."""
        return np.where(self.judged, self.drawn, self.predicted)


def is_ice(codes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where codes mean a glacier, whatever lies on it."""
    ice: NDArray[np.bool_] = _IS_ICE[codes]
    return ice


def labelled_patches(
    session: Session, scene_id: int, after: int, limit: int, *, waiting: bool = True, honeypots: bool = False
) -> list[int]:
    """Return the ids of the patches of a scene with standing labels: the first ``limit`` greater than ``after``.

    The other arguments are those of `standing_labels`.
    """
    statement = (
        select(Label.patch_id)
        .distinct()
        .join(Patch, Label.patch_id == Patch.id)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(*_counted(waiting=waiting, honeypots=honeypots), Patch.scene_id == scene_id, Label.patch_id > after)
        .order_by(Label.patch_id)
        .limit(limit)
    )
    return list(session.scalars(statement))


def standing_labels(
    session: Session,
    scene_id: int,
    *,
    simulated: bool,
    waiting: bool = True,
    honeypots: bool = False,
    patches: Sequence[int] | None = None,
) -> list[Label]:
    """Return the labels of a scene that are not superseded, with proposals and patches loaded.

    Those of a patch follow each other from the lowest to the uppermost (`catalog.label_layers`), and patches in the
    order of their newest labels: they may overlap where tilings differ.

    Args:
        session: A session for reading.
        scene_id: The scene.
        simulated: Whether labels of a simulated annotator count as well.
        waiting: Whether those of patches count that wait for an annotator, who is not to look the answer up.
        honeypots: Whether what was drawn on honeypots, to measure annotators, counts as well; if not, nothing but the
            accepted label counts on a reference patch.
        patches: Ids of the patches whose labels are returned; None: of all.
    """
    statement = (
        select(Label)
        .join(Patch, Label.patch_id == Patch.id)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(*_counted(waiting=waiting, honeypots=honeypots), Patch.scene_id == scene_id)
        .options(joinedload(Label.patch), joinedload(Label.proposal))
    )
    if patches is not None:
        statement = statement.where(Label.patch_id.in_(patches))
    if not simulated:
        statement = statement.where(Label.simulated.is_(False))
    of_patches: dict[int, list[Label]] = {}
    for label in session.scalars(statement.order_by(Label.event_id.desc())):
        of_patches.setdefault(label.patch_id, []).append(label)
    return [label for of_patch in reversed(of_patches.values()) for label in in_layers(of_patch, place_of)]


def _counted(*, waiting: bool, honeypots: bool) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions on labels joined with patches and proposals, see `standing_labels`."""
    return (
        *_STANDING,
        *(() if waiting else (Patch.state != PatchState.PROPOSED,)),
        *(() if honeypots else (Proposal.reason != ProposalReason.KNOWN_TRUTH, _IS_BEST)),
    )


def compose_lineage(
    grid: Grid,
    labels: Sequence[Label],
    store: RasterStore,
    scheme: ClassScheme,
    mapping: ClassMapping,
    prediction: tuple[NDArray[np.uint8], Sequence[str]] | None,
) -> Lineage:
    """Compose the standing outlines of a scene.

    Args:
        grid: The scene's grid.
        labels: Its standing labels, in the order of `standing_labels`; where they overlap, the last counts. Where a
            second label of a patch disagrees with the earlier one, neither does.
        store: Where their masks are.
        scheme: The classes of the labels.
        mapping: The line types of the classes.
        prediction: Class map (H, W), and the names of its classes, which are others than the labels' for a binary
            model; None without a prediction.

    Raises:
        StoreError: A mask is not in the store.
        SceneError: A mask cannot be read, or the class map is not of the scene's size.
        ExportError: There are more than 65,535 labels.
    """
    if len(labels) > _MOST_LABELS:
        raise ExportError(f"found {len(labels)} labels of one scene; expected at most {_MOST_LABELS}")
    predicted: NDArray[np.uint8] = np.full((grid.height, grid.width), UNKNOWN, dtype=np.uint8)
    if prediction is not None:
        classes, names = prediction
        grid.check_shape(classes.shape)
        predicted = _lookup(mapping, names)[classes]
    drawn: NDArray[np.uint8] = np.full((grid.height, grid.width), UNKNOWN, dtype=np.uint8)
    number: NDArray[np.uint16] = np.zeros((grid.height, grid.width), dtype=np.uint16)
    codes = _lookup(mapping, scheme.names)
    for index, label in enumerate(labels, start=1):
        rows, columns = window_of(label.patch).slices
        own = codes[mask_from_geotiff(store.get(label.mask_key, label.mask_sha256), scheme)]
        mask = own
        asked = decode_region(label.proposal.region, *own.shape)
        if label.proposal.reason is ProposalReason.SECOND_LABEL:
            mask = reconcile(drawn[rows, columns], own, UNKNOWN)
        drawn[rows, columns][asked] = mask[asked]
        drawn_by = np.where(own == UNKNOWN, number[rows, columns], index)
        number[rows, columns][asked] = np.where(mask == UNKNOWN, 0, drawn_by)[asked]
    return Lineage(predicted, drawn, number, labels)


def _lookup(mapping: ClassMapping, class_names: Sequence[str]) -> NDArray[np.uint8]:
    """Return the code of each value of a mask with these classes."""
    table: NDArray[np.uint8] = np.full(256, UNKNOWN, dtype=np.uint8)
    codes = mapping.codes(class_names)
    table[: len(codes)] = codes
    return table
