"""Scores of a pool from many passes, kept for every prefix and block of them: what rankings are later made from.

The passes of a network are run once. Every number of passes, every cascade and every stopping rule is then judged on
the scores of these same passes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.ranking_designs import DESIGNS, Design, independent
from models.dropout_masks import Kept
from models.mc_dropout import McPrediction, McSampler
from models.measures import MEASURES, score_patch
from models.segmenter import GlacierSegmenter
from models.unet import UNet

Range = tuple[int, int]
"""From which pass to which, the last excluded."""
Scores = NDArray[np.float32]

RUN_PASSES: Final = 40
BLOCK: Final = 5
PREFIXES: Final = (2, 4, 5, 6, 8, 10, 15, 20, 25, 30, 35, 40)
RANGES: Final[tuple[Range, ...]] = (
    *((0, stop) for stop in PREFIXES),
    *((start, start + BLOCK) for start in range(BLOCK, RUN_PASSES, BLOCK)),
    *((start, start + 10) for start in range(10, RUN_PASSES, 10)),
    (20, 40),
)
LONGER: Final = (80, 160)
"""Passes of independent rankings beyond those of a run, as far as there are enough for two."""
REFERENCE_SEED: Final = 10_000


@dataclass(frozen=True)
class PoolScores:
    """The scores of N patches by one network; axis M holds the measures of :data:`models.measures.MEASURES`.

    Attributes:
        reference: (M, N) of many independent passes.
        halves: (2, M, N) of the two halves of the reference.
        certain: (M, N) of one pass without dropout.
        runs: By design: (R, len(RANGES), M, N), the scores of the passes in each range of each of R runs.
        longer: By passes T beyond those of a run: (R, M, N), of the runs of independent masks put together.
    """

    reference: Scores
    halves: Scores
    certain: Scores
    runs: Mapping[str, Scores]
    longer: Mapping[int, Scores]

    def save(self, file: Path) -> None:
        """Write to a .npz."""
        runs = {f"run_{name}": scores for name, scores in self.runs.items()}
        longer = {f"longer_{passes}": scores for passes, scores in self.longer.items()}
        arrays: dict[str, Scores] = {"reference": self.reference, "halves": self.halves, "certain": self.certain}
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, allow_pickle=False, **arrays, **runs, **longer)

    @classmethod
    def load(cls, file: Path) -> "PoolScores":
        """Read what :meth:`save` wrote."""
        with np.load(file) as arrays:
            runs = {name.removeprefix("run_"): arrays[name] for name in arrays if name.startswith("run_")}
            longer = {int(name.removeprefix("longer_")): arrays[name] for name in arrays if name.startswith("longer_")}
            return cls(arrays["reference"], arrays["halves"], arrays["certain"], runs, longer)


def score_pool(segmenter: GlacierSegmenter, images: Tensor, runs: int, reference: int) -> PoolScores:
    """Run all passes: of each design some runs of 40, and those of the reference; in bfloat16.

    Args:
        segmenter: One U-Net, not a pair.
        images: (N, C, H, W) float32, NaN = nodata.
        runs: Of each design; twice as many of independent masks, from which longer ones are put together.
        reference: Independent passes of the reference; an even number.
    """
    scorer = _Scorer(segmenter, images)
    half = reference // 2
    whole, *halves = scorer.score(
        independent(scorer.unet, reference, REFERENCE_SEED), [(0, reference), (0, half), (half, reference)]
    )
    of_design = {name: scorer.score_runs(design, runs) for name, design in DESIGNS.items() if design is not independent}
    of_design["independent"], longer = scorer.score_bank(2 * runs)
    return PoolScores(whole, np.stack(halves), scorer.score_certain(), of_design, longer)


class _Scorer:
    def __init__(self, segmenter: GlacierSegmenter, images: Tensor) -> None:
        if not isinstance(segmenter.unet, UNet):
            raise TypeError("a pair of networks was given; the designs are compared on one U-Net")
        self.unet = segmenter.unet
        self._segmenter, self._images = segmenter, images
        self._sampler = McSampler(segmenter, torch.bfloat16)
        self._valid = images.isfinite().all(dim=1).numpy()

    def score_runs(self, design: Design, runs: int) -> Scores:
        """Score runs of other seeds: (R, len(RANGES), M, N)."""
        return np.stack([self.score(design(self.unet, RUN_PASSES, seed), RANGES) for seed in range(runs)])

    def score_bank(self, runs: int) -> tuple[Scores, dict[int, Scores]]:
        """Score runs of independent masks, and some of them put together."""
        total = runs * RUN_PASSES
        of_runs = [(start + a, start + b) for start in range(0, total, RUN_PASSES) for a, b in RANGES]
        together = {
            passes: [(at, at + passes) for at in range(0, total - passes + 1, passes)]
            for passes in LONGER
            if 2 * passes <= total
        }
        scores = self.score(
            independent(self.unet, total, runs), of_runs + [at for ats in together.values() for at in ats]
        )
        longer, start = {}, len(of_runs)
        for passes, of_length in together.items():
            longer[passes] = scores[start : start + len(of_length)]
            start += len(of_length)
        return scores[: len(of_runs)].reshape(runs, len(RANGES), *scores.shape[1:]), longer

    def score_certain(self) -> Scores:
        """Score by one pass without dropout; it knows no mutual information, which is 0."""
        probability = self._segmenter.probabilities(self._images)
        entropy = torch.special.entr(probability).sum(dim=1)
        return self._reduce(McPrediction(probability, entropy, torch.zeros_like(entropy)))

    def score(self, masks: Sequence[Kept], ranges: Sequence[Range]) -> Scores:
        """Run passes, and score by those of each range: (len(ranges), M, N)."""
        cuts = sorted({cut for of_range in ranges for cut in of_range})
        sums = {(a, b): self._sampler.sample(self._images, [(kept,) for kept in masks[a:b]]) for a, b in pairwise(cuts)}
        scores = []
        for start, stop in ranges:
            total = reduce(add, (part for (a, b), part in sums.items() if start <= a and b <= stop))
            scores.append(self._reduce(total.prediction()))
        return np.stack(scores)

    def _reduce(self, prediction: McPrediction) -> Scores:
        found = [
            list(score_patch({"predictive_entropy": entropy, "mutual_information": information}, valid).values())
            for entropy, information, valid in zip(
                prediction.predictive_entropy.numpy(), prediction.mutual_information.numpy(), self._valid, strict=True
            )
        ]
        return np.array(found, dtype=np.float32).T.reshape(len(MEASURES), len(found))
