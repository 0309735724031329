"""What holds for every loss."""

import pytest
import torch
from torch.autograd import gradcheck

from models.losses import LOSS_NAMES, build_loss, class_weights
from tests.models.loss_cases import IGNORE, certain, four_pixels, random_case

WEIGHTS = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
every_loss = pytest.mark.parametrize("name", LOSS_NAMES)


def test_unknown_loss_is_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match=r"no loss 'focal'; choose one of cross_entropy, .*slba"):
        build_loss("focal")


def test_alpha_moves_the_combined_loss_from_the_boundary_loss_to_masked_dice():
    inputs = (*four_pixels(), IGNORE, WEIGHTS)
    for alpha, same_as in ((0.0, "boundary"), (1.0, "masked_dice")):
        assert build_loss("combined", alpha)(*inputs).item() == pytest.approx(build_loss(same_as)(*inputs).item())


@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if name != "label_smoothed_dice"])
def test_perfect_prediction_costs_nothing(name):
    target = torch.tensor([[[0, 1, 2, 0]]])
    assert build_loss(name)(certain(target, 3), target, IGNORE, None).item() == pytest.approx(0.0, abs=1e-6)


@every_loss
def test_masked_pixels_change_nothing(name):
    logits, target = four_pixels()
    noise = torch.full((1, 2, 2, 3), 7.0, dtype=torch.float64)
    noise[:, 1] = -3.0
    unknown = torch.full((1, 2, 3), IGNORE, dtype=torch.uint8)
    more = torch.cat([logits, noise], dim=3), torch.cat([target, unknown], dim=2)
    loss = build_loss(name)
    assert loss(*more, IGNORE, None).item() == pytest.approx(loss(logits, target, IGNORE, None).item(), abs=1e-12)


@every_loss
def test_gradient_under_the_mask_is_exactly_zero_and_what_is_predicted_there_does_not_matter(name):
    logits, target = random_case(side=7)
    target[:, :, 3:5] = IGNORE
    loss = build_loss(name)
    value = loss(logits.requires_grad_(), target, IGNORE, WEIGHTS)
    value.backward()
    masked = (target == IGNORE)[:, None].expand_as(logits)
    assert torch.equal(logits.grad[masked], torch.zeros_like(logits.grad[masked]))
    assert (logits.grad[~masked] != 0).any()
    other = torch.where(masked, -9.0 * logits.detach(), logits.detach())
    assert loss(other, target, IGNORE, WEIGHTS).item() == value.item()


@every_loss
def test_order_of_the_images_does_not_matter(name):
    logits, target = random_case()
    loss = build_loss(name)
    assert loss(logits.flip(0), target.flip(0), IGNORE, WEIGHTS).item() == pytest.approx(
        loss(logits, target, IGNORE, WEIGHTS).item()
    )


@every_loss
def test_batch_is_pooled(name):
    """Two images cost what one image of all their pixels costs (a gap of unknown pixels between): no mean of images."""
    logits, target = random_case()
    gap = torch.zeros(3, 2, 4, dtype=torch.float64), torch.full((2, 4), IGNORE)
    one_image = torch.cat([logits[0], gap[0], logits[1]], dim=1)[None], torch.cat([target[0], gap[1], target[1]])[None]
    loss = build_loss(name)
    assert loss(*one_image, IGNORE, None).item() == pytest.approx(loss(logits, target, IGNORE, None).item())


@every_loss
@pytest.mark.parametrize(
    "symmetry",
    [lambda x: x.flip(-1), lambda x: x.flip(-2), lambda x: x.transpose(-1, -2), lambda x: torch.rot90(x, 1, (-2, -1))],
)
def test_flips_and_turns_change_nothing(name, symmetry):
    logits, target = random_case(side=7)
    loss = build_loss(name)
    turned = loss(symmetry(logits), symmetry(target), IGNORE, WEIGHTS)
    assert turned.item() == pytest.approx(loss(logits, target, IGNORE, WEIGHTS).item())


@every_loss
def test_swapping_the_two_foreground_classes_changes_nothing(name):
    logits, target = random_case()
    swapped = torch.tensor([0, 2, 1])[target.clamp(max=2)].masked_fill(target == IGNORE, IGNORE)
    order = [0, 2, 1]
    loss = build_loss(name)
    assert loss(logits[:, order], swapped, IGNORE, WEIGHTS[order]).item() == pytest.approx(
        loss(logits, target, IGNORE, WEIGHTS).item()
    )


@every_loss
def test_only_the_ratio_of_weights_matters(name):
    logits, target = random_case()
    uniform = torch.full((3,), 4.0, dtype=torch.float64)
    loss = build_loss(name)
    assert loss(logits, target, IGNORE, uniform).item() == pytest.approx(loss(logits, target, IGNORE, None).item())


@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if name != "boundary"])
def test_all_background_patch_still_pushes_false_ice_down(name):
    """Losses that skip absent classes give no gradient here, yet acquisition picks such patches."""
    logits = torch.zeros(1, 3, 64, 64, requires_grad=True)
    target = torch.zeros(1, 64, 64, dtype=torch.uint8)
    build_loss(name)(logits, target, IGNORE, None).backward()
    assert (logits.grad[:, 0] < 0).all()
    assert (logits.grad[:, 1:] > 0).all()


@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if name != "boundary"])
def test_on_an_all_background_patch_a_false_tongue_gives_way_to_background(name):
    """Also by the losses with a boundary term, which alone has nothing to say where there is no boundary."""
    logits = torch.zeros(1, 3, 9, 9)
    logits[:, 0] = 2.0
    logits[:, 2, 2:7, 2:7] = 4.0
    target = torch.zeros(1, 9, 9, dtype=torch.uint8)
    loss = build_loss(name)
    before = loss(logits.requires_grad_(), target, IGNORE, None)
    before.backward()
    assert logits.grad[0, 0, 2:7, 2:7].sum() < 0
    better = logits.detach().clone()
    better[:, 0, 2:7, 2:7] += 0.1
    assert loss(better, target, IGNORE, None) < before


@pytest.mark.parametrize("name", ["combined", "slba"])
@pytest.mark.parametrize("boundary_classes", ["foreground", "all"])
def test_without_ice_an_undecided_prediction_gives_up_its_false_ice_as_fast_as_with_masked_dice(name, boundary_classes):
    """With a boundary term there, whose pixel of smoothing outweighed Dice, p(ice) was .56, .51, .51."""
    course = {loss: _ice_while_learning(loss, boundary_classes) for loss in ("masked_dice", name)}
    assert course["masked_dice"] == pytest.approx([0.56, 0.29, 0.06], abs=0.01)
    assert course[name] == pytest.approx(course["masked_dice"], abs=0.01)


def _ice_while_learning(name: str, boundary_classes: str) -> list[float]:
    """The mean probability of ice after 0, 100 and 200 steps on one image without ice, whose logits are the weights."""
    noise = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(0))
    logit = (0.25 + 0.3 * noise).requires_grad_()
    target = torch.zeros(1, 16, 16, dtype=torch.uint8)
    loss = build_loss(name, boundary_classes=boundary_classes)
    learned = list(loss.parameters()) if isinstance(loss, torch.nn.Module) else []
    optimiser = torch.optim.Adam([logit, *learned], lr=0.01)
    course = [logit.sigmoid().mean().item()]
    for step in range(1, 201):
        optimiser.zero_grad()
        loss(torch.stack([torch.zeros_like(logit), logit], dim=1), target, IGNORE, None).backward()
        optimiser.step()
        if step % 100 == 0:
            course.append(logit.sigmoid().mean().item())
    return course


@every_loss
@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 5.0])])
def test_batch_without_a_judged_pixel_moves_nothing(name, weights):
    logits = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = build_loss(name)(logits, torch.full((1, 2, 2), IGNORE, dtype=torch.uint8), IGNORE, weights)
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@every_loss
def test_certain_and_wrong_stays_finite(name):
    """Probabilities of 0 and 1 exactly, in float32, everywhere wrong."""
    target = torch.tensor([[[0, 1, 1, 2], [0, 0, 2, 2], [0, 0, 0, 2]]])
    logits = (100.0 * certain((target + 1) % 3, 3)).float().requires_grad_()
    value = build_loss(name)(logits, target, IGNORE, None)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_gradient_is_exact(name, weights):
    logits, target = random_case()
    loss = build_loss(name)
    assert gradcheck(lambda x: loss(x, target, IGNORE, weights), logits.requires_grad_())


@pytest.mark.parametrize("name", ["boundary", "combined", "slba"])
@pytest.mark.parametrize("absent", [(), (2,), (1, 2)])
def test_gradient_is_exact_with_the_boundaries_of_all_classes_and_where_classes_are_absent(name, absent):
    logits, target = random_case()
    for value in absent:
        target[target == value] = 0
    loss = build_loss(name, boundary_classes="all")
    assert gradcheck(lambda x: loss(x, target, IGNORE, WEIGHTS), logits.requires_grad_())


def test_every_build_of_slba_learns_weights_of_its_own():
    assert build_loss("slba") is not build_loss("slba")


@every_loss
def test_shapes_must_agree(name):
    with pytest.raises(ValueError, match=r"need a target of shape \(1, 2, 2\); found \(1, 4\)"):
        build_loss(name)(torch.zeros(1, 2, 2, 2), torch.zeros(1, 4), IGNORE, None)


@every_loss
def test_single_logit_is_refused(name):
    """Its softmax would be 1 everywhere, and the loss constant."""
    with pytest.raises(ValueError, match=r"give the single output z as the two classes \(0, z\)"):
        build_loss(name)(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2), IGNORE, None)


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
