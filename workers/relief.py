"""The relief of a scene, for the attributes of its outlines."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from imagery.channels import ELEVATION, SLOPE
from imagery.outline_table import Terrain
from imagery.scene import SceneReader, SceneSource
from workers.scenes import strips_of


@contextmanager
def relief_of(source: SceneSource) -> Iterator[Terrain | None]:
    """Lend elevation and slope of a whole scene; None where it has no elevation, or none that slope is known of.

    They are written strip by strip to temporary files of float32 and mapped from there: the system may drop their pages
    whenever it needs the memory, so that a large scene takes no more of it than a small one.

    Raises:
        SceneError: the scene cannot be read.
        OutlineError: its border cannot be read.
    """
    if not {ELEVATION, SLOPE} <= set(source.channel_names):
        yield None
        return
    shape = (source.grid.height, source.grid.width)
    with TemporaryDirectory() as folder:
        elevation_m, slope_deg = (
            np.memmap(Path(folder) / name, dtype=np.float32, mode="w+", shape=shape) for name in (ELEVATION, SLOPE)
        )
        with SceneReader(source) as reader:
            for strip in strips_of(source.grid):
                elevation_m[strip.slices], slope_deg[strip.slices] = reader.read((ELEVATION, SLOPE), strip)
        yield Terrain(elevation_m, slope_deg)
