"""The state of a training between two steps, as bytes: what an interrupted training goes on from.

The format is safetensors, whose metadata hold what are no tensors as JSON: nothing is unpickled. On a CPU a training
that goes on from its state ends with the very weights of one that was never interrupted.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_STATE: Final = "state"  # key of the metadata
_CPU_GENERATOR, _SAMPLING_GENERATOR, _DEVICE_GENERATOR = "generator.cpu", "generator.sampling", "generator.device"


class TrainingStateError(ValueError):
    """These bytes are no state of this training."""


@dataclass
class TrainingState:
    """What changes from step to step.

    Attributes:
        step: Steps done.
        tensors: Weights, best weights, what losses learn, moments of the optimiser, and states of random generators.
        numbers: Everything else: learning rates, counters of the schedule, scores, losses so far.
    """

    step: int
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]

    def to_bytes(self, fingerprint: str) -> bytes:
        """Encode the state.

        Args:
            fingerprint: Identifies the training; `from_bytes` refuses the state of another one.
        """
        described = {"step": self.step, "numbers": self.numbers, "fingerprint": fingerprint}
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in self.tensors.items()}
        encoded: bytes = save(tensors, {_STATE: json.dumps(described)})
        return encoded

    @classmethod
    def from_bytes(cls, data: bytes, fingerprint: str) -> "TrainingState":
        """Decode what `to_bytes` encoded.

        Raises:
            TrainingStateError: The bytes are damaged, or the state is that of another training.
        """
        try:
            length = int.from_bytes(data[:8], "little")
            described = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_STATE])
            tensors = load(data)
        except (ValueError, KeyError, SafetensorError) as error:
            raise TrainingStateError(f"the state of the training is damaged: {error}") from error
        if described["fingerprint"] != fingerprint:
            raise TrainingStateError("the state belongs to a training with other settings, labels or parent")
        return cls(described["step"], tensors, described["numbers"])


def with_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors under names that begin with a prefix and a full stop."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def below_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix and a full stop, under the rest of their names."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}


def optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """Split the state of an optimiser into tensors, named by parameter number, and the settings of its groups."""
    state = optimiser.state_dict()
    tensors = {
        f"{number}.{name}": value if isinstance(value, Tensor) else torch.tensor(value)
        for number, values in state["state"].items()
        for name, value in values.items()
    }
    return tensors, state["param_groups"]


def load_optimiser(
    optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[dict[str, Any]]
) -> None:
    """Give an optimiser the state that `optimiser_state` split.

    Moments get the memory layout of their weights: fused optimisers read both as plain memory, without their strides.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    by_parameter: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        number, _, name = key.partition(".")
        weights = parameters[int(number)]
        laid_out = torch.empty_like(weights).copy_(tensor) if tensor.shape == weights.shape else tensor
        by_parameter.setdefault(int(number), {})[name] = laid_out
    optimiser.load_state_dict({"state": by_parameter, "param_groups": groups})


def generator_states(sampling: torch.Generator, device: torch.device) -> dict[str, Tensor]:
    """Return the states of the generators that sampling, augmentation and dropout draw from."""
    states = {_CPU_GENERATOR: torch.get_rng_state(), _SAMPLING_GENERATOR: sampling.get_state()}
    if device.type == "cuda":
        states[_DEVICE_GENERATOR] = torch.cuda.get_rng_state(device)
    return states


def restore_generators(tensors: Mapping[str, Tensor], sampling: torch.Generator, device: torch.device) -> None:
    """Bring the generators back to what `generator_states` returned."""
    torch.set_rng_state(tensors[_CPU_GENERATOR])
    sampling.set_state(tensors[_SAMPLING_GENERATOR])
    if device.type == "cuda" and _DEVICE_GENERATOR in tensors:
        torch.cuda.set_rng_state(tensors[_DEVICE_GENERATOR], device)
