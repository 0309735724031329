"""Does asking for parts of patches pay, and do expected edits predict what is changed?

``python -m benchmarks.parts [--seeds N] [--rounds N] [--passes N] [--steps N]``

On Everest and two synthetic regions with rare ice, for several seeds, a simulated annotator draws the truth. All ways
of asking start from the same two random rounds of whole patches and go on from the same network; then each asks for the
same number of pixels a round: whole patches, or four times as many patches of which a quarter is asked for. The network
is the newest one throughout (no gate). Every patch starts from the proposal, if there is one; the rules for that are
compared apart. A changed pixel is one where the truth differs from what is shown, among the pixels asked for.

Primary figure, fixed beforehand: the difference of the mean IoU on test ground to whole patches by the same measure,
averaged over the edited pixels that both have in common. Each cell (region and seed) is one file below
``var/bench/parts/``; a stopped run goes on from there.
"""

import argparse
import copy
import json
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.parts_grounds import PATCH_PX, Ground, everest, synthetic
from benchmarks.parts_table import print_tables
from benchmarks.report import BENCH
from catalog.candidates import Candidate
from catalog.settings import Settings, Strategy
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.statistics import channel_statistics
from models.calibration import calibrate, probability_bins
from models.mc_dropout import predict_mc
from models.measures import score_patch
from models.metrics import Metrics, confusion_matrix, empty_mask_mean_iou
from models.segmenter import GlacierSegmenter
from models.training import fit
from services import strategies
from services.acquisition import Pool
from services.asked_parts import AskedPart, most_uncertain_quarter, uncertain_areas
from services.expected_edits import PatchMaps
from workers.preannotation import clean
from workers.recipe import fresh_network, training_config
from workers.windows import batches, predict_classes, predict_probability_strips

CPU: Final = torch.device("cpu")
START_ROUNDS: Final = 2
PATCHES: Final = 4  # whole patches of a round
SHARE: Final = 0.25  # of a patch, where a part is asked for
GROUNDS: Final = ("everest", "rare ice 1", "rare ice 2")


@dataclass(frozen=True)
class Arm:
    """A way of asking.

    Attributes:
        strategy: How patches are chosen.
        part: Which part of them is asked for; None: the whole patch.
        patches: Patches of a round.
    """

    strategy: Strategy
    part: AskedPart | None
    patches: int


ARMS: Final = {
    "whole patches": Arm(Strategy.ENTROPY_TOP10, None, PATCHES),
    "uncertain areas": Arm(Strategy.ENTROPY_TOP10, uncertain_areas, round(PATCHES / SHARE)),
    "quarters": Arm(Strategy.ENTROPY_TOP10, most_uncertain_quarter, round(PATCHES / SHARE)),
}


@dataclass
class Scored:
    """What a network says about the pool: entropy (N, h, w), maps by patch, raw and calibrated, and whether useful."""

    entropy: NDArray[np.float32]
    raw: list[PatchMaps]
    calibrated: list[PatchMaps]
    useful: bool


@dataclass
class Progress:
    """One way of asking, as far as it came."""

    network: GlacierSegmenter | None
    judged: NDArray[np.bool_]  # (N, h, w)
    asked_px: int = 0
    edited_px: int = 0
    tasks: int = 0


class Cell:
    """All ways of asking on one ground with one seed."""

    def __init__(self, ground: Ground, settings: Settings, seed: int) -> None:
        self.ground, self.settings, self.seed = ground, settings, seed
        self.usable = ground.masks != UNKNOWN
        self.proposals: list[dict[str, Any]] = []

    def run(self, rounds: int) -> dict[str, Any]:
        """Return the curves of all ways of asking, and what was expected and changed in each proposal."""
        start = Progress(None, np.zeros_like(self.usable))
        scored: Scored | None = None
        for number in range(START_ROUNDS):
            self._ask(start, "start", Arm(Strategy.RANDOM, None, PATCHES), scored, number)
            scored = self._scored(self._train(start, number))
        curves = {}
        for name, arm in ARMS.items():
            at, now = copy.deepcopy(start), scored
            curve = [self._point(at)]
            for number in range(START_ROUNDS, START_ROUNDS + rounds):
                self._ask(at, name, arm, now, number)
                network = self._train(at, number)
                curve.append(self._point(at))
                if number + 1 < START_ROUNDS + rounds:
                    now = self._scored(network)
            curves[name] = curve
        return {"curves": curves, "proposals": self.proposals}

    def _ask(self, at: Progress, name: str, arm: Arm, scored: Scored | None, number: int) -> None:
        """Choose patches, ask for them or a part of each, and let the annotator draw."""
        uncertainty = np.zeros(self.usable.shape, np.float32) if scored is None else scored.entropy
        is_open = self.usable & ~at.judged
        candidates = [
            Candidate(i, 1, window.row_off, window.col_off, PATCH_PX, self._score(uncertainty[i], is_open[i]))
            for i, window in enumerate(self.ground.windows)
            if is_open[i].any()
        ]
        pool = Pool.of(candidates, arm.patches, 0.0, self.seed * 100 + number)
        for choice in strategies.get(arm.strategy).choose(pool):
            i = choice.patch_id
            asked = is_open[i] if arm.part is None else arm.part(uncertainty[i], is_open[i], SHARE)
            self._draw(at, name, i, asked, scored, number)

    def _draw(
        self, at: Progress, name: str, i: int, asked: NDArray[np.bool_], scored: Scored | None, number: int
    ) -> None:
        truth = self.ground.masks[i]
        empty_px = edits = int((asked & (truth != 0)).sum())
        if scored is not None:
            shown = clean(scored.raw[i].classes)
            proposal_px = int((asked & (truth != shown)).sum())
            found: dict[str, Any] = {"arm": name, "round": number, "useful": scored.useful, "asked": int(asked.sum())}
            found["true"] = (proposal_px, empty_px)
            for kind, maps in (("raw", scored.raw[i]), ("calibrated", scored.calibrated[i])):
                found[kind] = (maps.from_proposal(shown, asked), maps.from_empty(asked))
            self.proposals.append(found)
            edits = proposal_px
        at.judged[i] |= asked
        at.asked_px += int(asked.sum())
        at.edited_px += edits
        at.tasks += 1

    @staticmethod
    def _score(entropy: NDArray[np.float32], is_open: NDArray[np.bool_]) -> float:
        name = Strategy.ENTROPY_TOP10.value
        return score_patch({"predictive_entropy": entropy}, is_open, [name])[name]

    def _train(self, at: Progress, number: int) -> GlacierSegmenter:
        """Train the newest network in place on what was drawn so far, and return it."""
        pool = self.ground.sources["pool"]
        if at.network is None:
            statistics = channel_statistics([(pool, [pool.grid.window])], self.ground.channels)
            at.network = fresh_network(
                self.settings, self.ground.channels, statistics, self.seed, GLACIER_SCHEME.ranked
            )
        drawn = np.where(at.judged, self.ground.masks, np.uint8(UNKNOWN))
        learnt = [(self.ground.images[i], torch.from_numpy(drawn[i])) for i in np.flatnonzero(at.judged.any((1, 2)))]
        config = replace(training_config(self.settings, self.seed * 100 + number), precision="float32")
        fit(at.network, learnt, config, CPU, UNKNOWN)
        return at.network

    def _scored(self, network: GlacierSegmenter) -> Scored:
        """Score the pool by a network, with its probabilities as they are and calibrated on the validation ground."""
        tables, useful = self._validate(network)
        entropies, raw, calibrated = [], [], []
        for batch in batches(range(len(self.ground.windows)), 16):
            prediction = predict_mc(network, self.ground.images[batch], self.settings.mc_passes, 0)
            entropies.append(prediction.predictive_entropy.numpy())
            for i, probability in zip(batch, prediction.mean_probability.numpy(), strict=True):
                classes = np.where(self.usable[i], network.decide(probability), np.uint8(UNKNOWN))
                raw.append(_maps(classes, probability))
                bins = probability_bins(probability)
                by_table = np.stack([table[of] for table, of in zip(tables, bins, strict=True)])
                calibrated.append(_maps(classes, by_table))
        return Scored(np.concatenate(entropies), raw, calibrated, useful)

    def _validate(self, network: GlacierSegmenter) -> tuple[list[NDArray[np.float64]], bool]:
        """Return the calibrated probability of each bin by class, and whether the mean IoU beats an empty mask's."""
        truth, source = self.ground.truth["validation"], self.ground.sources["validation"]
        count = len(GLACIER_SCHEME.classes)
        counts = np.zeros((2, count, 64), np.int64)
        matrix = np.zeros((count, count), np.int64)
        for row, classes, probability in predict_probability_strips(network, source, PATCH_PX, 8, UNKNOWN):
            true = truth[row : row + len(classes)]
            judged = true != UNKNOWN
            matrix += confusion_matrix(classes, true, count, UNKNOWN)
            for value, bins in enumerate(probability_bins(probability)):
                counts[0, value] += np.bincount(bins[judged], minlength=64)
                counts[1, value] += np.bincount(bins[judged & (true == value)], minlength=64)
        return [calibrate(*of) for of in counts.swapaxes(0, 1)], (
            Metrics.from_confusion(matrix).mean_iou > empty_mask_mean_iou(matrix)
        )

    def _point(self, at: Progress) -> dict[str, float]:
        source, truth = self.ground.sources["test"], self.ground.truth["test"]
        if at.network is None:
            raise ValueError("no network has been trained yet")
        predicted = predict_classes(at.network, source, PATCH_PX, 8, UNKNOWN)
        scores = Metrics.from_confusion(confusion_matrix(predicted, truth, len(GLACIER_SCHEME.classes), UNKNOWN))
        return {
            "asked": at.asked_px,
            "edited": at.edited_px,
            "tasks": at.tasks,
            "iou": scores.mean_iou,
            "debris": scores.iou[2],
        }


def _maps(classes: NDArray[np.uint8], probability: NDArray[np.floating]) -> PatchMaps:
    mapped = np.take_along_axis(probability, np.where(classes == UNKNOWN, 0, classes)[None].astype(np.int64), 0)[0]
    return PatchMaps(classes, 1.0 - mapped.astype(np.float64), 1.0 - probability[0].astype(np.float64))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--passes", type=int, default=10)
    made.add_argument("--steps", type=int, default=100)
    return made


def main() -> None:
    """Compute the cells that are missing, and print the tables."""
    given = parser().parse_args()
    torch.set_num_threads(1)
    settings = Settings(unet_depth=3, unet_width=8, fine_tune_steps=given.steps, mc_passes=given.passes)
    folder = BENCH / "parts"
    folder.mkdir(parents=True, exist_ok=True)
    make = {name: partial(synthetic, seed=number) for number, name in enumerate(GROUNDS) if number}
    form = f"{given.rounds}x{given.steps}x{given.passes}"
    cells: list[dict[str, Any]] = []
    grounds: dict[str, Ground] = {}
    for seed in range(given.seeds):  # a stopped run has as many seeds of each ground
        for name in GROUNDS:
            file = folder / f"{name.replace(' ', '-')}-{seed}-{form}.json"
            if not file.exists():
                if name not in grounds:
                    grounds[name] = make.get(name, everest)(Path(folder / "grounds" / name))
                started = time.monotonic()
                found = Cell(grounds[name], settings, seed).run(given.rounds)
                seconds = round(time.monotonic() - started)
                whole = {"ground": name, "seed": seed, "seconds": seconds, **found}
                file.write_text(json.dumps(whole, allow_nan=False), encoding="utf-8")
                print(f"{name}, seed {seed}: {seconds} s", flush=True)
            cells.append(json.loads(file.read_text(encoding="utf-8")))
    print_tables(cells, {"rounds": given.rounds, "steps": given.steps, "passes": given.passes})


if __name__ == "__main__":
    main()
