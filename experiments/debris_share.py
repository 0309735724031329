"""Where is a multiclass network better than a binary one? (Baraka et al. 2020, table 3 and figure 7)."""

import math
from collections.abc import Sequence

import numpy as np

from experiments import published
from experiments.estimates import Estimate, of_part
from experiments.figures import COLOURS, GLACIER_COLOUR, lines
from experiments.findings import PUBLISHED, Findings, Row, Table, Value
from experiments.study import Study
from imagery.classes import BACKGROUND, DEBRIS_COVERED_ICE, UNKNOWN
from models.debris_share import (
    BARAKA_THRESHOLDS,
    SubsetScore,
    debris_share,
    gains_by_debris_share,
    scores_by_debris_share,
)
from models.heads import Head

_BOOTSTRAP_SEED = 0


def run(study: Study) -> Findings:
    """Judge the binary and the multiclass network on test windows with ever more debris."""
    heads: tuple[Head, ...] = ("binary", "multiclass")
    found = iter(study.run([study.network(head, seed, head=head) for head in heads for seed in study.seeds]))
    # Counts are pooled over the seeds as over pixels: the report is of windows.
    binary, multiclass = (of_part([next(found) for _ in study.seeds]).sum(axis=1) for _ in heads)
    shares = np.array([debris_share(mask, DEBRIS_COVERED_ICE.value, UNKNOWN.value) for mask in study.masks("test")])
    background, generator = BACKGROUND.value, np.random.default_rng(_BOOTSTRAP_SEED)
    scores = [scores_by_debris_share(counts, shares, background, generator) for counts in (binary, multiclass)]
    gains = gains_by_debris_share(binary, multiclass, shares, background, generator)
    table = _table(scores[0], scores[1], gains)
    curves = {
        "binary": (GLACIER_COLOUR, [_estimate(score) for score in scores[0]]),
        "multiclass": (COLOURS["debris IoU"], [_estimate(score) for score in scores[1]]),
    }
    percent = [100 * threshold for threshold in BARAKA_THRESHOLDS]
    return Findings(
        "debris-share",
        "Is a multiclass network better where there is more debris? Baraka et al. 2020, table 3 and figure 7.",
        (table,),
        (
            f"Of {len(shares)} test windows; counts pooled over the seeds. Intervals are of the windows, drawn "
            "together for the difference: a gain is there when its interval excludes 0.",
        ),
        lines(table.title, "more than so much debris, % of the judged pixels", percent, curves, "glacier IoU"),
    )


def _table(binary: Sequence[SubsetScore], multiclass: Sequence[SubsetScore], gains: Sequence[SubsetScore]) -> Table:
    rows = []
    for of_binary, of_multiclass, gain in zip(binary, multiclass, gains, strict=True):
        of_paper = published.DEBRIS_SHARE[gain.more_than]
        values: dict[str, Value] = {
            "windows": gain.patches,
            "binary": _estimate(of_binary),
            "multiclass": _estimate(of_multiclass),
            "multiclass less binary": _estimate(gain),
            f"{PUBLISHED}binary": of_paper[0],
            f"{PUBLISHED}multiclass": of_paper[1],
            f"{PUBLISHED}difference": of_paper[1] - of_paper[0],
        }
        rows.append(Row(f"> {gain.more_than:.0%}", values))
    return Table("Glacier IoU of windows with more than a share of debris", "debris", tuple(rows))


def _estimate(score: SubsetScore) -> Estimate:
    return Estimate(score.value, math.nan, score.low, score.high)
