"""Exponential moving average (EMA) of the weights of a network during its training (Polyak & Juditsky 1992).

The decay rises with the number of updates, so that the first steps of a short training do not weigh on its result: with
a fixed decay of 0.99, the weights after the first of 100 steps would make up 37 % of the average.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from models.segmenter import GlacierSegmenter


class WeightAverage:
    """The average of a network's weights after each step."""

    def __init__(self, segmenter: GlacierSegmenter, decay: float) -> None:
        """Copy a network, on its device.

        Args:
            segmenter: The network; not modified.
            decay: The highest decay, in (0, 1); after n updates it is min(``decay``, (1 + n) / (10 + n)), as in
                TensorFlow's ``ExponentialMovingAverage``.
        """
        self._decay = decay
        # The running statistics of batch norms are averaged with the weights whose activations they describe. Without
        # use_buffers the average would use the statistics of the last weights.
        self._averaged = AveragedModel(segmenter, multi_avg_fn=self._average, use_buffers=True)

    @property
    def network(self) -> GlacierSegmenter:
        """The network with the averaged weights; before the first update, the initial ones."""
        return cast("GlacierSegmenter", self._averaged.module)

    def update(self, segmenter: GlacierSegmenter) -> None:
        """Add the present weights of the network; the first update replaces the initial ones."""
        self._averaged.update_parameters(segmenter)

    def state(self) -> dict[str, Tensor]:
        """Return the averaged weights and the number of updates."""
        state: dict[str, Tensor] = self._averaged.state_dict()
        return state

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the result of `state`."""
        self._averaged.load_state_dict(tensors)

    def _average(self, averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        """Move averaged tensors, all of one data type, towards the current ones; copy counters of batches."""
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(list(averaged), list(current))
            return
        updates = int(count)
        decay = min(self._decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(list(averaged), list(current), 1.0 - decay)
