"""Does the gate hold when labels are bad, and are the bad labels named? Rounds of real fine-tunes under attack.

``python -m benchmarks.gate_under_attack [--seeds N ...] [--chains N] [--region-folder FOLDER] [--finished]``

Simulates chains of rounds (`benchmarks.attacked_chains`) in which labels are shifted, swapped, empty or drawn by a
careless annotator, with gate and set-back as in the product. Prints three tables:

1. What the gate did, by kind of attack. The test ground, which no gate sees, tells whether it was right: a difference
   there is *significant* if the 95 % interval of the paired bootstrap over blocks excludes 0. One in forty versions
   that are as good as the champion looks significantly worse by chance.
2. The same versions judged by gates that do not look at labels, with two margins. A chain counts up to the version
   before which such a gate would have set the learner back, or not, unlike the one simulated.
3. How well bad labels are found among those that a version learnt and the champion had not: by each figure the area
   under the curve, precision and recall where one honest label in twenty is named, too; then with the threshold of the
   product (`models.label_doubt`).

Finished chains are kept in ``var/bench/gate_under_attack``, so that a stopped run goes on, and more seeds can be added
later; ``--finished`` reports those that are there.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks import regions
from benchmarks.attacked_chains import KINDS, chains, doubted_share, excess_loss, new_labels, run_chain
from benchmarks.gate_rounds import NAMES, ON_TEST, rules_of
from benchmarks.report import BENCH, Result, markdown, publish
from catalog.settings import Settings
from models.block_counts import BlockCounts
from models.gate import GainInterval, GateEvidence, GateRules, compare, judge, without_margin_if_doubted
from models.label_doubt import STANDS_OUT

Row = Mapping[str, Any]
"""A label in the doubts of a version."""


@dataclass(frozen=True)
class Decision:
    """A decision of the gate on a version that was compared with a champion.

    Attributes:
        kind: The kind of attack of its chain.
        attacked: Whether labels of its own round were attacked.
        promoted: Whether it was served.
        set_back: Whether the learner was set back thereupon.
        on_test: Its gain on test ground over the champion.
        doubts: The labels that it learnt and the champion had not.
    """

    kind: str
    attacked: bool
    promoted: bool
    set_back: bool
    on_test: GainInterval
    doubts: Sequence[Row]

    @property
    def is_worse(self) -> bool:
        """Whether it is significantly worse on test ground."""
        return (self.on_test.high or 0.0) < 0

    @property
    def is_better(self) -> bool:
        """Whether it is significantly better there."""
        return (self.on_test.low or 0.0) > 0


FIGURES: Final[Mapping[str, Callable[[Row], float]]] = {
    "contradicted by the champion": lambda row: row["champion"]["contradicted"],
    "contradicted by the new version": lambda row: row["new"]["contradicted"],
    "differs from the champion": lambda row: row["champion"]["differs"],
    "loss of the champion": lambda row: row["champion"]["loss"],
    "**loss of the champion minus its entropy**": excess_loss,
    "loss of the parent": lambda row: row["parent"]["loss"],
    "loss of the new version": lambda row: row["new"]["loss"],
    "loss of the new version minus its entropy": lambda row: row["new"]["loss"] - row["new"]["entropy"],
    "loss of champion minus new version": lambda row: row["champion"]["loss"] - row["new"]["loss"],
    "gradient against that of validation": lambda row: -(row["influence"] or 0.0),
}
"""Ways to find bad labels, by name: the larger, the worse."""


def served_row(name: str, found: Sequence[Decision]) -> dict[str, object]:
    """Return the row of a table about what a gate did."""
    served = [item for item in found if item.promoted]
    worse = [item for item in served if item.is_worse]
    better = [item for item in found if item.is_better]
    return {
        "": name,
        "decisions": len(found),
        "of attacked rounds": sum(item.attacked for item in found),
        "served": len(served),
        "**served though significantly worse on test**": len(worse),
        "their largest loss": max((-(item.on_test.gain or 0.0) for item in worse), default=0.0),
        "refused": len(found) - len(served),
        "of them significantly worse": sum(item.is_worse for item in found if not item.promoted),
        "significantly better": len(better),
        "of them held back": sum(not item.promoted for item in better),
        "set back": sum(item.set_back for item in found),
    }


def replay(chain: Mapping[str, Any], margin: float, most_doubted: float) -> list[Decision]:
    """Return the decisions of a gate on the versions of a chain, as long as the learner went the same way.

    Those of the gate that was simulated are exact. What the champion of another gate would say of the labels is not
    known, so only gates that do not look at it can be replayed.

    Args:
        chain: The chain.
        margin: Loss of mean IoU that is tolerated.
        most_doubted: Share of the new labels that may stand out; above it no loss is tolerated. 1: looks at no label.
    """
    versions, champion, parent, worse_in_a_row, found = chain["versions"], 0, 0, 0, []
    for number, version in enumerate(versions[1:], 1):
        if version["parent"] != parent:
            break
        served = versions[champion]
        doubts = new_labels(version["doubts"], champion)
        rules = replace(rules_of(Settings()), margin=margin)
        rules = without_margin_if_doubted(rules, doubted_share(doubts), most_doubted)
        evidence = _compare(version, served, "validation", champion, rules)
        promoted = judge(evidence, version["labels"], served["labels"]).promoted
        on_test = _compare(version, served, "test", champion, ON_TEST).mean_iou
        worse_in_a_row = worse_in_a_row + 1 if evidence.mean_iou.outcome == "worse" and not promoted else 0
        set_back = worse_in_a_row == 2
        found.append(Decision(chain["kind"], version["attacked"], promoted, set_back, on_test, doubts))
        champion = number if promoted else champion
        parent, worse_in_a_row = (champion, 0) if set_back else (number, worse_in_a_row)
    return found


def _compare(
    version: Mapping[str, Any], served: Mapping[str, Any], role: str, number: int, rules: GateRules
) -> GateEvidence:
    found, before = (BlockCounts(**item[role]) for item in (version, served))
    return compare(found, before, NAMES, number, rules)


def area_under_curve(bad: Sequence[float], honest: Sequence[float]) -> float | None:
    """Return the probability that a bad label has a larger figure than an honest one, ties counted half."""
    if not bad or not honest:
        return None
    first, second = np.asarray(bad)[:, None], np.asarray(honest)[None]
    return float((first > second).mean() + 0.5 * (first == second).mean())


def found_row(name: str, rows: Mapping[str, Sequence[Row]], figure: Callable[[Row], float]) -> dict[str, object]:
    """Return the row of a figure in the table of how well bad labels are found."""
    curves = {kind: area_under_curve(*_split(of_kind, figure)) for kind, of_kind in rows.items()}
    bad, honest = _split([row for of_kind in rows.values() for row in of_kind], figure)
    flagged = threshold(bad, honest)
    return {"figure": name, **curves, "all": area_under_curve(bad, honest), **flagged}


def named_row(rows: Mapping[str, Sequence[Row]]) -> dict[str, object]:
    """Return the row of what the product names: of each kind the share of the bad labels that are named."""
    recall = {}
    for kind, of_kind in rows.items():
        bad, _ = _split(of_kind, excess_loss)
        recall[kind] = float(np.mean(np.array(bad) > STANDS_OUT)) if bad else None
    bad, honest = _split([row for of_kind in rows.values() for row in of_kind], excess_loss)
    right, wrong = (sum(value > STANDS_OUT for value in values) for values in (bad, honest))
    return {
        "figure": "named by the product: recall",
        **recall,
        "all": f"{wrong / max(len(honest), 1):.0%} of honest ones named",
        "threshold": STANDS_OUT,
        "precision": right / max(right + wrong, 1),
        "recall": right / max(len(bad), 1),
    }


def _split(rows: Iterable[Row], figure: Callable[[Row], float]) -> tuple[list[float], list[float]]:
    bad: list[float] = []
    honest: list[float] = []
    for row in rows:
        (bad if row["changed"] > 0 else honest).append(figure(row))
    return bad, honest


def threshold(bad: Sequence[float], honest: Sequence[float], most_false: float = 0.05) -> dict[str, object]:
    """Return precision and recall with the figure as threshold that a given share of the honest labels exceeds."""
    if not bad or not honest:
        return {"threshold": None, "precision": None, "recall": None}
    limit = float(np.quantile(honest, 1 - most_false))
    right, wrong = (sum(value > limit for value in values) for values in (bad, honest))
    return {"threshold": limit, "precision": right / max(right + wrong, 1), "recall": right / len(bad)}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, nargs="+", default=[1, 2], help="of the chains of each region and kind")
    made.add_argument("--chains", type=int, default=None, help="only so many chains; kinds and regions take turns")
    made.add_argument("--region-folder", type=Path, default=regions.CACHE, help="where regions are, or are made")
    made.add_argument("--finished", action="store_true", help="simulate nothing: report the chains that are there")
    return made


def main() -> None:
    """Run what is missing, print the tables, write the report."""
    given = parser().parse_args()
    torch.set_num_threads(1)
    folder = BENCH / "gate_under_attack"
    wanted = chains(given.seeds)[: given.chains]
    if given.finished:
        wanted = [chain for chain in wanted if (folder / chain.file_name).exists()]
    simulated = [run_chain(folder, given.region_folder, chain) for chain in wanted]
    settings = Settings()
    made = [item for chain in simulated for item in replay(chain, settings.gate_margin, settings.gate_most_doubted)]
    rows = [served_row(kind, [item for item in made if item.kind == kind]) for kind in KINDS]
    rows.append(served_row("all", made))
    gates = {
        f"margin {margin:g}, whatever the labels": [item for chain in simulated for item in replay(chain, margin, 1.0)]
        for margin in (settings.gate_margin, 0.02)
    }
    replayed = [served_row(name, found) for name, found in gates.items()]
    labels = {kind: [row for item in made if item.kind == kind for row in item.doubts] for kind in KINDS}
    found = [found_row(name, labels, figure) for name, figure in FIGURES.items()]
    found.append(named_row(labels))
    for table in (rows, replayed, found):
        print(markdown(table), end="\n\n")
    conditions = {"chains": [chain.file_name for chain in wanted], "margins": vars(rules_of(settings))}
    publish(Result("gate_under_attack", [*rows, *replayed, *found], seeds=given.seeds, conditions=conditions))


if __name__ == "__main__":
    main()
