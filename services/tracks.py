"""Two curves of the loop over its versions: what was trained (the learner), and what was served (the champion)."""

from collections.abc import Iterable
from dataclasses import dataclass

from catalog.records import SceneRole
from catalog.registry import ModelVersion
from services.promotion import PROMOTED
from services.version_figures import TAG_DECIMALS, Figures, VersionFigures, figures_of


@dataclass(frozen=True)
class TrackPoint:
    """Both tracks after a fine-tune.

    Attributes:
        version: The version that was trained.
        labels: Number of labels that it learnt from.
        mean_iou: Its mean IoU, by role of the scenes.
        low: Lower end of the gate's interval for its mean IoU on validation, given that of the version that was served
            when its training began: the interval of the gain, added to that figure. None for the first version.
        high: The upper end.
        served_version: The version that was served after the gate's decision; None if that is not known any more.
        served_mean_iou: Its mean IoU, by role, as far as known: on the scenes as they were when `version` was judged.
    """

    version: int
    labels: int
    mean_iou: Figures
    low: float | None
    high: float | None
    served_version: int | None
    served_mean_iou: Figures


def tracks(versions: Iterable[ModelVersion]) -> list[TrackPoint]:
    """Return the points of versions, oldest first. What people promoted in between shows at the next version."""
    return [_point(version) for version in sorted(versions, key=lambda version: version.version)]


def _point(version: ModelVersion) -> TrackPoint:
    figures = figures_of(version)
    low, high = _interval(figures)
    return TrackPoint(
        version=version.version,
        labels=figures.labels,
        mean_iou=_mean_iou(figures),
        low=low,
        high=high,
        served_version=served_after(version.version, figures),
        served_mean_iou=_served_mean_iou(figures),
    )


def _interval(figures: VersionFigures) -> tuple[float | None, float | None]:
    judged, gate = figures.regions.get(SceneRole.VALIDATION.value), figures.gate
    if judged is None or judged.mean_iou is None or gate is None:
        return None, None
    gain = gate.mean_iou
    if gain.gain is None or gain.low is None or gain.high is None:
        return None, None
    before = judged.mean_iou - gain.gain
    return round(before + gain.low, TAG_DECIMALS), round(before + gain.high, TAG_DECIMALS)


def served_after(version: int, figures: VersionFigures) -> int | None:
    """Return which version was served after the gate's decision on a version."""
    return version if figures.verdict == PROMOTED else figures.champion_version


def _served_mean_iou(figures: VersionFigures) -> Figures:
    """Return the mean IoU of the version that was served after the gate's decision, by role.

    The figures of a version that was kept back tell that of the champion by the difference to it, on the same pixels.
    """
    if figures.verdict == PROMOTED:
        return _mean_iou(figures)
    return {
        role: round(region.mean_iou - region.gain_mean_iou, TAG_DECIMALS)
        for role, region in figures.regions.items()
        if region.mean_iou is not None and region.gain_mean_iou is not None
    }


def _mean_iou(figures: VersionFigures) -> Figures:
    return {role: region.mean_iou for role, region in figures.regions.items()}
