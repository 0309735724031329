"""A torch dataset of the windows of validation scenes, for presets that watch the validation loss."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from catalog.records import Scene
from imagery.classes import UNKNOWN
from imagery.grid import tile
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from services import raster_keys
from services.scenes import source_of


class ValidationWindowDataset(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Windows side by side over whole scenes; the last of a row or column reach back to end at the scene's edge.

    An item is (raw, truth): raw float32 (C, h, w) with NaN = nodata; truth uint8 (h, w) of class values, unknown where
    a band or index has no data. Windows are read whenever they are needed.
    """

    def __init__(self, scenes: Sequence[Scene], channels: Sequence[str], patch_size: int, store: RasterStore) -> None:
        """Tile scenes.

        Args:
            scenes: ready scenes with outlines.
            channels: the network's channels, in order.
            patch_size: side of the windows, pixels.
            store: where the truth is.

        Raises:
            SceneError: a scene is smaller than a window.
        """
        described = [(source_of(scene), store.uri(raster_keys.truth(scene.id))) for scene in scenes]
        self._windows = [
            (source, truth, window)
            for source, truth in described
            for window in tile(source.grid.width, source.grid.height, patch_size)
        ]
        self._channels = channels

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self._windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Read one window; SceneError if it cannot be read."""
        source, truth_map, window = self._windows[index]
        with SceneReader(source) as reader:
            raw = reader.read(self._channels, window)
        truth = np.array(read_map(truth_map, window), dtype=np.uint8)
        truth[np.isnan(raw[list(source.measured(self._channels))]).any(axis=0)] = UNKNOWN
        return torch.from_numpy(raw), torch.from_numpy(truth)
