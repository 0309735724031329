"""The state of a training between two steps, as bytes from which an interrupted training can resume.

The format is safetensors; values other than tensors are JSON in its metadata, so nothing is unpickled. On a CPU a
resumed training ends with exactly the weights of one that was never interrupted.
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
    """The bytes are not a state of this training."""


@dataclass
class TrainingState:
    """Everything in a training that changes from step to step.

    Attributes:
        step: Steps done.
        tensors: Weights, best weights, parameters of losses, moments of the optimiser, and states of random generators.
        numbers: The rest: learning rates, counters of the schedule, scores, losses so far.
    """

    step: int
    tensors: dict[str, Tensor]
    numbers: dict[str, Any]

    def to_bytes(self, fingerprint: str) -> bytes:
        """Encode the state.

        Args:
            fingerprint: Identifies the training; `from_bytes` rejects the state of any other.
        """
        described = {"step": self.step, "numbers": self.numbers, "fingerprint": fingerprint}
        tensors = {name: tensor.detach().contiguous().cpu() for name, tensor in self.tensors.items()}
        encoded: bytes = save(tensors, {_STATE: json.dumps(described)})
        return encoded

    @classmethod
    def from_bytes(cls, data: bytes, fingerprint: str) -> "TrainingState":
        """Decode the result of `to_bytes`.

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
    """Return the tensors with a prefix and a full stop added to their names."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix and a full stop, with this removed from the names."""
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
    """Load the result of `optimiser_state` into an optimiser.

    Moments get the memory layout of their weights, since fused optimisers ignore strides.
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
    """Restore the generators from the result of `generator_states`."""
    torch.set_rng_state(tensors[_CPU_GENERATOR])
    sampling.set_state(tensors[_SAMPLING_GENERATOR])
    if device.type == "cuda" and _DEVICE_GENERATOR in tensors:
        torch.cuda.set_rng_state(tensors[_DEVICE_GENERATOR], device)
