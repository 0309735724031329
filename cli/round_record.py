"""What one round of the demonstration brought."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RoundRecord:
    """One row of the table of rounds.

    Attributes:
        round: Its number, from 1.
        strategy: How its patches were chosen.
        labels: Labels that its version learnt from, all rounds so far.
        version: The model version that followed.
        parent: The version it was trained from; None for the first.
        promoted: Whether the gate let it be served.
        verdict: Why.
        iou: IoU by role of the region ("validation", "test"), then by class or "mean"; None if undefined.
        gain: Difference to the parent, likewise; empty for the first version.
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
    seconds: dict[str, float] = field(default_factory=dict)
