"""The pixel and area losses on cases that a reader can work out."""

import math

import pytest
import torch

from models.boundary_loss import boundary
from models.combined_losses import combined, dice_cross_entropy
from models.cross_entropy_losses import binary_cross_entropy, cross_entropy, generalized_cross_entropy
from models.dice_losses import dice, label_smoothed_dice, masked_dice
from tests.models.loss_cases import IGNORE, four_pixels, of_probabilities, random_case


def test_cross_entropy_of_four_pixels():
    assert cross_entropy(*four_pixels(), IGNORE).item() == pytest.approx(-math.log(0.75))


def test_generalized_cross_entropy_of_two_pixels():
    """Of p = 1/2 (weight 1) and p = 1/4 (weight 3): (1 - 2^-0.7 + 3 (1 - 4^-0.7)) / 4 / 0.7."""
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    found = generalized_cross_entropy(of_probabilities([[0.5, 0.25]]), torch.tensor([[[0, 1]]]), IGNORE, weights)
    assert found.item() == pytest.approx((4 - 2**-0.7 - 3 * 4**-0.7) / 4 / 0.7)


def test_generalized_cross_entropy_is_bounded_where_the_truth_is_contradicted():
    logits = torch.tensor([60.0, -60.0])[None, :, None, None]
    assert generalized_cross_entropy(logits, torch.tensor([[[1]]]), IGNORE).item() == pytest.approx(1 / 0.7)


def test_weighted_cross_entropy_of_two_pixels():
    """Costs ln 2 (weight 1) and ln 4 (weight 3): (ln 2 + 3 ln 4) / 4 = 7/4 ln 2."""
    weights = torch.tensor([1.0, 3.0], dtype=torch.float64)
    found = cross_entropy(of_probabilities([[0.5, 0.25]]), torch.tensor([[[0, 1]]]), IGNORE, weights)
    assert found.item() == pytest.approx(7 / 4 * math.log(2))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 3.0], dtype=torch.float64)])
def test_binary_cross_entropy_of_two_classes_is_cross_entropy(weights):
    logits, target = random_case()
    target = target.where(target != 2, 1)
    two = logits[:, :2]
    found = binary_cross_entropy(two, target, IGNORE, weights).item()
    assert found == pytest.approx(cross_entropy(two, target, IGNORE, weights).item())
    z = (two[:, 1] - two[:, 0])[target != IGNORE]
    truth = target[target != IGNORE].double()
    weight = None if weights is None else weights[truth.long()]
    reference = torch.nn.functional.binary_cross_entropy_with_logits(z, truth, weight=weight, reduction="sum")
    assert found == pytest.approx((reference / (len(z) if weight is None else weight.sum())).item())


def test_binary_cross_entropy_of_three_classes_is_the_mean_of_each_foreground_class_against_the_rest():
    """One pixel of class 1 with p = 1/4, 1/2, 1/4: -ln 1/2 for class 1, -ln 3/4 for class 2."""
    logits = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64).log().reshape(1, 3, 1, 1)
    found = binary_cross_entropy(logits, torch.tensor([[[1]]]), IGNORE)
    assert found.item() == pytest.approx((math.log(2) + math.log(4 / 3)) / 2)


def test_dice_of_four_pixels():
    """Each class: overlap 1.5, squares 2/16 + 2 * 9/16 = 1.25, truth 2: (3 + 1) / (3.25 + 1)."""
    assert dice(*four_pixels(), IGNORE).item() == pytest.approx(1 - 4 / 4.25)


def test_weighted_dice():
    """Truth 0 0, p(1) = 1/2: dice_0 = (2 + 1) / (0.5 + 2 + 1) = 6/7, dice_1 = 1 / (0.5 + 1) = 2/3."""
    logits, target = torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 2, dtype=torch.long)
    assert dice(logits, target, IGNORE).item() == pytest.approx(1 - (6 / 7 + 2 / 3) / 2)
    weighted = dice(logits, target, IGNORE, torch.tensor([1.0, 3.0]))
    assert weighted.item() == pytest.approx(1 - (6 / 7 + 3 * 2 / 3) / 4)


def test_label_smoothed_dice_of_two_pixels():
    """Truth 0 1 smoothed to .9 .1 / .1 .9, p = 1/2: overlap .5, squares .5 and .82 for each class: 2 / 2.32."""
    logits, target = torch.zeros(1, 2, 1, 2), torch.tensor([[[0, 1]]])
    assert label_smoothed_dice(logits, target, IGNORE).item() == pytest.approx(1 - 2 / 2.32)


def test_label_smoothed_dice_is_least_where_the_probabilities_are_the_smoothed_truth():
    target = torch.tensor([[[0, 1]]])
    at_truth = label_smoothed_dice(of_probabilities([[0.1, 0.9]]), target, IGNORE).item()
    assert at_truth == pytest.approx(0.0, abs=1e-12)
    assert label_smoothed_dice(of_probabilities([[0.01, 0.99]]), target, IGNORE).item() > 0.001


def test_masked_dice_is_unsquared_and_of_the_foreground_alone():
    """Class 1 of the four pixels: overlap 1.5, sum p = 2, sum g = 2: (3 + 1) / (4 + 1)."""
    assert masked_dice(*four_pixels(), IGNORE).item() == pytest.approx(1 - 4 / 5)


def test_masked_dice_honours_the_mask():
    """Without the last pixel: overlap .75, sum p = 1.25, sum g = 1: 2.5 / 3.25."""
    logits, target = four_pixels()
    target[0, 1, 1] = IGNORE
    assert masked_dice(logits, target, IGNORE).item() == pytest.approx(1 - 2.5 / 3.25)


def test_masked_dice_of_two_foreground_classes_is_their_weighted_mean():
    """One pixel of class 1, p = 1/4, 1/4, 1/2: dice_1 = (1/2 + 1) / (1/4 + 1 + 1), dice_2 = 1 / (1/2 + 1)."""
    logits = torch.tensor([0.25, 0.25, 0.5], dtype=torch.float64).log().reshape(1, 3, 1, 1)
    target = torch.tensor([[[1]]])
    of_one, of_two = 1.5 / 2.25, 1 / 1.5
    assert masked_dice(logits, target, IGNORE).item() == pytest.approx(1 - (of_one + of_two) / 2)
    weighted = masked_dice(logits, target, IGNORE, torch.tensor([9.0, 1.0, 3.0]))
    assert weighted.item() == pytest.approx(1 - (of_one + 3 * of_two) / 4)


def test_dice_cross_entropy_is_the_sum():
    inputs = (*random_case(), IGNORE, torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))
    assert dice_cross_entropy(*inputs).item() == pytest.approx((cross_entropy(*inputs) + dice(*inputs)).item())


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_combined_is_the_weighted_sum(alpha):
    inputs = (*random_case(), IGNORE, None)
    parts = alpha * masked_dice(*inputs) + (1 - alpha) * boundary(*inputs)
    assert combined(*inputs, alpha=alpha).item() == pytest.approx(parts.item())


def test_combined_with_alpha_a_half_and_nine_tenths_differ_unlike_the_rows_of_aryals_table():
    """Trap: the rows alpha = 0.5 and 0.9 of Aryal's Table 3 are the same numbers."""
    inputs = (*random_case(), IGNORE, None)
    assert abs(combined(*inputs, alpha=0.5) - combined(*inputs, alpha=0.9)) > 0.01


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_alpha_outside_its_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"it must lie in \[0, 1\]"):
        combined(*four_pixels(), IGNORE, None, alpha=alpha)
