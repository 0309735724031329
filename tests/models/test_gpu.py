"""The GPU computes what the CPU computes. Skipped, with the reason, on machines without one."""

import copy

import pytest
import torch

from models.inference import place, predict_windows
from models.mc_dropout import McSampler
from models.training import StepReport, fit
from models.training_config import TrainingConfig
from models.training_state import TrainingState
from tests.models.networks import raw_images, small_preset, small_segmenter
from tests.models.test_training import IGNORE, bright_is_ice, weights_of

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="this machine has no GPU that torch can use")

GPU = torch.device("cuda", 0)
PRESETS = ["default", "baraka", "aryal", "he"]


@pytest.mark.parametrize("name", PRESETS)
def test_probabilities_are_those_of_the_cpu(name):
    on_cpu = small_preset(name)
    on_gpu = place(copy.deepcopy(on_cpu), GPU)
    raw = raw_images(height=32, width=32)
    (expected,), (found,) = predict_windows(on_cpu, [raw]), predict_windows(on_gpu, [raw])
    # On a GPU inference is in bfloat16, which keeps 8 bits of a number.
    torch.testing.assert_close(found.cpu(), expected, atol=2e-2, rtol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_passes_with_the_same_masks_have_the_same_entropy(name):
    on_cpu = small_preset(name)
    on_gpu = place(copy.deepcopy(on_cpu), GPU)
    raw = raw_images(height=32, width=32)
    here, there = McSampler(on_cpu), McSampler(on_gpu)
    masks = here.draw(8, seed=1)
    expected, found = here.sample(raw, masks).prediction(), there.sample(raw, masks).prediction()
    # In float32 the GPU multiplies with TF32, which keeps 10 bits of a fraction.
    torch.testing.assert_close(found.predictive_entropy, expected.predictive_entropy, atol=5e-3, rtol=0)
    torch.testing.assert_close(found.mutual_information, expected.mutual_information, atol=5e-3, rtol=0)


def test_a_network_is_trained_where_it_lies():
    segmenter = small_segmenter(dropout=0.05)
    losses = fit(segmenter, bright_is_ice(), TrainingConfig(steps=80, learning_rate=1e-2), GPU, IGNORE)
    assert segmenter.device.type == "cuda"
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_an_interrupted_training_goes_on_close_to_one_that_was_not_interrupted():
    """Atomic sums of a GPU come in any order, so that two runs of one training differ in the last digits."""
    config = TrainingConfig(steps=8, precision="float32")
    states: list[TrainingState] = []

    def keep_third(report: StepReport) -> None:
        if report.step == 3 and report.state is not None:
            states.append(report.state())

    whole = small_segmenter()
    losses = fit(whole, bright_is_ice(), config, GPU, IGNORE, keep_third)
    resumed = small_segmenter()
    stored = TrainingState.from_bytes(states[0].to_bytes("a"), "a")
    again = fit(resumed, bright_is_ice(), config, GPU, IGNORE, resume_from=stored)
    assert again[:3] == losses[:3]
    assert again == pytest.approx(losses, abs=1e-3)
    torch.testing.assert_close(weights_of(resumed), weights_of(whole), atol=1e-3, rtol=0)


def test_batches_are_halved_until_they_fit_into_the_memory():
    sampler = McSampler(place(small_segmenter(), GPU))
    torch.cuda.reset_peak_memory_stats(GPU)
    raw = raw_images(count=64, height=256, width=256)
    masks = sampler.draw(2, seed=0)
    expected = sampler.sample(raw, masks).prediction()
    needed = torch.cuda.max_memory_allocated(GPU)
    torch.cuda.empty_cache()
    share = 0.6 * needed / torch.cuda.get_device_properties(GPU).total_memory
    limited = McSampler(place(small_segmenter(), GPU))
    torch.cuda.set_per_process_memory_fraction(share, GPU)
    try:
        found = limited.sample(raw, masks).prediction()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, GPU)
    # cuDNN multiplies in TF32, with 10 bits, and chooses its algorithm by the size of the batch: 0.005 nats were seen.
    torch.testing.assert_close(found.predictive_entropy, expected.predictive_entropy, atol=1e-2, rtol=0)
