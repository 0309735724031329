"""What labels cost: pixels changed and minutes, by what was asked for and what the annotator started from.

Also how good the expected edits were, which decide what annotators start from (`services.expected_edits`).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from catalog.records import Label, Patch, Proposal
from services.expected_edits import ExpectedEdits

Asked = Literal["whole patches", "parts"]
Start = Literal["proposal", "empty mask"]

FEWEST_PAIRS = 3
"""Labels below which a rank correlation is undefined."""


@dataclass(frozen=True)
class LabelCost:
    """What one label cost.

    Attributes:
        asked_px: Pixels asked for.
        edited_px: Pixels that differ from what the annotator started from.
        seconds: Label Studio's lead time; None if it gave none.
        expected_px: Edits expected from that start; None if not estimated.
    """

    asked_px: int
    edited_px: int
    seconds: float | None
    expected_px: float | None


@dataclass(frozen=True)
class ExpectationCheck:
    """Expected edits against what people changed.

    Attributes:
        labels: Labels whose edits were estimated beforehand.
        expected_px: Sum of the expected edits.
        edited_px: Sum of the pixels changed.
        bias_px: Mean of expected minus changed pixels of a label.
        rank_correlation: Spearman's, over the labels; None with fewer than three or if either does not vary.
    """

    labels: int
    expected_px: float
    edited_px: int
    bias_px: float
    rank_correlation: float | None


@dataclass(frozen=True)
class EffortGroup:
    """The costs of labels of one kind.

    Attributes:
        asked: Whether whole patches or parts of them were asked for.
        start: What their annotators started from.
        simulated: Whether a simulated annotator drew them, whose minutes mean nothing.
        labels: Number of labels.
        asked_px: Pixels asked for.
        edited_px: Pixels changed.
        edited_share: Pixels changed for each pixel asked for.
        seconds: Sum of the lead times of labels that have one.
        seconds_per_1000_px: Seconds for 1000 pixels asked for, of these labels; None without any.
        check: How good the expected edits were; None if they were estimated for no label.
    """

    asked: Asked
    start: Start
    simulated: bool
    labels: int
    asked_px: int
    edited_px: int
    edited_share: float
    seconds: float
    seconds_per_1000_px: float | None
    check: ExpectationCheck | None


def summarize(asked: Asked, start: Start, costs: Sequence[LabelCost], *, simulated: bool) -> EffortGroup:
    """Sum up the costs of labels of one kind, at least one."""
    timed = [cost for cost in costs if cost.seconds is not None]
    asked_px, timed_px = sum(cost.asked_px for cost in costs), sum(cost.asked_px for cost in timed)
    edited_px = sum(cost.edited_px for cost in costs)
    seconds = float(sum(cost.seconds or 0.0 for cost in timed))
    return EffortGroup(
        asked=asked,
        start=start,
        simulated=simulated,
        labels=len(costs),
        asked_px=asked_px,
        edited_px=edited_px,
        edited_share=edited_px / asked_px,
        seconds=seconds,
        seconds_per_1000_px=1000.0 * seconds / timed_px if timed_px else None,
        check=check_expectations(costs),
    )


def check_expectations(costs: Sequence[LabelCost]) -> ExpectationCheck | None:
    """Compare the expected edits of labels with the pixels changed; None if none were estimated."""
    pairs = [(cost.expected_px, cost.edited_px) for cost in costs if cost.expected_px is not None]
    if not pairs:
        return None
    expected, edited = (np.array(values, dtype=np.float64) for values in zip(*pairs, strict=True))
    varies = len(pairs) >= FEWEST_PAIRS and np.ptp(expected) > 0 and np.ptp(edited) > 0
    return ExpectationCheck(
        labels=len(pairs),
        expected_px=float(expected.sum()),
        edited_px=int(edited.sum()),
        bias_px=float((expected - edited).mean()),
        rank_correlation=float(np.corrcoef(_ranks(expected), _ranks(edited))[0, 1]) if varies else None,
    )


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value from 1, the mean rank for equal ones.

    `scipy.stats` has this, but loading it takes longer than all else that the API loads.
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def expected_px(stored: Mapping[str, Any] | None, preannotated_by: int | None) -> float | None:
    """Return the edits that are expected of a proposal from what its annotator starts from; None if not estimated."""
    if stored is None:
        return None
    edits = ExpectedEdits.model_validate(stored)
    return edits.from_empty_px if preannotated_by is None else edits.from_proposal_px


def check_of_round(session: Session, round_id: int) -> ExpectationCheck | None:
    """Compare the expected edits of a round with those made; None if none were estimated or nothing was labelled."""
    costs = _costs(session, Proposal.round_id == round_id)
    return check_expectations([cost for of_kind in costs.values() for cost in of_kind])


def effort(session: Session, *conditions: ColumnElement[bool]) -> list[EffortGroup]:
    """Return the costs of all labels that are not superseded and meet these conditions, by kind."""
    return [
        summarize(asked, start, costs, simulated=simulated)
        for (asked, start, simulated), costs in sorted(_costs(session, *conditions).items())
    ]


def _costs(session: Session, *conditions: ColumnElement[bool]) -> dict[tuple[Asked, Start, bool], list[LabelCost]]:
    columns = (
        *(Label.simulated, Label.edited_px, Label.lead_time_s),
        *(Proposal.region, Proposal.preannotated_by, Proposal.expected_edits, Patch.size_px, Patch.valid_share),
    )
    # Not corrections on the map: most begin with one, and which pixels it had right is in no task.
    standing = (Label.superseded_at.is_(None), Proposal.round_id.is_not(None), *conditions)
    statement = select(*columns).join(Label.proposal).join(Label.patch).where(*standing)
    kinds: dict[tuple[Asked, Start, bool], list[LabelCost]] = defaultdict(list)
    for simulated, edited_px, seconds, region, drawn_by, stored, size_px, valid_share in session.execute(statement):
        # The odd runs are those asked for (`catalog.pixel_regions`).
        asked_px = round(valid_share * size_px**2) if region is None else sum(region[1::2])
        start: Start = "empty mask" if drawn_by is None else "proposal"
        asked: Asked = "whole patches" if region is None else "parts"
        cost = LabelCost(max(1, asked_px), edited_px, seconds, expected_px(stored, drawn_by))
        kinds[asked, start, simulated].append(cost)
    return kinds
