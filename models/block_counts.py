"""Confusion matrices of spatial blocks, by which the gate compares two versions.

The errors of neighbouring pixels are alike, so intervals come from resampling blocks of ground, not pixels. Blocks are
squares of whole cells (`models.area_error.CELL_PX`). Their side depends on the size of the scenes alone, so all
versions that are judged on the same scenes have the same blocks, and two versions can be compared block by block from
their cards, without predicting the scenes again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.area_error import CELL_PX

MOST_BLOCKS: Final = 1024
"""Most blocks of an evaluation set: of 3 classes they take some 60 KB in a card."""


class BlockCounts(BaseModel):
    """The judged pixels of an evaluation set by block, true class and predicted class.

    Attributes:
        classes: K, the number of classes.
        side_px: Side of the blocks, pixels.
        places: For each block the number of its scene, its row and its column; only blocks with judged pixels.
        counts: For each block its confusion matrix row by row, K * K numbers; rows are the truth.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classes: Annotated[int, Field(ge=2)]
    side_px: Annotated[int, Field(ge=1)]
    places: tuple[tuple[int, int, int], ...]
    counts: tuple[tuple[int, ...], ...]

    @model_validator(mode="after")
    def _check_lengths(self) -> "BlockCounts":
        lengths = [len(of_block) for of_block in self.counts]
        if lengths != [self.classes**2] * len(self.places):
            raise ValueError(
                f"found {len(lengths)} blocks of {sorted(set(lengths))} counts, expected {len(self.places)} blocks of "
                f"{self.classes**2}"
            )
        return self

    @property
    def place(self) -> NDArray[np.int64]:
        """Number of the scene, row and column of each block: (B, 3)."""
        return np.array(self.places, dtype=np.int64).reshape(-1, 3)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrices (B, K, K); rows are the truth, columns the prediction."""
        return np.array(self.counts, dtype=np.int64).reshape(-1, self.classes, self.classes)

    @classmethod
    def of_scenes(cls, scenes: Sequence["SceneBlocks"]) -> "BlockCounts":
        """Join the blocks of scenes, all with one side; scenes are numbered in their order. At least one scene."""
        places: list[tuple[int, int, int]] = []
        counts: list[tuple[int, ...]] = []
        for number, scene in enumerate(scenes):
            judged = np.argwhere(scene.counts.sum(axis=(2, 3)) > 0).tolist()
            places += [(number, row, col) for row, col in judged]
            counts += [tuple(scene.counts[row, col].ravel().tolist()) for row, col in judged]
        return cls(
            classes=scenes[0].counts.shape[2], side_px=scenes[0].side_px, places=tuple(places), counts=tuple(counts)
        )


@dataclass(frozen=True)
class SceneBlocks:
    """The blocks of one scene while it is judged.

    Attributes:
        side_px: Side of the blocks, pixels.
        counts: (rows, columns, K, K) confusion matrix of each block, added up in place.
    """

    side_px: int
    counts: NDArray[np.int64]

    @classmethod
    def empty(cls, size: tuple[int, int], classes: int, side_px: int) -> "SceneBlocks":
        """Return zeros for a scene of this many rows and columns of pixels, and K classes."""
        rows, columns = (-(-pixels // side_px) for pixels in size)
        return cls(side_px, np.zeros((rows, columns, classes, classes), dtype=np.int64))

    def add(self, predicted: NDArray[np.uint8], truth: NDArray[np.uint8], first_row: int, unknown: int) -> None:
        """Count the pixels of whole rows of the scene.

        Args:
            predicted: (h, W) predicted classes.
            truth: (h, W) true classes.
            first_row: Row of the scene that the rows begin with.
            unknown: Value, in either, of pixels that are not counted.
        """
        _, columns, classes, _ = self.counts.shape
        block_row, block_col = ((first_row + np.arange(len(truth))) // self.side_px, np.arange(truth.shape[1]))
        block = block_row[:, None] * columns + block_col // self.side_px
        judged = (truth != unknown) & (predicted != unknown)
        keys = (block[judged] * classes + truth[judged]) * classes + predicted[judged]
        self.counts[...] += np.bincount(keys, minlength=self.counts.size).reshape(self.counts.shape)

    @property
    def confusion(self) -> NDArray[np.int64]:
        """Confusion matrix (K, K) of the whole scene."""
        total: NDArray[np.int64] = self.counts.sum(axis=(0, 1))
        return total


def block_side(sizes: Sequence[tuple[int, int]]) -> int:
    """Return the side in pixels of the blocks in which scenes are judged together.

    Args:
        sizes: Rows and columns of pixels of each scene.

    Returns:
        The smallest of `CELL_PX` times 1, 2, 4, ... that makes at most `MOST_BLOCKS`.
    """
    side = CELL_PX
    while sum(-(-height // side) * -(-width // side) for height, width in sizes) > MOST_BLOCKS:
        side *= 2
    return side
