import numpy as np
import onnxruntime
import pytest
import torch

from models.bundle import read_bundle, write_bundle
from models.heads import head_classes
from models.mc_dropout import predict_mc
from models.presets import PRESETS
from models.unet import UNet
from tests.models.cards import CLASSES, origin
from tests.models.networks import raw_images, small_preset

SEED = 11


def test_barakas_l1_penalty_is_on():
    """Trap: the default configuration of the authors' code drops it."""
    training = PRESETS["baraka"].training
    assert (training.optimizer, training.learning_rate, training.l1) == ("adam", 1e-4, 5e-4)


def test_barakas_code_penalises_all_parameters_and_augments_nothing():
    training = PRESETS["baraka"].training
    assert (training.l1_covers, training.augment) == ("all", False)


def test_aryal_learns_with_adam_and_lowers_the_rate_on_a_plateau_of_the_validation_loss():
    training = PRESETS["aryal"].training
    assert (training.optimizer, training.learning_rate, training.schedule) == ("adam", 3e-4, "plateau")
    assert (training.plateau_watches, training.plateau_patience) == ("loss", 15)
    assert training.least_learning_rate == 1e-9


def test_aryal_counts_the_boundaries_of_background_and_changes_15_percent_of_the_patches():
    training = PRESETS["aryal"].training
    assert training.boundary_classes == "all"
    assert training.augmented_share * 7 / 8 == pytest.approx(0.15)


@pytest.mark.parametrize("name", PRESETS)
def test_weights_are_drawn_as_in_the_authors_code_or_as_in_ronneberger(name):
    """He et al. 2015: normal, variance 2 / fan-in, biases 0. torch: uniform up to 1 / sqrt(fan-in), biases too."""
    torch.manual_seed(0)
    layer = UNet(PRESETS[name].network(64, 3, PRESETS[name].head)).encoder[0][0]
    bound = (64 * 9) ** -0.5
    weights = layer.weight.detach()
    if name in {"baraka", "aryal"}:
        assert weights.abs().max() <= bound
        assert weights.std().item() == pytest.approx(bound / 3**0.5, rel=0.05)
        assert layer.bias is None or layer.bias.abs().max() > 0
    else:
        assert weights.std().item() == pytest.approx(2**0.5 * bound, rel=0.05)
        assert layer.bias is None or layer.bias.abs().max() == 0


def test_he_keeps_the_best_validation_of_adadelta():
    training = PRESETS["he"].training
    assert (training.optimizer, training.batch_size, training.keep_best) == ("adadelta", 8, True)


def test_he_has_no_dropout_to_sample():
    with pytest.raises(ValueError, match="the network has no dropout"):
        predict_mc(_bare_he(), raw_images(), 2, SEED)


def _bare_he():
    segmenter = small_preset("he")
    segmenter.unet = UNet(PRESETS["he"].network(2, 3, "binary"))
    return segmenter


@pytest.mark.parametrize("name", PRESETS)
def test_only_dropout_is_stochastic_and_batch_norm_stays_frozen(name):
    """Trap: all published code predicts with dropout or batch norm in training mode."""
    segmenter, images = small_preset(name), raw_images()
    before = {key: tensor.clone() for key, tensor in segmenter.state_dict().items()}
    together = predict_mc(segmenter, images, 3, SEED)
    alone = predict_mc(segmenter, images[1:2], 3, SEED)
    torch.testing.assert_close(alone.mean_probability[0], together.mean_probability[1], atol=1e-6, rtol=0)
    assert together.mutual_information.max() > 1e-6  # the passes do differ
    assert all(torch.equal(before[key], tensor) for key, tensor in segmenter.state_dict().items())


@pytest.mark.parametrize("name", PRESETS)
def test_prediction_is_deterministic_and_independent_of_the_batch_in_training_mode_too(name):
    segmenter, images = small_preset(name).train(), raw_images()
    together = segmenter.probabilities(images)
    torch.testing.assert_close(segmenter.probabilities(images[:1])[0], together[0])
    torch.testing.assert_close(together.sum(1), torch.ones(3, 16, 24))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_bundle_and_graph_round_trip(name, tmp_path):
    """One graph of combined class probabilities, the two binaries included, at sizes other than the example's."""
    segmenter = small_preset(name)
    classes = head_classes(segmenter.head, CLASSES, "glacier")
    written = write_bundle(tmp_path, segmenter, origin().model_copy(update={"classes": classes}))
    read, card = read_bundle(tmp_path)
    assert card == written
    assert (card.head, card.input_normalization) == (segmenter.head, PRESETS[name].input_normalization)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for shape in [(3, 16, 24), (1, 9, 14)]:
        images = raw_images(*shape)
        expected = segmenter.probabilities(images)
        assert torch.equal(read.probabilities(images), expected)
        (found,) = session.run(["probabilities"], {"raw": images.numpy()})
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
