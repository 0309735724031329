"""How a training changes the weights: the optimiser, the penalty, and the schedule of the learning rate."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from models.objective import Objective
from models.segmenter import GlacierSegmenter
from models.training_config import TrainingConfig


def build_optimiser(config: TrainingConfig, segmenter: GlacierSegmenter, objective: Objective) -> torch.optim.Optimizer:
    """Return the optimiser of a network's weights and of the learned parameters of its loss, which do not decay."""
    groups: list[dict[str, object]] = [{"params": list(segmenter.parameters())}]
    if objective.parameters():
        groups.append({"params": objective.parameters(), "weight_decay": 0.0})
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=rate, rho=0.95, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)


class LearningRateSchedule:
    """The learning rate over a training, as `TrainingConfig.schedule` says."""

    def __init__(self, config: TrainingConfig, optimiser: torch.optim.Optimizer) -> None:
        self._cosine = self._plateau = None
        if config.schedule == "cosine":
            self._cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.steps)
        elif config.schedule == "plateau":
            self._plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
                optimiser,
                mode="max" if config.plateau_watches == "score" else "min",
                factor=0.1,
                patience=config.plateau_patience,
                min_lr=config.least_learning_rate,
            )

    def after_step(self) -> None:
        """Take note of a step of the optimiser."""
        if self._cosine is not None:
            self._cosine.step()

    def after_validation(self, watched: float) -> None:
        """Take the score or the loss of a validation, whichever is watched."""
        if self._plateau is not None:
            self._plateau.step(watched)

    def state(self) -> dict[str, Any]:
        """Return the numbers in its state, which can be stored as JSON."""
        scheduler = self._cosine or self._plateau
        full = scheduler.state_dict() if scheduler is not None else {}
        return {name: value for name, value in full.items() if isinstance(value, int | float | list)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Load the result of `state`."""
        scheduler = self._cosine or self._plateau
        if scheduler is not None:
            scheduler.load_state_dict({**scheduler.state_dict(), **state})


def l1_norm(segmenter: GlacierSegmenter, config: TrainingConfig) -> Tensor:
    """Return the sum of the absolute values of the penalised parameters; only weights of convolutions have 4 axes."""
    everything = config.l1_covers == "all"
    return torch.stack([values.abs().sum() for values in segmenter.parameters() if everything or values.ndim > 1]).sum()


def update_weights(optimiser: torch.optim.Optimizer, loss: Tensor, penalty: Tensor | None, step: int) -> float:
    """Update the weights and return the loss; raise FloatingPointError, before the update, if it is not finite."""
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss is {value} at step {step}; lower the learning rate, or look for infinite values in the images"
        )
    optimiser.zero_grad(set_to_none=True)
    total = loss if penalty is None else loss + penalty
    total.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return value
