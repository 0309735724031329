"""Which task head: multiclass, binary, or two binary networks? (Baraka et al. 2020, table 2)."""

from typing import Final

import numpy as np

from experiments import published
from experiments.estimates import ICE_IOU, counts_of, how_to_read
from experiments.figures import bars
from experiments.findings import Findings, score_table
from experiments.study import Study
from models.heads import Head

HEADS: Final[dict[str, Head]] = {"binary": "binary", "multiclass": "multiclass", "two binaries": "two_binaries"}
BOTH_CLASSES_NOTE: Final = (
    "As in the paper, networks are trained and scored on windows that hold both clean and debris-covered ice."
)


def run(study: Study) -> Findings:
    """Train a network with each head on all channels, on windows with both clean and debris-covered ice."""
    division = study.both_classes
    trials = [
        study.network(name, seed, head=head, division=division) for name, head in HEADS.items() for seed in study.seeds
    ]
    results = iter(study.run(trials))
    blocks = division.blocks("test")
    counts = {name: counts_of([next(results) for _ in study.seeds], blocks) for name in HEADS}
    table = score_table("IoU by task head", "head", counts, ICE_IOU, "binary", published.HEADS)
    return Findings(
        "heads",
        "Which task head: multiclass, binary, or two binary networks? Baraka et al. 2020, table 2.",
        (table,),
        (
            how_to_read(len(np.unique(blocks))),
            BOTH_CLASSES_NOTE,
            "Where both binary networks claim a pixel, debris wins. Glacier is clean and debris-covered ice together.",
        ),
        bars(table, ICE_IOU),
        {"": division},
    )
