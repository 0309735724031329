"""Checkpoints of a training: everything in it that changes from step to step, saved and restored."""

import math
from dataclasses import dataclass

import torch

from models.best_weights import BestWeights
from models.objective import Objective
from models.optimisation import LearningRateSchedule
from models.segmenter import GlacierSegmenter
from models.training_state import (
    TrainingState,
    generator_states,
    load_optimiser,
    optimiser_state,
    restore_generators,
    with_prefix,
    without_prefix,
)
from models.weight_average import WeightAverage


@dataclass(frozen=True)
class Checkpointer:
    """Saves and restores everything in a training that changes from step to step."""

    segmenter: GlacierSegmenter
    average: WeightAverage | None
    objective: Objective
    optimiser: torch.optim.Optimizer
    schedule: LearningRateSchedule
    best: BestWeights
    losses: list[float]
    generator: torch.Generator
    device: torch.device

    def state(self) -> TrainingState:
        """Copy the state after the last step."""
        moments, groups = optimiser_state(self.optimiser)
        tensors = {
            **with_prefix("segmenter", self.segmenter.state_dict()),
            **with_prefix("average", self.average.state() if self.average else {}),
            **with_prefix("best", self.best.weights or {}),
            **with_prefix("loss", self.objective.state()),
            **with_prefix("optimiser", moments),
            **generator_states(self.generator, self.device),
        }
        copied = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        score = self.best.score if math.isfinite(self.best.score) else None
        numbers = {
            "groups": groups,
            "schedule": self.schedule.state(),
            "best_score": score,
            "losses": list(self.losses),
        }
        return TrainingState(len(self.losses), copied, numbers)

    def restore(self, state: TrainingState) -> int:
        """Restore a state; return the number of steps done."""
        self.segmenter.load_state_dict(without_prefix("segmenter", state.tensors))
        if self.average is not None:
            self.average.load_state(without_prefix("average", state.tensors))
        self.objective.load_state(without_prefix("loss", state.tensors))
        load_optimiser(self.optimiser, without_prefix("optimiser", state.tensors), state.numbers["groups"])
        self.schedule.load_state(state.numbers["schedule"])
        self.best.weights = without_prefix("best", state.tensors) or None
        self.best.score = -math.inf if state.numbers["best_score"] is None else state.numbers["best_score"]
        self.losses[:] = state.numbers["losses"]
        restore_generators(state.tensors, self.generator, self.device)
        return state.step
