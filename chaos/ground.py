"""Small synthetic scenes with known truth, as a chaos run registers them."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray

from imagery.synthetic import SENSOR, write_scene
from imagery.synthetic_pixels import SyntheticOptions
from imagery.synthetic_surface import Shares

PATCH_PX: Final = 32
_JUDGED_PX: Final = 128  # side of the validation and the test scene: the smallest that can be made
_BANDS: Final = ("red", "green", "blue", "nir")
_PIXEL_M: Final = 30.0
# No cloud: a label then equals the drawing, pixel by pixel.
_SHARES: Final = Shares(0.3, 0.2, 0.0)


def write_ground(scene_root: Path, seed: int, pool_px: int) -> list[dict[str, Any]]:
    """Write a pool, a validation and a test scene, side by side.

    Args:
        scene_root: Folder below which the API finds scenes.
        seed: Of the pixels.
        pool_px: Side of the pool scene, pixels.

    Returns:
        Requests to ``POST /api/v1/scenes`` that register them.
    """
    requests, easting = [], 480_000.0
    for number, (role, side) in enumerate((("pool", pool_px), ("validation", _JUDGED_PX), ("test", _JUDGED_PX))):
        options = SyntheticOptions(shares=_SHARES, lake_share=0.0, origin_m=(easting, 3_110_400.0))
        scene = write_scene(scene_root / role, side, side, seed + number, options)
        bands = [
            {"name": band.name, "path": str(Path(band.path).relative_to(scene_root)), "index": band.index}
            for band in scene.bands
            if band.name in _BANDS
        ]
        outlines = [
            {"path": str(Path(layer.path).relative_to(scene_root)), "layer": layer.layer, "class": layer.class_name}
            for layer in scene.outlines
        ]
        requests.append(
            {
                "name": f"chaos-{role}",
                "role": role,
                "sensor": SENSOR,
                "bands": bands,
                "outlines": [] if role == "pool" else outlines,
            }
        )
        easting += (side + 10) * _PIXEL_M
    return requests


def pool_truth(scene_root: Path) -> NDArray[np.uint8]:
    """Return the class values of the pool scene that `write_ground` wrote, (H, W)."""
    with rasterio.open(scene_root / "pool" / "truth.tif") as file:
        truth: NDArray[np.uint8] = file.read(1)
    return truth
