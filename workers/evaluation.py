"""Evaluate a network on scenes with outlines: one confusion matrix over all pixels of all scenes."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.records import Scene, SceneRole
from imagery.classes import UNKNOWN
from imagery.grid import Window
from imagery.maps import read_map
from models.card import EvaluationSet, ModelCard, RegionMetrics
from models.heads import head_classes, merge_truth
from models.metrics import confusion_matrix
from models.segmenter import GlacierSegmenter
from services import raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import source_of
from workers.windows import predict_strips


def evaluation_set(catalog: Catalog, scenes: Sequence[Scene]) -> EvaluationSet:
    """Return the ids of the scenes and the SHA-256 of their truth masks, which identify an evaluation set."""
    store, digest = raster_store(catalog), hashlib.sha256()
    for scene in scenes:
        digest.update(store.get(raster_keys.truth(scene.id)))
    return EvaluationSet(scenes=tuple(scene.id for scene in scenes), truth_sha256=digest.hexdigest())


def recorded_metrics(
    card: ModelCard, role: SceneRole, judged_on: EvaluationSet, patch_size: int, code: str
) -> RegionMetrics | None:
    """Return the metrics in a version's card if :func:`evaluate` would give the same ones, to save the computation.

    Metrics depend on the weights, the scenes, their truth, the window size and the code, so all of these must be equal.
    The pixels of a registered scene do not change. Code with uncommitted changes never counts as equal.

    Args:
        card: card of the version.
        role: role of the scenes.
        judged_on: present evaluation set; see :func:`evaluation_set`.
        patch_size: present side of the windows, pixels.
        code: present version of the code.

    Returns:
        The metrics; None if anything differs, or the card has none for this role.
    """
    recorded = {SceneRole(name): judged for name, judged in card.evaluation.items()}.get(role)
    same_code = card.code_version == code and not code.endswith("-dirty")
    same = recorded == judged_on and card.patch_size_px == patch_size and same_code
    return {SceneRole(name): scores for name, scores in card.metrics.items()}.get(role) if same else None


def evaluate(catalog: Catalog, segmenter: GlacierSegmenter, scenes: Sequence[Scene], patch_size: int) -> RegionMetrics:
    """Return the metrics of a network on scenes; each pixel counts once.

    A binary head is judged by the outlines of all foreground classes together.

    Args:
        catalog: for the raster store and the batch size.
        segmenter: the network, on its device.
        scenes: ready scenes with outlines.
        patch_size: side of the windows, pixels.

    Raises:
        SceneError: a scene lacks a channel of the network, or cannot be read.
    """
    scheme = class_scheme(catalog)
    names = head_classes(segmenter.head, scheme.names, scheme.foreground)
    counts: NDArray[np.int64] = np.zeros((len(names), len(names)), dtype=np.int64)
    store = raster_store(catalog)
    for scene in scenes:
        source, truth_map = source_of(scene), store.uri(raster_keys.truth(scene.id))
        strips = predict_strips(segmenter, source, patch_size, catalog.settings.inference_batch_size, UNKNOWN)
        for row, predicted in strips:
            truth = merge_truth(read_map(truth_map, Window(row, 0, *predicted.shape)), segmenter.head, UNKNOWN)
            # A pixel without data has no prediction to judge.
            truth[predicted == UNKNOWN] = UNKNOWN
            counts += confusion_matrix(predicted, truth, len(names), UNKNOWN)
    return RegionMetrics.from_confusion(counts, names)
