"""A torch dataset of the labelled patches of a training run."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from catalog.records import Label
from imagery.classes import UNKNOWN, ClassScheme
from imagery.grid import Window
from imagery.masks import mask_from_geotiff
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from services.composed_labels import compose_labels
from services.scenes import source_of, window_of

CACHE_BYTES = 2 * 2**30  # patches beyond this limit are read from their files each time


class LabelledPatchDataset(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Labelled patches with their masks; several labels of one patch are combined.

    An item is (raw, mask): raw float32 (C, h, w) in the channels' units, NaN = nodata; mask uint8 (h, w) of class
    values. Pixels under masked flags (cloud, ...) or without data in a band or index are masked/unknown, whatever was
    drawn on them; a gap in elevation or an extra channel alone leaves the label.

    Args:
        labels: rows with their proposal, their patch and its scene loaded.
        channels: the network's channels, in order.
        store: where the masks are.
        scheme: the classes of the masks.
    """

    def __init__(
        self, labels: Sequence[Label], channels: Sequence[str], store: RasterStore, scheme: ClassScheme
    ) -> None:
        by_patch: dict[int, list[Label]] = {}
        for label in labels:
            by_patch.setdefault(label.patch_id, []).append(label)
        self._patches = [(of_patch[0].patch, of_patch) for of_patch in by_patch.values()]
        self._channels = channels
        self._store = store
        self._scheme = scheme
        self._cache: dict[int, tuple[Tensor, Tensor]] = {}
        self._cached_bytes = 0

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index not in self._cache:
            with SceneReader(source_of(self._patches[index][0].scene)) as reader:
                item = self._read(reader, index)
            self._cache_item(index, item)
            return item
        return self._cache[index]

    @property
    def teaches(self) -> bool:
        """Whether any pixel has a class. Reads patches until one has."""
        return any(bool((self[index][1] != UNKNOWN).any()) for index in range(len(self)))

    def fill(self) -> None:
        """Read patches into the cache, scene by scene, until all are cached or the cache is full."""
        by_scene = sorted(range(len(self)), key=self._scene_id)
        for _, indices in groupby(by_scene, key=self._scene_id):
            of_scene = list(indices)
            with SceneReader(source_of(self._patches[of_scene[0]][0].scene)) as reader:
                for index in of_scene:
                    if not self._cache_item(index, self._read(reader, index)):
                        return

    def _scene_id(self, index: int) -> int:
        return self._patches[index][0].scene_id

    def _cache_item(self, index: int, item: tuple[Tensor, Tensor]) -> bool:
        """Cache an item; return False if the cache is full."""
        size = sum(tensor.nbytes for tensor in item)
        if self._cached_bytes + size > CACHE_BYTES:
            return False
        self._cache[index] = item
        self._cached_bytes += size
        return True

    def _read(self, reader: SceneReader, index: int) -> tuple[Tensor, Tensor]:
        patch, labels = self._patches[index]
        mask = compose_labels(labels, self._mask, patch.size_px, UNKNOWN)
        return read_item(reader, self._channels, window_of(patch), mask)

    def _mask(self, label: Label) -> NDArray[np.uint8]:
        return mask_from_geotiff(self._store.get(label.mask_key, label.mask_sha256), self._scheme)


def read_item(
    reader: SceneReader, channels: Sequence[str], window: Window, mask: NDArray[np.uint8]
) -> tuple[Tensor, Tensor]:
    """Read a patch to learn from: raw float32 (C, h, w), and its mask (h, w), unknown where a band or index is NaN.

    Args:
        reader: the open scene.
        channels: the network's channels, in order.
        window: where the patch is.
        mask: (h, w) class values; changed in place.
    """
    raw = reader.read(channels, window)
    mask[np.isnan(raw[list(reader.source.measured(channels))]).any(axis=0)] = UNKNOWN
    return torch.from_numpy(raw), torch.from_numpy(mask)
