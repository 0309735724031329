"""Training and fine-tuning on patches: seeded, augmented, balanced for rare classes, and resumable."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as validated_dataclass
from torch import Tensor, nn

from models.batches import Augmentation, Batches, ClassWeights
from models.boundary_loss import BoundaryClasses
from models.closed_config import CLOSED, ClosedConfig
from models.heads import problems
from models.inference import pick_precision, place
from models.losses import Loss, LossName, build_loss
from models.modes import mixed_precision
from models.sampling import LabelledPatches
from models.segmenter import GlacierSegmenter
from models.slba_loss import SelfLearningBoundaryAwareLoss
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
        """Whether :func:`fit` must be given a validation score."""
        return self.keep_best or (self.schedule == "plateau" and self.plateau_watches == "score")

    @property
    def needs_validation_patches(self) -> bool:
        """Whether :func:`fit` must be given patches for the validation loss."""
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


@dataclass(frozen=True)
class StepReport:
    """Progress of a training after a step.

    Attributes:
        step: Steps done, from 1.
        steps: Total number of steps.
        loss: Loss of this step's batch, without the L1 penalty.
        learned: Learned parameters of the loss by name (the weights of SLBA: Aryal et al. 2023, fig. 5).
        state: Returns the state of the training after this step; must be called before the next step.
    """

    step: int
    steps: int
    loss: float
    learned: dict[str, float] = field(default_factory=dict)
    state: Callable[[], TrainingState] | None = field(default=None, compare=False, repr=False)


Validate = Callable[[GlacierSegmenter], float]


def fit(
    segmenter: GlacierSegmenter,
    dataset: LabelledPatches,
    config: TrainingConfig,
    device: torch.device,
    ignore_index: int,
    on_step: Callable[[StepReport], None] | None = None,
    validate: Validate | None = None,
    class_names: Sequence[str] | None = None,
    resume_from: TrainingState | None = None,
    validation_patches: LabelledPatches | None = None,
    weak_patches: LabelledPatches | None = None,
    weak_share: float = 0.0,
) -> list[float]:
    """Train a segmenter in place, from its current weights. On a CPU the result is reproducible from ``config.seed``.

    All patches are read once before the first step, to check them and to count classes. Patches without a judged
    pixel are left out. The state of torch's global generators is restored.

    The loss of the head "two_binaries" is the sum over its networks. They share no weights, so this trains each
    independently, on the same batches.

    With weak patches (:mod:`models.weak_masks`), each patch of a batch is drawn from them with the probability
    ``weak_share``. The loss of a batch is the mean of the losses of its labelled and its weak part, weighted by their
    numbers of patches. Where weak outlines do not tell foreground classes apart, they teach only that it is foreground,
    as soon as there are labelled patches; before, they teach the class that is outlined.

    Args:
        segmenter: Trained in place; moved to ``device`` and left there in evaluation mode, without a calibration.
        dataset: Labelled patches, all of one size; square if ``config.augment``. For the binary head, classes are
            merged here. May be empty if there are weak patches, of which all batches then are.
        config: How to train.
        device: Where to train.
        ignore_index: Mask value of pixels that nobody judged.
        on_step: Called after each step, for progress; its exceptions end the training and propagate.
        validate: Scores the network, or with ``config.ema_decay`` the average, which is in evaluation mode; higher is
            better, and NaN (undefined) never counts as an improvement. Called every ``config.validate_every_steps``
            steps and after the last.
        class_names: Names of the classes, background first. They prefix the names in ``StepReport.learned`` with the
            head "two_binaries"; by default "class 1" and so on.
        resume_from: State of the same training before it was interrupted; its weights replace the segmenter's.
        validation_patches: What the validation loss is computed on, if the configuration needs it; of one size.
        weak_patches: Patches of the same size with weak masks; None trains on labels alone.
        weak_share: Probability that a patch is drawn from the weak ones, in [0, 1].

    Returns:
        The loss of each step, including those before an interruption.

    Raises:
        ValueError: There is no patch, a patch does not fit its description, no pixel in it was judged, the share is not
            in [0, 1], or the configuration needs a validation score or validation patches that are not given.
        FloatingPointError: The loss is no longer finite.
    """
    if config.needs_validation and validate is None:
        raise ValueError(
            f"the schedule {config.schedule!r} with keep_best={config.keep_best} needs a validation score; "
            "pass `validate`, or choose another schedule without keep_best"
        )
    if config.needs_validation_patches and not validation_patches:
        raise ValueError(
            f"the schedule {config.schedule!r} watches the validation loss, but there is no validation patch; "
            'pass `validation_patches`, or let it watch the "score"'
        )
    batches = Batches(segmenter, dataset, weak_patches, weak_share, ignore_index, balance=config.balance, device=device)
    augmentation = Augmentation(config.augmented_share if config.augment else 0.0)
    objective = _Objective(config, segmenter, ignore_index, device, class_names)
    place(segmenter, device).train()
    segmenter.calibrate(None)  # a calibration holds for the weights that it was fitted to
    average = WeightAverage(segmenter, config.ema_decay) if config.ema_decay else None
    result = segmenter if average is None else average.network
    optimiser = _optimiser(config, segmenter, objective)
    schedule = _Schedule(config, optimiser)
    best = _BestWeights()
    dtype = pick_precision(device, config.resolve_precision(device).precision)
    losses: list[float] = []
    try:
        with _seeded_generators(config.seed, device) as generator:
            checkpointer = _Checkpointer(
                segmenter, average, objective, optimiser, schedule, best, losses, generator, device
            )
            done = checkpointer.restore(resume_from) if resume_from is not None else 0
            for step in range(done + 1, config.steps + 1):
                batch = batches.draw(config.batch_size, augmentation, generator)
                with mixed_precision(device, dtype):
                    logits = segmenter(batch.raw.to(device))
                loss = batches.loss(objective, logits.float(), batch)
                penalty = config.l1 * _l1_norm(segmenter, config) if config.l1 else None
                losses.append(_update_weights(optimiser, loss, penalty, step))
                schedule.after_step()
                if average is not None:
                    average.update(segmenter)
                if step % config.validate_every_steps == 0 or step == config.steps:
                    result.eval()
                    score = validate(result) if validate is not None else math.nan
                    if config.needs_validation_patches and validation_patches is not None:
                        watched = partial(objective, weights=batches.class_weights)
                        schedule.after_validation(_validation_loss(result, watched, validation_patches, config))
                    else:
                        schedule.after_validation(score)
                    segmenter.train()
                    if config.keep_best:
                        best.update(result, score)
                if on_step is not None:
                    on_step(StepReport(step, config.steps, losses[-1], objective.learned(), checkpointer.state))
        if average is not None:
            segmenter.load_state_dict(average.network.state_dict())
        if config.keep_best:
            best.restore(segmenter)
    finally:
        segmenter.eval()
    return losses


class _Objective:
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


@dataclass(frozen=True)
class _Checkpointer:
    """Saves and restores everything in a training that changes from step to step."""

    segmenter: GlacierSegmenter
    average: WeightAverage | None
    objective: _Objective
    optimiser: torch.optim.Optimizer
    schedule: "_Schedule"
    best: "_BestWeights"
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


class _Schedule:
    """The learning rate schedule."""

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
        scheduler = self._cosine or self._plateau
        if scheduler is not None:
            scheduler.load_state_dict({**scheduler.state_dict(), **state})


class _BestWeights:
    """The weights with the best validation score so far."""

    def __init__(self) -> None:
        self.score = -math.inf
        self.weights: dict[str, Tensor] | None = None

    def update(self, segmenter: GlacierSegmenter, score: float) -> None:
        if score > self.score:
            self.score = score
            self.weights = {name: tensor.detach().clone() for name, tensor in segmenter.state_dict().items()}

    def restore(self, segmenter: GlacierSegmenter) -> None:
        """Load the best weights; without a defined score keep the current ones."""
        if self.weights is not None:
            segmenter.load_state_dict(self.weights)


def _optimiser(config: TrainingConfig, segmenter: GlacierSegmenter, objective: _Objective) -> torch.optim.Optimizer:
    groups: list[dict[str, object]] = [{"params": list(segmenter.parameters())}]
    if objective.parameters():
        groups.append({"params": objective.parameters(), "weight_decay": 0.0})
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "adadelta":
        return torch.optim.Adadelta(groups, lr=rate, rho=0.95, weight_decay=decay)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate, weight_decay=decay, fused=True)
    return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)


def _l1_norm(segmenter: GlacierSegmenter, config: TrainingConfig) -> Tensor:
    """Return the sum of the absolute values of the penalised parameters; only weights of convolutions have 4 axes."""
    everything = config.l1_covers == "all"
    return torch.stack([values.abs().sum() for values in segmenter.parameters() if everything or values.ndim > 1]).sum()


def _validation_loss(
    segmenter: GlacierSegmenter,
    loss: Callable[[Tensor, Tensor], Tensor],
    patches: LabelledPatches,
    config: TrainingConfig,
) -> float:
    """Return the mean of the loss over batches of patches, for a network in evaluation mode."""
    losses = []
    with torch.no_grad():
        for first in range(0, len(patches), config.batch_size):
            batch = [patches[index] for index in range(first, min(first + config.batch_size, len(patches)))]
            raw, mask = (torch.stack(parts).to(segmenter.device) for parts in zip(*batch, strict=True))
            losses.append(float(loss(segmenter(raw).float(), mask)))
    return sum(losses) / len(losses)


@contextmanager
def _seeded_generators(seed: int, device: torch.device) -> Iterator[torch.Generator]:
    """Seed torch's global generators, which dropout uses, and yield a generator for the sampling."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)


def _update_weights(optimiser: torch.optim.Optimizer, loss: Tensor, penalty: Tensor | None, step: int) -> float:
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
