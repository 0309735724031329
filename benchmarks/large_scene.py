"""Does a full Landsat scene fit in a gigabyte? Peak memory and seconds of each stage that processes a whole scene.

``python -m benchmarks.large_scene [--height N] [--width N]``

Makes a synthetic scene with the 15 channels of Baraka et al. (reflective bands at 30 m, thermal ones at 60 m, a DEM),
then runs each stage in a process of its own, whose peak is measured. Prints the table.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.memory import peak_mib
from benchmarks.report import BENCH, Result, publish, run_stage
from imagery.channels import CHANNEL_SETS
from imagery.classes import GLACIER_SCHEME
from imagery.cog import class_map_to_cog, confidence_map_to_cog
from imagery.describe_scene import describe
from imagery.grid import tile
from imagery.maps import read_map
from imagery.masks import OutlineLayer, rasterize_outlines
from imagery.outline_table import tabulate
from imagery.outlines import write_outlines_gpkg
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.statistics import channel_statistics, percentile_stretch
from imagery.synthetic import write_scene
from workers.relief import relief_of

PATCH_SIZE_PX: Final = 512
BATCH_SIZE: Final = 8  # the default of the settings
CHANNELS: Final = CHANNEL_SETS["baraka"]
PLAN: Final = "scene.json"  # the files of the scene, which the first stage passes on to the others


def synthesis(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Write the scene: bands, DEM, truth and outlines."""
    scene = write_scene(folder, given.height, given.width, seed=0)
    plan = {
        "source": describe(scene.bands, dem=scene.dem).to_json(),
        "outlines": [asdict(layer) for layer in scene.outlines],
        "truth": str(scene.truth),
    }
    (folder / PLAN).write_text(json.dumps(plan))
    return {"share_of_ice": sum(scene.shares[entry.name] for entry in GLACIER_SCHEME.classes[1:])}


def labels(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Read the outlines and rasterize them; the mask must equal the truth."""
    plan = json.loads((folder / PLAN).read_text())
    grid = SceneSource.from_json(plan["source"]).grid
    mask = rasterize_outlines([OutlineLayer(**layer) for layer in plan["outlines"]], grid, GLACIER_SCHEME)
    if not np.array_equal(mask, read_map(plan["truth"], grid.window)):
        raise AssertionError("the rasterized outlines differ from the truth that they were made from")
    return {}


def data(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Tile the scene; compute valid shares, the statistics of all channels and the stretch of the views."""
    source = _source(folder)
    windows = tile(source.grid.width, source.grid.height, PATCH_SIZE_PX)
    with SceneReader(source) as reader:
        shares = [float(reader.valid_mask(window).mean()) for window in windows]
    channel_statistics([(source, windows)], CHANNELS)
    percentile_stretch(source, ["red", "green", "blue"])
    return {"windows": len(windows), "valid_share": float(np.mean(shares))}


def prediction(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Predict the scene by Baraka's U-Net with fresh weights; encode the class map and its confidence."""
    from models.inference import pick_device, place  # torch counts in this stage alone, as in the compute worker alone
    from models.presets import PRESETS
    from models.segmenter import build_segmenter
    from workers.areas import VersionCalibration, confidence_map
    from workers.predicted_scene import predict_scene_once

    source = _source(folder)
    preset = PRESETS["baraka"]
    shape = preset.network(len(CHANNELS), len(GLACIER_SCHEME.classes), preset.head)
    statistics = [100.0] * len(CHANNELS), [50.0] * len(CHANNELS)
    segmenter = build_segmenter(CHANNELS, *statistics, shape, 0, preset.head, preset.input_normalization)
    placed = place(segmenter, pick_device())
    calibration = VersionCalibration(GLACIER_SCHEME.names, GLACIER_SCHEME.foreground, None)
    with predict_scene_once(placed, source, PATCH_SIZE_PX, BATCH_SIZE, folder) as predicted:
        confidence = confidence_map_to_cog(confidence_map(predicted, calibration), source.grid, "confidence")
        classes = predicted.classes
    return {
        "cog_bytes": len(class_map_to_cog(classes, source.grid, GLACIER_SCHEME)),
        "confidence_bytes": len(confidence),
    }


def outlines(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Outline the true ice with its relief attributes, and write a GeoPackage."""
    source = _source(folder)
    truth = read_map(json.loads((folder / PLAN).read_text())["truth"], source.grid.window)
    table = tabulate(truth, source.grid, GLACIER_SCHEME.names, terrain=relief_of(source))
    return {
        "outlines": len(table.map_polygons),
        "geopackage_bytes": len(write_outlines_gpkg(table, GLACIER_SCHEME.outline_layer)),
    }


def areas(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Outline a prediction that is the truth at 95 %; compute areas with intervals of outlines and totals."""
    from models.area_error import AreaError, ClassAreaError, MissedShare, OutlineResiduals, ResidualQuantiles
    from models.calibration import UNCALIBRATED, probability_bins
    from workers.areas import VersionCalibration, area_report, with_areas
    from workers.predicted_scene import PredictedScene

    source, names = _source(folder), GLACIER_SCHEME.names
    truth = read_map(json.loads((folder / PLAN).read_text())["truth"], source.grid.window)
    sure, unsure = probability_bins(np.array([0.95, 0.025]))
    with tempfile.TemporaryFile(dir=folder) as file:
        for row in truth:
            file.write(np.where(row == np.arange(len(names))[:, None], sure, unsure).astype(np.uint8).tobytes())
        quantiles = ResidualQuantiles(mean=0.0, sizes=(1.0, 100.0), low=(-1.0, -0.1), high=(1.0, 0.1))
        error = ClassAreaError(
            table=tuple(UNCALIBRATED.tolist()),
            calibration={},
            blocks=100,
            block_px=64,
            totals=quantiles,
            outlines=(OutlineResiduals(smallest_px=1, pieces=100, exponent=1.0, residuals=quantiles),),
            missed=MissedShare(mean=0.0, low=0.0, high=0.0, blocks=100),
        )
        by_class = dict.fromkeys((*names[1:], GLACIER_SCHEME.foreground), error)
        fitted = AreaError(classes=by_class, background=error.table, fewest_blocks=39)
        calibration = VersionCalibration(names, GLACIER_SCHEME.foreground, fitted)
        predicted = PredictedScene(truth, len(names), file)
        table = with_areas(tabulate(truth, source.grid, names), predicted, source.grid, calibration)
        area_report(table, predicted, source.grid, calibration, "scene", 1)
    return {"outlines": len(table.map_polygons)}


STAGES: Final[dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]]] = {
    stage.__name__: stage for stage in (synthesis, labels, data, prediction, outlines, areas)
}


def _source(folder: Path) -> SceneSource:
    return SceneSource.from_json(json.loads((folder / PLAN).read_text())["source"])


def measure(stage: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run a stage in this process; return its seconds, the peak memory of the process, and the stage's own figures."""
    started = time.perf_counter()
    found = STAGES[stage](given.folder, given)
    return {"seconds": time.perf_counter() - started, "peak_mib": peak_mib(), **found}


def start(stage: str, folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Run a stage in a fresh process; print and return its figures."""
    size = ["--height", str(given.height), "--width", str(given.width)]
    found = run_stage("large_scene", "--stage", stage, "--folder", str(folder), *size)
    print(f"| {stage} | {found['peak_mib']:.0f} | {found['seconds']:.0f} |", flush=True)
    return found


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--height", type=int, default=7000, help="rows of the scene")
    made.add_argument("--width", type=int, default=8000, help="columns of the scene")
    made.add_argument("--stage", choices=[*STAGES], help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return made


def main() -> None:
    """Measure and report."""
    given = parser().parse_args()
    if given.stage:
        print(json.dumps(measure(given.stage, given)))
        return
    BENCH.mkdir(parents=True, exist_ok=True)
    print(f"{given.height} rows x {given.width} columns x {len(CHANNELS)} channels\n")
    print("| stage | peak memory (MiB) | seconds |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory(dir=BENCH) as folder:
        stages = {stage: start(stage, Path(folder).resolve(), given) for stage in STAGES}
    rows = [{"stage": stage, **found} for stage, found in stages.items()]
    conditions = {"height": given.height, "width": given.width, "channels": len(CHANNELS)}
    publish(Result("large_scene", rows, seeds=[0], conditions=conditions))


if __name__ == "__main__":
    main()
