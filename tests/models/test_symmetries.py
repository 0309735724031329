import pytest
import torch

from models.symmetries import SYMMETRIES, apply_symmetry, undo_symmetry

CORNERS = torch.arange(6).reshape(1, 2, 3)


def test_the_eight_are_all_different():
    square = torch.arange(9).reshape(3, 3)
    assert len({tuple(apply_symmetry(square, number).flatten().tolist()) for number in range(SYMMETRIES)}) == 8


@pytest.mark.parametrize("number", range(SYMMETRIES))
def test_each_is_undone(number):
    turned = apply_symmetry(CORNERS, number)
    assert turned.shape == ((1, 3, 2) if number % 2 else (1, 2, 3))
    assert torch.equal(undo_symmetry(turned, number), CORNERS)
