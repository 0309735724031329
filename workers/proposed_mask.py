"""The mask that an annotator starts from: the model's proposal where it saves edits, else an empty mask."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.pixel_regions import decode_region
from catalog.records import Proposal, Scoring
from imagery.classes import BACKGROUND
from imagery.errors import SceneError, StoreError
from imagery.maps import read_map
from imagery.store import RasterStore
from services import raster_keys
from services.expected_edits import ERROR, FOREGROUND, ExpectedEdits, PatchMaps, decode_probability
from services.scenes import window_of
from workers.preannotation import Form, clean, preannotate

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProposedMask:
    """What an annotator starts from.

    Attributes:
        regions: Label Studio's regions; empty for an empty mask.
        shown: The class map (h, w) that they draw; None if nothing is drawn.
        drawn_by: The model version that drew it; None if nothing is drawn.
        edits: How many pixels the annotator is expected to change; None if that is not known.
        note: What the annotator is told about it.
    """

    regions: Sequence[dict[str, Any]] = ()
    shown: NDArray[np.uint8] | None = None
    drawn_by: int | None = None
    edits: ExpectedEdits | None = None
    note: str = ""


@dataclass(frozen=True)
class ScoredPatch:
    """The patch of a proposal, as a scoring sees it.

    Attributes:
        store: Has the maps of the scoring.
        proposal: With its patch and scene.
        scoring: The scoring, which has maps of the scene.
        screening: Whether it has only screened the patch.
    """

    store: RasterStore
    proposal: Proposal
    scoring: Scoring
    screening: bool

    @cached_property
    def asked(self) -> NDArray[np.bool_]:
        """The pixels (h, w) that the proposal asks for."""
        return decode_region(self.proposal.region, *window_of(self.proposal.patch).shape)

    def read_maps(self) -> PatchMaps:
        """Read the maps of the patch.

        Raises:
            SceneError: one is missing, because a release before this one scored the pool, or cannot be read.
        """
        classes, error, foreground = (self._read(what) for what in ("classes", ERROR, FOREGROUND))
        return PatchMaps(classes, decode_probability(error), decode_probability(foreground))

    def _read(self, what: str) -> NDArray[np.uint8]:
        key = raster_keys.scored(self.scoring.id, self.proposal.patch.scene_id, what)
        return np.asarray(read_map(self.store.uri(key), window_of(self.proposal.patch)), dtype=np.uint8)


def propose_mask(
    patch: ScoredPatch,
    form: Form,
    labels: Mapping[int, str],
    check: Callable[[Sequence[dict[str, Any]]], object],
    *,
    blind: bool = False,
) -> ProposedMask:
    """Decide what the annotator of a proposal starts from.

    The model's proposal is drawn inside the region asked for, and only where correcting it is expected to change fewer
    pixels than drawing from an empty mask. A pre-annotation that cannot be read or sent is left out, and the annotator
    is told.

    Args:
        patch: The patch.
        form: How regions are drawn; "none": every mask is empty, but edits are estimated all the same.
        labels: Label by class value; empty if the version predicts other classes than annotators draw.
        check: Raises `labeling.errors.PredictionError` if Label Studio would not accept the regions.
        blind: Whether the annotator starts from an empty mask even where the proposal would save edits.
    """
    try:
        maps = patch.read_maps()
    except (SceneError, StoreError) as error:
        log.warning("proposal %s is shown without pre-annotation: %s", patch.proposal.uid, error)
        wanted = form != "none" and bool(labels)
        return ProposedMask(note="; no pre-annotation is drawn: the model's maps cannot be read" if wanted else "")
    if not labels:
        return ProposedMask(edits=_expected(patch, maps, None))
    asked_for = np.where(patch.asked, maps.classes, np.uint8(BACKGROUND))
    if form == "none":
        return ProposedMask(edits=_expected(patch, maps, clean(asked_for)))
    drawn = preannotate(asked_for, form, labels, check)
    if drawn.shown is None:
        log.warning("proposal %s%s", patch.proposal.uid, drawn.note)
        return ProposedMask(edits=_expected(patch, maps, clean(asked_for)), note=drawn.note)
    edits = _expected(patch, maps, drawn.shown)
    if edits.proposal_pays and not blind:
        if drawn.note:
            log.warning("proposal %s%s", patch.proposal.uid, drawn.note)
        note = f"; about {edits.from_proposal_px:,.0f} pixels to correct{drawn.note}"
        return ProposedMask(drawn.regions, drawn.shown, patch.scoring.model_version, edits, note)
    return ProposedMask(edits=edits, note=f"; starts empty: about {edits.from_empty_px:,.0f} pixels to draw")


def _expected(patch: ScoredPatch, maps: PatchMaps, shown: NDArray[np.uint8] | None) -> ExpectedEdits:
    return ExpectedEdits(
        model_version=patch.scoring.model_version,
        screening=patch.screening,
        asked_px=int(maps.judged(patch.asked).sum()),
        from_empty_px=maps.from_empty(patch.asked),
        from_proposal_px=None if shown is None else maps.from_proposal(shown, patch.asked),
    )
