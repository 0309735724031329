"""Which task head: multiclass, binary, or two binary networks? (Baraka et al. 2020, table 2)."""

from typing import Final

from experiments import published
from experiments.estimates import HOW_TO_READ, ICE_IOU
from experiments.figures import bars
from experiments.findings import Findings, score_table
from experiments.study import Study
from models.heads import Head

HEADS: Final[dict[str, Head]] = {"binary": "binary", "multiclass": "multiclass", "two binaries": "two_binaries"}


def run(study: Study) -> Findings:
    """Train a network with each head on all channels."""
    trials = [study.network(name, seed, head=head) for name, head in HEADS.items() for seed in study.seeds]
    results = iter(study.run(trials))
    counts = {name: study.counts([next(results) for _ in study.seeds]) for name in HEADS}
    table = score_table("IoU by task head", "head", counts, ICE_IOU, "binary", published.HEADS)
    return Findings(
        "heads",
        "Which task head: multiclass, binary, or two binary networks? Baraka et al. 2020, table 2.",
        (table,),
        (
            HOW_TO_READ,
            "Where both binary networks claim a pixel, debris wins. Glacier is clean and debris-covered ice together.",
        ),
        bars(table, ICE_IOU),
        {"": study.division},
    )
