"""What do reflectance and cloud flags cost? Reading windows against raw numbers, and the memory of a full scene.

``python -m benchmarks.reflectance_reading [--height N] [--width N] [--windows N] [--rounds N] [--predicted-rows N]``

Writes a scene as people bring it: seven bands of Landsat Collection 2 Level-2 numbers in one file (uint16, tiled,
deflate), interleaved by band or by pixel, and a QA_PIXEL file. Then it reads the same random windows of 512 px in
turns: as raw numbers, as reflectance, and as reflectance with the default flags masked. At last the stages that
process the whole scene run in a process of their own, whose peak memory is measured. Prints the tables.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterioWindow

from benchmarks.memory import peak_mib
from benchmarks.report import BENCH, Result, markdown, publish, run_stage, take_turns, times_as_fast
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.cog import class_map_to_cog
from imagery.describe_scene import describe
from imagery.grid import Window, tile
from imagery.quality import mask_flags
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, QualityBand, SceneSource
from imagery.statistics import percentile_stretch
from imagery.units import REFLECTANCE, Level
from imagery.valid_pixels import check_has_data

BANDS: Final = ("coastal", "blue", "green", "red", "nir", "swir1", "swir2")
SIDE_PX: Final = 512
BATCH_SIZE: Final = 8  # the default of the settings
CLEAR, CLOUD, FILL = 21824, 22280, 1  # values of QA_PIXEL


def write(folder: Path, height: int, width: int, interleave: str) -> None:
    """Write the scene: one random tile over and over, with fill at two edges and cloud in every tile."""
    generator = np.random.default_rng(0)
    numbers = (9000 + 40 * generator.standard_normal((len(BANDS), SIDE_PX, SIDE_PX)).cumsum(axis=2)).astype(np.uint16)
    flags = np.full((1, SIDE_PX, SIDE_PX), CLEAR, np.uint16)
    flags[:, 100:300, 50:250] = CLOUD
    size = {"height": height, "width": width, "dtype": "uint16", "crs": "EPSG:32645"}
    layout = {
        "driver": "GTiff",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "compress": "deflate",
        "zlevel": 1,
    }
    layout["transform"] = rasterio.Affine(30, 0, 470085, 0, -30, 3110415)
    with (
        rasterio.open(
            folder / "bands.tif", "w", count=len(BANDS), nodata=0, interleave=interleave, **size, **layout
        ) as bands,
        rasterio.open(folder / "qa.tif", "w", count=1, nodata=FILL, **size, **layout) as qa,
    ):
        for row in range(0, height, SIDE_PX):
            for col in range(0, width, SIDE_PX):
                rows, cols = min(SIDE_PX, height - row), min(SIDE_PX, width - col)
                beyond = (np.arange(row, row + rows)[:, None] < 100) | (np.arange(col, col + cols) < 100)
                at = RasterioWindow(col, row, cols, rows)
                bands.write(np.where(beyond, 0, numbers[:, :rows, :cols]), window=at)
                qa.write(np.where(beyond, FILL, flags[:, :rows, :cols]), window=at)


def scene(folder: Path, *, reflectance: bool, flags: bool) -> SceneSource:
    """Describe the scene that was written."""
    path = str(folder / "bands.tif")
    bands = [BandSource(name, path, index) for index, name in enumerate(BANDS, start=1)]
    if reflectance:
        bands = [replace(band, scale=2.75e-5, offset=-0.2, unit=REFLECTANCE) for band in bands]
    quality = [QualityBand("QA_PIXEL", str(folder / "qa.tif"), 1, "landsat-c2-qa-pixel")] if flags else []
    masked = mask_flags(quality, Settings.model_fields["masked_flags"].default)
    return describe(bands, quality=masked, level=Level.SURFACE if reflectance else None)


def read(source: SceneSource, windows: list[Window]) -> None:
    """Read all bands of windows, from closed files to closed files."""
    with SceneReader(source) as reader:
        for window in windows:
            reader.read(BANDS, window)


def reading(folder: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Time reading in turns; the same windows in each turn."""
    sources = {
        "raw numbers": scene(folder, reflectance=False, flags=False),
        "reflectance": scene(folder, reflectance=True, flags=False),
        "reflectance, flags masked": scene(folder, reflectance=True, flags=True),
    }
    generator = np.random.default_rng(1)
    offsets: NDArray[np.int64] = generator.integers(
        0, [given.height - SIDE_PX, given.width - SIDE_PX], (given.windows, 2), endpoint=True
    )
    windows = [Window(int(row), int(col), SIDE_PX, SIDE_PX) for row, col in offsets]
    seconds = take_turns({name: partial(read, source, windows) for name, source in sources.items()}, given.rounds)
    rows = []
    for name, taken in seconds.items():
        # How many times as slow as raw numbers: the ratio is that of the baseline's speed.
        ratio, spread = times_as_fast(seconds, "raw numbers", name)
        rows.append(
            {
                "read": name,
                "ms a window": 1000 * statistics.median(taken) / given.windows,
                "times the raw numbers": ratio,
                "lowest": spread[0],
                "highest": spread[1],
            }
        )
    return rows


def tiling(folder: Path, _: argparse.Namespace) -> dict[str, Any]:
    """Do what tiling a scene does: look for data, valid shares of all windows, the stretch of the views."""
    source = scene(folder, reflectance=True, flags=True)
    check_has_data(source)
    windows = tile(source.grid.width, source.grid.height, SIDE_PX)
    with SceneReader(source) as reader:
        shares = [float(reader.valid_mask(window).mean()) for window in windows]
    percentile_stretch(source, ["red", "green", "blue", "swir1", "nir"])
    return {"windows": len(windows), "valid_share": float(np.mean(shares))}


def prediction(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """Predict the scene, or its first rows, by Baraka's U-Net with fresh weights; encode the class map."""
    from models.inference import pick_device, place  # torch counts in this stage alone, as in the compute worker alone
    from models.presets import PRESETS
    from models.segmenter import build_segmenter
    from workers.windows import predict_classes

    preset = PRESETS["baraka"]
    shape = preset.network(len(BANDS), len(GLACIER_SCHEME.classes), preset.head)
    statistics_of_bands = [0.2] * len(BANDS), [0.1] * len(BANDS)
    segmenter = build_segmenter(BANDS, *statistics_of_bands, shape, 0, preset.head, preset.input_normalization)
    whole = scene(folder, reflectance=True, flags=True)
    rows = min(given.predicted_rows or given.height, given.height)
    source = describe(whole.bands, Window(0, 0, rows, given.width), level=whole.level, quality=whole.quality)
    classes = predict_classes(place(segmenter, pick_device()), source, SIDE_PX, BATCH_SIZE, UNKNOWN)
    return {"rows": rows, "cog_bytes": len(class_map_to_cog(classes, source.grid, GLACIER_SCHEME))}


STAGES: Final[dict[str, Callable[[Path, argparse.Namespace], dict[str, Any]]]] = {
    stage.__name__: stage for stage in (tiling, prediction)
}


def measure(stage: str, given: argparse.Namespace) -> dict[str, Any]:
    """Run a stage in this process; return its seconds, the peak memory of the process, and the stage's own figures."""
    started = time.perf_counter()
    found = STAGES[stage](given.folder, given)
    return {"stage": stage, "seconds": time.perf_counter() - started, "peak MiB": peak_mib(), **found}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--height", type=int, default=7800, help="rows of the scene")
    made.add_argument("--width", type=int, default=7600, help="columns of the scene")
    made.add_argument("--windows", type=int, default=10, help="windows read in a turn")
    made.add_argument("--rounds", type=int, default=15, help="turns of each way to read")
    made.add_argument("--predicted-rows", type=int, help="rows of the scene to predict; all by default")
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
    rows: list[dict[str, Any]] = []
    stages: list[dict[str, Any]] = []
    for interleave in ("pixel", "band"):
        with tempfile.TemporaryDirectory(dir=BENCH) as name:
            folder = Path(name).resolve()
            write(folder, given.height, given.width, interleave)
            read_here = [{"interleaved by": interleave, **row} for row in reading(folder, given)]
            print(markdown(read_here), flush=True)
            rows += read_here
            if interleave == "band":
                size = ["--height", str(given.height), "--width", str(given.width)]
                size += ["--predicted-rows", str(given.predicted_rows or given.height)]
                for stage in STAGES:
                    stages.append(run_stage("reflectance_reading", "--stage", stage, "--folder", str(folder), *size))
    print(markdown([{key: row[key] for key in ("stage", "seconds", "peak MiB")} for row in stages]))
    conditions = {"height": given.height, "width": given.width, "windows": given.windows, "rounds": given.rounds}
    by_band = [row["times the raw numbers"] for row in rows if row["read"] == "reflectance"]
    publish(
        Result(
            "reflectance_reading",
            [*rows, *stages],
            baseline="reading raw numbers",
            ratio=max(by_band),
            seeds=[0, 1],
            conditions=conditions,
        )
    )


if __name__ == "__main__":
    main()
