"""How precisely outlines are placed, from what is known of their making.

GLIMS asks for two figures, each in x and y and in metres: the local uncertainty, how precisely the vertices follow the
edge of the glacier in the image, and the global one, how precisely the image itself is placed on the Earth (NSIDC,
"Information for GLIMS data providers").
"""

import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

# An outline along pixel edges is off by up to half a pixel: a uniform error, whose standard deviation is 1 / sqrt(12).
_OF_PIXEL_EDGES_PX: Final = 1 / math.sqrt(12)

_ROWS: Final = 512

EXPERT_PX: Final = 1.0
"""Standard deviation of an outline drawn by an expert, in pixels: assumed, since no patch is drawn twice on purpose.

The order of magnitude is that of Paul et al. 2013 (Annals of Glaciology 54), who let several people digitise the same
glaciers. Laboratories that interpret debris and snow differently differ more: by 3 to 4 pixels in the lower reaches
(Raup et al. 2014, "Quality in the GLIMS Glacier Database").
"""

# USGS, "Landsat Collection 2": Tier 1 scenes are placed with a root mean square error of at most 12 m. No figure
# is stated for Tier 2 (L1GT and L1GS without ground control points among it), real-time scenes, and those from before
# the collections.
_LANDSAT_TIER_1_M: Final = 12.0
_TIER_1: Final = re.compile(r"(?<![A-Za-z0-9])L[COTEM]0\d_L[12][A-Z]{2}_\w+_T1(?![A-Za-z0-9])", re.IGNORECASE)
# ESA, "Sentinel-2 User Handbook": 12.5 m at two standard deviations with ground control points, thus 6.25 m at one.
_SENTINEL_2_M: Final = 6.25


@dataclass(frozen=True)
class Precision:
    """Local precision of outlines, as standard deviations in pixels.

    Attributes:
        predicted_px: Of outlines that the model drew.
        expert_px: Of outlines that experts drew.
        measured: Whether `predicted_px` was measured against labels; else it is assumed to be that of experts.
    """

    predicted_px: float
    expert_px: float
    measured: bool

    def local_px(self, expert_share: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the precision of outlines of which experts drew these shares, 0 to 1: the mean of the variances."""
        variance = expert_share * self.expert_px**2 + (1 - expert_share) * self.predicted_px**2
        root: NDArray[np.float64] = np.sqrt(variance)
        return root


def measure_precision(
    predicted: NDArray[np.bool_], labelled: NDArray[np.bool_], judged: NDArray[np.bool_], smoothing_shift_px: float
) -> Precision:
    """Compare the model's ice with the experts' where these judged.

    The mean distance between two outlines is the area between them, divided by the length of the longer. Labels that
    the model learnt from are among them, so that the distance is a lower bound elsewhere.

    Args:
        predicted: (H, W) whether the model sees ice.
        labelled: (H, W) whether experts see ice; used where they judged.
        judged: (H, W) where they judged and the model has data.
        smoothing_shift_px: Mean distance by which smoothing moves outlines.
    """
    length = max(_boundary_length(labelled, judged), _boundary_length(predicted, judged))
    between = int((judged & (predicted != labelled)).sum())
    drawn = between / length if length else EXPERT_PX
    common = _OF_PIXEL_EDGES_PX**2 + smoothing_shift_px**2
    return Precision(math.sqrt(drawn**2 + common), math.sqrt(EXPERT_PX**2 + common), length > 0)


def smoothing_shift(changed_px: float, ice: NDArray[np.bool_], known: NDArray[np.bool_]) -> float:
    """Return the mean distance in pixels by which smoothing moves outlines.

    Args:
        changed_px: Number of pixels whose class changes if the smoothed outlines are rasterised.
        ice: (H, W) ice before smoothing.
        known: (H, W) pixels with a class.
    """
    length = _boundary_length(ice, known)
    return changed_px / length if length else 0.0


def geolocation_error_m(sensor: str | None, image_id: str | None) -> float | None:
    """Return the standard deviation of an image's place, as its provider states it; None if unknown.

    Args:
        sensor: A key of `imagery.sensors.SENSORS`, or None.
        image_id: The provider's name of the image, or None; of Landsat it has to tell Tier 1.
    """
    if sensor and sensor.startswith("landsat"):
        return _LANDSAT_TIER_1_M if _TIER_1.search(image_id or "") else None
    return _SENTINEL_2_M if sensor and sensor.startswith("sentinel-2") else None


def _boundary_length(ice: NDArray[np.bool_], known: NDArray[np.bool_]) -> int:
    """Count the pixel edges between known ice and known other ground."""
    length = 0
    for row in range(
        0, len(ice), _ROWS
    ):  # in strips, each with the first row of the next: a scene has 60 million pixels
        strip, is_known = ice[row : row + _ROWS + 1], known[row : row + _ROWS + 1]
        down = (strip[1:] != strip[:-1]) & is_known[1:] & is_known[:-1]
        strip, is_known = strip[:_ROWS], is_known[:_ROWS]
        across = (strip[:, 1:] != strip[:, :-1]) & is_known[:, 1:] & is_known[:, :-1]
        length += int(across.sum() + down.sum())
    return length
