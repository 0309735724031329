"""Does a full Landsat scene fit in a gigabyte? Peak memory and time of the data pipeline and of a whole prediction.

``python -m benchmarks.large_scene [--height N] [--width N] [--window-rows N]``

Forges a scene of 15 bands block by block, then runs each stage in a process of its own, so that the peak is its own.
Writes ``var/bench/large_scene.json`` and prints the table.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from affine import Affine

from imagery.classes import UNKNOWN
from imagery.cog import class_map_to_cog
from imagery.grid import Window, tile
from imagery.scene import BandSource, SceneReader, SceneSource, describe
from imagery.statistics import channel_statistics, percentile_stretch

BENCH: Final = Path("var/bench")
PATCH_SIZE_PX: Final = 512
BATCH_SIZE: Final = 8  # the default of the settings
BANDS: Final = ("blue", "green", "red", "nir", "swir1", "swir2", *(f"layer{i}" for i in range(7, 16)))
INDICES: Final = ("ndvi", "ndsi", "ndwi")


def forge(path: Path, height: int, width: int) -> None:
    """Write seeded noise around a level for each band; a nodata wedge along the left edge, as of a tilted orbit."""
    generator = np.random.default_rng(0)
    profile = {"count": len(BANDS), "dtype": "uint8", "height": height, "width": width, "nodata": 0}
    layout = {"tiled": True, "interleave": "band", "compress": "deflate", "zlevel": 1}
    place = {"crs": "EPSG:32645", "transform": Affine(30, 0, 400000, 0, -30, 3200000)}
    with rasterio.open(path, "w", driver="GTiff", **profile, **layout, **place) as dataset:
        levels = np.linspace(60, 180, len(BANDS), dtype=np.float32)[:, None, None]
        for row in range(0, height, PATCH_SIZE_PX):
            rows, wedge = min(PATCH_SIZE_PX, height - row), width // 10 * (height - row) // height
            noise = generator.standard_normal((len(BANDS), rows, width), dtype=np.float32)
            strip = np.clip(levels + 12 * noise, 1, 255).astype(np.uint8)
            strip[:, :, :wedge] = 0
            dataset.write(strip, window=((row, row + rows), (0, width)))


def run_data(source: SceneSource, _: int) -> dict[str, Any]:
    """Tile, measure valid shares, compute statistics of bands and indices, and the stretch of the views."""
    windows = tile(source.grid.width, source.grid.height, PATCH_SIZE_PX)
    with SceneReader(source) as reader:
        shares = [float(reader.valid_mask(window).mean()) for window in windows]
    statistics = channel_statistics([(source, windows)], [*BANDS, *INDICES])
    percentile_stretch(source, ["red", "green", "blue"])
    return {"windows": len(windows), "valid_share": float(np.mean(shares)), "red_mean": statistics.mean[2]}


def run_prediction(source: SceneSource, window_rows: int) -> dict[str, Any]:
    """Predict the scene, or the first rows of windows, by a U-Net of depth 5 and width 16, to a class map in a file."""
    from models.segmenter import build_segmenter
    from models.unet import UNetConfig
    from workers.windows import predict_classes

    grid = source.grid
    if window_rows:
        height = min(grid.height, (window_rows + 1) * PATCH_SIZE_PX // 2)
        source = describe(source.bands, Window(0, 0, height, grid.width))
    config = UNetConfig(in_channels=len(BANDS), depth=5, width=16)
    means, deviations = [120.0] * len(BANDS), [12.0] * len(BANDS)
    segmenter = build_segmenter(BANDS, means, deviations, config, seed=0)
    classes = predict_classes(segmenter, source, PATCH_SIZE_PX, BATCH_SIZE, UNKNOWN.value)
    if window_rows:  # the map of the whole scene is what has to be encoded
        whole = np.full((grid.height, grid.width), UNKNOWN.value, dtype=np.uint8)
        whole[: classes.shape[0]] = classes
        classes = whole
    cog = class_map_to_cog(classes, grid)
    return {"rows_predicted": source.grid.height, "cog_bytes": len(cog)}


STAGES: Final[dict[str, Callable[[SceneSource, int], dict[str, Any]]]] = {
    "data": run_data,
    "prediction": run_prediction,
}


def measure(stage: str, scene: Path, window_rows: int) -> dict[str, Any]:
    """Run a stage here and say what it took: seconds, and the most memory that this process ever held."""
    source = describe(tuple(BandSource(name, str(scene), i) for i, name in enumerate(BANDS, start=1)))
    started = time.perf_counter()
    found = STAGES[stage](source, window_rows)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": time.perf_counter() - started, "peak_mib": peak_kib / 1024, **found}


def start(stage: str, scene: Path, *options: str) -> str:
    """Run a stage in a fresh process, and return what it printed.

    Forging, too, has a process of its own: on Linux a process's peak counts what its parent held when it was started.
    """
    command = [sys.executable, "-m", "benchmarks.large_scene", "--stage", stage, "--scene", str(scene), *options]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=7000, help="rows of the scene")
    parser.add_argument("--width", type=int, default=8000, help="columns of the scene")
    parser.add_argument("--window-rows", type=int, default=0, help="rows of windows to predict; 0 for all")
    parser.add_argument("--stage", choices=["forge", *STAGES], help=argparse.SUPPRESS)
    parser.add_argument("--scene", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage == "forge":
        forge(given.scene, given.height, given.width)
        return
    if given.stage:
        print(json.dumps(measure(given.stage, given.scene, given.window_rows)))
        return
    BENCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=BENCH) as folder:
        scene = Path(folder) / "scene.tif"
        start("forge", scene, "--height", str(given.height), "--width", str(given.width))
        stages = {stage: json.loads(start(stage, scene, "--window-rows", str(given.window_rows))) for stage in STAGES}
    report = {"height": given.height, "width": given.width, "bands": len(BANDS), "stages": stages}
    (BENCH / "large_scene.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{given.height} rows x {given.width} columns x {len(BANDS)} bands, uint8\n")
    print("| stage | peak memory (MiB) | seconds |\n|---|---:|---:|")
    for stage, found in stages.items():
        print(f"| {stage} | {found['peak_mib']:.0f} | {found['seconds']:.0f} |")


if __name__ == "__main__":
    main()
