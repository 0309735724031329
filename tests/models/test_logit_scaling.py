import math

import pytest
import torch
from torch import Tensor

from models.heads import class_probabilities
from models.logit_scaling import LogitScaling, calibration_errors, fit_scaling, log_loss, possible_form

IGNORE = 255


def drawn(logits: Tensor, seed: int = 0) -> Tensor:
    """Classes drawn by the probabilities that the logits give: a perfectly calibrated sample."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0].to(torch.uint8)


@pytest.fixture(scope="module")
def honest() -> tuple[Tensor, Tensor]:
    logits = 2.0 * torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))
    return logits, drawn(logits)


def test_the_temperature_of_logits_that_were_tripled_is_three(honest):
    logits, target = honest
    scaling = fit_scaling(3.0 * logits, target, "multiclass", IGNORE)
    assert scaling.scale == pytest.approx([1 / 3] * 3, rel=0.03)
    assert scaling.shift == (0.0, 0.0, 0.0)


def test_vector_scaling_finds_a_factor_and_a_shift_of_each_class(honest):
    logits, target = honest
    factor, shift = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.0, 1.0, -1.0])
    found = fit_scaling((logits - shift) / factor, target, "multiclass", IGNORE, "vector")
    assert found.scale == pytest.approx(factor.tolist(), rel=0.05)
    relative = [value - found.shift[0] for value in found.shift]  # a shift of all logits alike changes nothing
    assert relative == pytest.approx(shift.tolist(), abs=0.08)


def test_without_a_pixel_of_a_class_a_temperature_takes_the_place_of_a_vector(honest):
    logits, target = honest
    known = target != 2
    logits, target = 3.0 * logits[known], target[known]
    found = fit_scaling(logits, target, "multiclass", IGNORE, "vector")
    assert found == fit_scaling(logits, target, "multiclass", IGNORE, "temperature")
    assert torch.equal(found(logits).argmax(dim=1), logits.argmax(dim=1))  # class 2 is mapped where it was


@pytest.mark.parametrize(
    ("labels", "head", "form"),
    [
        ([0, 1, 2], "multiclass", "vector"),
        ([0, 1, IGNORE], "multiclass", "temperature"),
        ([0, 1, 2], "two_binaries", "vector"),
        ([0, 0, 2], "two_binaries", "temperature"),
        ([0, 2, 2], "binary", "vector"),
        ([0, 0, 0], "binary", "temperature"),
        ([1, 2, 2], "binary", "temperature"),
    ],
)
def test_a_vector_needs_pixels_of_every_class_of_each_network(labels, head, form):
    count = {"multiclass": 3, "two_binaries": 2, "binary": 1}[head]
    assert possible_form(torch.zeros(3, count), torch.tensor(labels), head, IGNORE, "vector") == form


def test_calibration_lowers_the_error_of_each_class_and_keeps_the_classes(honest):
    logits, target = 3.0 * honest[0], honest[1]
    scaling = fit_scaling(logits, target, "multiclass", IGNORE)
    before, after = (calibration_errors(each, target, "multiclass", IGNORE) for each in (logits, scaling(logits)))
    assert min(before) > 0.1
    assert max(after) < 0.02
    assert torch.equal(scaling(logits).argmax(dim=1), logits.argmax(dim=1))
    assert log_loss(scaling(logits), target, "multiclass", IGNORE) < log_loss(logits, target, "multiclass", IGNORE)


def test_each_of_two_binary_networks_has_a_temperature_of_its_own():
    logits = 2.0 * torch.randn(20_000, 2, generator=torch.Generator().manual_seed(1))
    one = torch.rand(20_000, generator=torch.Generator().manual_seed(2)) < logits[:, 0].sigmoid()
    scaling = fit_scaling(2.0 * logits, one.to(torch.uint8), "two_binaries", IGNORE)
    assert scaling.scale[0] == pytest.approx(0.5, rel=0.05)
    assert scaling.scale[1] < 0.1  # class 2 never occurs, whatever its network says


def test_the_error_of_a_class_is_the_gap_between_confidence_and_frequency():
    """Four pixels with P(ice) = 0.9, of which two are ice: a gap of 0.4 for each of the two classes."""
    logits = torch.full((4, 1), math.log(9.0))
    target = torch.tensor([2, 1, 0, 0], dtype=torch.uint8)  # a binary head merges both kinds of ice
    assert calibration_errors(logits, target, "binary", IGNORE) == pytest.approx((0.4, 0.4))


def test_pixels_that_nobody_judged_do_not_count(honest):
    logits, target = honest
    more = torch.cat([logits, torch.full((5000, 3), 9.0)]), torch.cat([target, torch.full((5000,), IGNORE)])
    assert fit_scaling(*more, "multiclass", IGNORE) == fit_scaling(logits, target, "multiclass", IGNORE)
    assert calibration_errors(*more, "multiclass", IGNORE) == calibration_errors(logits, target, "multiclass", IGNORE)


def test_without_a_judged_pixel_nothing_is_scaled():
    logits, target = torch.ones(3, 3), torch.full((3,), IGNORE)
    assert fit_scaling(logits, target, "multiclass", IGNORE) == LogitScaling.identity(3)
    assert all(math.isnan(error) for error in calibration_errors(logits, target, "multiclass", IGNORE))


def test_a_network_without_errors_does_not_get_an_infinite_scale():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    scaling = fit_scaling(logits, torch.tensor([0, 1]), "multiclass", IGNORE)
    assert all(1.0 < scale <= 20.0 for scale in scaling.scale)
    assert class_probabilities(scaling(logits)[:, :, None, None], "multiclass").isfinite().all()
