import math

import pytest
import torch

from models.network_calibration import fit_calibration
from models.segmenter import GlacierSegmenter
from tests.models.networks import raw_images, small_segmenter

IGNORE = 255


def overconfident(segmenter: GlacierSegmenter, count: int = 8, factor: float = 4.0):
    """Windows whose classes are drawn by the network, and the network with its logits made larger afterwards."""
    raw = raw_images(count, 16, 16, seed=3)
    probabilities = segmenter.probabilities(raw)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(probabilities.movedim(1, -1).flatten(0, 2), 1, generator=generator)
    masks = drawn.reshape(count, 16, 16).to(torch.uint8)
    masks[:, :2] = IGNORE
    with torch.no_grad():
        segmenter.unet.head.weight.mul_(factor)
        segmenter.unet.head.bias.mul_(factor)
    return segmenter, list(zip(raw, masks, strict=True))


@pytest.mark.parametrize("form", ["temperature", "vector"])
def test_a_network_that_is_too_sure_is_calibrated_on_windows_held_out(form):
    segmenter, windows = overconfident(small_segmenter(seed=2, dropout=0.0))
    found = fit_calibration(segmenter, windows, IGNORE, form)
    assert (found.form, found.windows, found.pixels) == (form, 8, 8 * 14 * 16)
    assert found.scaling.scale == pytest.approx([0.25] * 3, rel=0.4)
    assert found.log_loss_after < found.log_loss_before
    assert sum(found.errors_after) < 0.5 * sum(found.errors_before)
    assert segmenter.logit_scale.tolist() == pytest.approx(found.scaling.scale)


def test_the_form_tells_what_was_fitted():
    """No window has a pixel of the last class, so that its shift is not fitted."""
    segmenter, windows = overconfident(small_segmenter(seed=2, dropout=0.0))
    rare = [(raw, torch.where(mask == 2, IGNORE, mask).to(torch.uint8)) for raw, mask in windows]
    found = fit_calibration(segmenter, rare, IGNORE, "vector")
    assert (found.form, found.scaling.shift) == ("temperature", (0.0, 0.0, 0.0))


def test_the_earlier_calibration_does_not_matter():
    segmenter, windows = overconfident(small_segmenter(seed=2))
    first = fit_calibration(segmenter, windows, IGNORE, "vector")
    assert fit_calibration(segmenter, windows, IGNORE, "vector") == first


def test_with_a_single_window_nothing_can_be_held_out():
    segmenter, windows = overconfident(small_segmenter(seed=2), count=1)
    found = fit_calibration(segmenter, windows, IGNORE, "temperature")
    assert found.windows == 1
    assert math.isnan(found.log_loss_after)
    assert not math.isnan(found.log_loss_before)


def test_without_a_judged_pixel_the_probabilities_stay():
    segmenter = small_segmenter()
    windows = [(raw_images(1, 16, 16)[0], torch.full((16, 16), IGNORE, dtype=torch.uint8))]
    found = fit_calibration(segmenter, windows, IGNORE, "temperature")
    assert (found.windows, found.pixels) == (0, 0)
    assert segmenter.logit_scale.tolist() == [1.0, 1.0, 1.0]
    assert all(math.isnan(error) for error in found.errors_before)
