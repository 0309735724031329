import gc
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

import models.mc_dropout
from models.channel_pruned_unet import ChannelPrunedUNet
from models.mc_dropout import McPrediction, McSampler, predict_mc
from models.presets import PRESETS
from tests.models.networks import raw_images, small_preset, small_segmenter
from tests.models.plain_mc import plain_features, plain_mc

SEED = 11


def as_arrays(prediction: McPrediction) -> list[np.ndarray]:
    return [
        prediction.mean_probability.numpy(),
        prediction.predictive_entropy.numpy(),
        prediction.mutual_information.numpy(),
    ]


def assert_equal(left: McPrediction, right: McPrediction) -> None:
    for one, other in zip(as_arrays(left), as_arrays(right), strict=True):
        np.testing.assert_array_equal(one, other)


def move_biases(segmenter):
    """Fresh biases are 0, and hide what is done with them."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in segmenter.named_parameters():
        if name.endswith("bias"):
            parameter.data.add_(torch.randn(parameter.shape, generator=generator))


def assert_equals_the_plain_loop(segmenter, passes):
    images = raw_images()
    expected = plain_mc(segmenter, images, passes, SEED)
    for found, plain in zip(as_arrays(predict_mc(segmenter, images, passes, SEED)), expected, strict=True):
        np.testing.assert_allclose(found, plain, atol=1e-5)


@pytest.mark.parametrize("passes", [1, 2, 7])
def test_equals_the_plain_loop_that_keeps_all_passes(passes):
    assert_equals_the_plain_loop(small_segmenter(), passes)


@pytest.mark.parametrize("name", PRESETS)
def test_equals_the_plain_loop_for_the_network_of_every_paper(name):
    assert_equals_the_plain_loop(small_preset(name), 4)


@pytest.mark.parametrize("order", ["conv-norm-drop-act", "conv-norm-act", "conv-act-norm"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("normalization", ["none", "batch"])
@pytest.mark.parametrize("depth", [1, 3])
def test_equals_the_plain_loop_for_every_shape_of_network(order, activation, normalization, depth):
    segmenter = small_segmenter(layer_order=order, activation=activation, normalization=normalization, depth=depth)
    segmenter.train()(raw_images())  # gives the batch norms statistics other than 0 and 1
    move_biases(segmenter)
    assert_equals_the_plain_loop(segmenter, 3)


@pytest.mark.parametrize("name", PRESETS)
def test_features_are_the_means_of_the_bottleneck_over_passes_and_pixels(name):
    segmenter, images = small_preset(name), raw_images()
    move_biases(segmenter)
    sampler = McSampler(segmenter)
    masks = sampler.draw(4, SEED)
    expected = plain_features(segmenter, images, 4, SEED)
    np.testing.assert_allclose(sampler.sample(images, masks).features(), expected, atol=1e-5)
    halves = sampler.sample(images, masks[:3]) + sampler.sample(images, masks[3:])
    np.testing.assert_allclose(halves.cropped(4).features(), expected, atol=1e-5)
    assert expected.std(axis=0).max() > 1e-3  # they tell the images apart


@pytest.mark.parametrize("order", ["conv-norm-drop-act", "conv-norm-act", "conv-act-norm"])
def test_equals_the_plain_loop_where_a_layer_is_dropped_whole(order):
    segmenter = small_segmenter(layer_order=order, dropout=0.9)
    move_biases(segmenter)
    masks = McSampler(segmenter).draw(6, SEED)
    assert min(len(kept) for (of_pass,) in masks for kept in of_pass) == 0
    assert_equals_the_plain_loop(segmenter, 6)


def test_equals_the_plain_loop_where_nothing_can_be_fused():
    segmenter, images = small_preset("baraka"), raw_images()
    sampler = McSampler(segmenter)
    for network in sampler._networks:
        network._convolve.fuses = False
    expected = plain_mc(segmenter, images, 4, SEED)
    found = as_arrays(sampler.sample(images, sampler.draw(4, SEED)).prediction())
    for one, plain in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, plain, atol=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_a_pass_that_drops_nothing_is_the_prediction(name):
    segmenter, images = small_preset(name), raw_images()
    move_biases(segmenter)
    sampler = McSampler(segmenter, p=0.0)
    found = sampler.sample(images, sampler.draw(1, SEED)).prediction()
    np.testing.assert_allclose(found.mean_probability, segmenter.probabilities(images), atol=1e-5)
    assert found.mutual_information.max() <= 1e-6


def test_a_network_without_dropout_predicts_but_has_no_passes():
    segmenter, images = small_segmenter(dropout=0.0), raw_images()
    sampler = McSampler(segmenter, p=0.0)
    found = sampler.sample(images, sampler.draw(1, SEED)).prediction()
    np.testing.assert_allclose(found.mean_probability, segmenter.probabilities(images), atol=1e-5)
    with pytest.raises(ValueError, match="no dropout"):
        McSampler(segmenter)


def trained_segmenter():
    """Tells by the sum of the two channels which of three classes a pixel is of; unsure near the two borders."""
    segmenter = small_segmenter(normalization="batch", width=8)
    images = raw_images(32, 16, 16, seed=1).nan_to_num(75.0)
    standard = ((images - torch.tensor([100.0, 50.0])[:, None, None]) / torch.tensor([20.0, 10.0])[:, None, None]).sum(
        1
    )
    target = (standard > -0.5).long() + (standard > 1.0).long()
    optimizer = torch.optim.Adam(segmenter.parameters(), lr=0.01)
    segmenter.train()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(60):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(segmenter(images), target).backward()
            optimizer.step()
    return segmenter.eval()


def test_bfloat16_ranks_patches_and_pixels_as_float32_does():
    segmenter = trained_segmenter()
    images = raw_images(40, 32, 32) * torch.linspace(0.7, 1.3, 40)[:, None, None, None]  # some are easier than others
    _, exact, _ = as_arrays(predict_mc(segmenter, images, 10, SEED))
    _, rounded, _ = as_arrays(predict_mc(segmenter, images, 10, SEED, torch.bfloat16))
    assert np.abs(rounded - exact).max() < 0.02
    assert spearmanr(exact.mean(axis=(1, 2)), rounded.mean(axis=(1, 2))).statistic > 0.999


def test_bfloat16_runs_where_nothing_can_be_fused():
    segmenter, images = trained_segmenter(), raw_images()
    sampler = McSampler(segmenter, torch.bfloat16)
    for network in sampler._networks:
        network._convolve.fuses = False
    _, entropy, _ = as_arrays(sampler.sample(images, sampler.draw(5, SEED)).prediction())
    _, exact, _ = as_arrays(predict_mc(segmenter, images, 5, SEED))
    assert np.abs(entropy - exact).max() < 0.03


def test_shapes_and_dtypes():
    prediction = predict_mc(small_segmenter(), raw_images(3, 16, 24), 2, SEED)
    assert prediction.mean_probability.shape == (3, 3, 16, 24)
    assert prediction.predictive_entropy.shape == prediction.mutual_information.shape == (3, 16, 24)
    assert all(array.dtype == np.float32 for array in as_arrays(prediction))


def test_bounds_of_the_uncertainties():
    mean, entropy, information = as_arrays(predict_mc(small_segmenter(), raw_images(), 8, SEED))
    np.testing.assert_allclose(mean.sum(1), 1.0, atol=1e-5)
    assert entropy.max() <= math.log(3) + 1e-6
    assert information.min() >= 0.0
    assert (information <= entropy + 1e-6).all()
    assert information.max() > 1e-3  # the passes do disagree


def test_one_pass_has_no_mutual_information():
    assert predict_mc(small_segmenter(), raw_images(), 1, SEED).mutual_information.max() <= 1e-6


def test_entropy_of_an_undecided_network_is_ln_k():
    segmenter = small_segmenter()
    torch.nn.init.zeros_(segmenter.unet.head.weight)
    prediction = predict_mc(segmenter, raw_images(), 3, SEED)
    np.testing.assert_allclose(prediction.predictive_entropy.numpy(), math.log(3), atol=1e-6)
    np.testing.assert_allclose(prediction.mutual_information.numpy(), 0.0, atol=1e-6)


def test_same_seeds_give_the_same_maps_and_others_do_not():
    segmenter, images = small_segmenter(), raw_images()
    first = predict_mc(segmenter, images, 4, SEED)
    assert_equal(first, predict_mc(segmenter, images, 4, SEED))
    assert not torch.equal(first.predictive_entropy, predict_mc(segmenter, images, 4, SEED + 1).predictive_entropy)


def test_batch_composition_is_irrelevant():
    segmenter, images = small_segmenter(normalization="batch"), raw_images()
    together = predict_mc(segmenter, images, 5, SEED)
    for index in (2, 0):
        alone = predict_mc(segmenter, images[index : index + 1], 5, SEED)
        for one, many in zip(as_arrays(alone), as_arrays(together), strict=True):
            np.testing.assert_allclose(one[0], many[index], atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_network_is_left_as_it_was(training):
    """Batch-norm statistics stay frozen, the mode comes back, and the deterministic prediction is unchanged."""
    segmenter, images = small_segmenter(normalization="batch"), raw_images()
    before = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
    prediction = segmenter.probabilities(images)
    segmenter.train(training)
    predict_mc(segmenter, images, 3, SEED)
    assert segmenter.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in segmenter.state_dict().items())
    assert torch.equal(segmenter.probabilities(images), prediction)


def test_memory_does_not_grow_with_the_passes():
    def peak(passes: int) -> int:
        segmenter, images = small_segmenter(), raw_images()
        sizes: list[int] = []

        def count_live_numbers() -> None:
            # (isinstance would wake up lazy objects of other libraries.) The masks are integers, some bytes a pass.
            alive = [item for item in gc.get_objects() if type(item) is torch.Tensor and item.is_floating_point()]
            sizes.append(sum(tensor.numel() for tensor in alive))

        to_probabilities = segmenter.to_probabilities

        def counted(logits: torch.Tensor) -> torch.Tensor:
            count_live_numbers()
            return to_probabilities(logits)

        segmenter.to_probabilities = counted
        predict_mc(segmenter, images, passes, SEED)
        assert len(sizes) == passes
        return max(sizes)

    gc.collect()
    assert peak(12) < 1.05 * peak(3)  # passes keep one map more or less of a layer


def test_groups_of_passes_equal_single_groups_and_share_their_prefix(monkeypatch):
    segmenter, images = small_segmenter(), raw_images()
    sampler = McSampler(segmenter)
    masks = sampler.draw(5, SEED)
    groups = [masks[:2], masks[2:]]
    apart = [sampler.sample(images, group) for group in groups]
    encode, encoded = ChannelPrunedUNet.encode_prefix, []
    monkeypatch.setattr(ChannelPrunedUNet, "encode_prefix", lambda self, maps: encoded.append(1) or encode(self, maps))
    for together, alone in zip(sampler.sample_apart(images, groups), apart, strict=True):
        assert torch.equal(together.probability, alone.probability)
        assert torch.equal(together.entropy, alone.entropy)
        assert together.passes == alone.passes
    assert len(encoded) == 1
    with pytest.raises(ValueError, match="no masks"):
        sampler.sample_apart(images, [masks, []])


def test_halves_of_the_passes_add_up():
    """Each half is a prediction of its own, and the two together are that of all passes."""
    segmenter, images = small_segmenter(), raw_images()
    sampler = McSampler(segmenter)
    masks = sampler.draw(6, SEED)
    first, second = sampler.sample(images, masks[:2]), sampler.sample(images, masks[2:])
    assert (first.passes, second.passes, (first + second).passes) == (2, 4, 6)
    assert not torch.allclose(first.prediction().mean_probability, second.prediction().mean_probability, atol=1e-3)
    expected = as_arrays(predict_mc(segmenter, images, 6, SEED))
    for one, whole in zip(as_arrays((first + second).prediction()), expected, strict=True):
        np.testing.assert_allclose(one, whole, atol=1e-6)


def test_sums_over_different_patches_do_not_add_up():
    sampler = McSampler(small_segmenter())
    masks = sampler.draw(1, SEED)
    with pytest.raises(ValueError, match="only those of the same patches can be added"):
        sampler.sample(raw_images(3), masks) + sampler.sample(raw_images(1), masks)


def test_training_does_not_reach_a_sampler_made_before():
    segmenter, images = small_segmenter(), raw_images()
    sampler = McSampler(segmenter)
    masks = sampler.draw(2, SEED)
    before = sampler.sample(images, masks).prediction()
    for parameter in segmenter.unet.parameters():
        torch.nn.init.zeros_(parameter)
    assert_equal(before, sampler.sample(images, masks).prediction())


def test_few_pixels_at_a_time_give_the_same(monkeypatch):
    segmenter, images = small_segmenter(), raw_images(5)
    expected = predict_mc(segmenter, images, 3, SEED)
    monkeypatch.setattr(models.mc_dropout, "PIXELS_TOGETHER", 2 * 16 * 24)
    for one, whole in zip(as_arrays(predict_mc(segmenter, images, 3, SEED)), as_arrays(expected), strict=True):
        np.testing.assert_allclose(one, whole, atol=1e-6)


@pytest.fixture
def room_for(monkeypatch):
    """Lets the memory of the device hold so many images at once, and tells how many each attempt brought."""
    attempts: list[int] = []
    encode = ChannelPrunedUNet.encode_prefix

    def set_room(count: int) -> list[int]:
        def limited(network: ChannelPrunedUNet, images: torch.Tensor) -> torch.Tensor:
            attempts.append(len(images))
            if len(images) > count:
                raise torch.OutOfMemoryError("provoked")
            return encode(network, images)

        monkeypatch.setattr(ChannelPrunedUNet, "encode_prefix", limited)
        return attempts

    return set_room


def test_out_of_memory_half_as_many_images_then_and_later(room_for):
    segmenter, images = small_segmenter(), raw_images(7)
    sampler = McSampler(segmenter)
    masks = sampler.draw(3, SEED)
    expected = as_arrays(sampler.sample(images, masks).prediction())
    attempts = room_for(2)
    for one, whole in zip(as_arrays(sampler.sample(images, masks).prediction()), expected, strict=True):
        np.testing.assert_allclose(one, whole, atol=1e-6)
    assert attempts == [7, 3] + [1] * 7
    attempts.clear()
    sampler.sample(images, masks)
    assert attempts == [1] * 7


def test_memory_for_no_image_at_all_is_an_error(room_for):
    sampler = McSampler(small_segmenter())
    room_for(0)
    with pytest.raises(torch.OutOfMemoryError, match="provoked"):
        sampler.sample(raw_images(4), sampler.draw(1, SEED))


def test_no_masks_are_refused():
    with pytest.raises(ValueError, match="no masks"):
        McSampler(small_segmenter()).sample(raw_images(), [])


def test_network_without_dropout_is_refused():
    with pytest.raises(ValueError, match="the network has no dropout"):
        predict_mc(small_segmenter(dropout=0.0), raw_images(), 2, SEED)


def test_no_pass_is_refused():
    with pytest.raises(ValueError, match="0 passes"):
        predict_mc(small_segmenter(), raw_images(), 0, SEED)
