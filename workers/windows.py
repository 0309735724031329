"""Windows of a scene as batches of tensors, and network output as rasters of the scene."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagery.grid import Window, tile
from imagery.scene import SceneReader, SceneSource
from imagery.stitching import Stitcher
from models.inference import predict_windows
from models.segmenter import GlacierSegmenter

T = TypeVar("T")


def batches(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """Split windows, or patches, into batches of at most ``size``."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def read_batch(reader: SceneReader, channels: Sequence[str], windows: Sequence[Window]) -> Tensor:
    """Read windows of one size as a tensor (N, C, h, w) float32 of digital numbers, NaN = nodata."""
    return torch.from_numpy(np.stack([reader.read(channels, window) for window in windows]))


def predict_classes(
    segmenter: GlacierSegmenter, source: SceneSource, patch_size: int, batch_size: int, unknown: int
) -> NDArray[np.uint8]:
    """Predict the class map of a whole scene from half-overlapping windows with blended seams.

    Args:
        segmenter: the network, on its device.
        source: the scene.
        patch_size: side of the windows, pixels; the size that the network was trained on.
        batch_size: windows predicted together.
        unknown: value of pixels without data in any of the network's channels.

    Returns:
        (H, W) uint8 class values.

    Raises:
        SceneError: the scene lacks a channel, is smaller than a window, or cannot be read.
    """
    grid = source.grid
    windows = tile(grid.width, grid.height, patch_size, patch_size // 2)
    stitcher = Stitcher(grid.height, grid.width, segmenter.unet.config.classes)
    invalid = np.zeros((grid.height, grid.width), dtype=bool)
    with SceneReader(source) as reader:
        for batch in batches(windows, batch_size):
            raw = read_batch(reader, segmenter.channels, batch)
            (probabilities,) = predict_windows(segmenter, [raw])
            for window, probability, pixels in zip(batch, probabilities.numpy(), raw.numpy(), strict=True):
                stitcher.add(window, probability)
                invalid[window.slices] |= ~np.isfinite(pixels).all(axis=0)
    classes: NDArray[np.uint8] = stitcher.result().argmax(axis=0).astype(np.uint8)
    classes[invalid] = unknown
    return classes
