"""How good a network is on the scenes of a role: one confusion matrix over every pixel of all of them."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from catalog import raster_keys
from catalog.context import Catalog
from catalog.records import Scene
from imagery.classes import CLASSES, UNKNOWN
from imagery.masks import mask_from_geotiff
from models.card import EvaluationSet, RegionMetrics
from models.metrics import confusion_matrix
from models.segmenter import GlacierSegmenter
from workers.scenes import raster_store, source_of
from workers.windows import predict_classes


def evaluation_set(catalog: Catalog, scenes: Sequence[Scene]) -> EvaluationSet:
    """Identify what a network is judged on: the scenes, and the checksum over their truth masks in that order."""
    store, digest = raster_store(catalog), hashlib.sha256()
    for scene in scenes:
        digest.update(store.get(raster_keys.truth(scene.id)))
    return EvaluationSet(scenes=tuple(scene.id for scene in scenes), truth_sha256=digest.hexdigest())


def evaluate(catalog: Catalog, segmenter: GlacierSegmenter, scenes: Sequence[Scene], patch_size: int) -> RegionMetrics:
    """Compare the predicted map of each scene with its outlines, counting each pixel once.

    Args:
        catalog: for the raster store and the batch size.
        segmenter: the network, on its device.
        scenes: ready scenes with outlines.
        patch_size: side of the windows, pixels.

    Raises:
        SceneError: a scene lacks a channel of the network, or cannot be read.
    """
    counts: NDArray[np.int64] = np.zeros((len(CLASSES), len(CLASSES)), dtype=np.int64)
    store = raster_store(catalog)
    for scene in scenes:
        truth = mask_from_geotiff(store.get(raster_keys.truth(scene.id)))
        predicted = predict_classes(
            segmenter, source_of(scene), patch_size, catalog.settings.inference_batch_size, UNKNOWN.value
        )
        # A pixel without data has no prediction to judge.
        truth = np.where(predicted == UNKNOWN.value, UNKNOWN.value, truth)
        judged = np.where(predicted == UNKNOWN.value, 0, predicted)
        counts += confusion_matrix(judged, truth, len(CLASSES), UNKNOWN.value)
    return RegionMetrics.from_confusion(counts, [item.name for item in CLASSES])
