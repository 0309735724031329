"""Train a network on labelled and weak patches of the catalog, as fine-tunes, reproductions and replays do."""

import math
from collections.abc import Callable, Sequence

from catalog.context import Catalog
from catalog.records import Scene
from imagery.classes import UNKNOWN
from models.sampling import LabelledPatches
from models.segmenter import GlacierSegmenter
from models.training import StepReport, Validate, fit
from models.training_config import TrainingConfig
from models.training_state import TrainingState
from services.class_scheme import class_scheme
from services.places import raster_store
from workers.evaluation import evaluate
from workers.validation_windows import ValidationWindowDataset
from workers.versions import device
from workers.weak_patches import WeakPatches


def train_network(
    catalog: Catalog,
    segmenter: GlacierSegmenter,
    labelled: LabelledPatches,
    weak: WeakPatches,
    config: TrainingConfig,
    validation: Sequence[Scene],
    patch_size: int,
    on_step: Callable[[StepReport], None] | None = None,
    resume_from: TrainingState | None = None,
) -> None:
    """Train a network in place (`models.training.fit`).

    Args:
        catalog: the catalog.
        segmenter: the network.
        labelled: labelled patches; may be empty if there are weak ones.
        weak: patches with prior outlines.
        config: how to train.
        validation: ready validation scenes, by which some presets steer the training.
        patch_size: side of the patches and of the windows of validation scenes, pixels.
        on_step: called after each step.
        resume_from: state of the same training before it was interrupted.

    Raises:
        ValueError: there is no patch, or no pixel in one was judged.
        SceneError: a scene cannot be read.
    """
    windows = None
    if config.needs_validation_patches:
        windows = ValidationWindowDataset(validation, segmenter.channels, patch_size, raster_store(catalog))
    fit(
        segmenter,
        labelled,
        config,
        device(catalog),
        UNKNOWN,
        on_step,
        _validation(catalog, validation, patch_size) if config.needs_validation else None,
        class_scheme(catalog).names,
        resume_from=resume_from,
        validation_patches=windows,
        weak_patches=weak.dataset,
        weak_share=weak.share,
    )


def _validation(catalog: Catalog, scenes: Sequence[Scene], patch_size: int) -> Validate:
    """Return the function that gives the mean IoU on the validation scenes."""

    def score(segmenter: GlacierSegmenter) -> float:
        mean_iou = evaluate(catalog, segmenter, scenes, patch_size).metrics.mean_iou
        return math.nan if mean_iou is None else mean_iou

    return score
