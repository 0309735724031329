"""What do old outlines teach? Their share of the batches, the loss and the ring, for several kinds of old outlines.

``python -m benchmarks.prior_outlines [--seeds N] [--arms NAME ...]``

A version is trained on old outlines alone, and then goes on with 16 labels of 64 x 64 pixels, drawn at random, beside
them, in some arms then with 60: as the workers do it, with a small network, on one thread. The pool, and the test
ground beside it, is a part of the Everest scene or of a synthetic scene; the old outlines are the truth, aged on
purpose (`imagery.aged_outlines`). Each arm changes one thing against the arm "poor". Interrupted runs resume: each
finished cell is a line of ``prior_outlines.jsonl``.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.report import BENCH, Result, markdown, publish
from experiments.old_outlines import POOR
from imagery.aged_outlines import Ageing, age
from imagery.channels import CHANNEL_SETS
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.edge_ring import without_edges
from imagery.everest import prepare
from imagery.grid import Window, tile
from imagery.masks import rasterize_outlines
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from imagery.synthetic import write_scene
from imagery.synthetic_pixels import SyntheticOptions
from imagery.synthetic_surface import Shares
from models.losses import LossName
from models.metrics import Metrics, confusion_matrix
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from models.training_config import TrainingConfig
from models.unet import UNetConfig
from models.weak_masks import AMBIGUOUS
from workers.windows import read_batch

CPU: Final = torch.device("cpu")
PATCH_PX: Final = 64
LABELS: Final = (16, 60)
STEPS: Final = 100


@dataclass(frozen=True)
class Arm:
    """What is varied.

    Attributes:
        ageing: How the outlines differ from the truth; None: there are none.
        share: Share of weak patches in the batches once there are labels.
        ring_px: Half the width of the unknown ring along edges.
        loss: Loss of the weak patches; None: that of the labels.
        ambiguous: What pixels of outlines without a debris class teach: the class "outlined", "any" foreground class,
            or nothing ("unknown").
        labels: Numbers of labels.
    """

    ageing: Ageing | None = POOR
    share: float = 0.5
    ring_px: float = 1.0
    loss: LossName | None = None
    ambiguous: str = "any"
    labels: tuple[int, ...] = LABELS[:1]


MERGED: Final = replace(POOR, merged_into=CLEAN_ICE.value)
RETREATED: Final = Ageing(shift_px=0.5, grow_px=4)
"""120 m larger on all sides than the glaciers are now."""

ARMS: Final[Mapping[str, Arm]] = {
    "none": Arm(ageing=None, labels=LABELS),
    "poor": Arm(labels=LABELS),
    "share .25": Arm(share=0.25, labels=LABELS),
    "share .75": Arm(share=0.75),
    "no ring": Arm(ring_px=0.0),
    "generalized cross-entropy": Arm(loss="generalized_cross_entropy"),
    "no debris class": Arm(ageing=MERGED),
    "no debris class, as outlined": Arm(ageing=MERGED, ambiguous="outlined"),
    "no debris class, share .25": Arm(ageing=MERGED, share=0.25),
    "no debris class, first only": Arm(ageing=MERGED, share=0.0),
    "retreated": Arm(ageing=RETREATED),
    "first only": Arm(share=0.0),
    "ring 2 px": Arm(ring_px=2.0),
    "retreated, generalized cross-entropy": Arm(ageing=RETREATED, loss="generalized_cross_entropy"),
    "no debris class, ice unknown": Arm(ageing=MERGED, ambiguous="unknown"),
    "good": Arm(ageing=Ageing(shift_px=0.5)),
}


@dataclass(frozen=True)
class Ground:
    """A pool cut into patches, and the test ground.

    Attributes:
        windows: The patches of the pool.
        images: (N, C, h, w) their channels.
        truth: (H, W) the pool's true classes.
        pool: The pool.
        test_images: (M, C, h, w) the test ground, cut likewise.
        test_truth: (M, h, w) its true classes.
        channels: The channels.
        width: Feature maps of the first level of the network.
    """

    windows: Sequence[Window]
    images: torch.Tensor
    truth: NDArray[np.uint8]
    pool: SceneSource
    test_images: torch.Tensor
    test_truth: NDArray[np.uint8]
    channels: tuple[str, ...]
    width: int

    def patches(self, mask: NDArray[np.uint8], which: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return some patches with a mask of the pool."""
        return [(self.images[i], torch.from_numpy(mask[self.windows[i].slices].copy())) for i in which]

    def fresh(self, seed: int) -> GlacierSegmenter:
        """Return a small network with fresh weights."""
        whole = Window(0, 0, self.pool.grid.height, self.pool.grid.width)
        found = channel_statistics([(self.pool, [whole])], self.channels)
        config = UNetConfig(in_channels=len(self.channels), classes=3, depth=3, width=self.width)
        return build_segmenter(self.channels, found.mean, found.std, config, seed)

    def iou(self, segmenter: GlacierSegmenter) -> list[float | None]:
        """Return the IoU of each class that occurs on the test ground, and None for the others."""
        predicted = [
            segmenter.decide(probability)
            for batch in torch.split(self.test_images, 16)
            for probability in segmenter.probabilities(batch).numpy()
        ]
        counts = confusion_matrix(np.stack(predicted), self.test_truth, len(GLACIER_SCHEME.classes), UNKNOWN)
        present = counts.sum(axis=1) > 0
        return [
            value if occurs else None for value, occurs in zip(Metrics.from_confusion(counts).iou, present, strict=True)
        ]


@cache
def ground(name: str) -> Ground:
    """Return a region: "everest west", "everest east" (the strip that tests), or "synthetic N" (N seeds it)."""
    folder = BENCH / "prior_outlines" / name.replace(" ", "-")
    if name.startswith("everest"):
        everest = prepare(folder)
        bands, outlines, dem = everest.bands, everest.outlines, None
        pool, test = Window(0, 200, 655, 400), Window(0, 0, 655, 200)
        if name.endswith("east"):
            pool, test = Window(0, 200, 655, 400), Window(0, 600, 655, 200)
        channels: tuple[str, ...] = tuple(band.name for band in bands)
    else:
        number = int(name.rpartition(" ")[2])
        shares = Shares(clean_ice=0.16, debris_covered_ice=0.05, masked=0.02)
        scene = write_scene(folder, 704, 832, number, SyntheticOptions(shares=shares))
        bands, outlines, dem = scene.bands, scene.outlines, scene.dem
        pool, test = Window(0, 0, 704, 576), Window(0, 576, 704, 256)
        channels = tuple(channel for channel in CHANNEL_SETS["baraka"] if channel not in {"pan", "quality"})
    sources = [describe(bands, window, dem=dem) for window in (pool, test)]
    truths = [rasterize_outlines(outlines, source.grid, GLACIER_SCHEME) for source in sources]
    windows = [tile(source.grid.width, source.grid.height, PATCH_PX) for source in sources]
    images = []
    for source, of_source in zip(sources, windows, strict=True):
        with SceneReader(source) as reader:
            images.append(read_batch(reader, channels, of_source))
    test_truth = np.stack([truths[1][window.slices] for window in windows[1]])
    width = 12 if name.startswith("everest") else 8
    return Ground(windows[0], images[0], truths[0], sources[0], images[1], test_truth, channels, width)


def weak_mask(place: Ground, arm: Arm, seed: int) -> NDArray[np.uint8] | None:
    """Return the weak mask of a pool; None without old outlines."""
    if arm.ageing is None:
        return None
    mask = without_edges(age(place.truth, arm.ageing, seed), arm.ring_px)
    if arm.ageing.merged_into is not None and arm.ambiguous != "outlined":
        mask[mask == arm.ageing.merged_into] = UNKNOWN if arm.ambiguous == "unknown" else AMBIGUOUS + CLEAN_ICE.value
    mask[place.truth == UNKNOWN] = UNKNOWN  # cloud, which the workers mask by its flag
    return mask


def train(segmenter: GlacierSegmenter, place: Ground, arm: Arm, seed: int, order: Sequence[int], count: int) -> None:
    """Train a network in place on the first patches of an order as labels, and on the others' old outlines."""
    weak = weak_mask(place, arm, seed)
    others = place.patches(weak, order[count:]) if weak is not None else []
    known = [(raw, mask) for raw, mask in others if (mask != UNKNOWN).any()]
    share = (arm.share if count else 1.0) if known else 0.0
    config = TrainingConfig(steps=STEPS, seed=seed * 100 + count, precision="float32", weak_loss=arm.loss)
    labels = place.patches(place.truth, order[:count])
    fit(segmenter, labels, config, CPU, UNKNOWN, weak_patches=known or None, weak_share=share)


@cache
def first_version(region: str, arm: Arm, seed: int) -> tuple[Mapping[str, torch.Tensor], list[float | None]]:
    """Return the weights that old outlines alone teach, and their IoU of each class on the test ground."""
    place = ground(region)
    segmenter = place.fresh(seed)
    train(segmenter, place, arm, seed, shuffled(place, seed), 0)
    return segmenter.state_dict(), place.iou(segmenter)


def shuffled(place: Ground, seed: int) -> list[int]:
    """Return the patches of a pool in the order in which they are labelled."""
    order: list[int] = np.random.default_rng(seed).permutation(len(place.windows)).tolist()
    return order


def run_cell(region: str, arm: Arm, seed: int) -> dict[str, list[float | None]]:
    """Return the IoU of each class on the test ground by number of labels, 0 being old outlines alone."""
    place = ground(region)
    segmenter = place.fresh(seed)
    found: dict[str, list[float | None]] = {}
    if arm.ageing is not None:
        # What does not change the first version is left out of the arm, so that arms share it.
        ambiguous = "unknown" if arm.ambiguous == "unknown" else "any"
        weights, found["0"] = first_version(region, replace(arm, share=1.0, labels=(), ambiguous=ambiguous), seed)
        segmenter.load_state_dict(weights)
    for count in arm.labels:
        train(segmenter, place, arm, seed, shuffled(place, seed), count)
        found[str(count)] = place.iou(segmenter)
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seeds", type=int, default=4)
    made.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    made.add_argument("--regions", nargs="*", default=["everest west", "synthetic 1", "synthetic 3"])
    return made


def main() -> None:
    """Run what is missing, print the table, write the report."""
    given = parser().parse_args()
    torch.set_num_threads(1)
    record = BENCH / "prior_outlines.jsonl"
    record.parent.mkdir(parents=True, exist_ok=True)
    done = read_cells(record)
    for seed in range(given.seeds):
        for name in given.arms:
            for region in given.regions:
                if (region, name, seed) in done:
                    continue
                started = time.monotonic()
                done[region, name, seed] = run_cell(region, ARMS[name], seed)
                line = {"region": region, "arm": name, "seed": seed, "iou": done[region, name, seed]}
                with record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({**line, "seconds": round(time.monotonic() - started, 1)}) + "\n")
    cells = {key: value for key, value in done.items() if key[0] in given.regions and key[2] < given.seeds}
    rows = table(cells, given.arms)
    print(markdown(rows))
    publish(Result("prior_outlines", rows, seeds=range(given.seeds), conditions={"regions": given.regions}))


def read_cells(record: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    """Return the finished cells: the IoU of each class by number of labels, by region, arm and seed."""
    lines = record.read_text(encoding="utf-8").splitlines() if record.exists() else []
    cells = [json.loads(line) for line in lines]
    return {(cell["region"], cell["arm"], cell["seed"]): cell["iou"] for cell in cells}


def table(cells: Mapping[tuple[str, str, int], Mapping[str, Any]], arms: Sequence[str]) -> list[dict[str, object]]:
    """Return mean IoU and debris IoU of each arm by number of labels, and the paired difference from "poor"."""
    rows = []
    for name in arms:
        row: dict[str, object] = {"arm": name}
        for count in ("0", *map(str, LABELS)):
            own = {
                (region, seed): iou[count] for (region, arm, seed), iou in cells.items() if arm == name and count in iou
            }
            base = {key: cells[key[0], "poor", key[1]][count] for key in own if (key[0], "poor", key[1]) in cells}
            differences = [mean_iou(own[key]) - mean_iou(base[key]) for key in base]
            row[f"IoU at {count}"] = statistics.mean(map(mean_iou, own.values())) if own else "—"
            row[f"debris at {count}"] = _mean([iou[DEBRIS_COVERED_ICE.value] for iou in own.values()])
            row[f"minus poor at {count}"] = interval(differences)
        row["cells"] = sum(arm == name for _, arm, _ in cells)
        rows.append(row)
    return rows


def mean_iou(iou: Sequence[float | None]) -> float:
    """Return the mean over the classes that occur on the test ground."""
    return statistics.mean(value for value in iou if value is not None)


def interval(differences: Sequence[float]) -> str:
    """Return the mean of paired differences with its 95 % interval by Student's t; the unit is a region and seed."""
    if len(differences) < 2 or not any(differences):
        return "—"
    from scipy.stats import t

    mean, error = statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5
    half = float(t.ppf(0.975, len(differences) - 1)) * error
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def _mean(values: Sequence[float | None]) -> float | str:
    known = [value for value in values if value is not None]
    return statistics.mean(known) if known else "—"


if __name__ == "__main__":
    main()
