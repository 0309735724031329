"""Training and fine-tuning on patches: seeded, augmented, and adapted to rare classes."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as validated_dataclass
from torch import Tensor

from models.closed_config import CLOSED, ClosedConfig
from models.inference import place
from models.losses import LOSSES
from models.modes import mixed_precision
from models.sampling import (
    LabelledPatches,
    count_pixels,
    patch_weights,
    random_symmetry,
    sampled_class_weights,
)
from models.segmenter import GlacierSegmenter


@validated_dataclass(frozen=True, config=CLOSED)
class TrainingConfig(ClosedConfig):
    """How to train; unknown settings are refused. The defaults suit one round of fine-tuning on tens of small patches.

    Attributes:
        steps: Optimiser steps.
        batch_size: Patches a step, drawn with replacement.
        learning_rate: Peak of the learning rate of AdamW, which falls to 0 along a half cosine.
        weight_decay: Decoupled weight decay (Loshchilov & Hutter 2019).
        seed: Seed of sampling, augmentation and dropout.
        loss: A name in :data:`models.losses.LOSSES`.
        augment: Draw one of the eight flips and quarter turns for each patch.
        balance: Favour classes with less than 10 % of the pixels, in the sampling and in the loss.
    """

    steps: int = Field(default=150, ge=1)
    batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0.0)
    weight_decay: float = Field(default=1e-2, ge=0.0)
    seed: int = Field(default=0, ge=0)
    loss: Literal["cross_entropy", "dice", "dice_cross_entropy"] = "dice_cross_entropy"
    augment: bool = True
    balance: bool = True


@dataclass(frozen=True)
class StepReport:
    """Where the training stands after a step.

    Attributes:
        step: Steps done, from 1.
        steps: Steps in all.
        loss: Loss of this step's batch.
    """

    step: int
    steps: int
    loss: float


def fit(
    segmenter: GlacierSegmenter,
    dataset: LabelledPatches,
    config: TrainingConfig,
    device: torch.device,
    ignore_index: int,
    on_step: Callable[[StepReport], None] | None = None,
) -> list[float]:
    """Train a segmenter in place, starting from the weights that it has. On a CPU, reproducible from ``config.seed``.

    All patches are read once before the first step, to check them and to count classes. Patches whose masks hold no
    judged pixel are left out. Torch's global generators are given back as they were.

    Args:
        segmenter: Trained in place; moved to ``device`` and left there in evaluation mode.
        dataset: Labelled patches, all of one size; square if ``config.augment``.
        config: How to train.
        device: Where to train.
        ignore_index: Mask value of pixels that nobody judged.
        on_step: Called after each step, for progress; what it raises stops the training and reaches the caller.

    Returns:
        The loss of each step.

    Raises:
        ValueError: The dataset is empty, a patch does not fit its description, or no pixel in it was judged.
        FloatingPointError: The loss is no longer finite.
    """
    counts = count_pixels(dataset, len(segmenter.channels), segmenter.unet.config.classes, ignore_index)
    draw_weights = patch_weights(counts, config.balance)
    loss_weights = sampled_class_weights(counts, draw_weights).to(device) if config.balance else None
    place(segmenter, device).train()
    optimiser = torch.optim.AdamW(segmenter.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.steps)
    loss_function = LOSSES[config.loss]
    losses: list[float] = []
    try:
        with _seeded(config.seed, device) as generator:
            for step in range(1, config.steps + 1):
                raw, mask = _draw_batch(dataset, draw_weights, config, generator)
                with mixed_precision(device):
                    logits = segmenter(raw.to(device))
                loss = loss_function(logits.float(), mask.to(device), ignore_index, loss_weights)
                losses.append(_step(optimiser, loss, step))
                schedule.step()
                if on_step is not None:
                    on_step(StepReport(step, config.steps, losses[-1]))
    finally:
        segmenter.eval()
    return losses


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed dropout (torch's global generators), and yield a generator for the sampling."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def _draw_batch(
    dataset: LabelledPatches, draw_weights: Tensor, config: TrainingConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw patches with replacement: raw (N, C, h, w) and masks (N, h, w), on the CPU."""
    indices = torch.multinomial(draw_weights, config.batch_size, replacement=True, generator=generator)
    patches = [dataset[index] for index in indices.tolist()]
    if config.augment:
        patches = [random_symmetry(raw, mask, generator) for raw, mask in patches]
    raw, mask = zip(*patches, strict=True)
    return torch.stack(raw), torch.stack(mask)


def _step(optimiser: torch.optim.Optimizer, loss: Tensor, step: int) -> float:
    """One update of the weights; refuses to spread a loss that is not finite into them."""
    value = float(loss.detach())
    if not math.isfinite(value):
        raise FloatingPointError(
            f"the loss is {value} at step {step}; lower the learning rate, or look for infinite values in the images"
        )
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return value
