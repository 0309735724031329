"""The self-learning boundary-aware loss: its value, and where its weights go."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from models.boundary_loss import boundary
from models.dice_losses import masked_dice
from models.slba_loss import SelfLearningBoundaryAwareLoss
from tests.models.loss_cases import IGNORE, random_case


def with_weights(a1: float, a2: float) -> SelfLearningBoundaryAwareLoss:
    loss = SelfLearningBoundaryAwareLoss().double()
    with torch.no_grad():
        loss.log_a.copy_(torch.tensor([a1, a2]).log())
    return loss


@pytest.mark.parametrize(("a1", "a2"), [(1.0, 1.0), (0.5, 2.0), (2.0, 3.0), (0.5, 0.25)])
def test_value_is_that_of_aryals_equation(a1, a2):
    inputs = (*random_case(), IGNORE, None)
    expected = masked_dice(*inputs) / (2 * a1**2) + boundary(*inputs) / (2 * a2**2) + abs(math.log(a1 * a2))
    assert with_weights(a1, a2)(*inputs).item() == pytest.approx(expected.item(), rel=1e-6)


def test_starts_with_both_weights_at_one():
    assert SelfLearningBoundaryAwareLoss().learned() == {
        "a1": 1.0,
        "a2": 1.0,
        "masked_dice_weight": 0.5,
        "boundary_weight": 0.5,
    }


def test_reports_the_weights_of_aryals_figure():
    learned = with_weights(0.5, 2.0).learned()
    assert learned == pytest.approx({"a1": 0.5, "a2": 2.0, "masked_dice_weight": 2.0, "boundary_weight": 0.125})


@pytest.mark.parametrize(("a1", "a2"), [(2.0, 3.0), (0.5, 0.25)])
def test_gradient_of_the_learned_weights_is_exact_off_the_kink(a1, a2):
    loss = with_weights(a1, a2)
    logits, target = random_case()
    assert gradcheck(
        lambda x, w: torch.func.functional_call(loss, {"log_a": w}, (x, target, IGNORE)),
        (logits.requires_grad_(), loss.log_a.detach().clone().requires_grad_()),
    )


def test_on_the_kink_the_subgradient_of_the_penalty_is_zero():
    """At a1 = a2 = 1 only the terms pull: d/d(ln a1) = -M, d/d(ln a2) = -B."""
    inputs = (*random_case(), IGNORE, None)
    loss = with_weights(1.0, 1.0)
    loss(*inputs).backward()
    assert loss.log_a.grad.tolist() == pytest.approx([-masked_dice(*inputs).item(), -boundary(*inputs).item()])


@pytest.mark.parametrize("start", [(1.0, 1.0), (3.0, 2.0), (0.3, 0.4)])
def test_learned_weights_settle_on_the_kink_where_their_product_is_one(start):
    """For fixed terms M, B: a1 = (M / B)^(1/4) = 1 / a2, and the loss is sqrt(M B). No divergence."""
    inputs = (*random_case(), IGNORE, None)
    m, b = masked_dice(*inputs).item(), boundary(*inputs).item()
    loss = with_weights(*start)
    optimiser = torch.optim.SGD(loss.parameters(), lr=0.05)
    for step in range(400):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
        optimiser.zero_grad()
        loss(*inputs).backward()
        optimiser.step()
    learned = loss.learned()
    assert learned["a1"] * learned["a2"] == pytest.approx(1.0, abs=0.01)
    assert learned["a1"] == pytest.approx((m / b) ** 0.25, abs=0.01)
    assert loss(*inputs).item() == pytest.approx(math.sqrt(m * b), abs=0.01)


def test_training_moves_the_weights_and_stays_finite():
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(1, 12, 12, dtype=torch.long)
    target[0, 3:9, 2:10] = 1
    logits = torch.randn(1, 2, 12, 12, generator=generator).requires_grad_()
    loss = SelfLearningBoundaryAwareLoss()
    optimiser = torch.optim.Adam([logits, *loss.parameters()], lr=0.05)
    values = []
    for _ in range(200):
        optimiser.zero_grad()
        value = loss(logits, target, IGNORE, None)
        value.backward()
        optimiser.step()
        values.append(value.item())
    learned = loss.learned()
    assert all(math.isfinite(value) for value in [*values, *learned.values()])
    assert values[-1] < values[0] / 4
    assert abs(learned["a1"] - 1) > 0.01
    assert 0.8 < learned["a1"] * learned["a2"] < 1.25
    assert (logits.argmax(dim=1) == target).double().mean() > 0.9  # nothing but background would get 0.67


def test_a_step_however_large_keeps_the_weights_positive():
    """Learned as a itself, a step of 10 from 1 would cross 0, where the loss is infinite."""
    inputs = (*random_case(), IGNORE, None)
    loss = with_weights(3.0, 3.0)
    optimiser = torch.optim.SGD(loss.parameters(), lr=10.0)
    loss(*inputs).backward()
    optimiser.step()
    learned = loss.learned()
    assert learned.keys() >= {"a1", "a2"}
    assert min(learned.values()) > 0


def test_a_batch_without_a_boundary_does_not_move_the_learned_weights():
    """There is nothing to balance, and masked Dice would hand its weight over to a term that has no gradient."""
    loss = with_weights(2.0, 3.0)
    logits, target = random_case()
    value = loss(logits.requires_grad_(), torch.zeros_like(target), IGNORE, None)
    value.backward()
    dice = masked_dice(logits, torch.zeros_like(target), IGNORE).item()
    assert value.item() == pytest.approx(dice / (2 * 2.0**2) + math.log(6))
    assert loss.log_a.grad.tolist() == [0.0, 0.0]
    assert (logits.grad != 0).any()


def test_batch_without_a_judged_pixel_does_not_move_the_learned_weights():
    loss = with_weights(2.0, 3.0)
    logits, target = random_case()
    value = loss(logits, torch.full_like(target, IGNORE), IGNORE, None)
    value.backward()
    assert value.item() == 0.0
    assert loss.log_a.grad.tolist() == [0.0, 0.0]
