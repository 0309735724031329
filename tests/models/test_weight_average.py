from dataclasses import replace

import pytest
import torch

from models.training import fit
from models.training_config import TrainingConfig
from models.weight_average import WeightAverage
from tests.models.networks import small_segmenter
from tests.models.test_training import CPU, IGNORE, bright_is_ice


def fill(segmenter, value: float):
    with torch.no_grad():
        for tensor in (*segmenter.parameters(), *segmenter.unet.buffers()):
            tensor.fill_(value)
    return segmenter


def test_the_average_of_three_steps_is_that_of_the_formula():
    """Weights 1, 2, 4: decays (1 + 1) / (10 + 1) and min(0.2, 3 / 12) after the first update, which copies."""
    segmenter = small_segmenter(normalization="batch")
    average = WeightAverage(segmenter, 0.2)
    for value in (1.0, 2.0, 4.0):
        average.update(fill(segmenter, value))
    expected = 0.2 * (2 / 11 * 1.0 + 9 / 11 * 2.0) + 0.8 * 4.0
    for tensor in average.network.parameters():
        torch.testing.assert_close(tensor, torch.full_like(tensor, expected))


def test_the_statistics_of_batch_norms_are_averaged_and_their_counters_copied():
    segmenter = small_segmenter(normalization="batch")
    average = WeightAverage(segmenter, 0.5)
    for value in (1.0, 3.0):
        average.update(fill(segmenter, value))
    buffers = dict(average.network.unet.named_buffers())
    means = [tensor for name, tensor in buffers.items() if name.endswith("running_mean")]
    counters = [tensor for name, tensor in buffers.items() if name.endswith("num_batches_tracked")]
    assert means
    assert all(torch.allclose(mean, torch.tensor(2 / 11 * 1.0 + 9 / 11 * 3.0)) for mean in means)
    assert counters
    assert all(int(counter) == 3 for counter in counters)


def test_the_normalisation_of_the_input_stays_as_it_is():
    """Its values are compared bit for bit with those of the card."""
    segmenter = small_segmenter()
    average = WeightAverage(segmenter, 0.99)
    for _ in range(20):
        average.update(segmenter)
    assert torch.equal(average.network.mean, segmenter.mean)
    assert torch.equal(average.network.std, segmenter.std)


def test_a_training_with_an_average_takes_the_same_steps_and_returns_the_average():
    config = TrainingConfig(steps=6, precision="float32")
    last, averaged = small_segmenter(normalization="batch"), small_segmenter(normalization="batch")
    weights = []
    losses = fit(last, bright_is_ice(), config, CPU, IGNORE, lambda _: weights.append(first_weights(last)))
    assert losses == fit(averaged, bright_is_ice(), replace(config, ema_decay=0.9), CPU, IGNORE)
    expected = weights[0]
    for number, after_step in enumerate(weights[1:], start=1):
        decay = (1 + number) / (10 + number)
        expected = decay * expected + (1 - decay) * after_step
    torch.testing.assert_close(first_weights(averaged), expected)
    assert not torch.allclose(first_weights(averaged), first_weights(last), rtol=1e-4)


def test_what_is_validated_is_the_average():
    segmenter, seen = small_segmenter(), []
    config = TrainingConfig(steps=4, validate_every_steps=4, ema_decay=0.9, precision="float32")

    def validate(network) -> float:
        assert not network.training
        seen.append(first_weights(network))
        return 0.0

    fit(segmenter, bright_is_ice(), config, CPU, IGNORE, validate=validate)
    assert len(seen) == 1
    assert torch.equal(seen[0], first_weights(segmenter))


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_outside_its_range_is_refused(decay):
    with pytest.raises(ValueError, match="ema_decay"):
        TrainingConfig(ema_decay=decay)


def first_weights(segmenter) -> torch.Tensor:
    return next(iter(segmenter.parameters())).detach().clone()
