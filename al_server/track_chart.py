"""The curves of learner and champion on the status page, as coordinates of an SVG drawing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from catalog.records import SceneRole
from services.tracks import TrackPoint

WIDTH: Final = 640
HEIGHT: Final = 160
_MARGIN: Final = 8
_ROLE: Final = SceneRole.VALIDATION.value


@dataclass(frozen=True)
class TrackChart:
    """Polylines in a drawing of `WIDTH` by `HEIGHT`, and what they show.

    Attributes:
        learner: Mean IoU of each trained version on the validation scenes, as an attribute ``points`` of SVG.
        served: That of the version that was served after each.
        first: The first version.
        last: The last version.
        low: Mean IoU at the bottom.
        high: Mean IoU at the top.
    """

    learner: str
    served: str
    first: int
    last: int
    low: float
    high: float


def draw(points: Sequence[TrackPoint]) -> TrackChart | None:
    """Return the chart of at least two versions, oldest first; None for fewer."""
    learner = [point.mean_iou.get(_ROLE) for point in points]
    served = [point.served_mean_iou.get(_ROLE) for point in points]
    defined = [value for value in (*learner, *served) if value is not None]
    if len(points) < 2 or not defined:
        return None
    low, high = min(defined), max(defined)

    def line(values: Sequence[float | None]) -> str:
        places = [
            (
                _MARGIN + number * (WIDTH - 2 * _MARGIN) / (len(points) - 1),
                HEIGHT - _MARGIN - (value - low) / ((high - low) or 1.0) * (HEIGHT - 2 * _MARGIN),
            )
            for number, value in enumerate(values)
            if value is not None
        ]
        return " ".join(f"{across:.1f},{down:.1f}" for across, down in places)

    return TrackChart(line(learner), line(served), points[0].version, points[-1].version, low, high)
