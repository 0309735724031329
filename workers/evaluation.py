"""Evaluate a network on scenes with outlines: confusion matrices of all pixels of all scenes, and by block."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.context import Catalog
from catalog.records import Scene, SceneRole
from imagery.classes import UNKNOWN
from imagery.grid import Window
from imagery.maps import read_map
from models.block_counts import BlockCounts, SceneBlocks, block_side
from models.card import EvaluationSet, ModelCard, RegionMetrics
from models.heads import head_classes, merge_truth
from models.segmenter import GlacierSegmenter
from services import raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import source_of
from workers.windows import predict_strips


@dataclass(frozen=True)
class Evaluation:
    """What a network gets right on the scenes of one role.

    Attributes:
        metrics: Scores over all pixels.
        blocks: Counts by spatial block.
    """

    metrics: RegionMetrics
    blocks: BlockCounts

    @classmethod
    def of(cls, scenes: Sequence[SceneBlocks], names: Sequence[str]) -> "Evaluation":
        """Score the counts of at least one scene, with the names of the K classes."""
        total = sum((scene.confusion for scene in scenes[1:]), start=scenes[0].confusion)
        return cls(RegionMetrics.from_confusion(total, names), BlockCounts.of_scenes(scenes))


def blocks_of(scenes: Sequence[Scene], classes: int) -> list[SceneBlocks]:
    """Return empty counts for scenes that are judged together, by blocks of one side."""
    sizes = [(grid.height, grid.width) for grid in (source_of(scene).grid for scene in scenes)]
    return [SceneBlocks.empty(size, classes, block_side(sizes)) for size in sizes]


def evaluation_set(catalog: Catalog, scenes: Sequence[Scene]) -> EvaluationSet:
    """Return the ids of the scenes and the SHA-256 of their truth masks, which identify an evaluation set."""
    store, digest = raster_store(catalog), hashlib.sha256()
    for scene in scenes:
        digest.update(store.get(raster_keys.truth(scene.id)))
    return EvaluationSet(scenes=tuple(scene.id for scene in scenes), truth_sha256=digest.hexdigest())


def recorded_evaluation(
    card: ModelCard, role: SceneRole, judged_on: EvaluationSet, patch_size: int, code: str
) -> Evaluation | None:
    """Return the evaluation in a version's card if :func:`evaluate` would give the same ones, to save the computation.

    Metrics depend on the weights, the scenes, their truth, the window size and the code, so all of these must be equal.
    The pixels of a registered scene do not change. Code with uncommitted changes never counts as equal.

    Args:
        card: card of the version.
        role: role of the scenes.
        judged_on: present evaluation set; see :func:`evaluation_set`.
        patch_size: present side of the windows, pixels.
        code: present version of the code.

    Returns:
        The evaluation; None if anything differs, or the card has none for this role.
    """
    recorded = {SceneRole(name): judged for name, judged in card.evaluation.items()}.get(role)
    same_code = card.code_version == code and not code.endswith("-dirty")
    same = recorded == judged_on and card.patch_size_px == patch_size and same_code
    metrics = {SceneRole(name): scores for name, scores in card.metrics.items()}.get(role)
    blocks = {SceneRole(name): counts for name, counts in card.blocks.items()}.get(role)
    return Evaluation(metrics, blocks) if same and metrics and blocks else None


def evaluate(catalog: Catalog, segmenter: GlacierSegmenter, scenes: Sequence[Scene], patch_size: int) -> Evaluation:
    """Evaluate a network on scenes; each pixel counts once.

    A binary head is judged by the outlines of all foreground classes together.

    Args:
        catalog: for the raster store and the batch size.
        segmenter: the network, on its device.
        scenes: ready scenes with outlines, at least one.
        patch_size: side of the windows, pixels.

    Raises:
        SceneError: a scene lacks a channel of the network, or cannot be read.
    """
    scheme = class_scheme(catalog)
    names = head_classes(segmenter.head, scheme.names, scheme.foreground)
    store, found = raster_store(catalog), blocks_of(scenes, len(names))
    for scene, blocks in zip(scenes, found, strict=True):
        source, truth_map = source_of(scene), store.uri(raster_keys.truth(scene.id))
        strips = predict_strips(segmenter, source, patch_size, catalog.settings.inference_batch_size, UNKNOWN)
        for row, predicted in strips:
            truth = merge_truth(read_map(truth_map, Window(row, 0, *predicted.shape)), segmenter.head, UNKNOWN)
            blocks.add(predicted, truth, row, UNKNOWN)
    return Evaluation.of(found, names)
