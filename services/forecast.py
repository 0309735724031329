"""What another round can be expected to gain and to cost, from the versions so far, and whether it still pays.

Over the few versions of a project the mean IoU on the validation region rises about in proportion to the logarithm of
the number of labels (learning curves follow power laws, which a logarithm approximates locally: Hestness et al. 2017,
arXiv:1712.00409). A line is fitted to IoU over log2(labels); its slope is the gain by doubling the labels.

What is estimated is the expected gain of *all* labels of a round together. The versions learn from overlapping labels
and are scored on the same region, so that their deviations from the line are not independent: the true intervals are at
least as wide as these. The gain on other ground is not estimated. Once a curve flattens, the line overestimates the
gain, and the signal to stop comes late rather than early.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.records import Label, SceneRole
from services import estimates
from services.arms import minutes_of
from services.estimates import Estimate
from services.version_figures import VersionFigures

VERSIONS: Final = 10
"""The newest versions that a curve is fitted to: older ones tell little of the present slope."""

COSTED_LABELS: Final = 100
"""The newest labels whose lead times tell the cost: annotators become faster, and models better."""


@dataclass(frozen=True)
class CurvePoint:
    """A version: the labels that it learnt from, and its mean IoU on the validation region, in [0, 1]."""

    labels: int
    mean_iou: float


@dataclass(frozen=True)
class Forecast:
    """What a round of so many labels is expected to bring.

    Attributes:
        versions: Number of versions that the curve is fitted to.
        labels: Labels of the newest version.
        more: Labels of the round.
        gain: Expected gain of mean IoU by the round.
        gain_per_label: The same by label.
        minutes: Cost of the round in minutes of annotators; None without lead times.
        gain_per_minute: Expected gain by minute, with the mean cost taken as known; None without lead times.
    """

    versions: int
    labels: int
    more: int
    gain: Estimate
    gain_per_label: Estimate
    minutes: Estimate | None
    gain_per_minute: Estimate | None


class Worth(StrEnum):
    """Whether another round pays; a hint for people, on which nothing acts."""

    GO_ON = "go on"
    STOP = "hardly pays"
    CANNOT_TELL = "cannot tell"


def curve(figures: Iterable[VersionFigures]) -> list[CurvePoint]:
    """Return the points of the versions that were judged on the same truth as the first of them.

    Args:
        figures: Of the versions, newest first; those without a validation region are left out, and those that learnt
            from labels withdrawn since, which tell nothing of what further labels teach.
    """
    role = SceneRole.VALIDATION.value
    judged = [(item, item.regions[role]) for item in figures if role in item.regions and not item.withdrawals]
    return [
        CurvePoint(item.labels, region.mean_iou)
        for item, region in judged
        if region.mean_iou is not None and item.labels and region.truth_sha256 == judged[0][1].truth_sha256
    ]


def minutes_of_last(session: Session, labels: int) -> list[float]:
    """Return the lead times in minutes of so many of the newest standing labels, of those that have one."""
    newest = select(Label).where(Label.superseded_at.is_(None)).order_by(Label.id.desc()).limit(labels)
    return [minutes for label in session.scalars(newest) if (minutes := minutes_of(label)) is not None]


def forecast(points: Sequence[CurvePoint], more: int, minutes: Sequence[float]) -> Forecast | None:
    """Return what a further round is expected to bring.

    Args:
        points: The versions, newest first.
        more: Labels of the round, at least 1.
        minutes: Lead times of earlier labels, in minutes.

    Returns:
        None with fewer than three versions, or if all learnt from as many labels.
    """
    by_doubling = estimates.slope([math.log2(point.labels) for point in points], [point.mean_iou for point in points])
    if by_doubling is None:
        return None
    gain = by_doubling.times(math.log2(1 + more / points[0].labels))
    by_label = estimates.mean(minutes)
    return Forecast(
        versions=len(points),
        labels=points[0].labels,
        more=more,
        gain=gain,
        gain_per_label=gain.times(1 / more),
        minutes=by_label.times(more) if by_label is not None else None,
        gain_per_minute=gain.times(1 / (more * by_label.value)) if by_label is not None else None,
    )


def worth(expected: Forecast | None, worthwhile_gain: float, has_stabilised: bool) -> Worth:
    """Say whether another round pays, by the two signals that the literature stops by.

    The expected change of performance comes first (Laws & Schütze 2008, "Stopping criteria for active learning of named
    entity recognition"; Altschuler & Bloodgood 2019, arXiv:1901.09118): whether the gain is surely above, or surely
    below, what is worthwhile. Where it cannot tell, predictions that have stabilised say that a round hardly pays.

    Args:
        expected: The forecast; None if there is none yet.
        worthwhile_gain: Least gain of mean IoU that a round is worth.
        has_stabilised: Whether successive versions predict alike (`services.stability.has_stabilised`).
    """
    gain = expected.gain if expected is not None else None
    if gain is not None and gain.low is not None and gain.low > worthwhile_gain:
        return Worth.GO_ON
    if has_stabilised or (gain is not None and gain.high is not None and gain.high < worthwhile_gain):
        return Worth.STOP
    return Worth.CANNOT_TELL
