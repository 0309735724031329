"""Examine a new version on scenes with outlines: its metrics, and the evidence for the error of its areas."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.context import Catalog
from catalog.records import Scene
from imagery.classes import UNKNOWN
from imagery.grid import Window
from imagery.maps import read_map
from models.area_evidence import CellEvidence, collect, join_rows, join_scenes, outlines_of
from models.block_counts import SceneBlocks
from models.heads import head_classes, merge_truth
from models.segmenter import GlacierSegmenter
from services import raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import source_of
from workers.evaluation import Evaluation, blocks_of
from workers.predicted_scene import PredictedScene, predict_scene_once


@dataclass(frozen=True)
class Examination:
    """What was found on the scenes of one role.

    Attributes:
        evaluation: As `workers.evaluation.evaluate` gives it.
        evidence: Sums over the cells of the scenes.
    """

    evaluation: Evaluation
    evidence: CellEvidence


def examine(catalog: Catalog, segmenter: GlacierSegmenter, scenes: Sequence[Scene], patch_size: int) -> Examination:
    """Predict scenes once and judge the prediction.

    Arguments and errors are those of `workers.evaluation.evaluate`.
    """
    scheme, settings, store = class_scheme(catalog), catalog.settings, raster_store(catalog)
    names = head_classes(segmenter.head, scheme.names, scheme.foreground)
    counts, found = blocks_of(scenes, len(names)), []
    for scene, blocks in zip(scenes, counts, strict=True):
        with predict_scene_once(
            segmenter, source_of(scene), patch_size, settings.inference_batch_size, settings.var_dir
        ) as predicted:
            found.append(judge_prediction(predicted, store.uri(raster_keys.truth(scene.id)), segmenter, blocks))
    return Examination(Evaluation.of(counts, names), join_scenes(found))


def judge_prediction(
    predicted: PredictedScene, truth_map: str, segmenter: GlacierSegmenter, blocks: SceneBlocks
) -> CellEvidence:
    """Return the evidence for the error of the areas of a prediction, and count its pixels by block.

    Args:
        predicted: The prediction.
        truth_map: Address of the map of the true classes, on the same grid.
        segmenter: The network that predicted it.
        blocks: Gets the counts.
    """
    parts = []
    outlines = outlines_of(predicted.classes, predicted.count)
    for cells in predicted.rows_of_cells():
        classes = cells.classes[cells.rows]
        truth = merge_truth(read_map(truth_map, Window(cells.first, 0, *classes.shape)), segmenter.head, UNKNOWN)
        # A pixel without data has no prediction to judge.
        truth = np.where(classes == UNKNOWN, np.uint8(UNKNOWN), truth)
        blocks.add(classes, truth, cells.first, UNKNOWN)
        parts.append(
            collect(
                predicted.classes, cells.bins, truth, outlines, slice(cells.first, cells.first + len(classes)), UNKNOWN
            )
        )
    return join_rows(parts)
