"""Does a boundary loss improve the IoU? (Aryal et al. 2023, table 3 and figure 5)."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from experiments import published
from experiments.estimates import CLEAN_IOU, DEBRIS_IOU, ICE_IOU, PRECISION_AND_RECALL, how_to_read
from experiments.figures import COLOURS, CurvePanel, Curves, bars
from experiments.findings import Findings, score_table
from experiments.study import Study
from models.boundary_loss import BoundaryClasses
from models.losses import LossName

REFERENCE: Final = "masked Dice (α = 1)"
SLBA: Final = "self-learning boundary-aware"
LOSSES: Final[dict[str, tuple[LossName, float, BoundaryClasses]]] = {
    "cross-entropy": ("cross_entropy", 0.5, "foreground"),
    "boundary alone (α = 0)": ("combined", 0.0, "foreground"),
    "combined, α = 0.1": ("combined", 0.1, "foreground"),
    "combined, α = 0.5": ("combined", 0.5, "foreground"),
    "combined, α = 0.9": ("combined", 0.9, "foreground"),
    REFERENCE: ("combined", 1.0, "foreground"),
    SLBA: ("slba", 0.5, "foreground"),
    "combined, α = 0.5, background's boundary too": ("combined", 0.5, "all"),
    f"{SLBA}, background's boundary too": ("slba", 0.5, "all"),
    "Dice (Baraka)": ("dice", 0.5, "foreground"),
    "Dice, smoothed labels (Baraka's code)": ("label_smoothed_dice", 0.5, "foreground"),
    "Dice + cross-entropy (our default)": ("dice_cross_entropy", 0.5, "foreground"),
}
"""Loss function, alpha, and whose boundaries count, by name; only "combined" uses alpha."""


def run(study: Study) -> Findings:
    """Train a network with each loss on all channels."""
    trials = [
        study.network(name, seed, loss=loss, alpha=alpha, boundary_classes=classes)
        for name, (loss, alpha, classes) in LOSSES.items()
        for seed in study.seeds
    ]
    found = iter(study.run(trials))
    results = {name: [next(found) for _ in study.seeds] for name in LOSSES}
    counts = {name: study.counts(of_loss) for name, of_loss in results.items()}
    table = score_table("IoU by loss", "loss", counts, ICE_IOU, REFERENCE, published.LOSSES)
    both = score_table("Precision and recall by loss", "loss", counts, PRECISION_AND_RECALL, None, published.LOSSES)
    learned = CurvePanel(
        "Weights that the self-learning loss learnt (Aryal et al., figure 5), mean over the seeds",
        "optimiser step",
        _learned(results[SLBA]),
    )
    return Findings(
        "losses",
        "Does a boundary loss improve the IoU? Aryal et al. 2023, table 3 and figure 5.",
        (table, both),
        (
            how_to_read(study.test_blocks),
            "Two parts of Aryal's table are left out: cross-entropy, whose precision and recall imply another IoU, and "
            "α = 0.5 and 0.9, which are one row printed twice. All rows are of two binary networks fed eight channels; "
            "in the authors' code the boundary of background counts, too.",
            _learned_weights(results[SLBA]),
        ),
        bars(table, ICE_IOU, learned),
        {"": study.division},
    )


def _learned(results: Sequence[dict[str, Any]]) -> Curves:
    steps = [entry["step"] for entry in results[0]["learned"]]
    curves = {
        "masked Dice, 1 / (2 a₁²)": (COLOURS[CLEAN_IOU], "masked_dice_weight"),
        "boundary, 1 / (2 a₂²)": (COLOURS[DEBRIS_IOU], "boundary_weight"),
    }
    return {
        name: (colour, steps, np.mean([[entry[key] for entry in one["learned"]] for one in results], axis=0).tolist())
        for name, (colour, key) in curves.items()
    }


def _learned_weights(results: Sequence[dict[str, Any]]) -> str:
    last = [one["learned"][-1] for one in results]
    a1, a2 = (float(np.mean([entry[name] for entry in last])) for name in ("a1", "a2"))
    return (
        f"The self-learning loss ended with a₁ = {a1:.3f}, a₂ = {a2:.3f} (Aryal: 0.957 and 1.045 for clean ice, 0.952 "
        "and 1.05 for debris)."
    )
