"""The weights with the best validation score of a training."""

import math

from torch import Tensor

from models.segmenter import GlacierSegmenter


class BestWeights:
    """The weights with the best validation score so far.

    Attributes:
        score: That score; minus infinity before the first defined one.
        weights: A copy of the network's state dictionary; None before the first defined score.
    """

    def __init__(self) -> None:
        self.score = -math.inf
        self.weights: dict[str, Tensor] | None = None

    def update(self, segmenter: GlacierSegmenter, score: float) -> None:
        """Keep a copy of the weights if the score is the highest so far; NaN never is."""
        if score > self.score:
            self.score = score
            self.weights = {name: tensor.detach().clone() for name, tensor in segmenter.state_dict().items()}

    def restore(self, segmenter: GlacierSegmenter) -> None:
        """Load the best weights; without a defined score keep the current ones."""
        if self.weights is not None:
            segmenter.load_state_dict(self.weights)
