"""The boundary loss by hand, against a plain re-statement, and at its edges."""

import numpy as np
import pytest
import torch

from models.boundary_loss import boundary
from models.combined_losses import combined
from tests.models.loss_cases import IGNORE, certain, of_probabilities, random_case


def row(*classes: int) -> torch.Tensor:
    return torch.tensor([[list(classes)]])


def test_shift_within_the_tolerance_costs_nothing():
    """Boundaries at columns 2 and 4 (one row): 2 apart, within reach of a window of 5."""
    assert boundary(certain(row(0, 0, 0, 0, 1, 1, 1, 1), 2), row(0, 0, 1, 1, 1, 1, 1, 1), IGNORE).item() == (
        pytest.approx(0.0, abs=1e-9)
    )


def test_shift_beyond_the_tolerance_costs():
    """Boundaries at columns 2 and 5, 3 apart: P = R = (0 + 1) / (1 + 1) = F1."""
    found = boundary(certain(row(0, 0, 0, 0, 0, 1, 1, 1), 2), row(0, 0, 1, 1, 1, 1, 1, 1), IGNORE)
    assert found.item() == pytest.approx(0.5)


def test_half_sure_prediction():
    """Truth 0 0 1 1, p 1/4 1/4 3/4 3/4: boundary maps 0 0 1 0 and 0 0 1/2 0.

    P = (1/2 + 1) / (1/2 + 1) = 1, R = (1/2 + 1) / (1 + 1) = 3/4, F1 = 6/7.
    """
    found = boundary(of_probabilities([[0.25, 0.25, 0.75, 0.75]]), row(0, 0, 1, 1), IGNORE)
    assert found.item() == pytest.approx(1 / 7)


def test_a_class_without_a_true_boundary_is_left_out():
    """No true boundary: false ice costs nothing and has no gradient, where the mean over both images has one."""
    logits = of_probabilities([[1e-12, 1e-12, 0.5, 1e-12]]).requires_grad_()
    found = boundary(logits, row(0, 0, 0, 0), IGNORE)
    found.backward()
    assert found.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_false_boundary_beside_a_true_one_costs():
    """Truth 0 0 0 0 0 0 0 1, found besides a false pixel of p = 1/2: P = (1 + 1) / (3/2 + 1) = 4/5, R = 1, F1 = 8/9."""
    found = boundary(of_probabilities([[1e-12, 0.5, *[1e-12] * 5, 1 - 1e-12]]), row(0, 0, 0, 0, 0, 0, 0, 1), IGNORE)
    assert found.item() == pytest.approx(1 / 9)


def test_an_absent_class_does_not_raise_the_weight_of_the_others():
    """Class 2 occurs nowhere: the cost is half of class 1's, as in the paper but for a constant."""
    truth, prediction = row(0, 0, 1, 1, 1, 1, 1, 1), row(0, 0, 0, 0, 0, 1, 1, 1)
    assert boundary(certain(prediction, 3), truth, IGNORE).item() == pytest.approx(0.5 / 2)


def test_boundaries_of_background_count_if_asked_for():
    """Background ends in column 1, found in 4: P = R = F1 = 1/2. Class 1 has the boundaries 2 and 5, found 5: P = 1,
    R = 2/3, F1 = 4/5. Class 2 begins in column 6, found."""
    truth, prediction = row(0, 0, 1, 1, 1, 1, 2, 2), certain(row(0, 0, 0, 0, 0, 1, 2, 2), 3)
    assert boundary(prediction, truth, IGNORE).item() == pytest.approx((0.2 + 0.0) / 2)
    assert boundary(prediction, truth, IGNORE, classes="all").item() == pytest.approx((0.5 + 0.2 + 0.0) / 3)
    weights = torch.tensor([3.0, 1.0, 1.0], dtype=torch.float64)
    assert boundary(prediction, truth, IGNORE, weights, "all").item() == pytest.approx((3 * 0.5 + 0.2 + 0.0) / 5)


def test_boundary_next_to_masked_pixels_is_none():
    """The class ends where the mask begins: neither truth nor prediction has a boundary, whatever lies under it."""
    truth = row(1, 1, 1, IGNORE, IGNORE)
    assert boundary(certain(row(1, 1, 1, 0, 0), 2), truth, IGNORE).item() == pytest.approx(0.0, abs=1e-9)
    assert boundary(certain(row(1, 1, 1, 1, 0), 2), truth, IGNORE).item() == pytest.approx(0.0, abs=1e-9)


def test_boundary_at_the_edge_of_the_image_is_none():
    assert boundary(certain(row(1, 1, 1), 2), row(1, 1, 1), IGNORE).item() == pytest.approx(0.0, abs=1e-9)
    assert boundary(certain(row(0, 0, 0), 2), row(1, 1, 1), IGNORE).item() == pytest.approx(0.0, abs=1e-9)


def test_flat_prediction_has_no_boundary_which_is_why_the_loss_fails_alone_and_needs_dice():
    """All ice where there is none costs the boundary loss nothing (Aryal's row alpha = 0); combined, it costs."""
    wrong, nothing = certain(torch.ones(1, 8, 8, dtype=torch.long), 2), torch.zeros(1, 8, 8, dtype=torch.long)
    assert boundary(wrong, nothing, IGNORE).item() == pytest.approx(0.0, abs=1e-9)
    assert combined(wrong, nothing, IGNORE).item() > 0.4


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_plain_loops(seed):
    logits, target = random_case(seed, side=9)
    target[1, 1, 3:6] = IGNORE
    found = boundary(logits, target, IGNORE, torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)).item()
    probability = torch.softmax(logits, dim=1).numpy()
    f1 = [_f1(probability[:, k], (target == k).numpy().astype(float), (target != IGNORE).numpy()) for k in (1, 2)]
    assert found == pytest.approx(1 - (2 * f1[0] + 5 * f1[1]) / 7)


def _f1(prediction: np.ndarray, truth: np.ndarray, judged: np.ndarray) -> float:
    of_prediction, of_truth = _edges(prediction, judged), _edges(truth, judged)
    precision, recall = _matched(of_prediction, of_truth), _matched(of_truth, of_prediction)
    return 2 * precision * recall / (precision + recall)


def _edges(membership: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """How much more a pixel belongs to the class than the judged neighbour that belongs to it least."""
    edges = np.zeros_like(membership)
    for n, r, c in np.argwhere(judged):
        around = (n, slice(max(r - 1, 0), r + 2), slice(max(c - 1, 0), c + 2))
        edges[n, r, c] = membership[n, r, c] - membership[around][judged[around]].min()
    return edges


def _matched(edges: np.ndarray, others: np.ndarray) -> float:
    near = sum(
        edges[n, r, c] * others[n, max(r - 2, 0) : r + 3, max(c - 2, 0) : c + 3].max()
        for n, r, c in np.ndindex(edges.shape)
    )
    return (near + 1) / (edges.sum() + 1)
