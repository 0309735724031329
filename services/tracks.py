"""Two curves of the loop over its versions: what was trained (the learner), and what was served (the champion)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catalog.registry import ModelVersion
from services.promotion import PROMOTED
from services.version_figures import Figures, VersionFigures, figures_of


@dataclass(frozen=True)
class TrackPoint:
    """Both tracks after a fine-tune.

    Attributes:
        version: The version that was trained.
        labels: Number of labels that it learnt from.
        mean_iou: Its mean IoU, by role of the scenes.
        served_version: The version that was served after the gate's decision; None if that is not known any more.
        served_mean_iou: Its mean IoU, by role.
    """

    version: int
    labels: int
    mean_iou: Figures
    served_version: int | None
    served_mean_iou: Figures


def tracks(versions: Sequence[ModelVersion], fetch: Callable[[int], ModelVersion | None]) -> list[TrackPoint]:
    """Return the points of versions, oldest first. What people promoted in between shows at the next version.

    Args:
        versions: The versions, in any order.
        fetch: Returns a version that is not among them; None if it was deleted.
    """
    figures = {version.version: figures_of(version) for version in versions}
    points = []
    for number in sorted(version.version for version in versions):
        served = served_after(number, figures[number])
        if served is not None and served not in figures:
            fetched = fetch(served)
            figures |= {served: figures_of(fetched)} if fetched is not None else {}
        points.append(
            TrackPoint(
                version=number,
                labels=figures[number].labels,
                mean_iou=_mean_iou(figures[number]),
                served_version=served,
                served_mean_iou=_mean_iou(figures[served]) if served in figures else {},
            )
        )
    return points


def served_after(version: int, figures: VersionFigures) -> int | None:
    """Return which version was served after the gate's decision on a version."""
    return version if figures.verdict == PROMOTED else figures.champion_version


def _mean_iou(figures: VersionFigures) -> Figures:
    return {role: region.mean_iou for role, region in figures.regions.items()}
