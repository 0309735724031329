"""How good a network is on the scenes of a role: one confusion matrix over every pixel of all of them."""

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
    """Identify what a network is judged on: the scenes, and the checksum over their truth masks in that order."""
    store, digest = raster_store(catalog), hashlib.sha256()
    for scene in scenes:
        digest.update(store.get(raster_keys.truth(scene.id)))
    return EvaluationSet(scenes=tuple(scene.id for scene in scenes), truth_sha256=digest.hexdigest())


def known_metrics(
    card: ModelCard, role: SceneRole, judged_on: EvaluationSet, patch_size: int, code: str
) -> RegionMetrics | None:
    """Find in a version's card the scores that :func:`evaluate` would find again, so that nobody computes them twice.

    They follow from the weights, the scenes, their truth, the size of the windows and the code; only if all of these
    are the same are the card's scores those of this evaluation. (The pixels of a registered scene do not change; code
    that was changed and not committed does.)

    Args:
        card: of the version.
        role: of the scenes.
        judged_on: what is to be judged on now; see :func:`evaluation_set`.
        patch_size: side of the windows now, pixels.
        code: the version of the code now.

    Returns:
        The scores; None if anything differs, or the card has none for this role.
    """
    known = {SceneRole(name): judged for name, judged in card.evaluation.items()}.get(role)
    same_code = card.code_version == code and not code.endswith("-dirty")
    same = known == judged_on and card.patch_size_px == patch_size and same_code
    return {SceneRole(name): scores for name, scores in card.metrics.items()}.get(role) if same else None


def evaluate(catalog: Catalog, segmenter: GlacierSegmenter, scenes: Sequence[Scene], patch_size: int) -> RegionMetrics:
    """Compare the predicted map of each scene with its outlines, counting each pixel once.

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
