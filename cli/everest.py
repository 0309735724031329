"""The example scene as three registration requests: a pool, a validation and a test region."""

from collections.abc import Sequence
from typing import Any, Final

from imagery.aged_outlines import Ageing
from imagery.everest import ACQUIRED, SENSOR, EverestScene
from imagery.masks import OutlineLayer

PATCH_SIZE_PX: Final = 64  # the whole scene is 800 x 655 pixels
AGEING: Final = Ageing(shift_px=2.0, grow_px=1, missing_share=0.2)
AGED: Final = "60 m off, a pixel of 30 m too large on all sides, and a fifth of the glaciers missing"
"""`AGEING` for people."""


def everest_scenes(everest: EverestScene, old: Sequence[OutlineLayer] = ()) -> list[dict[str, Any]]:
    """Return a registration request for each region of the Everest scene.

    The pool has no true outlines: its labels come from annotators.

    Args:
        everest: The scene.
        old: Prior outlines of the pool, made old on purpose by `AGEING`.
    """
    bands = [{"name": band.name, "path": band.path, "index": band.index} for band in everest.bands]
    requests = []
    for role, window in everest.regions.items():
        is_pool = role == "pool"
        requests.append(
            {
                "name": f"everest-{role}",
                "role": role,
                "sensor": SENSOR,
                "acquired": ACQUIRED.isoformat(),
                "bands": bands,
                "outlines": [] if is_pool else _layers(everest.outlines),
                "prior_outlines": _layers(old if is_pool else ()),
                "prior_source": f"made old on purpose: {AGED}" if is_pool and old else None,
                "region": {
                    "row_off": window.row_off,
                    "col_off": window.col_off,
                    "height": window.height,
                    "width": window.width,
                },
                "patch_size_px": PATCH_SIZE_PX,
                "patch_overlap_px": 0,
            }
        )
    return requests


def _layers(outlines: Sequence[OutlineLayer]) -> list[dict[str, Any]]:
    return [{"path": item.path, "layer": item.layer, "class": item.class_name} for item in outlines]
