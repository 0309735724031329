import numpy as np
import pytest
from pydantic import ValidationError

from models.block_counts import BlockCounts, SceneBlocks, block_side

UNKNOWN = 255


def test_pixels_are_counted_in_their_block() -> None:
    """A scene of 2 x 2 blocks of 32 px, the last ones cut off; rows are given in two parts."""
    truth = np.zeros((40, 50), dtype=np.uint8)
    truth[35, 40] = 1  # in the last block
    predicted = np.zeros_like(truth)
    predicted[0, :2] = 1  # two pixels of the first block are wrong
    truth[:32, 32:] = UNKNOWN  # the second block is not judged
    blocks = SceneBlocks.empty(truth.shape, 2, 32)
    for rows in (slice(0, 33), slice(33, 40)):
        blocks.add(predicted[rows], truth[rows], rows.start, UNKNOWN)
    found = BlockCounts.of_scenes([blocks])
    assert found.places == ((0, 0, 0), (0, 1, 0), (0, 1, 1))
    assert found.counts == ((1022, 2, 0, 0), (256, 0, 0, 0), (143, 0, 1, 0))
    assert blocks.confusion.tolist() == [[1421, 2], [1, 0]]


def test_pixels_without_a_prediction_are_not_counted() -> None:
    blocks = SceneBlocks.empty((32, 32), 2, 32)
    blocks.add(np.full((32, 32), UNKNOWN, np.uint8), np.zeros((32, 32), np.uint8), 0, UNKNOWN)
    assert BlockCounts.of_scenes([blocks]).places == ()


def test_scenes_are_numbered() -> None:
    scenes = [SceneBlocks.empty((32, 32), 2, 32) for _ in range(2)]
    for scene in scenes:
        scene.add(np.ones((32, 32), np.uint8), np.ones((32, 32), np.uint8), 0, UNKNOWN)
    found = BlockCounts.of_scenes(scenes)
    assert found.place.tolist() == [[0, 0, 0], [1, 0, 0]]
    assert found.confusion.tolist() == [[[0, 0], [0, 1024]]] * 2


@pytest.mark.parametrize(("sizes", "side"), [([(655, 200)], 32), ([(1024, 1024)], 32), ([(1024, 1024)] * 2, 64)])
def test_large_scenes_have_larger_blocks(sizes: list[tuple[int, int]], side: int) -> None:
    assert block_side(sizes) == side


def test_matrices_of_the_wrong_size_are_refused() -> None:
    with pytest.raises(ValidationError, match="expected 1 blocks of 4"):
        BlockCounts(classes=2, side_px=32, places=((0, 0, 0),), counts=((1, 2, 3),))
