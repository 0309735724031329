"""What a version looks at, as its card holds it: shares of channels, and pictures of blocks (`models.explanations`)."""

import base64
from typing import Annotated, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch.nn import functional as F

from models.probe import Base64

LARGEST_PICTURE_PX: Final = 64
"""Longest side of a picture: a card is JSON that every client fetches."""
BRIGHTEST_PERCENTILE: Final = 99.0
"""What lies above it is as bright: single pixels would leave the rest dark."""


class BlockSaliency(BaseModel):
    """Where a network looked when it told the classes of a block of a validation scene.

    Attributes:
        scene_id: The scene.
        row: Number of the block from the top of the scene.
        col: Number of the block from its left edge.
        height: Rows of the picture, at most `LARGEST_PICTURE_PX`.
        width: Its columns.
        values: (height, width) uint8, base64: the saliency map in 255ths of its 99th percentile.
        inside: Share of the saliency that lies in the block; the rest is what the network saw around it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    scene_id: int
    row: int = Field(ge=0)
    col: int = Field(ge=0)
    height: int = Field(ge=1, le=LARGEST_PICTURE_PX)
    width: int = Field(ge=1, le=LARGEST_PICTURE_PX)
    values: Base64
    inside: Annotated[float, Field(ge=0, le=1)]

    @classmethod
    def of(
        cls, saliency: NDArray[np.float32], block: tuple[slice, slice], place: tuple[int, int, int]
    ) -> "BlockSaliency":
        """Draw a block.

        Args:
            saliency: (h, w) saliency map of the block's pixels in a window around it.
            block: Rows and columns of the block in the window.
            place: Id of the scene, row and column of the block.
        """
        part = saliency[block]
        side = -(-max(part.shape) // LARGEST_PICTURE_PX)
        small = F.avg_pool2d(torch.from_numpy(part[None]), side, ceil_mode=True, count_include_pad=False)[0].numpy()
        brightest = float(np.percentile(small, BRIGHTEST_PERCENTILE))
        shown = np.clip(small / brightest, 0.0, 1.0) if brightest > 0 else np.zeros_like(small)
        total = float(saliency.sum(dtype=np.float64))
        return cls(
            scene_id=place[0],
            row=place[1],
            col=place[2],
            height=small.shape[0],
            width=small.shape[1],
            values=base64.b64encode((255 * shown).round().astype(np.uint8).tobytes()).decode(),
            inside=min(1.0, float(part.sum(dtype=np.float64)) / total) if total > 0 else 0.0,
        )


class Saliency(BaseModel):
    """What a version looks at on its validation scenes.

    Attributes:
        windows: Number of windows that the shares are of.
        channels: Share of each channel in the saliency of each foreground class; they add up to 1, or are 0 if
            the class depends on none.
        blocks: Some blocks that it maps better or worse than the champion.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    windows: int = Field(ge=0)
    channels: dict[str, dict[str, float]]
    blocks: tuple[BlockSaliency, ...] = ()
