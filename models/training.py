"""Training and fine-tuning on patches: seeded, augmented, balanced for rare classes, and resumable."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from models.batches import Augmentation, Batches
from models.best_weights import BestWeights
from models.checkpoint import Checkpointer
from models.inference import pick_precision, place
from models.modes import mixed_precision
from models.objective import Objective
from models.optimisation import LearningRateSchedule, build_optimiser, l1_norm, update_weights
from models.sampling import LabelledPatches
from models.segmenter import GlacierSegmenter
from models.training_config import TrainingConfig
from models.training_state import TrainingState
from models.weight_average import WeightAverage


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

    All patches are read before the first step, to check them and to count classes. Patches without a judged
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
            merged here. May be empty, or without a judged pixel, if there are weak patches, of which all batches
            then are.
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
    objective = Objective(config, segmenter, ignore_index, device, class_names)
    place(segmenter, device).train()
    segmenter.calibrate(None)  # a calibration holds for the weights that it was fitted to
    average = WeightAverage(segmenter, config.ema_decay) if config.ema_decay else None
    result = segmenter if average is None else average.network
    optimiser = build_optimiser(config, segmenter, objective)
    schedule = LearningRateSchedule(config, optimiser)
    best = BestWeights()
    dtype = pick_precision(device, config.resolve_precision(device).precision)
    losses: list[float] = []
    try:
        with _seeded_generators(config.seed, device) as generator:
            checkpointer = Checkpointer(
                segmenter, average, objective, optimiser, schedule, best, losses, generator, device
            )
            done = checkpointer.restore(resume_from) if resume_from is not None else 0
            for step in range(done + 1, config.steps + 1):
                batch = batches.draw(config.batch_size, augmentation, generator)
                with mixed_precision(device, dtype):
                    logits = segmenter(batch.raw.to(device))
                loss = batches.loss(objective, logits.float(), batch)
                penalty = config.l1 * l1_norm(segmenter, config) if config.l1 else None
                losses.append(update_weights(optimiser, loss, penalty, step))
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
