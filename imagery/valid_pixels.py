"""Checking that a scene has valid pixels at all."""

from typing import Final

import numpy as np

from imagery.errors import SceneError
from imagery.grid import blocks
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource

_BLOCK_PX: Final = 1024


def check_has_data(source: SceneSource) -> None:
    """Make sure that at least one pixel of the scene is valid in every band.

    Reads block by block from the end, since a truncated file lacks its last blocks, and stops at the first valid pixel.

    Raises:
        SceneError: No pixel is valid in all bands, or the file cannot be read.
    """
    height, width = source.grid.height, source.grid.width
    empty = set(source.band_names)
    with SceneReader(source) as reader:
        for window in reversed(blocks(width, height, _BLOCK_PX)):
            valid = ~np.isnan(reader.read(source.band_names, window))
            if valid.all(axis=0).any():
                return
            empty -= {name for name, band in zip(source.band_names, valid, strict=True) if band.any()}
    without = [name for name in source.band_names if name in empty]
    flags = sorted({flag for band in source.quality for flag in band.masked})
    also = f" and the masked flags ({', '.join(flags)})" if flags else ""
    detail = f" ({', '.join(without)} without any valid pixel)" if without else ""
    raise SceneError(
        f"found no pixel of {height} rows x {width} columns that is valid in all of {', '.join(source.band_names)}"
        f"{detail}; expected some: check the nodata value, the region{',' if also else ' and'} the border{also}"
    )
