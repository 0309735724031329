"""Old outlines in the simulated loop: the truth of a region's pool, made old on purpose."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from experiments.region import Region
from imagery.aged_outlines import Ageing, age
from imagery.classes import UNKNOWN
from imagery.edge_ring import without_edges

POOR: Final = Ageing(shift_px=2.0, grow_px=1, missing_share=0.2)
"""60 m off at 30 m a pixel, a pixel too large on all sides, a fifth of the pieces missing."""
RING_PX: Final = 1.0


@dataclass(frozen=True)
class OldOutlines:
    """What a loop knows before any label.

    Attributes:
        share: Share of the training patches that are drawn from old outlines once there are labels, in [0, 1].
        ageing: How they differ from the truth.
    """

    share: float
    ageing: Ageing = POOR

    def masks(self, region: Region, seed: int) -> Tensor:
        """Return the weak masks (N, h, w) of the patches of a pool: a ring along edges and clouds are unknown."""
        found = []
        for number, raster in enumerate(region.parts["pool"]):
            mask = without_edges(age(raster.truth, self.ageing, seed + number), RING_PX)
            mask[raster.truth == UNKNOWN] = UNKNOWN
            found += [mask[window.slices] for window in raster.windows(region.patch_px)]
        return torch.from_numpy(np.stack(found))
