"""Train a project's versions again with one thing changed, beside the running system, to measure what that gave.

Each training of the project is repeated in order, with its seed and its number of steps, each from the network before
it. What differs is what it learns from. Nothing is registered, and no service is asked.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import joinedload
from torch import Tensor

from catalog import training
from catalog.context import Catalog
from catalog.records import Label, Patch, Proposal, RunState, Scene, SceneRole, TrainingRun
from imagery.scene_reader import SceneReader
from imagery.statistics import channel_statistics
from models.inference import place
from models.segmenter import GlacierSegmenter
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import ready_scenes, source_of, strips_of, window_of
from workers.evaluation import Evaluation, evaluate
from workers.labelled_patches import LabelledPatchDataset, read_item
from workers.network_training import train_network
from workers.recipe import first_channels, fresh_network, training_config
from workers.versions import device
from workers.weak_patches import WeakPatches, prior_scenes, read_weak_patches


@dataclass(frozen=True)
class Project:
    """The trainings of a project and what they may be compared on.

    Attributes:
        catalog: The catalog.
        runs: The finished trainings in order, at least one.
        labels: Labels that each of them learnt from.
        pool: The one scene of the pool.
        patches: Its patches.
        validation: The validation scenes with outlines, by which some presets steer the training.
        test: The test scenes.
    """

    catalog: Catalog
    runs: Sequence[TrainingRun]
    labels: Sequence[Sequence[Label]]
    pool: Scene
    patches: Sequence[Patch]
    validation: Sequence[Scene]
    test: Sequence[Scene]

    @classmethod
    def read(cls, catalog: Catalog) -> "Project":
        """Read the project of a catalog.

        Raises:
            ValueError: It has no finished training, no test scene, or not one scene in its pool.
        """
        with catalog.read() as session:
            finished = select(TrainingRun).where(TrainingRun.state == RunState.FINISHED).order_by(TrainingRun.id)
            runs = session.scalars(finished).all()
            labels = [training.labels_of_run(session, run) for run in runs]
            pool, validation, test = (
                ready_scenes(session, [role]) for role in (SceneRole.POOL, SceneRole.VALIDATION, SceneRole.TEST)
            )
            patches = session.scalars(select(Patch).order_by(Patch.id).options(joinedload(Patch.scene))).all()
        if not runs or not test or len(pool) != 1:
            raise ValueError(
                f"found {len(runs)} finished trainings, {len(test)} test scenes and {len(pool)} scenes in the pool; "
                "expected at least one training, at least one test scene, and one scene in the pool"
            )
        judging = [scene for scene in validation if scene.outlines]
        of_pool = [patch for patch in patches if patch.scene_id == pool[0].id]
        return cls(catalog, runs, labels, pool[0], of_pool, judging, test)


@dataclass(frozen=True)
class _Lesson:
    """What one training learns from beside prior outlines.

    Attributes:
        labels: Labels, which override prior outlines.
        read: Reads their patches for the given channels: raw float32 (C, h, w) and mask uint8 (h, w) each.
    """

    labels: Sequence[Label]
    read: Callable[[Sequence[str]], Sequence[tuple[Tensor, Tensor]]]


def without_prior_outlines(project: Project) -> list[Evaluation]:
    """Repeat the trainings on the same labels alone; return the evaluation of each on the test scenes.

    Trainings that had no label learn the first labels, so that all have as many steps as those of the project.
    """
    first = next((labels for labels in project.labels if labels), ())
    return _train_all(project, [_labelled(project, labels or first) for labels in project.labels], with_priors=False)


def with_random_patches(project: Project, truth: NDArray[np.uint8], seed: int) -> list[Evaluation]:
    """Repeat the trainings with as many patches of the pool, drawn at random; return their evaluations.

    Args:
        project: The project.
        truth: (H, W) class values of the pool, 255 where unknown, which a simulated annotator would draw.
        seed: Of the draw. The patches of a training are among those of every later one.
    """
    order = np.random.default_rng(seed).permutation(len(project.patches))
    drawn = [[project.patches[i] for i in order[: len(labels)]] for labels in project.labels]
    return _train_all(project, [_true(project, patches, truth) for patches in drawn], with_priors=True)


def _labelled(project: Project, labels: Sequence[Label]) -> _Lesson:
    store, scheme = raster_store(project.catalog), class_scheme(project.catalog)

    def read(channels: Sequence[str]) -> Sequence[tuple[Tensor, Tensor]]:
        dataset = LabelledPatchDataset(labels, channels, store, scheme)
        return [dataset[index] for index in range(len(dataset))]

    return _Lesson(labels, read)


def _true(project: Project, patches: Sequence[Patch], truth: NDArray[np.uint8]) -> _Lesson:
    def read(channels: Sequence[str]) -> Sequence[tuple[Tensor, Tensor]]:
        with SceneReader(source_of(project.pool)) as reader:
            windows = [window_of(patch) for patch in patches]
            return [read_item(reader, channels, window, truth[window.slices].copy()) for window in windows]

    # Rows that no session knows: they say which ground is judged.
    return _Lesson([Label(patch=patch, proposal=Proposal(region=None)) for patch in patches], read)


def _train_all(project: Project, lessons: Sequence[_Lesson], *, with_priors: bool) -> list[Evaluation]:
    catalog = project.catalog
    settings, scheme, on = catalog.settings, class_scheme(catalog), device(catalog)
    segmenter = _first_network(project)
    evaluations = []
    for run, lesson in zip(project.runs, lessons, strict=True):
        count = len(lesson.labels)
        weak = WeakPatches(None, 0.0)
        if with_priors:
            with catalog.read() as session:
                priors = prior_scenes(session, lesson.labels)
            weak = read_weak_patches(catalog, priors, segmenter.channels, scheme, count, run.seed)
        config = training_config(settings, run.seed, count or None).resolve_precision(on)
        labelled, size = lesson.read(segmenter.channels), project.pool.patch_size_px
        train_network(catalog, segmenter, labelled, weak, config, project.validation, size)
        evaluations.append(evaluate(catalog, segmenter, project.test, size))
    return evaluations


def _first_network(project: Project) -> GlacierSegmenter:
    """Return the network that the first training began with."""
    settings, pool = project.catalog.settings, source_of(project.pool)
    channels = first_channels(settings, {project.pool.name: pool})
    statistics = channel_statistics([(pool, strips_of(pool.grid))], channels)
    ranked = class_scheme(project.catalog).ranked
    segmenter = fresh_network(settings, channels, statistics, project.runs[0].seed, ranked)
    segmenter.orientations = settings.map_orientations
    return place(segmenter, device(project.catalog))
