"""The picture of a block in the card of a version."""

import base64

import numpy as np
import pytest

from models.saliency import LARGEST_PICTURE_PX, BlockSaliency

PLACE = (7, 2, 3)


def picture_of(block: BlockSaliency) -> np.ndarray:
    return np.frombuffer(base64.b64decode(block.values), np.uint8).reshape(block.height, block.width)


def test_a_small_block_is_drawn_pixel_by_pixel_up_to_its_99th_percentile() -> None:
    """Of 100 pixels one is 1000 and the others 2 or 4: the percentile is between 4 and 1000, near 4."""
    saliency = np.zeros((12, 14), dtype=np.float32)
    saliency[2:12, 4:14] = 2.0
    saliency[2:7, 4:14] = 4.0
    saliency[11, 13] = 1000.0
    block = BlockSaliency.of(saliency, (slice(2, 12), slice(4, 14)), PLACE)
    assert (block.scene_id, block.row, block.col, block.height, block.width) == (*PLACE, 10, 10)
    assert block.inside == 1.0
    brightest = np.percentile(saliency[2:12, 4:14], 99)
    assert brightest == pytest.approx(4 + 0.01 * 996, rel=1e-3)  # one hundredth of the way from the last but one
    expected = np.full((10, 10), round(255 * 2 / brightest))
    expected[:5] = round(255 * 4 / brightest)
    expected[9, 9] = 255
    np.testing.assert_array_equal(picture_of(block), expected)


def test_a_large_block_is_averaged_and_what_lies_around_it_is_counted() -> None:
    """160 pixels are drawn as 54 means of three, the last of them of one row or column."""
    saliency = np.ones((160, 320), dtype=np.float32)
    saliency[:, 160:] = np.where(np.arange(160) % 3 == 0, 6.0, 3.0)
    block = BlockSaliency.of(saliency, (slice(0, 160), slice(160, 320)), PLACE)
    assert max(block.height, block.width) <= LARGEST_PICTURE_PX
    expected = np.full((54, 54), 255 * 4.0 / 6.0)
    expected[:, -1] = 255  # column 159 alone, a multiple of three
    np.testing.assert_array_equal(picture_of(block), expected.round())
    inside = 160 * (54 * 6 + 106 * 3)
    assert block.inside == pytest.approx(inside / (inside + 160 * 160))


def test_a_network_that_looks_nowhere_has_a_dark_picture() -> None:
    block = BlockSaliency.of(np.zeros((8, 8), dtype=np.float32), (slice(0, 4), slice(0, 4)), PLACE)
    assert (picture_of(block).max(), block.inside) == (0, 0.0)
