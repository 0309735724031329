"""How many pixels of a patch an annotator is expected to change, from a proposal and from an empty mask.

The expected number of pixels to change is the sum of the probabilities that what is shown is wrong: 1 - P(shown class)
when the annotator starts from the proposal, P(not background) when the annotator starts from an empty mask. The
probabilities are those of the scoring, the mean over its passes, calibrated by the tables of the version's card, which
were fitted to single deterministic predictions of the validation scenes. A scoring stores two maps of them, one byte a
pixel.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from imagery.classes import BACKGROUND, UNKNOWN

ERROR: Final = "error"
"""Name of the map of the probability that the mapped class is wrong."""
FOREGROUND: Final = "foreground"
"""Name of the map of the probability that the ground is not background."""

_LEVELS: Final = 254


def encode_probability(probability: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Return probabilities as bytes 0 to 254, which count steps of the square root.

    Most pixels of a patch are almost certain: in equal steps of 1/254 a probability of 0.001, of which 262,144 pixels
    sum up to 262, would become 0.

    Args:
        probability: Values in [0, 1], of any shape.
    """
    stored: NDArray[np.uint8] = np.rint(_LEVELS * np.sqrt(np.clip(probability, 0.0, 1.0))).astype(np.uint8)
    return stored


def decode_probability(stored: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the probabilities that `encode_probability` stored; NaN for `UNKNOWN`."""
    found: NDArray[np.float64] = np.where(stored == UNKNOWN, np.nan, (stored / _LEVELS) ** 2)
    return found


class ExpectedEdits(BaseModel):
    """The expected edits of a proposal, as the database stores them.

    Attributes:
        model_version: The version whose probabilities these are.
        screening: Whether they come from a single deterministic pass, not from the mean over all passes.
        asked_px: Pixels asked for that can be judged.
        from_empty_px: Expected pixels to change, starting from an empty mask.
        from_proposal_px: The same, starting from the version's proposal; None if it predicts other classes than the
            annotators draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model_version: int
    screening: bool
    asked_px: int
    from_empty_px: float
    from_proposal_px: float | None

    @property
    def proposal_pays(self) -> bool:
        """Whether correcting the proposal is expected to change fewer pixels than drawing from an empty mask."""
        return self.from_proposal_px is not None and self.from_proposal_px < self.from_empty_px


@dataclass(frozen=True)
class PatchMaps:
    """The maps of a scoring, cut to a patch.

    Attributes:
        classes: (h, w) mapped class, `UNKNOWN` where there is no data.
        error: (h, w) probability that it is wrong; NaN where unknown.
        foreground: (h, w) probability that the ground is not background; NaN where unknown.
    """

    classes: NDArray[np.uint8]
    error: NDArray[np.float64]
    foreground: NDArray[np.float64]

    def judged(self, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the pixels (h, w) asked for whose probabilities are known."""
        known: NDArray[np.bool_] = (self.classes != UNKNOWN) & np.isfinite(self.error) & np.isfinite(self.foreground)
        return asked & known

    def from_empty(self, asked: NDArray[np.bool_]) -> float:
        """Return the expected number of pixels to change from an empty mask, among those asked for (h, w)."""
        return float(self.foreground[self.judged(asked)].sum())

    def from_proposal(self, shown: NDArray[np.uint8], asked: NDArray[np.bool_]) -> float:
        """Return the expected number of pixels to change from a proposal, among those asked for.

        Args:
            shown: (h, w) class that the proposal shows. Where specks were removed it differs from the mapped class; a
                foreground class that fills a speck is taken to be right whenever the mapped class is wrong.
            asked: (h, w) the pixels asked for.
        """
        wrong = np.where(shown == BACKGROUND, self.foreground, 1.0 - self.error)
        wrong = np.where(shown == self.classes, self.error, wrong)
        return float(wrong[self.judged(asked)].sum())
