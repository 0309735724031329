"""A training that is interrupted and goes on is the training that was never interrupted."""

from dataclasses import replace

import pytest
import torch

from models.training import StepReport, fit
from models.training_config import TrainingConfig
from models.training_state import TrainingState, TrainingStateError
from tests.models.networks import small_segmenter
from tests.models.test_training import CPU, IGNORE, bright_is_ice, weights_of

STEPS, INTERRUPTED_AFTER = 8, 3


class InterruptionError(Exception):
    pass


def validate(segmenter) -> float:
    """Best after some steps, so that the weights kept are neither the first nor the last."""
    return -abs(float(weights_of(segmenter).abs().mean()) - 0.2)


def train(config: TrainingConfig, stop_after: int | None = None, state: TrainingState | None = None):
    """Train a network; return it with its losses, or the state at which it was interrupted."""
    segmenter, taken = small_segmenter(), []

    def on_step(report: StepReport) -> None:
        if report.step == stop_after:
            assert report.state is not None
            taken.append(report.state())
            raise InterruptionError

    scored = validate if config.needs_validation else None
    try:
        losses = fit(
            segmenter,
            bright_is_ice(),
            config,
            CPU,
            IGNORE,
            on_step,
            scored,
            resume_from=state,
            validation_patches=bright_is_ice(2),
        )
    except InterruptionError:
        return taken[0]
    return segmenter, losses


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"optimizer": "adam", "schedule": "plateau", "validate_every_steps": 1},
        {"schedule": "plateau", "plateau_watches": "loss", "plateau_patience": 0, "validate_every_steps": 1},
        {"optimizer": "adadelta", "schedule": "constant", "keep_best": True, "validate_every_steps": 2},
        {"loss": "slba"},
        {"l1": 1e-4, "loss": "dice"},
        {"ema_decay": 0.9},
        {"ema_decay": 0.9, "keep_best": True, "validate_every_steps": 2},
    ],
    ids=["default", "plateau", "loss-plateau", "keep-best", "slba", "l1", "ema", "ema-keep-best"],
)
def test_a_training_that_goes_on_ends_as_one_that_was_never_interrupted(settings):
    config = TrainingConfig(steps=STEPS, precision="float32", **settings)
    whole, losses = train(config)
    interrupted = train(config, stop_after=INTERRUPTED_AFTER)
    stored = TrainingState.from_bytes(interrupted.to_bytes("a"), "a")
    assert stored.step == INTERRUPTED_AFTER
    resumed, all_losses = train(config, state=stored)
    assert all_losses == losses
    assert torch.equal(weights_of(resumed), weights_of(whole))


def test_without_its_state_the_rest_of_the_training_is_another():
    """Otherwise the test above would prove nothing."""
    config = TrainingConfig(steps=STEPS, precision="float32")
    whole, _ = train(config)
    anew, _ = train(replace(config, steps=STEPS - INTERRUPTED_AFTER))
    assert not torch.equal(weights_of(anew), weights_of(whole))


def test_the_state_of_another_training_or_a_damaged_one_is_refused():
    data = train(TrainingConfig(steps=STEPS), stop_after=INTERRUPTED_AFTER).to_bytes("a")
    with pytest.raises(TrainingStateError, match="other settings, labels or parent"):
        TrainingState.from_bytes(data, "b")
    for broken in (b"", b"no state", data[:1000], data[:-1]):
        with pytest.raises(TrainingStateError, match="damaged"):
            TrainingState.from_bytes(broken, "a")
