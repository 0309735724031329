"""The windows of study areas as arrays, read once with all channels and cached in memory."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.areas import StudyArea
from experiments.division import Place
from imagery.channels import FURTHER_TERRAIN
from imagery.classes import UNKNOWN
from imagery.grid import Window
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from models.pixels import LabelledPatch
from workers.windows import batch_size_for, batches

KEPT_BYTES: Final = 2 * 2**30  # further windows are read whenever they are needed
LARGEST_BATCH: Final = 64


def common_channels(areas: Sequence[StudyArea]) -> tuple[str, ...]:
    """Return the channels that all areas have, in the order of the first, but for terrain that no paper uses."""
    common = set.intersection(*(set(area.source.channel_names) - set(FURTHER_TERRAIN) for area in areas))
    return tuple(name for name in areas[0].source.channel_names if name in common)


class PatchReader:
    """Reads windows with their true classes; a context manager that closes the files."""

    def __init__(self, areas: Sequence[StudyArea]) -> None:
        self.channels = common_channels(areas)
        """The channels of the windows."""
        self._stack = ExitStack()
        self._readers: dict[str, SceneReader] = {}
        self._kept: dict[tuple[str, Window], LabelledPatch] = {}
        self._kept_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._readers.clear()
        self._stack.close()

    def patch(self, place: Place) -> LabelledPatch:
        """Return a window with all `channels`.

        Returns:
            Raw values (C, h, w), NaN = nodata, and the true classes (h, w), unknown where any band has no data, so that
            all networks are scored on the same pixels, whatever their channels.

        Raises:
            SceneError: The window cannot be read.
        """
        key = place.area.name, place.window
        if key in self._kept:
            return self._kept[key]
        patch = self._read(place)
        size = sum(array.nbytes for array in patch)
        if self._kept_bytes + size <= KEPT_BYTES:
            self._kept[key] = patch
            self._kept_bytes += size
        return patch

    def _read(self, place: Place) -> LabelledPatch:
        bands = place.area.source.band_names
        names = tuple(dict.fromkeys((*self.channels, *bands)))  # an area can have bands that others lack
        raw = self._reader(place.area).read(names, place.window)
        mask = np.array(read_map(place.area.truth, place.window), dtype=np.uint8)
        mask[np.isnan(raw[[names.index(band) for band in bands]]).any(axis=0)] = UNKNOWN
        return raw[: len(self.channels)], mask

    def _reader(self, area: StudyArea) -> SceneReader:
        if area.name not in self._readers:
            self._readers[area.name] = self._stack.enter_context(SceneReader(area.source))
        return self._readers[area.name]


class PatchSet:
    """Windows with some of the channels: a data set for training, and an iterator of arrays."""

    def __init__(self, reader: PatchReader, places: Sequence[Place], channels: Sequence[str]) -> None:
        """Select windows and channels.

        Args:
            reader: Reader of the windows.
            places: The windows.
            channels: Some of `PatchReader.channels`, in any order.
        """
        self._reader = reader
        self._places = places
        self._indices = [reader.channels.index(name) for name in channels]

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._places)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return raw values (C, h, w) float32 with NaN = nodata, and the truth (h, w) uint8."""
        raw, mask = self._patch(self._places[index])
        return torch.from_numpy(raw), torch.from_numpy(mask)

    def arrays(self) -> Iterator[LabelledPatch]:
        """Yield the same as arrays, one by one."""
        for place in self._places:
            yield self._patch(place)

    def batches(self) -> Iterator[tuple[Tensor, list[NDArray[np.uint8]]]]:
        """Yield batches that fit into memory: raw values (N, C, h, w), and the truth (h, w) of each window."""
        for places in batches(self._places, batch_size_for(self._places[0].window.height, LARGEST_BATCH)):
            patches = [self._patch(place) for place in places]
            yield torch.from_numpy(np.stack([raw for raw, _ in patches])), [mask for _, mask in patches]

    def _patch(self, place: Place) -> LabelledPatch:
        raw, mask = self._reader.patch(place)
        return raw[self._indices], mask
