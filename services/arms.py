"""What the arms of the running project tell: does choosing find more errors, and does it do so per minute?

A round by scores has three arms: the patches that its strategy chose, the *shortlist* control, drawn at random where
foreground is predicted, and the *pool* control, drawn from the whole pool.

What is estimated, and from what:

- The pixels that a version got wrong on a patch, before it could learn from the patch's label: every label is compared
  with the map of the scoring that the round was chosen by (``Label.found``), whatever the annotator was shown. Per
  label, and per minute that annotators worked (lead times of Label Studio).
- The differences between arms, paired within rounds: of each round that has both arms, the difference of their means.
  The rounds are the units of the interval, because a round often has a single control, which says nothing about the
  spread within the round. Early rounds count as much as late ones.

What is not: the gain of IoU *by arm*. The labels of all arms of a round are learnt together, so that no difference of
versions belongs to one of them. An error found is what a label can teach, not what the network learns from it: a patch
may be wrong for want of light. Nor do these figures say what another strategy would have found. To compare strategies
by IoU, run the simulation (``benchmarks``). The gain of all labels together is in ``services.forecast``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.records import Label, Proposal, ProposalReason
from services import estimates
from services.estimates import Estimate

LONGEST_MINUTES: Final = 60.0
"""Longer lead times count as this long: Label Studio's clock runs while a page is open and nobody works."""


class Arm(StrEnum):
    """Who decided that a patch is labelled."""

    CHOSEN = "chosen"
    SHORTLIST = "shortlist"
    POOL = "pool"


ARM_OF: Final[Mapping[ProposalReason, Arm]] = {
    ProposalReason.UNCERTAIN: Arm.CHOSEN,
    ProposalReason.FOREGROUND: Arm.CHOSEN,
    ProposalReason.SHORTLIST_CONTROL: Arm.SHORTLIST,
    ProposalReason.CONTROL: Arm.POOL,
}
PAIRS: Final = ((Arm.CHOSEN, Arm.SHORTLIST), (Arm.SHORTLIST, Arm.POOL), (Arm.CHOSEN, Arm.POOL))
"""What is compared: uncertainty with ice, ice with anywhere, both steps together."""


@dataclass(frozen=True)
class ArmLabel:
    """A label of a round by scores.

    Attributes:
        round_id: Its round.
        arm: Its arm.
        judged_px: Pixels that the label and the map of the scoring both have a class for.
        wrong_px: Those of them where the classes differ.
        wrong_px_of: Wrong pixels by drawn class, in the order of the class scheme.
        edited_px: Pixels that the annotator changed of what was shown.
        minutes: Lead time, at most ``LONGEST_MINUTES``; None if Label Studio gave none.
        simulated: Whether a simulated annotator drew it.
    """

    round_id: int
    arm: Arm
    judged_px: int
    wrong_px: int
    wrong_px_of: tuple[int, ...]
    edited_px: int
    minutes: float | None
    simulated: bool = False


@dataclass(frozen=True)
class ArmFigures:
    """The labels of one arm over all rounds. Each label is a unit: labels of a round are taken as independent.

    Attributes:
        arm: The arm.
        labels: Number of labels.
        simulated: How many of them a simulated annotator drew, whose minutes are a program's.
        wrong_share: Share of the judged pixels that the version which scored had wrong.
        wrong_px: Wrong pixels a label.
        wrong_px_of: Mean wrong pixels a label, by drawn class.
        edited_px: Edited pixels a label.
        minutes: Minutes a label; None without lead times.
        wrong_px_per_minute: Of the labels with lead times.
    """

    arm: Arm
    labels: int
    simulated: int
    wrong_share: Estimate | None
    wrong_px: Estimate | None
    wrong_px_of: tuple[float, ...]
    edited_px: Estimate | None
    minutes: Estimate | None
    wrong_px_per_minute: Estimate | None


@dataclass(frozen=True)
class Difference:
    """One arm minus another, paired within rounds; the rounds are the units.

    Attributes:
        of: The first arm.
        minus: The second.
        wrong_px: Difference of the wrong pixels a label.
        wrong_px_per_minute: Difference of the wrong pixels a minute.
        minutes: Difference of the minutes a label.
    """

    of: Arm
    minus: Arm
    wrong_px: Estimate | None
    wrong_px_per_minute: Estimate | None
    minutes: Estimate | None


@dataclass(frozen=True)
class Arms:
    """The arms that have labels, and the differences between them."""

    arms: tuple[ArmFigures, ...]
    differences: tuple[Difference, ...]

    def metrics(self) -> dict[str, float]:
        """Return what each arm found and the differences by their names in MLflow, with the ends of their intervals."""
        named = {f"arms.{item.arm}": item for item in self.arms}
        named_differences = {f"arms.{item.of}_minus_{item.minus}": item for item in self.differences}
        flat: dict[str, float | None] = {}
        for prefix, item in {**named, **named_differences}.items():
            for name in ("wrong_px", "wrong_px_per_minute", "minutes"):
                found: Estimate | None = getattr(item, name)
                if found is not None:
                    key = f"{prefix}.{name}"
                    flat |= {key: found.value, f"{key}.low": found.low, f"{key}.high": found.high}
        return {name: value for name, value in flat.items() if value is not None}


def read_labels(session: Session) -> list[ArmLabel]:
    """Return the standing labels of all arms whose errors are known, by round."""
    statement = (
        select(Label, Proposal.round_id, Proposal.reason)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(Label.superseded_at.is_(None), Proposal.reason.in_(ARM_OF))
        .order_by(Proposal.round_id, Label.id)
    )
    return [
        _arm_label(round_id, ARM_OF[reason], label, label.found)
        for label, round_id, reason in session.execute(statement)
        if label.found is not None and round_id is not None
    ]


def compare(labels: Sequence[ArmLabel]) -> Arms:
    """Estimate what each arm found, and the differences between the arms."""
    by_arm = {arm: [label for label in labels if label.arm is arm] for arm in Arm}
    figures = tuple(_figures(arm, of_arm) for arm, of_arm in by_arm.items() if of_arm)
    differences = tuple(_difference(labels, *pair) for pair in PAIRS if by_arm[pair[0]] and by_arm[pair[1]])
    return Arms(figures, differences)


def minutes_of(label: Label) -> float | None:
    """Return the lead time of a label in minutes, at most ``LONGEST_MINUTES``; None if Label Studio gave none."""
    seconds = label.lead_time_s
    return min(seconds / 60.0, LONGEST_MINUTES) if seconds is not None and seconds > 0 else None


def _arm_label(round_id: int, arm: Arm, label: Label, found: list[list[int]]) -> ArmLabel:
    wrong = tuple(sum(row) - row[drawn] for drawn, row in enumerate(found))
    judged, minutes = sum(map(sum, found)), minutes_of(label)
    return ArmLabel(round_id, arm, judged, sum(wrong), wrong, label.edited_px, minutes, label.simulated)


def _figures(arm: Arm, labels: Sequence[ArmLabel]) -> ArmFigures:
    timed = [(label.wrong_px, label.minutes) for label in labels if label.minutes is not None]
    return ArmFigures(
        arm=arm,
        labels=len(labels),
        simulated=sum(label.simulated for label in labels),
        wrong_share=estimates.ratio([label.wrong_px for label in labels], [label.judged_px for label in labels]),
        wrong_px=estimates.mean([label.wrong_px for label in labels]),
        wrong_px_of=tuple(fmean(column) for column in zip(*(label.wrong_px_of for label in labels), strict=True)),
        edited_px=estimates.mean([label.edited_px for label in labels]),
        minutes=estimates.mean([minutes for _, minutes in timed]),
        wrong_px_per_minute=estimates.ratio([wrong for wrong, _ in timed], [minutes for _, minutes in timed]),
    )


def _difference(labels: Sequence[ArmLabel], of: Arm, minus: Arm) -> Difference:
    timed = [label for label in labels if label.minutes is not None]
    return Difference(
        of=of,
        minus=minus,
        wrong_px=_paired(labels, of, minus, lambda group: fmean(label.wrong_px for label in group)),
        wrong_px_per_minute=_paired(timed, of, minus, _per_minute),
        minutes=_paired(timed, of, minus, lambda group: fmean(label.minutes or 0.0 for label in group)),
    )


def _per_minute(group: Sequence[ArmLabel]) -> float:
    return sum(label.wrong_px for label in group) / sum(label.minutes or 0.0 for label in group)


def _paired(
    labels: Sequence[ArmLabel], of: Arm, minus: Arm, figure: Callable[[Sequence[ArmLabel]], float]
) -> Estimate | None:
    """Return the mean over rounds of the difference of a figure between two arms of the round."""
    groups: dict[int, dict[Arm, list[ArmLabel]]] = {}
    for label in labels:
        groups.setdefault(label.round_id, {}).setdefault(label.arm, []).append(label)
    differences = [figure(arms[of]) - figure(arms[minus]) for arms in groups.values() if of in arms and minus in arms]
    return estimates.mean(differences)
