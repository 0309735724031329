"""The example scene as three registration requests: a pool, a validation and a test region."""

from pathlib import Path
from typing import Any

from imagery.everest import ACQUIRED, SENSOR, prepare

PATCH_SIZE_PX = 64  # the whole scene is 800 x 655 pixels


def everest_scenes(folder: Path) -> list[dict[str, Any]]:
    """Prepare the Everest scene; return a registration request for each of its regions.

    The pool has no outlines: its labels come from annotators.

    Args:
        folder: gets the outlines as a GeoPackage; the bands stay in the installed data wheel.

    Raises:
        SceneError: the wheel that carries the scene is not installed.
    """
    everest = prepare(folder)
    bands = [{"name": band.name, "path": band.path, "index": band.index} for band in everest.bands]
    outlines = [{"path": item.path, "layer": item.layer, "class": item.class_name} for item in everest.outlines]
    return [
        {
            "name": f"everest-{role}",
            "role": role,
            "sensor": SENSOR,
            "acquired": ACQUIRED.isoformat(),
            "bands": bands,
            "outlines": [] if role == "pool" else outlines,
            "region": {
                "row_off": window.row_off,
                "col_off": window.col_off,
                "height": window.height,
                "width": window.width,
            },
            "patch_size_px": PATCH_SIZE_PX,
            "patch_overlap_px": 0,
        }
        for role, window in everest.regions.items()
    ]
