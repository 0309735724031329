"""What a version looks at, as its card holds it (`models.saliency`): shares of channels, and pictures of blocks."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.errors import NotFoundError


@dataclass(frozen=True)
class DrawnBlock:
    """Where a version looked when it told the classes of a block of a validation scene.

    Attributes:
        number: Which of the card's blocks it is.
        inside: Share of the saliency that lies in the block; the rest is what the network saw around it.
    """

    number: int
    inside: float


def channel_shares(card: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Return the share of each channel by class, the largest first; nothing in cards of earlier releases."""
    found = (card.get("saliency") or {}).get("channels", {})
    return {name: dict(sorted(shares.items(), key=lambda item: -item[1])) for name, shares in found.items()}


def drawn_blocks(card: Mapping[str, Any]) -> dict[tuple[int, int, int], DrawnBlock]:
    """Return the blocks with a picture, by scene, row and column."""
    return {
        (block["scene_id"], block["row"], block["col"]): DrawnBlock(number, block["inside"])
        for number, block in enumerate(_blocks(card))
    }


def block_picture(card: Mapping[str, Any], number: int) -> NDArray[np.float32]:
    """Return the picture of a block, (h, w) from 0 to 1.

    Raises:
        NotFoundError: The card has no such block.
    """
    blocks = _blocks(card)
    if number >= len(blocks):
        raise NotFoundError(f"found no block {number} in the card; it has {len(blocks)}")
    block = blocks[number]
    values = np.frombuffer(base64.b64decode(block["values"]), dtype=np.uint8)
    return values.reshape(block["height"], block["width"]).astype(np.float32) / np.float32(255.0)


def _blocks(card: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list((card.get("saliency") or {}).get("blocks", ()))
