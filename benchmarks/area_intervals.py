"""Do the intervals of areas hold on ground that they were not fitted on? A U-Net on synthetic landscapes.

``python -m benchmarks.area_intervals [--side N] [--scenes N] [--steps N]``

Trains a small network on one landscape, fits calibration and area error on the next, and counts on further landscapes
how many blocks, outlines and scene totals the nominal 95 % intervals hold. Prints the table of ``docs/benchmarks.md``.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from benchmarks.report import BENCH, Result, publish
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.grid import tile
from imagery.maps import read_map
from imagery.outline_table import OutlineTable, tabulate
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics
from imagery.synthetic import write_scene
from models.area_error import CELL_PX, CONFIDENCE
from models.area_evidence import CellEvidence, join_scenes
from models.area_fit import fit_area_error
from models.block_counts import SceneBlocks
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import fit
from models.training_config import TrainingConfig
from models.unet import UNetConfig
from workers.areas import VersionCalibration, area_report
from workers.examination import judge_prediction
from workers.predicted_scene import predict_scene_once
from workers.windows import read_batch

CHANNELS: Final = ("blue", "green", "red", "nir", "swir1", "swir2", "elevation", "slope")
PATCH_PX: Final = 128
BATCH: Final = 8
SEED: Final = 0


class Landscape:
    """A synthetic scene with its truth."""

    def __init__(self, folder: Path, side: int, seed: int) -> None:
        """Write the scene."""
        written = write_scene(folder / str(seed), side, side, seed)
        self.source: SceneSource = describe(written.bands, dem=written.dem)
        self.truth = str(written.truth)


def train(landscape: Landscape, steps: int) -> GlacierSegmenter:
    """Return a small U-Net that was trained on a whole landscape."""
    source = landscape.source
    windows = tile(source.grid.width, source.grid.height, PATCH_PX)
    with SceneReader(source) as reader:
        images = read_batch(reader, CHANNELS, windows)
    truth = read_map(landscape.truth, source.grid.window)
    patches = [(image, torch.from_numpy(truth[at.slices])) for image, at in zip(images, windows, strict=True)]
    statistics = channel_statistics([(source, windows)], CHANNELS)
    config = UNetConfig(in_channels=len(CHANNELS), classes=len(GLACIER_SCHEME.classes), depth=3, width=8)
    segmenter = build_segmenter(CHANNELS, statistics.mean, statistics.std, config, SEED)
    fit(segmenter, patches, TrainingConfig(steps=steps, batch_size=BATCH, seed=SEED), torch.device("cpu"), UNKNOWN)
    return segmenter


def evidence_of(segmenter: GlacierSegmenter, landscape: Landscape, folder: Path) -> CellEvidence:
    """Predict a landscape and compare it with its truth."""
    with predict_scene_once(segmenter, landscape.source, PATCH_PX, BATCH, folder) as predicted:
        grid = landscape.source.grid
        blocks = SceneBlocks.empty((grid.height, grid.width), segmenter.classes, CELL_PX)
        return judge_prediction(predicted, landscape.truth, segmenter, blocks)


def totals_of(
    segmenter: GlacierSegmenter, landscape: Landscape, folder: Path, calibration: VersionCalibration
) -> list[dict[str, Any]]:
    """Return the true, the mapped and the estimated total of each class, with the interval."""
    grid = landscape.source.grid
    truth = read_map(landscape.truth, grid.window)
    with predict_scene_once(segmenter, landscape.source, PATCH_PX, BATCH, folder) as predicted:
        table: OutlineTable = tabulate(predicted.classes, grid, GLACIER_SCHEME.names)
        report = area_report(table, predicted, grid, calibration, "landscape", 1)
        judged = (truth != UNKNOWN) & (predicted.classes != UNKNOWN)
        pixel_km2 = report.totals[0].mapped_km2 / max(int((predicted.classes == 1).sum()), 1)
    rows = []
    for total, (name, values) in zip(report.totals, calibration.areas(), strict=True):
        true = float((judged & np.isin(truth, values)).sum()) * pixel_km2
        low, high = total.low_km2, total.high_km2
        covered = low <= true <= high if low is not None and high is not None else None
        found = total.model_dump(include={"mapped_km2", "area_km2", "error"})
        rows.append({"class": name, "true": true, "covered": covered, **found})
    return rows


def measure(folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for each class."""
    segmenter = train(Landscape(folder, given.side, SEED), given.steps)
    validation = evidence_of(segmenter, Landscape(folder, given.side, SEED + 1), folder)
    tests = [Landscape(folder, given.side, SEED + 2 + number) for number in range(given.scenes)]
    names = GLACIER_SCHEME.names
    evidence = join_scenes([evidence_of(segmenter, landscape, folder) for landscape in tests])
    error = fit_area_error(validation, names, GLACIER_SCHEME.foreground, evidence)
    calibration = VersionCalibration(names, GLACIER_SCHEME.foreground, error)
    totals = [row for landscape in tests for row in totals_of(segmenter, landscape, folder, calibration)]
    return [_row(name, calibration, [row for row in totals if row["class"] == name]) for name in error.classes]


def _row(name: str, calibration: VersionCalibration, totals: Sequence[dict[str, Any]]) -> dict[str, Any]:
    error = calibration.error_of(name)
    if error is None:
        raise ValueError(f"found no error of {name}; expected that of every class")
    bias = {
        kind: _mean([row[kind] / row["true"] - 1 for row in totals if row[kind]]) for kind in ("mapped_km2", "area_km2")
    }
    return {
        "class": name,
        "blocks": error.blocks,
        "block_px": error.block_px,
        "correlation": error.correlation,
        "calibration_before": error.calibration["test"].before,
        "calibration_after": error.calibration["test"].after,
        "covered_validation": error.coverage["validation"].totals,
        "covered_test": error.coverage["test"].totals,
        "test_blocks": error.coverage["test"].blocks,
        "covered_outlines": error.coverage["test"].outlines,
        "test_pieces": error.coverage["test"].pieces,
        "scenes": len(totals),
        "covered_scenes": sum(bool(row["covered"]) for row in totals),
        "error_of_scenes": _mean([row["error"] for row in totals if row["error"] is not None]),
        "bias_of_pixels": bias["mapped_km2"],
        "bias_of_best": bias["area_km2"],
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--side", type=int, default=1536, help="side of the landscapes, pixels of 30 m")
    made.add_argument("--scenes", type=int, default=4, help="landscapes to test on")
    made.add_argument("--steps", type=int, default=300, help="training steps")
    return made


def main() -> None:
    """Run, print the table, write the report."""
    given = parser().parse_args()
    torch.set_num_threads(1)
    BENCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BENCH) as folder:
        rows = measure(Path(folder).resolve(), given)
    for row in rows:
        print(" | ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()))
    print(" | ".join(rows[0]))
    conditions = {**vars(given), "confidence": CONFIDENCE, "channels": len(CHANNELS), "patch_px": PATCH_PX}
    publish(Result("area_intervals", rows, seeds=[SEED], conditions=conditions))


if __name__ == "__main__":
    main()
