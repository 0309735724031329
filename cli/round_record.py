"""The results of one round of the demonstration."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from imagery.classes import CLEAN_ICE, GLACIER_SCHEME, LabelClass


@dataclass(frozen=True)
class RoundRecord:
    """One row of the table of rounds.

    Attributes:
        round: Its number, from 1.
        strategy: How its patches were chosen.
        labels: Number of labels that its version learnt from, of all rounds so far.
        version: The model version trained after it.
        parent: The version it was trained from, the learner; None for the first.
        promoted: Whether the gate let it be served.
        verdict: The gate's reason.
        iou: IoU by role of the region ("validation", "test"), then by class or "mean"; None if undefined.
        gain: Difference of the IoU to the version served before, by role and class; empty for the first version.
        gate: Intervals that the gate's verdict rests on, as the API gives them; None for the first version.
        champion: The version that was served afterwards.
        seconds: Seconds by stage.
    """

    round: int
    strategy: str
    labels: int
    version: int
    parent: int | None
    promoted: bool
    verdict: str
    iou: dict[str, dict[str, float | None]]
    gain: dict[str, dict[str, float | None]]
    champion: int
    gate: dict[str, Any] | None = None
    seconds: dict[str, float] = field(default_factory=dict)


def predicted_classes(records: Sequence[RoundRecord]) -> tuple[LabelClass, ...]:
    """Return the classes that the versions of the demonstration predict, ordered by value.

    They are those of the glacier scheme or, with a binary head, background and glacier.
    """
    if GLACIER_SCHEME.foreground not in records[0].iou["test"]:
        return GLACIER_SCHEME.classes
    return GLACIER_SCHEME.background, CLEAN_ICE.model_copy(update={"name": GLACIER_SCHEME.foreground})
