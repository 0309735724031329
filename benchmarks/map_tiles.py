"""What does it bring that scenes stay open between tiles of the map? ``python -m benchmarks.map_tiles [--side N]``.

Writes a scene of twelve bands in a file each, as Sentinel-2 has them, with a file of flags, and draws the same tiles of
its true-colour view in turns: with a scene that is opened for each tile, and with one that the pool keeps open. Prints
the milliseconds of a tile and the ratio.
"""

import argparse
import math
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio

from benchmarks.report import Result, markdown, publish, take_turns, times_as_fast
from imagery.describe_scene import describe
from imagery.map_views import draw_view, encode_tile, map_views
from imagery.quality import mask_flags
from imagery.reader_pool import ReaderPool
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, QualityBand, SceneSource
from imagery.tiles import read_scene_tile, tile_grid

BANDS: Final = (
    *("coastal", "blue", "green", "red", "rededge1", "rededge2", "rededge3"),
    *("nir", "nir08", "nir09", "swir1", "swir2"),
)
BLOCK_PX: Final = 512
CLEAR: Final = 21824  # a value of QA_PIXEL
ZOOMS: Final = (12, 13, 14)
OPENED, KEPT = "opened for each tile", "kept open"


def write(folder: Path, side: int) -> SceneSource:
    """Write the scene: one random block over and over."""
    generator = np.random.default_rng(0)
    block = (9000 + 40 * generator.standard_normal((BLOCK_PX, BLOCK_PX)).cumsum(axis=1)).astype(np.uint16)
    layout: dict[str, Any] = {"driver": "GTiff", "count": 1, "dtype": "uint16", "height": side, "width": side}
    layout |= {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1}
    layout |= {"crs": "EPSG:32645", "transform": rasterio.Affine(10, 0, 470085, 0, -10, 3110415)}
    for name in (*BANDS, "qa"):
        pixels = np.full_like(block, CLEAR) if name == "qa" else block
        with rasterio.open(folder / f"{name}.tif", "w", nodata=0, **layout) as file:
            file.write(np.tile(pixels, (side // BLOCK_PX, side // BLOCK_PX)), 1)
            file.build_overviews([2, 4, 8, 16])
    for path in (*folder.iterdir(), folder):
        os.utime(path, (0, 0))  # the pool keeps only what nobody has changed just now
    flags = [QualityBand("QA_PIXEL", str(folder / "qa.tif"), 1, "landsat-c2-qa-pixel")]
    return describe(
        [BandSource(name, str(folder / f"{name}.tif"), 1) for name in BANDS], quality=mask_flags(flags, ("cloud",))
    )


def places(source: SceneSource) -> list[tuple[int, int, int]]:
    """Return zoom, column and row of tiles along the diagonal of the scene."""
    west, south, east, north = source.grid.footprint_wgs84().bounds
    found = []
    for zoom in ZOOMS:
        for share in (0.2, 0.4, 0.6, 0.8):
            longitude, latitude = west + share * (east - west), math.radians(south + share * (north - south))
            y = (1 - math.asinh(math.tan(latitude)) / math.pi) / 2
            found.append((zoom, int((longitude + 180) / 360 * 2**zoom), int(y * 2**zoom)))
    return found


def draw(source: SceneSource, lend: Callable[[SceneSource], Any], place: tuple[int, int, int]) -> bytes:
    """Draw a tile of the true-colour view."""
    view = map_views(source)["true-colour"]
    with lend(source) as reader:
        pixels = read_scene_tile(reader, view.channels, tile_grid(*place))
    assert pixels is not None
    return encode_tile(draw_view(view, pixels, dict.fromkeys(view.channels, (0.0, 20000.0))))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--side", type=int, default=4096, help="of the scene in pixels (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=5, help="in each, every tile is drawn (default: %(default)s)")
    return made


def main() -> None:
    """Measure, print and publish."""
    given = parser().parse_args()
    taken: dict[str, list[float]] = {OPENED: [], KEPT: []}
    with tempfile.TemporaryDirectory() as folder:
        source = write(Path(folder), given.side)
        pool = ReaderPool(most=1)
        ways: dict[str, Callable[[SceneSource], Any]] = {OPENED: SceneReader, KEPT: pool.reading}
        for place in places(source):  # each tile in turns, so that a drift of the machine affects both alike
            methods = {way: partial(draw, source, lend, place) for way, lend in ways.items()}
            for way, seconds in take_turns(methods, given.rounds).items():
                taken[way] += seconds
        pool.close()
    ratio, spread = times_as_fast(taken, KEPT, OPENED)
    rows = [
        {"scene": way, "tiles": len(seconds), "median, ms a tile": 1000 * statistics.median(seconds)}
        | {"times as fast": ratio if way == KEPT else 1.0}
        for way, seconds in taken.items()
    ]
    print(markdown(rows))
    conditions = {"files": len(BANDS) + 1, "side": given.side, "rounds": given.rounds}
    publish(Result("map_tiles", rows, baseline=OPENED, ratio=ratio, spread=spread, seeds=[0], conditions=conditions))


if __name__ == "__main__":
    main()
