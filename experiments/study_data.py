"""The data of a study: its patches, their statistics, and a digest that identifies them."""

import hashlib
import json
from collections.abc import Sequence

import torch

from experiments.areas import StudyArea
from experiments.division import Division
from experiments.patches import PatchReader, PatchSet
from imagery.grid import Window
from imagery.statistics import ChannelStatistics, channel_statistics


class StudyData:
    """The data and the device that trials are computed on."""

    def __init__(self, patches: PatchReader, device: torch.device) -> None:
        """Use a reader of the windows, and a device for the networks."""
        self.patches = patches
        self.device = device
        self._statistics: dict[Division, ChannelStatistics] = {}
        self._identities: dict[Division, str] = {}

    def patch_set(self, division: Division, part: str, channels: Sequence[str]) -> PatchSet:
        """Return the windows of a part ("training", "validation", "test") with some channels."""
        return PatchSet(self.patches, division.named()[part], channels)

    def statistics(self, division: Division, channels: Sequence[str]) -> tuple[list[float], list[float]]:
        """Return the mean and the standard deviation of channels over the training windows only."""
        if division not in self._statistics:
            self._statistics[division] = _statistics(division, self.patches.channels)
        known = self._statistics[division]
        indices = [known.channels.index(name) for name in channels]
        return [known.mean[index] for index in indices], [known.std[index] for index in indices]

    def identity(self, division: Division) -> dict[str, str]:
        """Return what a result depends on besides the trial: pixels and truth of the windows, and the kind of device.

        It does not depend on the paths of the files.
        """
        if division not in self._identities:
            self._identities[division] = self._digest(division)
        return {"windows": self._identities[division], "device": self.device.type}

    def _digest(self, division: Division) -> str:
        digest = hashlib.sha256(json.dumps(self.patches.channels).encode())
        for part, places in division.named().items():
            for place in places:
                window, grid = place.window, place.area.source.grid
                where = [part, grid.crs, grid.transform, window.row_off, window.col_off, window.height, window.width]
                digest.update(json.dumps(where).encode())
                for array in self.patches.patch(place):
                    digest.update(array.tobytes())
        return digest.hexdigest()


def _statistics(division: Division, channels: Sequence[str]) -> ChannelStatistics:
    windows: dict[str, tuple[StudyArea, list[Window]]] = {}
    for place in division.training:
        windows.setdefault(place.area.name, (place.area, []))[1].append(place.window)
    return channel_statistics(((area.source, of_area) for area, of_area in windows.values()), channels)
