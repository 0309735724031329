"""Convert a model card to the figures that MLflow stores with a version."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from models.card import ModelCard, Role
from models.gate import Verdict
from services.doubted_labels import DoubtedLabel
from services.gate_figures import GateFigures
from services.promotion import KEPT, PROMOTED
from services.version_figures import RegionFigures, VersionFigures


def figures_of_card(
    card: ModelCard, verdict: Verdict, bundle: Path, doubted: Sequence[DoubtedLabel] = ()
) -> VersionFigures:
    """Return the figures of a version before it is registered.

    Args:
        card: Its card.
        verdict: What the gate decided.
        bundle: Folder of its files, whose checksums are among the figures.
        doubted: Labels that it learnt and that stand out.
    """
    return VersionFigures(
        class_names=card.classes,
        parent_version=card.parent_version,
        champion_version=card.champion_version,
        labels=card.labels.count,
        simulated_labels=card.labels.simulated_count,
        labels_sha256=card.labels.sha256,
        regions={role: _region(card, role) for role in card.metrics},
        verdict=PROMOTED if verdict.promoted else KEPT,
        verdict_reason=verdict.reason,
        doubted=tuple(doubted),
        gate=GateFigures.model_validate(card.gate.model_dump()) if card.gate else None,
        sha256={file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(bundle.iterdir())},
    )


def _region(card: ModelCard, role: Role) -> RegionFigures:
    metrics, gain = card.metrics[role], card.gain.get(role)
    errors = card.calibration.errors if card.calibration and role == "validation" else {}
    return RegionFigures(
        mean_iou=metrics.mean_iou,
        kappa=metrics.kappa,
        overall_accuracy=metrics.overall_accuracy,
        empty_mask_mean_iou=metrics.empty_mask_mean_iou,
        iou=metrics.iou,
        precision=metrics.precision,
        recall=metrics.recall,
        calibration_error={name: error.after for name, error in errors.items()},
        uncalibrated_error={name: error.before for name, error in errors.items()},
        gain_mean_iou=None if gain is None else gain.mean_iou,
        gain_iou={} if gain is None else gain.iou,
        truth_sha256=card.evaluation[role].truth_sha256,
    )
