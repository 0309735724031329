"""How often does the gate call one of two equally good versions better, by so many independent blocks?

``python -m benchmarks.gate_few_blocks [--comparisons N]``

Both versions have wrong pixels in each block, of two classes alike, whose numbers are independent and Poisson
distributed with the same mean. What the gate promises is 1 - ``gate_confidence`` at most.
"""

import argparse
from typing import Final

import numpy as np

from benchmarks.report import Result, markdown, publish
from models.block_counts import BlockCounts
from models.gate import GateRules, compare

BLOCKS: Final = (1, 2, 3, 4, 5, 6, 8, 16, 32)
CONFIDENCES: Final = (0.9, 0.95)
WRONG_PX: Final = 10.0
CLASS_PX: Final = 50  # of each class in each block
SEED: Final = 0


def counts(generator: np.random.Generator, blocks: int) -> BlockCounts:
    """Return the counts of a version on blocks that lie apart from each other."""
    wrong = generator.poisson(WRONG_PX, blocks).clip(0, CLASS_PX).tolist()
    return BlockCounts(
        classes=2,
        side_px=32,
        places=tuple((0, 0, 2 * number) for number in range(blocks)),
        counts=tuple((CLASS_PX - errors, errors, errors, CLASS_PX - errors) for errors in wrong),
    )


def false_better(confidence: float, blocks: int, comparisons: int) -> float:
    """Return the share of comparisons of equally good versions in which one is called better."""
    rules, generator = GateRules(confidence, margin=0.05, class_margin=0.1), np.random.default_rng(SEED)
    outcomes = [
        compare(counts(generator, blocks), counts(generator, blocks), ("background", "ice"), 1, rules).mean_iou.outcome
        for _ in range(comparisons)
    ]
    return outcomes.count("better") / comparisons


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--comparisons", type=int, default=1000, help="of each number of blocks")
    return made


def main() -> None:
    """Compare, print, write the report."""
    comparisons = parser().parse_args().comparisons
    rows = [
        {"confidence": confidence, "blocks": blocks, "called better": false_better(confidence, blocks, comparisons)}
        for confidence in CONFIDENCES
        for blocks in BLOCKS
    ]
    print(markdown(rows))
    publish(Result("gate_few_blocks", rows, seeds=[SEED], conditions={"comparisons": comparisons}))


if __name__ == "__main__":
    main()
