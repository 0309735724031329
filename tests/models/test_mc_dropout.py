import gc
import math

import numpy as np
import pytest
import torch

from models.mc_dropout import McPrediction, predict_mc, stochastic
from tests.models.networks import raw_images, small_segmenter

SEEDS = (11, 12, 13)


def plain_mc(segmenter, images, passes, seeds):
    """The textbook computation: all T passes kept in memory, in float64."""
    with stochastic(segmenter, seeds):
        stack = np.stack([segmenter(images).double().softmax(1).numpy() for _ in range(passes)])
    mean = stack.mean(0)
    predictive = -(mean * np.log(mean)).sum(1)
    expected = -(stack * np.log(stack)).sum(2).mean(0)
    return mean, predictive, predictive - expected


def as_arrays(prediction: McPrediction) -> list[np.ndarray]:
    return [
        prediction.mean_probability.numpy(),
        prediction.predictive_entropy.numpy(),
        prediction.mutual_information.numpy(),
    ]


def assert_equal(left: McPrediction, right: McPrediction) -> None:
    for one, other in zip(as_arrays(left), as_arrays(right), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("passes", [1, 2, 7])
def test_streaming_equals_keeping_all_passes(passes):
    segmenter, images = small_segmenter(), raw_images()
    streamed = predict_mc(segmenter, images, passes, SEEDS)
    for found, expected in zip(as_arrays(streamed), plain_mc(segmenter, images, passes, SEEDS), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_shapes_and_dtypes():
    prediction = predict_mc(small_segmenter(), raw_images(3, 16, 24), 2, SEEDS)
    assert prediction.mean_probability.shape == (3, 3, 16, 24)
    assert prediction.predictive_entropy.shape == prediction.mutual_information.shape == (3, 16, 24)
    assert all(array.dtype == np.float32 for array in as_arrays(prediction))


def test_bounds_of_the_uncertainties():
    mean, entropy, information = as_arrays(predict_mc(small_segmenter(), raw_images(), 8, SEEDS))
    np.testing.assert_allclose(mean.sum(1), 1.0, atol=1e-5)
    assert entropy.max() <= math.log(3) + 1e-6
    assert information.min() >= 0.0
    assert (information <= entropy + 1e-6).all()
    assert information.max() > 1e-3  # the passes do disagree


def test_one_pass_has_no_mutual_information():
    assert predict_mc(small_segmenter(), raw_images(), 1, SEEDS).mutual_information.max() <= 1e-6


def test_entropy_of_an_undecided_network_is_ln_k():
    segmenter = small_segmenter()
    torch.nn.init.zeros_(segmenter.unet.head.weight)
    prediction = predict_mc(segmenter, raw_images(), 3, SEEDS)
    np.testing.assert_allclose(prediction.predictive_entropy.numpy(), math.log(3), atol=1e-6)
    np.testing.assert_allclose(prediction.mutual_information.numpy(), 0.0, atol=1e-6)


def test_same_seeds_give_the_same_maps_and_others_do_not():
    segmenter, images = small_segmenter(), raw_images()
    first = predict_mc(segmenter, images, 4, SEEDS)
    assert_equal(first, predict_mc(segmenter, images, 4, SEEDS))
    assert not torch.equal(first.predictive_entropy, predict_mc(segmenter, images, 4, (1, 2, 3)).predictive_entropy)


def test_batch_composition_is_irrelevant():
    segmenter, images = small_segmenter(normalization="batch"), raw_images()
    together = predict_mc(segmenter, images, 5, SEEDS)
    for index in (2, 0):
        alone = predict_mc(segmenter, images[index : index + 1], 5, SEEDS[index : index + 1])
        for one, many in zip(as_arrays(alone), as_arrays(together), strict=True):
            np.testing.assert_allclose(one[0], many[index], atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
def test_network_is_left_as_it_was(training):
    """Batch-norm statistics stay frozen, the mode comes back, and the deterministic prediction is unchanged."""
    segmenter, images = small_segmenter(normalization="batch"), raw_images()
    before = {name: tensor.clone() for name, tensor in segmenter.state_dict().items()}
    prediction = segmenter.probabilities(images)
    segmenter.train(training)
    predict_mc(segmenter, images, 3, SEEDS)
    assert segmenter.training is training
    assert all(torch.equal(before[name], tensor) for name, tensor in segmenter.state_dict().items())
    assert torch.equal(segmenter.probabilities(images), prediction)


def test_dropout_is_switched_off_after_an_error():
    segmenter, images = small_segmenter(), raw_images()
    with pytest.raises(KeyError), stochastic(segmenter, SEEDS):
        raise KeyError
    assert torch.equal(segmenter(images), segmenter(images))


def test_memory_does_not_grow_with_the_passes():
    def peak(passes: int) -> int:
        segmenter, images = small_segmenter(), raw_images()
        sizes: list[int] = []

        def count_live_numbers(*_: object) -> None:
            # (isinstance would wake up lazy objects of other libraries.)
            alive = [item for item in gc.get_objects() if type(item) is torch.Tensor]
            sizes.append(sum(tensor.numel() for tensor in alive))

        segmenter.register_forward_hook(count_live_numbers)
        predict_mc(segmenter, images, passes, SEEDS)
        assert len(sizes) == passes
        return max(sizes)

    gc.collect()
    assert peak(12) == peak(3)


def test_network_without_dropout_is_refused():
    with pytest.raises(ValueError, match="no SpatialDropout with p > 0"):
        predict_mc(small_segmenter(dropout=0.0), raw_images(), 2, SEEDS)


def test_no_pass_and_missing_seeds_are_refused():
    with pytest.raises(ValueError, match="0 passes"):
        predict_mc(small_segmenter(), raw_images(), 0, SEEDS)
    with pytest.raises(ValueError, match="2 seeds were given for 3 patches"):
        predict_mc(small_segmenter(), raw_images(), 2, SEEDS[:2])
