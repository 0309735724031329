"""Where is a multiclass network better than a binary one? (Baraka et al. 2020, table 3 and figure 7)."""

from typing import Final

import numpy as np

from experiments import published
from experiments.estimates import GLACIER_IOU, Counts, counts_of, difference, estimate, how_to_read
from experiments.figures import COLOURS, lines
from experiments.findings import PUBLISHED, Findings, Row, Table, Value
from experiments.heads import BOTH_CLASSES_NOTE, HEADS
from experiments.study import Study
from imagery.classes import DEBRIS_COVERED_ICE, UNKNOWN
from models.debris_share import debris_share

COMPARED: Final = ("binary", "multiclass")
_COLOURS: Final = dict(zip(COMPARED, (COLOURS["glacier IoU"], COLOURS["debris IoU"]), strict=True))


def run(study: Study) -> Findings:
    """Score the binary and the multiclass network on test windows with more than a share of debris, for each share."""
    division = study.both_classes
    trials = [
        study.network(name, seed, head=HEADS[name], division=division) for name in COMPARED for seed in study.seeds
    ]
    found = iter(study.run(trials))
    results = {name: [next(found) for _ in study.seeds] for name in COMPARED}
    masks = study.masks("test", division)
    shares = np.array([debris_share(mask, DEBRIS_COVERED_ICE.value, UNKNOWN) for mask in masks])
    blocks = division.blocks("test")
    rows = []
    for threshold in published.DEBRIS_SHARE:
        kept = shares > threshold
        counts = {name: counts_of(of_head, blocks, kept=kept) for name, of_head in results.items()}
        size: dict[str, Value] = {"windows": int(kept.sum()), "blocks": len(np.unique(blocks[kept]))}
        rows.append(Row(f"> {threshold:.0%}", size | _scores(counts, threshold)))
    table = Table("Glacier IoU of windows with more than a share of debris", "debris", tuple(rows))
    curves = {name: (_COLOURS[name], [row.values[name] for row in rows]) for name in COMPARED}
    percent = [100 * threshold for threshold in published.DEBRIS_SHARE]
    return Findings(
        "debris-share",
        "Is a multiclass network better where there is more debris? Baraka et al. 2020, table 3 and figure 7.",
        (table,),
        (
            how_to_read(),
            BOTH_CLASSES_NOTE,
            f"There are {len(shares)} test windows; the subsets are nested.",
        ),
        lines(table.title, "least share of debris, % of the judged pixels", percent, curves, GLACIER_IOU),
        {"": division},
    )


def _scores(counts: dict[str, Counts], threshold: float) -> dict[str, Value]:
    of_paper = dict(zip(COMPARED, published.DEBRIS_SHARE[threshold], strict=True))
    binary, multiclass = (counts[name] for name in COMPARED)
    return {
        **{name: estimate(of_head, GLACIER_IOU) for name, of_head in counts.items()},
        "multiclass less binary": difference(multiclass, binary, GLACIER_IOU),
        **{f"{PUBLISHED}{name}": value for name, value in of_paper.items()},
        f"{PUBLISHED}difference": of_paper["multiclass"] - of_paper["binary"],
    }
