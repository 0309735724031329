"""Does the gate serve what is better and nothing worse? Rounds of real fine-tunes, judged on ground it never saw.

``python -m benchmarks.gate_rounds [--seeds N] [--rounds N] [--processes N] [--grid] [--finished]``

Simulates chains of rounds (`benchmarks.gate_chains`): small networks on two divisions of the Everest scene and four
kinds of synthetic landscapes, half of the chains with careless labels in every third round. Then replays gates on the
same versions: each decides by the validation ground which version is served, and the test ground, which no gate sees,
tells whether it was right. A difference on test is *significant* if the 95 % interval of the paired bootstrap over
blocks excludes 0. With ``--grid`` it replays the gate with other settings, too: how the defaults were chosen.

Finished chains are kept in ``var/bench/gate_rounds``, so that a stopped run goes on, and more seeds can be added later;
``--finished`` replays those that are there.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.gate_chains import Chain, chains, run_chain
from benchmarks.report import BENCH, Result, markdown, publish
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from models.block_counts import BlockCounts
from models.card import Gain, RegionMetrics
from models.gate import GainInterval, GateRules, compare, judge

NAMES: Final = GLACIER_SCHEME.names
ON_TEST: Final = GateRules(confidence=0.975, margin=0.0, class_margin=1.0)
"""Both ends of the 95 % interval by which a difference on test is called significant."""

OLD_CLASS_DROP: Final = 0.1
GRID: Final = [
    GateRules(confidence, margin, class_margin)
    for confidence in (0.8, 0.9, 0.95)
    for margin in (0.02, 0.03, 0.05)
    for class_margin in (0.05, 0.1)
]


@dataclass(frozen=True)
class Version:
    """A version of a chain.

    Attributes:
        labels: Number of labels that it learnt from.
        validation: Counts on the validation ground.
        test: Counts on the test ground.
    """

    labels: int
    validation: BlockCounts
    test: BlockCounts


Gate = Callable[[Version, Version], bool]
"""Whether a new version is served in place of the one that is served."""


def old_gate(version: Version, served: Version) -> bool:
    """Apply the gate of earlier releases: no lower mean IoU, and no class more than 0.1 lower."""
    found, before = (
        RegionMetrics.from_confusion(item.validation.confusion.sum(axis=0), NAMES) for item in (version, served)
    )
    gain = Gain.between(before, found)
    losses = [-change for change in gain.iou.values() if change is not None]
    return gain.mean_iou is not None and gain.mean_iou >= 0 and max(losses, default=0.0) <= OLD_CLASS_DROP


def new_gate(rules: GateRules, version: Version, served: Version) -> bool:
    """Apply the gate of `models.gate`."""
    evidence = compare(version.validation, served.validation, NAMES, 0, rules)
    return judge(evidence, version.labels, served.labels).promoted


def replay(versions: Sequence[Version], gate: Gate) -> list[tuple[bool, GainInterval]]:
    """Return for each version after the first whether it was served, and its gain on test over what was served."""
    served, decided = versions[0], []
    for version in versions[1:]:
        promoted = gate(version, served)
        decided.append((promoted, compare(version.test, served.test, NAMES, 0, ON_TEST).mean_iou))
        served = version if promoted else served
    return decided


def row(name: str, found: Sequence[Sequence[Version]], gate: Gate) -> dict[str, object]:
    """Return the figures of a gate over all chains."""
    decided = [decision for versions in found for decision in replay(versions, gate)]
    better = [promoted for promoted, on_test in decided if (on_test.gain or 0.0) > 0]
    surely_better = [promoted for promoted, on_test in decided if (on_test.low or 0.0) > 0]
    served = [on_test for promoted, on_test in decided if promoted]
    worse = [on_test for on_test in served if (on_test.high or 0.0) < 0]
    return {
        "gate": name,
        "decisions": len(decided),
        "served": len(served),
        "better on test": len(better),
        "of these held back": better.count(False) / max(len(better), 1),
        "significantly better": len(surely_better),
        "of these held back ": surely_better.count(False) / max(len(surely_better), 1),
        "served though significantly worse": len(worse),
        "their largest loss": max((-(on_test.gain or 0.0) for on_test in worse), default=0.0),
    }


def versions_of(chain: Mapping[str, Any]) -> list[Version]:
    """Return the versions of a chain as `benchmarks.gate_chains` stores it."""
    return [
        Version(item["labels"], BlockCounts(**item["validation"]), BlockCounts(**item["test"]))
        for item in chain["versions"]
    ]


def simulate(folder: Path, work: Path, rounds: int, chain: Chain) -> dict[str, Any]:
    """Return a chain, simulated on one thread unless it is there."""
    torch.set_num_threads(1)
    return run_chain(folder, work, chain, rounds)


def rules_of(settings: Settings) -> GateRules:
    """Return the gate of the settings."""
    return GateRules(settings.gate_confidence, settings.gate_margin, settings.gate_class_margin)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=4, help="chains of each of the six regions")
    made.add_argument("--rounds", type=int, default=10, help="rounds of a chain; the first version is always served")
    made.add_argument("--processes", type=int, default=1, help="chains simulated at a time, one thread each")
    made.add_argument("--finished", action="store_true", help="simulate nothing: replay the chains that are there")
    made.add_argument("--grid", action="store_true", help="replay other settings of the gate as well")
    return made


def main() -> None:
    """Run what is missing, replay the gates, print the table, write the report."""
    given = parser().parse_args()
    folder = BENCH / "gate_rounds"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = chains(range(given.seeds))
    if given.finished:
        wanted = [chain for chain in wanted if (folder / chain.file_name).exists()]
    with tempfile.TemporaryDirectory(dir=folder) as work, ProcessPoolExecutor(given.processes) as pool:
        run = partial(simulate, folder, Path(work).resolve(), given.rounds)
        found = [versions_of(chain) for chain in pool.map(run, wanted)]
    rules = rules_of(Settings())
    gates: dict[str, Gate] = {"earlier releases": old_gate, "default settings": partial(new_gate, rules)}
    if given.grid:
        gates |= {
            f"confidence {item.confidence:g}, margins {item.margin:g} and {item.class_margin:g}": partial(
                new_gate, item
            )
            for item in GRID
        }
    rows = [row(name, found, gate) for name, gate in gates.items()]
    print(markdown(rows))
    conditions = {"chains": [chain.file_name for chain in wanted], "rounds": given.rounds, "margins": vars(rules)}
    publish(Result("gate_rounds", rows, seeds=range(given.seeds), conditions=conditions))


if __name__ == "__main__":
    main()
