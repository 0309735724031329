"""What a training minimises: the loss of a head, without penalties on the weights."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from models.batches import ClassWeights
from models.heads import problems
from models.losses import Loss, build_loss
from models.segmenter import GlacierSegmenter
from models.slba_loss import SelfLearningBoundaryAwareLoss
from models.training_config import TrainingConfig
from models.training_state import without_prefix


class Objective:
    """The loss of a head: the sum over its problems, with the learned parameters of the losses."""

    def __init__(
        self,
        config: TrainingConfig,
        segmenter: GlacierSegmenter,
        ignore_index: int,
        device: torch.device,
        class_names: Sequence[str] | None,
    ) -> None:
        """Build one loss per problem."""
        self._head, self._ignore_index = segmenter.head, ignore_index
        self._prefixes = [""]
        if segmenter.head == "two_binaries":
            names = class_names or [f"class {value}" for value in range(segmenter.classes)]
            self._prefixes = [f"{name}." for name in names[1:]]
        self._losses: list[Loss] = [
            build_loss(config.loss, config.alpha, config.boundary_classes) for _ in self._prefixes
        ]
        self._weak_losses = self._losses
        if config.weak_loss is not None:
            self._weak_losses = [build_loss(config.weak_loss) for _ in self._prefixes]
        for loss in self._losses:
            if isinstance(loss, nn.Module):
                loss.to(device)

    def __call__(self, logits: Tensor, mask: Tensor, weights: ClassWeights, weak: bool = False) -> Tensor:
        """Return the sum of the losses of the problems, a scalar; ``weak`` tells whether the masks are weak."""
        parts = problems(logits, mask, self._head, self._ignore_index)
        values = [
            loss(part.logits, part.target, self._ignore_index, weights)
            for part, loss, weights in zip(parts, self._weak_losses if weak else self._losses, weights, strict=True)
        ]
        return values[0] if len(values) == 1 else torch.stack(values).sum()

    def parameters(self) -> list[nn.Parameter]:
        """Return the learned parameters of the losses."""
        return [parameter for loss in self._losses if isinstance(loss, nn.Module) for parameter in loss.parameters()]

    def state(self) -> dict[str, Tensor]:
        """Return the learned values of the losses, as tensors."""
        modules = {str(number): loss for number, loss in enumerate(self._losses) if isinstance(loss, nn.Module)}
        return {
            f"{number}.{name}": value for number, loss in modules.items() for name, value in loss.state_dict().items()
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Load the result of `state`."""
        for number, loss in enumerate(self._losses):
            if isinstance(loss, nn.Module):
                loss.load_state_dict(without_prefix(str(number), tensors))

    def learned(self) -> dict[str, float]:
        """Return the learned values by name; with several networks the name is prefixed by the class."""
        return {
            prefix + name: value
            for prefix, loss in zip(self._prefixes, self._losses, strict=True)
            if isinstance(loss, SelfLearningBoundaryAwareLoss)
            for name, value in loss.learned().items()
        }
