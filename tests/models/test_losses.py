import math

import pytest
import torch
from torch.autograd import gradcheck

from models.losses import LOSSES, class_weights, cross_entropy, dice, dice_cross_entropy

IGNORE = 255


def four_pixels() -> tuple[torch.Tensor, torch.Tensor]:
    """Truth 0 0 1 1; the network gives class 1 the probabilities 1/4, 1/4, 3/4, 3/4."""
    of_one = torch.tensor([0.25, 0.25, 0.75, 0.75], dtype=torch.float64)
    logits = torch.stack([1.0 - of_one, of_one]).log().reshape(1, 2, 2, 2)
    return logits, torch.tensor([0, 0, 1, 1], dtype=torch.uint8).reshape(1, 2, 2)


def random_case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 3, 4, generator=generator, dtype=torch.float64)
    target = torch.randint(3, (2, 3, 4), generator=generator)
    target[0, 0, :2] = IGNORE
    return logits, target


def test_cross_entropy_of_four_pixels():
    assert cross_entropy(*four_pixels(), IGNORE).item() == pytest.approx(-math.log(0.75))


def test_weighted_cross_entropy_of_two_pixels():
    """Costs ln 2 (weight 1) and ln 4 (weight 3): (ln 2 + 3 ln 4) / 4 = 7/4 ln 2."""
    logits = torch.tensor([[0.5, 0.75], [0.5, 0.25]]).log().reshape(1, 2, 1, 2)
    target = torch.tensor([[[0, 1]]])
    found = cross_entropy(logits, target, IGNORE, torch.tensor([1.0, 3.0]))
    assert found.item() == pytest.approx(7 / 4 * math.log(2))


def test_dice_of_four_pixels():
    """Each class: overlap 1.5, squares 2/16 + 2 * 9/16 = 1.25, truth 2: (3 + 1) / (3.25 + 1)."""
    assert dice(*four_pixels(), IGNORE).item() == pytest.approx(1 - 4 / 4.25)


def test_dice_with_other_smoothing():
    assert dice(*four_pixels(), IGNORE, smoothing=0.5).item() == pytest.approx(1 - 3.5 / 3.75)


def test_weighted_dice():
    """Truth 0 0, p(1) = 1/2: dice_0 = (2 + 1) / (0.5 + 2 + 1) = 6/7, dice_1 = 1 / (0.5 + 1) = 2/3."""
    logits, target = torch.zeros(1, 2, 1, 2), torch.zeros(1, 1, 2, dtype=torch.long)
    assert dice(logits, target, IGNORE).item() == pytest.approx(1 - (6 / 7 + 2 / 3) / 2)
    weighted = dice(logits, target, IGNORE, torch.tensor([1.0, 3.0]))
    assert weighted.item() == pytest.approx(1 - (6 / 7 + 3 * 2 / 3) / 4)


def test_dice_cross_entropy_is_the_sum():
    logits, target = random_case()
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    parts = cross_entropy(logits, target, IGNORE, weights) + dice(logits, target, IGNORE, weights)
    assert dice_cross_entropy(logits, target, IGNORE, weights).item() == pytest.approx(parts.item())


@pytest.mark.parametrize("name", LOSSES)
def test_perfect_prediction_costs_nothing(name):
    target = torch.tensor([[[0, 1, 2, 0]]])
    logits = 100.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).float()
    assert LOSSES[name](logits, target, IGNORE, None).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_masked_pixels_change_nothing(name):
    logits, target = four_pixels()
    noise = torch.full((1, 2, 2, 3), 7.0, dtype=torch.float64)
    noise[:, 1] = -3.0
    unknown = torch.full((1, 2, 3), IGNORE, dtype=torch.uint8)
    more = torch.cat([logits, noise], dim=3), torch.cat([target, unknown], dim=2)
    assert LOSSES[name](*more, IGNORE, None).item() == pytest.approx(LOSSES[name](logits, target, IGNORE, None).item())


@pytest.mark.parametrize("name", LOSSES)
def test_batch_is_pooled(name):
    """Two images cost what one image of all their pixels costs: never a mean over images."""
    logits, target = random_case()
    one_image = torch.cat([*logits], dim=1)[None], torch.cat([*target], dim=0)[None]
    pooled = LOSSES[name](*one_image, IGNORE, None)
    assert LOSSES[name](logits, target, IGNORE, None).item() == pytest.approx(pooled.item())


@pytest.mark.parametrize("name", LOSSES)
def test_only_the_ratio_of_weights_matters(name):
    logits, target = random_case()
    uniform = torch.full((3,), 4.0, dtype=torch.float64)
    assert LOSSES[name](logits, target, IGNORE, uniform).item() == pytest.approx(
        LOSSES[name](logits, target, IGNORE, None).item()
    )


@pytest.mark.parametrize("name", LOSSES)
def test_all_background_patch_still_pushes_false_ice_down(name):
    """Losses that skip absent classes give no gradient here, yet acquisition picks such patches."""
    logits = torch.zeros(1, 3, 64, 64, requires_grad=True)
    target = torch.zeros(1, 64, 64, dtype=torch.uint8)
    LOSSES[name](logits, target, IGNORE, None).backward()
    assert (logits.grad[:, 0] < 0).all()
    assert (logits.grad[:, 1:] > 0).all()


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 5.0])])
@pytest.mark.parametrize("name", LOSSES)
def test_batch_without_a_judged_pixel_moves_nothing(name, weights):
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss = LOSSES[name](logits, torch.full((1, 2, 2), IGNORE, dtype=torch.uint8), IGNORE, weights)
    loss.backward()
    assert loss.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_exact(name, weighted):
    logits, target = random_case()
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64) if weighted else None
    assert gradcheck(lambda x: LOSSES[name](x, target, IGNORE, weights), logits.requires_grad_())


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_must_agree(name):
    with pytest.raises(ValueError, match=r"need a target of shape \(1, 2, 2\); found \(1, 4\)"):
        LOSSES[name](torch.zeros(1, 2, 2, 2), torch.zeros(1, 4), IGNORE, None)


@pytest.mark.parametrize(
    ("counts", "weights"),
    [
        ((460, 440, 100), (1, 1, 1)),
        ((800, 180, 20), (1, 1, 5)),
        ((890, 100, 10), (1, 1, 10)),
        ((9990, 9, 1), (1, 10, 10)),
        ((100, 0, 100), (1, 1, 1)),
        ((9.5, 0.5, 0.0), (1, 2, 1)),
    ],
)
def test_class_weights_adapt_to_the_share(counts, weights):
    assert class_weights(counts).tolist() == pytest.approx(weights)


@pytest.mark.parametrize("counts", [(0, 0), (1, -1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="must be >= 0, and at least one positive"):
        class_weights(counts)
