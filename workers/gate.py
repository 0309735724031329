"""The gate, which decides whether a new version replaces the champion."""

from dataclasses import dataclass

from catalog.settings import Settings
from models.card import Gain


@dataclass(frozen=True)
class Verdict:
    """The gate's decision, and its reason as a text for people."""

    promoted: bool
    reason: str


def judge(gain: Gain | None, settings: Settings) -> Verdict:
    """Return the verdict: promote a version with enough gain in mean IoU and no large loss in any class.

    Args:
        gain: differences of IoU between the new version and its parent on the same validation pixels; None for the
            first version, which has no parent.
        settings: ``gate_min_gain`` and ``gate_max_class_drop``.
    """
    if gain is None:
        return Verdict(True, "the first version")
    if gain.mean_iou is None:
        return Verdict(False, "the mean IoU is undefined: the validation region holds no judged pixel")
    if gain.mean_iou < settings.gate_min_gain:
        return Verdict(False, f"mean IoU changed by {gain.mean_iou:+.3f}, less than {settings.gate_min_gain:+.3f}")
    for name, change in gain.iou.items():
        if change is not None and change < -settings.gate_max_class_drop:
            return Verdict(False, f"IoU of {name} fell by {-change:.3f}, more than {settings.gate_max_class_drop:.3f}")
    return Verdict(True, f"mean IoU changed by {gain.mean_iou:+.3f}")
