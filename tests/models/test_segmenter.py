import pytest
import torch

from models.segmenter import GlacierSegmenter, build_segmenter
from models.unet import UNet, UNetConfig
from tests.models.networks import CHANNELS, MEAN, STD, raw_images, small_segmenter


def test_raw_numbers_are_normalised_by_the_stored_statistics():
    segmenter, raw = small_segmenter(), raw_images().nan_to_num(100.0)
    unit = GlacierSegmenter(CHANNELS, (0.0, 0.0), (1.0, 1.0), segmenter.unet).eval()
    normalised = (raw - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(segmenter(raw), unit(normalised))


def test_nodata_counts_as_the_mean_of_its_channel():
    """Imputation comes after normalisation: NaN is the mean, not the digital number 0."""
    segmenter, raw = small_segmenter(), raw_images()
    filled = torch.where(raw.isnan(), torch.tensor(MEAN)[:, None, None], raw)
    with_zero = raw.nan_to_num(0.0)
    assert torch.equal(segmenter(raw), segmenter(filled))
    assert not torch.allclose(segmenter(raw), segmenter(with_zero))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (5, 8), (9, 14)])
def test_any_size_is_padded_with_the_mean_and_cropped(height, width):
    segmenter, raw = small_segmenter(), raw_images(2, height, width)
    padded = torch.tensor(MEAN)[:, None, None].expand(2, 2, 12, 16).clone()
    padded[:, :, :height, :width] = raw.where(~raw.isnan(), padded[:, :, :height, :width])
    logits = segmenter(raw)
    assert logits.shape == (2, 3, height, width)
    expected_size = (-(-height // 4) * 4, -(-width // 4) * 4)
    expected = segmenter(padded[:, :, : expected_size[0], : expected_size[1]])
    torch.testing.assert_close(logits, expected[:, :, :height, :width])


def test_probabilities_are_deterministic_even_in_training_mode():
    segmenter, raw = small_segmenter(dropout=0.5, normalization="batch"), raw_images()
    expected = segmenter.probabilities(raw)
    segmenter.train()
    assert torch.equal(segmenter.probabilities(raw), expected)
    assert segmenter.training
    assert not expected.requires_grad
    torch.testing.assert_close(expected.sum(1), torch.ones(3, 16, 24))


@pytest.mark.parametrize("shape", [(2, 16, 16), (1, 3, 16, 16)])
def test_wrong_shape_is_refused_with_the_channel_names(shape):
    with pytest.raises(ValueError, match=r"expected \(N, 2, H, W\) with the channels red, nir"):
        small_segmenter()(torch.zeros(shape))


@pytest.mark.parametrize(
    ("channels", "mean", "std", "message"),
    [
        (("red",), MEAN, STD, "1 channel names, 2 means"),
        (("red", "red"), MEAN, STD, "names repeat"),
        (CHANNELS, MEAN, (1.0, 0.0), "std positive"),
        (CHANNELS, (float("nan"), 0.0), STD, "must be finite"),
    ],
)
def test_contradictory_statistics_are_refused(channels, mean, std, message):
    unet = UNet(UNetConfig(in_channels=2, depth=1, width=2))
    with pytest.raises(ValueError, match=message):
        GlacierSegmenter(channels, mean, std, unet)


def test_fresh_weights_depend_on_the_seed_alone():
    config = UNetConfig(in_channels=2, depth=1, width=2)
    torch.manual_seed(5)
    expected_draw = torch.rand(1)
    torch.manual_seed(5)
    first = build_segmenter(CHANNELS, MEAN, STD, config, seed=1).unet.head.weight
    assert torch.equal(torch.rand(1), expected_draw)  # the global generator did not move
    assert torch.equal(first, build_segmenter(CHANNELS, MEAN, STD, config, seed=1).unet.head.weight)
    assert not torch.equal(first, build_segmenter(CHANNELS, MEAN, STD, config, seed=2).unet.head.weight)


def test_patch_statistics_leave_no_trace_of_gain_and_offset():
    """Each image and channel is normalised by its own valid pixels, so that its digital numbers have no unit."""
    segmenter, raw = small_segmenter(input_normalization="patch"), raw_images()
    gain, offset = torch.tensor([3.0, 0.5])[:, None, None], torch.tensor([-40.0, 900.0])[:, None, None]
    torch.testing.assert_close(segmenter(gain * raw + offset), segmenter(raw), atol=1e-4, rtol=1e-4)


def test_patch_statistics_are_of_valid_pixels_and_nodata_is_their_mean():
    """Valid 1 and 3 have mean 2 and standard deviation 1; imputing before normalising would change both."""
    seen = []
    segmenter = small_segmenter(input_normalization="patch")
    segmenter.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    raw = torch.full((1, 2, 4, 4), float("nan"))
    raw[0, 0, 0, :2] = torch.tensor([1.0, 3.0])
    raw[0, 1] = 7123.4  # a constant channel carries nothing
    segmenter(raw)
    expected = torch.zeros(1, 2, 4, 4)
    expected[0, 0, 0, :2] = torch.tensor([-1.0, 1.0])
    assert torch.equal(seen[0], expected)


def test_head_and_network_must_fit():
    unet = UNet(UNetConfig(in_channels=2, classes=1, depth=1, width=2))
    with pytest.raises(ValueError, match="takes BinaryUNets"):
        GlacierSegmenter(CHANNELS, MEAN, STD, unet, "two_binaries")
    with pytest.raises(ValueError, match="single logit"):
        GlacierSegmenter(CHANNELS, MEAN, STD, unet)


@pytest.mark.parametrize("precedence", [(1,), (1, 3), (1, 1), (0, 1), (1, 2, 3)])
def test_precedence_that_is_not_of_the_labels_classes_is_refused(precedence):
    unet = UNet(UNetConfig(in_channels=2, classes=3, depth=1, width=2))
    with pytest.raises(ValueError, match=r"each foreground class of the labels once"):
        GlacierSegmenter(CHANNELS, MEAN, STD, unet, precedence=precedence)


def test_a_network_for_each_foreground_class():
    config = UNetConfig(in_channels=2, classes=1, depth=1, width=2)
    segmenter = build_segmenter(CHANNELS, MEAN, STD, config, 0, "two_binaries", precedence=(3, 1, 2))
    assert (len(segmenter.unet.each()), segmenter.classes, segmenter.label_classes) == (3, 4, 4)
    assert segmenter.probabilities(raw_images()).shape[1] == 4


@pytest.mark.parametrize(("head", "classes"), [("multiclass", 3), ("binary", 2), ("two_binaries", 3)])
def test_classes_are_those_of_the_probabilities(head, classes):
    segmenter = small_segmenter(head=head)
    assert segmenter.classes == segmenter.probabilities(raw_images()).shape[1] == classes
