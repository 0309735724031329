"""What MLflow shows of a version without its card being opened: its figures, and the tags of its registry entry."""

import hashlib
from pathlib import Path

from catalog.bundle_cache import checksum_tag
from catalog.promotions import KEPT, PROMOTED
from models.card import ModelCard
from workers.gate import Verdict


def figures(card: ModelCard) -> dict[str, float]:
    """Flatten the figures of a version, each named by the role of the scenes it is of; undefined ones are left out."""
    found: dict[str, float | None] = {}
    for role, metrics in card.metrics.items():
        found |= {
            f"{role}.mean_iou": metrics.mean_iou,
            f"{role}.kappa": metrics.kappa,
            f"{role}.overall_accuracy": metrics.overall_accuracy,
            f"{role}.empty_mask_mean_iou": metrics.empty_mask_mean_iou,
        }
        for name in ("iou", "precision", "recall"):
            found |= {f"{role}.{name}.{of_class}": value for of_class, value in getattr(metrics, name).items()}
    for role, difference in card.gain.items():
        found[f"{role}.gain.mean_iou"] = difference.mean_iou
        found |= {f"{role}.gain.iou.{of_class}": value for of_class, value in difference.iou.items()}
    return {name: value for name, value in found.items() if value is not None}


def tags(card: ModelCard, verdict: Verdict, bundle: Path) -> dict[str, str]:
    """Compose the tags of a version.

    Args:
        card: Its card.
        verdict: What the gate decided.
        bundle: Folder of its files, whose checksums are among the tags.
    """
    return {
        **{name: f"{value:.6f}" for name, value in figures(card).items()},
        **{checksum_tag(file.name): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(bundle.iterdir())},
        "classes": str(len(card.classes)),
        "parent_version": str(card.parent_version or ""),
        "labels.count": str(card.labels.count),
        "labels.simulated": str(card.labels.simulated_count),
        "labels.sha256": card.labels.sha256,
        **{f"{role}.truth_sha256": judged.truth_sha256 for role, judged in card.evaluation.items()},
        "verdict": PROMOTED if verdict.promoted else KEPT,
        "verdict.reason": verdict.reason,
    }
