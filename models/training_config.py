"""How to train: the settings of a training, and how they scale with the number of labels."""

from dataclasses import replace
from typing import Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as validated_dataclass

from models.boundary_loss import BoundaryClasses
from models.closed_config import CLOSED, ClosedConfig
from models.inference import pick_precision
from models.losses import LossName


@validated_dataclass(frozen=True, config=CLOSED)
class TrainingConfig(ClosedConfig):
    """How to train; unknown settings are refused. The defaults suit one round of fine-tuning on tens of small patches.

    Attributes:
        steps: Optimiser steps.
        batch_size: Patches a step, drawn with replacement.
        optimizer: ``"adamw"`` (Loshchilov & Hutter 2019), ``"adam"`` (Kingma & Ba 2015) or ``"adadelta"`` (Zeiler 2012,
            with its decay of 0.95).
        schedule: ``"cosine"`` lets the learning rate fall to 0 along a half cosine; ``"plateau"`` divides it by 10 when
            the validation has not improved for a while (see the next three); ``"constant"`` keeps it.
        plateau_watches: What has to improve: the validation ``"score"``, or the validation ``"loss"``, which is the
            training loss, without the L1 penalty, on validation patches.
        plateau_patience: Validations without improvement that are tolerated; the next one lowers the learning rate.
        least_learning_rate: The schedule ``"plateau"`` does not go below it.
        learning_rate: The highest learning rate.
        weight_decay: Decoupled with AdamW; otherwise an L2 penalty in the gradient.
        l1: Weight of the L1 penalty.
        l1_covers: What it penalises: the weights of the ``"convolutions"``, or ``"all"`` parameters of the network,
            biases and batch norms too.
        validate_every_steps: Steps between two validations, if there are any; the network is also validated after the
            last step.
        keep_best: Whether to return the weights with the best validation score instead of the last ones.
        seed: Seed of sampling, augmentation and dropout.
        loss: A name in :data:`models.losses.LOSS_NAMES`.
        alpha: Weight of masked Dice in the loss ``combined``; other losses ignore it.
        boundary_classes: Whose boundaries count in the losses ``boundary``, ``combined`` and ``slba``: those of the
            ``"foreground"`` classes, or of ``"all"`` classes; other losses ignore it.
        augment: Whether to apply symmetries of the square to patches.
        augmented_share: Share of the drawn patches to which one of the eight symmetries is applied, drawn at random
            (one of the eight changes nothing); the others stay as they are.
        balance: Whether to favour classes with less than 10 % of the pixels, in the sampling and in the loss.
        ema_decay: Decay of the exponential moving average of the weights, which is returned, validated and stored in
            place of the last weights (:mod:`models.weight_average`); 0 for none.
        precision: Data type of forward and backward passes (autocast); weights, losses and updates are
            float32. ``"auto"`` is bfloat16 where the hardware supports it (:func:`models.inference.pick_precision`),
            but float32 on several CPU threads.
        weak_loss: Loss of weak patches, if there are any; None: ``loss``.
    """

    steps: int = Field(default=150, ge=1)
    batch_size: int = Field(default=8, ge=1)
    optimizer: Literal["adamw", "adam", "adadelta"] = "adamw"
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    plateau_watches: Literal["score", "loss"] = "score"
    plateau_patience: int = Field(default=2, ge=0)
    least_learning_rate: float = Field(default=0.0, ge=0.0)
    learning_rate: float = Field(default=3e-3, gt=0.0)
    weight_decay: float = Field(default=1e-2, ge=0.0)
    l1: float = Field(default=0.0, ge=0.0)
    l1_covers: Literal["convolutions", "all"] = "convolutions"
    validate_every_steps: int = Field(default=50, ge=1)
    keep_best: bool = False
    seed: int = Field(default=0, ge=0)
    loss: LossName = "dice_cross_entropy"
    alpha: float = Field(default=0.5, ge=0.0, le=1.0)
    boundary_classes: BoundaryClasses = "foreground"
    augment: bool = True
    augmented_share: float = Field(default=1.0, gt=0.0, le=1.0)
    balance: bool = True
    ema_decay: float = Field(default=0.0, ge=0.0, lt=1.0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    weak_loss: LossName | None = None

    @property
    def needs_validation(self) -> bool:
        """Whether :func:`models.training.fit` must be given a validation score."""
        return self.keep_best or (self.schedule == "plateau" and self.plateau_watches == "score")

    @property
    def needs_validation_patches(self) -> bool:
        """Whether :func:`models.training.fit` must be given patches for the validation loss."""
        return self.schedule == "plateau" and self.plateau_watches == "loss"

    def resolve_precision(self, device: torch.device) -> "TrainingConfig":
        """Return the configuration with the precision ``"auto"`` replaced by the one for a device and thread count."""
        if self.precision != "auto":
            return self
        # In the backward pass of oneDNN's bfloat16 convolutions, threads wait for one another by spinning. On a busy
        # machine two threads took 0.2 to 0.3 s of processor time a step where one takes 0.05, and float32 0.09.
        several_threads = device.type == "cpu" and torch.get_num_threads() > 1
        use_bfloat16 = not several_threads and pick_precision(device) == torch.bfloat16
        return replace(self, precision="bfloat16" if use_bfloat16 else "float32")


def scale_training(config: TrainingConfig, ratio: float, steps_exponent: float, rate_exponent: float) -> TrainingConfig:
    """Scale steps and learning rate to a number of labels.

    Args:
        config: For a reference number of labels.
        ratio: Number of labels divided by the reference, positive.
        steps_exponent: The steps are multiplied by ``ratio ** steps_exponent``, but by no less than 1/4 and no more
            than 4, and rounded.
        rate_exponent: Likewise the learning rate.

    Returns:
        The configuration, with at least one step.
    """
    of_steps, of_rate = (min(max(ratio**exponent, 0.25), 4.0) for exponent in (steps_exponent, rate_exponent))
    return replace(config, steps=max(1, round(config.steps * of_steps)), learning_rate=config.learning_rate * of_rate)
