import math

import numpy as np
import pytest
import torch
from torch import nn

from models.explanations import ChannelScore, ChannelScores, saliency_map, saliency_scores
from models.segmenter import GlacierSegmenter, build_segmenter
from models.unet import UNetConfig
from tests.models.networks import CHANNELS, MEAN, STD, raw_images, small_segmenter


class LinearNetwork(nn.Module):
    """A 1x1 convolution in the place of the U-Net: the gradient of each logit is its weights, at every pixel."""

    def __init__(self, weights):
        super().__init__()
        self.config = UNetConfig(in_channels=len(weights[0]), classes=len(weights), depth=2, width=1)
        self.weights = nn.Parameter(torch.tensor(weights)[:, :, None, None])

    def forward(self, images):
        return nn.functional.conv2d(images, self.weights)


def linear_segmenter(weights, **settings):
    return GlacierSegmenter(CHANNELS, MEAN, STD, LinearNetwork(weights), **settings)


def valid_images(count=2, height=8, width=8):
    return raw_images(count, height, width).nan_to_num(100.0)


def test_rows_are_ranked_and_cut_at_a_line():
    scores = ChannelScores(("a", "b", "c"), (0.04, 0.9, 0.06), (0.0, 0.1, 0.2))
    assert scores.ranked() == (
        ChannelScore("b", 0.9, 0.1),
        ChannelScore("c", 0.06, 0.2),
        ChannelScore("a", 0.04, 0.0),
    )
    assert scores.above(0.05) == ("b", "c")


def test_an_undefined_score_is_ranked_last():
    ranked = ChannelScores(("a", "b", "c"), (0.1, math.nan, 0.5), (0.0, 0.0, 0.0)).ranked()
    assert [row.channel for row in ranked] == ["c", "a", "b"]


def test_mean_and_spread_of_samples():
    scores = ChannelScores.from_samples(("a", "b"), np.array([[1.0, 3.0], [5.0, 5.0]]))
    assert scores.values == (2.0, 5.0)
    assert scores.spreads == pytest.approx((math.sqrt(2), 0.0))


def test_the_spread_of_a_single_sample_is_undefined_not_zero():
    assert math.isnan(ChannelScores.from_samples(("a",), np.array([[1.0]])).spreads[0])


def test_saliency_of_a_linear_network_is_its_weights_times_the_pixels():
    """Binary: one logit 3 red - 0.5 nir of the normalised input, on patches of 8 x 8 pixels."""
    segmenter = linear_segmenter([[3.0, -0.5]], head="binary")
    scores = saliency_scores(segmenter, [valid_images()], class_index=1)
    assert scores.channels == CHANNELS
    assert scores.values == pytest.approx((3.0 * 64, 0.5 * 64))
    assert scores.spreads == pytest.approx((0.0, 0.0))


def test_saliency_is_by_the_normalised_input_whatever_the_units():
    """Elevation in millimetres: raw values, mean and deviation a thousand times larger, the same saliency."""
    images = valid_images()
    metres = linear_segmenter([[3.0, -0.5]], head="binary")
    millimetres = GlacierSegmenter(
        CHANNELS, (MEAN[0] * 1e3, MEAN[1]), (STD[0] * 1e3, STD[1]), LinearNetwork([[3.0, -0.5]]), head="binary"
    )
    scaled = images * torch.tensor([1e3, 1.0])[:, None, None]
    assert saliency_scores(millimetres, [scaled], 1).values == pytest.approx(
        saliency_scores(metres, [images], 1).values
    )


def test_both_classes_of_a_binary_network_are_as_salient():
    segmenter = linear_segmenter([[3.0, -0.5]], head="binary")
    assert saliency_scores(segmenter, [valid_images()], 0) == saliency_scores(segmenter, [valid_images()], 1)


def test_multiclass_saliency_worked_out_by_hand():
    """Logits 2 x0, x1, 0 at the mean image x = 0, where all softmax weights are 1/3.

    The logit of class 0 is 2 x0 - ln(e^x1 + e^0): gradient (2, -1/2). Of class 1, x1 - ln(e^(2 x0) + 1): (-1, 1).
    """
    segmenter = linear_segmenter([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    mean_image = torch.tensor(MEAN)[None, :, None, None].expand(1, 2, 4, 4)
    assert saliency_scores(segmenter, [mean_image], 0).values == pytest.approx((2.0 * 16, 0.5 * 16))
    assert saliency_scores(segmenter, [mean_image], 1).values == pytest.approx((1.0 * 16, 1.0 * 16))


def test_saliency_ignores_a_shift_common_to_all_logits_as_the_prediction_does():
    plain = linear_segmenter([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    shifted = linear_segmenter([[9.0, -4.0], [7.0, -3.0], [7.0, -4.0]])
    images = valid_images()
    assert saliency_scores(shifted, [images], 2).values == pytest.approx(
        saliency_scores(plain, [images], 2).values, rel=1e-3
    )


def test_the_map_of_a_linear_network_lies_on_the_pixels_that_were_asked_for():
    """One logit 3 red - 0.5 nir: 3.5 at each wanted pixel, 0.5 where red has no data, and 0 beside them."""
    raw, wanted = valid_images(1)[0], np.zeros((8, 8), dtype=np.bool_)
    wanted[2:4, 5:8] = True
    raw[0, 3, 7] = math.nan
    expected = np.where(wanted, 3.5, 0.0)
    expected[3, 7] = 0.5
    found = saliency_map(linear_segmenter([[3.0, -0.5]], head="binary"), raw, wanted)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_map_sums_the_foreground_classes():
    """At the mean image the gradients are (-1, 1) for class 1 and (-1, -1/2) for class 2: 2 + 1.5 at each pixel."""
    segmenter = linear_segmenter([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    mean_image = torch.tensor(MEAN)[:, None, None].expand(2, 4, 4)
    found = saliency_map(segmenter, mean_image, np.ones((4, 4), dtype=np.bool_))
    np.testing.assert_allclose(found, 3.5, rtol=1e-6)


def test_a_map_shows_what_a_network_saw_around_the_pixels():
    segmenter = small_segmenter()
    weights = [parameter.detach().clone() for parameter in segmenter.parameters()]
    wanted = np.zeros((16, 24), dtype=np.bool_)
    wanted[8, 12] = True
    found = saliency_map(segmenter.train(), raw_images(1)[0].nan_to_num(100.0), wanted)
    assert found.shape == (16, 24)
    assert (found >= 0).all()
    assert (found[~wanted] > 0).any()
    assert segmenter.training
    assert all(torch.equal(old, new) for old, new in zip(weights, segmenter.parameters(), strict=True))


def test_two_binaries_are_explained_one_network_at_a_time():
    config = UNetConfig(in_channels=2, classes=1, depth=2, width=2)
    segmenter = build_segmenter(CHANNELS, MEAN, STD, config, seed=0, head="two_binaries")
    segmenter.unet.networks[0] = LinearNetwork([[1.0, 2.0]])
    segmenter.unet.networks[1] = LinearNetwork([[4.0, 0.25]])
    images = valid_images()
    assert saliency_scores(segmenter, [images], 1).values == pytest.approx((1.0 * 64, 2.0 * 64))
    assert saliency_scores(segmenter, [images], 2).values == pytest.approx((4.0 * 64, 0.25 * 64))
    with pytest.raises(ValueError, match="'two_binaries' scores the classes 1, 2"):
        saliency_scores(segmenter, [images], 0)


def test_nodata_and_padding_are_left_out():
    """Of 7 x 5 pixels, padded to 8 x 8, one lacks red and another nir: the score is summed over the other 33."""
    images = torch.full((1, 2, 7, 5), 60.0)
    images[0, 0, 0, 0] = float("nan")
    images[0, 1, 6, 4] = float("nan")
    scores = saliency_scores(linear_segmenter([[3.0, -0.5]], head="binary"), [images], 1)
    assert scores.values == pytest.approx((3.0 * 33, 0.5 * 33))


class BoxNetwork(LinearNetwork):
    """The logit of a pixel is the sum of both channels over its 3 x 3 neighbourhood."""

    def __init__(self):
        super().__init__([[1.0, 1.0]])

    def forward(self, images):
        return nn.functional.conv2d(images, self.weights.expand(1, 2, 3, 3), padding=1)


def test_imputed_nodata_is_not_salient_though_its_neighbours_see_it():
    """4 x 4 pixels have 100 pairs (seeing, seen): 4 corners see 4, 8 edge pixels 6, 4 inner ones 9.

    Without red at one inner pixel no score is taken there: 9 pairs less for both channels; and nobody's view of its
    red counts: 9 less for red, one of which is gone already.
    """
    images = torch.full((1, 2, 4, 4), 60.0)
    images[0, 0, 1, 1] = float("nan")
    segmenter = GlacierSegmenter(CHANNELS, MEAN, STD, BoxNetwork(), head="binary")
    assert saliency_scores(segmenter, [images], 1).values == pytest.approx((83.0, 91.0))


def test_saliency_is_the_mean_over_patches_however_they_are_batched():
    """Patches of 64, 16 and 0 valid pixels: the last is no patch at all, so the mean is over two."""
    segmenter = linear_segmenter([[3.0, -0.5]], head="binary")
    large, small = valid_images(1), valid_images(1, 4, 4)
    empty = torch.full((1, 2, 8, 8), float("nan"))
    scores = saliency_scores(segmenter, [torch.cat([large, empty]), small], 1)
    assert scores.values == pytest.approx((3.0 * 40, 0.5 * 40))
    assert scores.spreads == pytest.approx((3.0 * 48 / math.sqrt(2), 0.5 * 48 / math.sqrt(2)))


@pytest.mark.parametrize("input_normalization", ["dataset", "patch"])
def test_saliency_of_a_u_net_equals_finite_differences(input_normalization):
    """At one pixel of one channel, on the normalised input that the U-Net is given."""
    segmenter = small_segmenter(activation="gelu").double()
    segmenter.input_normalization = input_normalization
    raw = valid_images(1).double()
    raw[:, 1] = 42.0  # a channel without spread, as slope over a lake
    seen = []
    with segmenter.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].clone())), torch.no_grad():
        segmenter(raw)

    def score(images):
        logits = segmenter.unet(images)
        return (logits[:, 2] - logits[:, :2].logsumexp(dim=1)).sum()

    total, step = torch.zeros(2, dtype=torch.float64), 1e-5
    with torch.no_grad():
        for channel in range(2):
            for flat in range(64):
                nudge = torch.zeros_like(seen[0])
                nudge[0, channel].view(-1)[flat] = step
                total[channel] += abs(score(seen[0] + nudge) - score(seen[0] - nudge)) / (2 * step)
    assert saliency_scores(segmenter, [raw], 2).values == pytest.approx(total.tolist(), rel=1e-4)


def test_dropout_is_off_and_modes_and_gradients_are_left_as_they_were():
    segmenter = small_segmenter(dropout=0.5, normalization="batch").train()
    images = raw_images()
    raw_before = images.clone()
    first, second = (saliency_scores(segmenter, [images], 2) for _ in range(2))
    assert first == second
    assert segmenter.training
    assert all(parameter.grad is None for parameter in segmenter.parameters())
    assert not images.requires_grad
    torch.testing.assert_close(images, raw_before, equal_nan=True)
    assert all(not module._forward_pre_hooks for module in segmenter.modules())


def test_misuse_is_refused_with_advice():
    segmenter = small_segmenter()
    with pytest.raises(ValueError, match=r"class 3 was asked for.*scores the classes 0, 1, 2"):
        saliency_scores(segmenter, [raw_images()], 3)
    with pytest.raises(ValueError, match="no patch has a pixel that is valid in all channels"):
        saliency_scores(segmenter, [torch.full((1, 2, 8, 8), float("nan"))], 0)
