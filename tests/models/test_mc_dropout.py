import gc
import math

import numpy as np
import pytest
import torch

from models.mc_dropout import McPrediction, predict_mc
from models.presets import PRESETS
from tests.models.networks import raw_images, small_preset, small_segmenter
from tests.models.plain_mc import plain_mc

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
    assert_equals_the_plain_loop(segmenter, 3)


def test_bfloat16_ranks_pixels_as_float32_does():
    segmenter, images = small_segmenter(normalization="batch"), raw_images(8, 32, 32)
    _, exact, _ = as_arrays(predict_mc(segmenter, images, 10, SEED))
    _, rounded, _ = as_arrays(predict_mc(segmenter, images, 10, SEED, torch.bfloat16))
    assert np.abs(rounded - exact).max() < 0.05
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.99


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


def test_network_without_dropout_is_refused():
    with pytest.raises(ValueError, match="the network has no dropout"):
        predict_mc(small_segmenter(dropout=0.0), raw_images(), 2, SEED)


def test_no_pass_is_refused():
    with pytest.raises(ValueError, match="0 passes"):
        predict_mc(small_segmenter(), raw_images(), 0, SEED)
