"""What steadies a training with few labels? Each lever against the same training without it, on many regions.

``python -m benchmarks.training_levers [--seeds N] [--workers N] [--regions NAME ...]``

A cell is a region (`benchmarks.regions`) and a seed: 16 randomly drawn patches of 64 x 64 pixels (and 48 for what
depends on the number of labels), a small network, 100 steps; all levers of a cell share the patches. Judged by the mean
IoU of the test ground, predicted as the product predicts scenes; calibrations are fitted on the validation ground.
Cells are written in four parts, the last of them with the default number of steps, one by one, below
``var/bench/training_levers/``: a stopped run goes on where it stopped, and tables are made of the cells that are there.

Means and intervals are of the paired differences to the base. Places are resampled first, then their regions, then
seeds (`benchmarks.label_figures.over_places`).
"""

import argparse
import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor

from benchmarks.lever_table import print_tables
from benchmarks.regions import CACHE, PATCH_PX, SPECS, divide, load, read_whole
from benchmarks.report import BENCH, Result, publish
from catalog.settings import Settings
from experiments.region import Part, Raster, Region
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.grid import Window, tile
from imagery.stitching import stitch
from models.inference import predict_windows
from models.logit_scaling import LogitScaling, calibration_errors, fit_scaling, log_loss
from models.mc_dropout import McPrediction, McSampler
from models.measures import reduce_top_share
from models.metrics import Metrics, confusion_matrix
from models.segmenter import GlacierSegmenter, build_segmenter
from models.symmetries import Orientations
from models.training import StepReport, fit
from models.training_config import TrainingConfig
from models.training_state import without_prefix
from models.unet import UNetConfig
from workers.windows import batches, quarter_turns

CPU: Final = torch.device("cpu")
LABELS, MORE_LABELS = 16, 48
STEPS: Final = 100
EMA_DECAY: Final = 0.98
PASSES: Final = 10
SCORED: Final = 50  # patches
# Without those that differ from another only in the errors of their labels.
REGIONS: Final = tuple(name for name in SPECS if not name.endswith("-noisy"))
DEFAULT_STEPS: Final[int] = Settings.model_fields["fine_tune_steps"].default
PARTS: Final = ("calibration", "one training", "several trainings", f"{DEFAULT_STEPS} steps")
MARGINS_PX: Final = (4, 16)
BORDER_PX: Final = 2
RECIPE: Final = {
    "patch": PATCH_PX,
    "labels": [LABELS, MORE_LABELS],
    "steps": STEPS,
    "ema": EMA_DECAY,
    "passes": PASSES,
    "scored": SCORED,
    "margins": list(MARGINS_PX),
    "network": {"depth": 3, "width": 8, "dropout": 0.1, "normalization": "batch"},
}
BASE: Final = TrainingConfig(steps=STEPS, precision="bfloat16")


@dataclass(frozen=True)
class Cell:
    """One region, undivided too, and one seed, with the patches in the order in which they are labelled."""

    region: Region
    whole: Raster
    seed: int
    patches: Sequence[tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, name: str, folder: Path, seed: int) -> "Cell":
        """Read a region and draw the order of the patches of the pool."""
        region, (_, whole) = load(name, folder), read_whole(SPECS[name], folder)
        images, masks = region.images("pool"), region.masks("pool")
        order = np.random.default_rng(seed).permutation(len(images)).tolist()
        return cls(region, whole, seed, [(images[i], masks[i]) for i in order])

    def fresh(self, seed: int | None = None) -> GlacierSegmenter:
        """Return a network with fresh weights."""
        shape = UNetConfig(in_channels=len(self.region.channels), classes=len(GLACIER_SCHEME.classes), **NETWORK)
        mean, std = self.region.statistics
        return build_segmenter(self.region.channels, mean, std, shape, self.seed if seed is None else seed)

    def train(
        self,
        labels: int = LABELS,
        start: GlacierSegmenter | None = None,
        seed: int | None = None,
        **changes: Any,
    ) -> GlacierSegmenter:
        """Train on the first labels, from fresh weights or those given."""
        network = self.fresh(seed)
        if start is not None:
            network.load_state_dict(start.state_dict())
        config = replace(BASE, seed=self.seed if seed is None else seed, **changes)
        fit(network, self.patches[:labels], config, CPU, UNKNOWN)
        return network

    def train_twice(self) -> tuple[GlacierSegmenter, GlacierSegmenter]:
        """Train with an average of the weights; return the network with the last weights, and the average.

        The average changes nothing in the training, so that one training gives both.
        """
        averaged, last = self.fresh(), self.fresh()

        def keep_last(report: StepReport) -> None:
            if report.step == report.steps and report.state is not None:
                last.load_state_dict(without_prefix("segmenter", report.state().tensors))

        config = replace(BASE, seed=self.seed, ema_decay=EMA_DECAY)
        fit(averaged, self.patches[:LABELS], config, CPU, UNKNOWN, keep_last)
        return last, averaged

    def test_probabilities(self, network: GlacierSegmenter, orientations: Orientations = "one") -> NDArray[np.float32]:
        """Predict the test ground (K, h, w) from half-overlapping windows, blended."""
        (ground,) = self.region.parts["test"]
        height, width = ground.shape
        windows = tile(width, height, PATCH_PX, PATCH_PX // 2)
        raw, turns = torch.split(ground.images(windows), 64), batches(quarter_turns(windows), 64)
        network.orientations = orientations
        predicted = torch.cat(list(predict_windows(network, raw, turns))).numpy()
        network.orientations = "one"
        strips = stitch(zip(windows, predicted, strict=True), height, width)
        return np.concatenate([strip for _, strip in strips], axis=1)

    def judge(self, network: GlacierSegmenter, probabilities: NDArray[np.float32]) -> list[float | None]:
        """Return the mean IoU and the IoU of each class on the test ground; None where undefined."""
        (ground,) = self.region.parts["test"]
        counts = confusion_matrix(network.decide(probabilities), ground.truth, len(GLACIER_SCHEME.classes), UNKNOWN)
        scores = Metrics.from_confusion(counts)
        return [None if math.isnan(score) else score for score in (scores.mean_iou, *scores.iou)]

    def judge_all(
        self, network: GlacierSegmenter, predictions: Mapping[str, NDArray[np.float32]]
    ) -> dict[str, list[float | None]]:
        """Return the scores of several predictions by name; ``network`` says how classes are chosen."""
        return {name: self.judge(network, probabilities) for name, probabilities in predictions.items()}

    def logits_and_truth(self, network: GlacierSegmenter, part: Part) -> tuple[Tensor, Tensor]:
        """Return the logits (n, L) and true classes (n,) of the pixels of a part, from windows side by side."""
        with torch.no_grad():
            logits = torch.cat([network(batch) for batch in torch.split(self.region.images(part), 64)])
        return logits.movedim(1, -1).flatten(0, 2), self.region.masks(part, drawn=False).flatten()


NETWORK: Final[Mapping[str, Any]] = RECIPE["network"]  # type: ignore[assignment]  # of the values, this one is a mapping


def run_part(part: str, name: str, seed: int, regions: Path) -> dict[str, Any]:
    """Measure one part of the levers in one cell."""
    torch.set_num_threads(1)
    started = time.monotonic()
    cell = Cell.of(name, regions, seed)
    measure = dict(zip(PARTS, (_calibration, _one_training, _several_trainings, _default_steps), strict=True))[part]
    about = {"part": part, "region": name, "seed": seed, "recipe": RECIPE}
    return {**about, **measure(cell), "seconds": round(time.monotonic() - started, 1)}


def _one_training(cell: Cell) -> dict[str, Any]:
    """Measure averages of the weights and of orientations, and how patches are ranked."""
    base, averaged = cell.train_twice()
    found = {
        "base": cell.test_probabilities(base),
        "EMA": cell.test_probabilities(averaged),
        "alternating orientations": cell.test_probabilities(base, "alternating"),
        "EMA and alternating orientations": cell.test_probabilities(averaged, "alternating"),
        "eight orientations": cell.test_probabilities(base, "all"),
        "EMA and eight orientations": cell.test_probabilities(averaged, "all"),
    }
    return {"iou": cell.judge_all(base, found), "border": _border(cell, base)}


def _several_trainings(cell: Cell) -> dict[str, Any]:
    """Measure what needs trainings of its own."""
    twice: dict[str, Any] = {"steps": 2 * STEPS}
    changed: dict[str, dict[str, Any]] = {
        "twice the steps": twice,
        "half the rate": {"learning_rate": BASE.learning_rate / 2},
        "no class weights": {"balance": False},
        f"base, {MORE_LABELS} labels": {"labels": MORE_LABELS},
        f"twice the steps, {MORE_LABELS} labels": {"labels": MORE_LABELS, **twice},
    }
    base = cell.train()
    found = {"base": cell.test_probabilities(base)}
    found |= {lever: cell.test_probabilities(cell.train(**changes)) for lever, changes in changed.items()}
    others = [cell.test_probabilities(cell.train(seed=cell.seed + 100 * number)) for number in (1, 2)]
    found["three networks"] = np.mean([found["base"], *others], axis=0)
    start = cell.train(labels=LABELS // 2)
    warm = [cell.train(start=start, seed=cell.seed + 100 * number) for number in range(3)]
    found["warm start"] = cell.test_probabilities(warm[0])
    found["warm start, weights of three"] = cell.test_probabilities(_mean_weights(cell.fresh(), warm))
    return {"iou": cell.judge_all(base, found)}


def _default_steps(cell: Cell) -> dict[str, Any]:
    """Measure whether more steps or more networks pay when a training is as long as the product's."""
    suffix, steps = f", {DEFAULT_STEPS} steps", DEFAULT_STEPS
    base, twice = cell.train(steps=steps), cell.train(steps=2 * steps)
    predictions = [cell.test_probabilities(base)]
    predictions += [cell.test_probabilities(cell.train(seed=cell.seed + 100 * n, steps=steps)) for n in (1, 2)]
    warm = cell.train(start=cell.train(labels=LABELS // 2, steps=steps), steps=steps)
    found = {
        "base": predictions[0],
        "twice the steps": cell.test_probabilities(twice),
        "three networks": np.mean(predictions, axis=0),
        "warm start": cell.test_probabilities(warm),
    }
    return {"iou": cell.judge_all(base, {name + suffix: probabilities for name, probabilities in found.items()})}


def _mean_weights(target: GlacierSegmenter, networks: Sequence[GlacierSegmenter]) -> GlacierSegmenter:
    """Return a network with the mean of the weights of several (Wortsman et al. 2022, Model soups)."""
    states = [network.state_dict() for network in networks]
    mean = {name: torch.stack([state[name].double() for state in states]).mean(dim=0) for name in states[0]}
    target.load_state_dict(mean)
    return target


def _calibration(cell: Cell) -> dict[str, Any]:
    """Fit on validation ground; measure on test ground the errors by class, the log loss and the mean IoU."""
    network = cell.train()
    logits, truth = cell.logits_and_truth(network, "validation")
    on_test = cell.logits_and_truth(network, "test")
    scalings = {
        "base": LogitScaling.identity(logits.shape[1]),
        "temperature": fit_scaling(logits, truth, "multiclass", UNKNOWN),
        "vector scaling": fit_scaling(logits, truth, "multiclass", UNKNOWN, "vector"),
    }
    found: dict[str, Any] = {}
    iou = {}
    for name, scaling in scalings.items():
        scaled = scaling(on_test[0]), on_test[1]
        network.calibrate(scaling)
        found[name] = {
            "scale": scaling.scale,
            "errors": calibration_errors(*scaled, "multiclass", UNKNOWN),
            "validation errors": calibration_errors(scaling(logits), truth, "multiclass", UNKNOWN),
            "log loss": log_loss(*scaled, "multiclass", UNKNOWN),
        }
        iou[name] = cell.judge(network, cell.test_probabilities(network))
    return {"iou": iou, "calibration": found}


def _border(cell: Cell, network: GlacierSegmenter) -> dict[str, Any]:
    """Compare how the unlabelled patches are ranked without and with context around them, and when calibrated."""
    pool = divide(SPECS[cell.region.name])["pool"]
    every = [_within(pool, window) for window in tile(pool.width, pool.height, PATCH_PX)]
    windows = [every[i] for i in np.random.default_rng(cell.seed).permutation(len(every))[:SCORED]]
    truth = cell.whole.masks(windows, drawn=False).numpy()
    maps = {"no context": _score(network, cell.whole, windows, 0)}
    maps |= {f"{margin} px": _score(network, cell.whole, windows, margin) for margin in MARGINS_PX}
    network.calibrate(fit_scaling(*cell.logits_and_truth(network, "validation"), "multiclass", UNKNOWN))
    maps["calibrated"] = _score(network, cell.whole, windows, 0)
    network.calibrate(None)
    inner = np.zeros((PATCH_PX, PATCH_PX), dtype=bool)
    inner[BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    everywhere = np.ones_like(inner)
    plain = _measure(maps["no context"].predictive_entropy, everywhere)
    found: dict[str, Any] = {"pixels": float((~inner).mean())}
    for name, prediction in maps.items():
        entropy = prediction.predictive_entropy.numpy()
        wrong = (prediction.mean_probability.argmax(dim=1).numpy() != truth) & (truth != UNKNOWN)
        found[name] = {
            "share of top entropies": _border_share(entropy, inner),
            "error at the border": float(wrong[:, ~inner].mean()),
            "error inside": float(wrong[:, inner].mean()),
            "ranking": _agreement(plain, _measure(prediction.predictive_entropy, everywhere)),
        }
    found["border left out"] = {"ranking": _agreement(plain, _measure(maps["no context"].predictive_entropy, inner))}
    reference = _measure(maps[f"{MARGINS_PX[-1]} px"].predictive_entropy, everywhere)
    found["border left out"]["ranking with context"] = _agreement(
        reference, _measure(maps["no context"].predictive_entropy, inner)
    )
    return found


def _score(network: GlacierSegmenter, whole: Raster, windows: Sequence[Window], margin: int) -> McPrediction:
    """Score patches from windows that are larger by a margin, where the scene has it; return the patches."""
    padded = np.pad(whole.image, ((0, 0), (margin, margin), (margin, margin)), constant_values=np.nan)
    side = PATCH_PX + 2 * margin
    raw = np.stack([padded[:, w.row_off : w.row_off + side, w.col_off : w.col_off + side] for w in windows])
    sampler = McSampler(network)
    return sampler.sample(torch.from_numpy(raw), sampler.draw(PASSES, seed=0)).cropped(margin).prediction()


def _measure(entropy: Tensor, usable: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.array([reduce_top_share(of_patch, usable) for of_patch in entropy.numpy()])


def _border_share(entropy: NDArray[np.float32], inner: NDArray[np.bool_]) -> float:
    """Return the share of the top tenth of the entropies of each patch that lies in its outer pixels."""
    flat = entropy.reshape(len(entropy), -1)
    count = -(-flat.shape[1] // 10)
    top = np.argpartition(flat, flat.shape[1] - count, axis=1)[:, -count:]
    return float((~inner).ravel()[top].mean())


def _agreement(one: NDArray[np.float64], other: NDArray[np.float64]) -> dict[str, float]:
    """Return the rank correlation of two rankings, and how much of the top fifth they share."""
    count = len(one) // 5
    tops = [set(np.argsort(-values)[:count].tolist()) for values in (one, other)]
    return {"spearman": float(spearmanr(one, other).statistic), "top fifth": len(tops[0] & tops[1]) / count}


def _within(ground: Window, window: Window) -> Window:
    return Window(ground.row_off + window.row_off, ground.col_off + window.col_off, window.height, window.width)


def read_cells(folder: Path) -> list[dict[str, Any]]:
    """Read the parts of cells that are there and were made by this recipe."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]
    return [cell for cell in found if cell["recipe"] == RECIPE]


def missing_parts(regions: Iterable[str], seeds: int, cells: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, int]]:
    """Return what is missing, seed by seed and cheap parts first, so that a stopped run has many regions."""
    done = {(cell["part"], cell["region"], cell["seed"]) for cell in cells}
    every = [(part, name, seed) for seed in range(seeds) for part in PARTS for name in regions]
    return [part for part in every if part not in done]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--workers", type=int, default=1)
    made.add_argument("--regions", nargs="+", choices=list(REGIONS), default=list(REGIONS), metavar="NAME")
    made.add_argument("--region-folder", type=Path, default=CACHE, help="where made regions are kept")
    return made


def main() -> None:
    """Run the missing cells, print the tables, write the report."""
    given = parser().parse_args()
    folder = BENCH / "training_levers"
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(given.workers, mp_context=get_context("spawn")) as processes:
        todo = missing_parts(given.regions, given.seeds, read_cells(folder))
        running = {processes.submit(run_part, *part, given.region_folder): part for part in todo}
        for future in as_completed(running):
            part, name, seed = running[future]
            file = folder / f"{PARTS.index(part)}-{name}-{seed}.json"
            file.write_text(json.dumps(future.result(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
            print(f"{name}, seed {seed}, {part}: {future.result()['seconds']} s", flush=True)
    cells = [cell for cell in read_cells(folder) if cell["region"] in given.regions and cell["seed"] < given.seeds]
    rows = print_tables(cells)
    seeds = sorted({cell["seed"] for cell in cells})
    publish(Result("training_levers", rows, seeds=seeds, conditions={**RECIPE, "parts of cells": len(cells)}))


if __name__ == "__main__":
    main()
