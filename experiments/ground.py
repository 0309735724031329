"""The ground of an experiment, ready to be learnt from: patches, their statistics, and where to compute."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from experiments.areas import StudyArea
from experiments.division import Division
from experiments.patches import PatchReader, PatchSet
from imagery.grid import Window
from imagery.statistics import ChannelStatistics, channel_statistics


@dataclass(frozen=True, eq=False)
class Ground:
    """What cells are computed on.

    Attributes:
        patches: Reads the windows.
        device: Where networks run.
    """

    patches: PatchReader
    device: torch.device

    def patch_set(self, division: Division, part: str, channels: Sequence[str]) -> PatchSet:
        """The windows of a part ("training", "validation", "test") with some channels."""
        return PatchSet(self.patches, division.named()[part], channels)

    def statistics(self, division: Division, channels: Sequence[str]) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of channels over the training windows alone."""
        known = _statistics(self, division)
        indices = [known.channels.index(name) for name in channels]
        return [known.mean[index] for index in indices], [known.std[index] for index in indices]


@lru_cache(maxsize=8)
def _statistics(ground: Ground, division: Division) -> ChannelStatistics:
    windows: dict[str, tuple[StudyArea, list[Window]]] = {}
    for place in division.training:
        windows.setdefault(place.area.name, (place.area, []))[1].append(place.window)
    return channel_statistics(((area.source, of_area) for area, of_area in windows.values()), ground.patches.channels)
