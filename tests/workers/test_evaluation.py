import numpy as np
import pytest

from catalog.records import JobKind, Scene, SceneRole, SceneState
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_from_geotiff, mask_to_geotiff
from models.block_counts import BlockCounts
from models.card import EvaluationSet, ModelCard
from services import raster_keys
from services.places import raster_store
from services.scene_replacement import replace_scene
from services.scenes import source_of
from tests.models.cards import origin
from tests.workers.rows import champion, context_of, described_anew, tiled
from workers.evaluation import Evaluation, evaluate, evaluation_set, recorded_evaluation
from workers.tile_scene import tile_scene
from workers.windows import predict_classes


@pytest.fixture
def scenes(catalog, tmp_path):
    east = tiled(catalog, tmp_path / "east.tif", SceneRole.VALIDATION, nodata_columns=20, offset_px=400)[0]
    return [tiled(catalog, tmp_path / "west.tif", SceneRole.VALIDATION, seed=1)[0], east]


def predicted(scene) -> np.ndarray:
    return predict_classes(champion().segmenter, source_of(scene), 32, 4, UNKNOWN)


def test_one_matrix_counts_every_judged_pixel_of_all_scenes_once(catalog, scenes, tmp_path):
    metrics = evaluate(catalog, champion().segmenter, scenes, 32).metrics
    confusion = np.zeros((3, 3), int)
    truth = np.zeros((100, 160), int)
    truth[10:70, 20:90] = 1
    truth[30:45, 40:60] = 0
    truth[60:90, 50:130] = 2
    for scene in scenes:
        classes = predicted(scene)
        judged = classes != UNKNOWN
        np.add.at(confusion, (truth[judged], classes[judged]), 1)
    assert np.array(metrics.confusion).tolist() == confusion.tolist()
    assert confusion.sum() == 100 * 160 + 100 * 140  # the second scene lacks 20 columns
    assert list(metrics.iou) == list(GLACIER_SCHEME.names)


def test_a_perfect_prediction_scores_one(catalog, scenes):
    scene = scenes[0]
    raster_store(catalog).put(
        raster_keys.truth(scene.id), mask_to_geotiff(predicted(scene), source_of(scene).grid, GLACIER_SCHEME)
    )
    metrics = evaluate(catalog, champion().segmenter, [scene], 32).metrics
    assert (metrics.mean_iou, metrics.overall_accuracy) == (1.0, 1.0)


def test_unknown_truth_is_not_judged(catalog, scenes):
    scene = scenes[0]
    truth = predicted(scene)
    truth[:50] = UNKNOWN
    raster_store(catalog).put(
        raster_keys.truth(scene.id), mask_to_geotiff(truth, source_of(scene).grid, GLACIER_SCHEME)
    )
    metrics = evaluate(catalog, champion().segmenter, [scene], 32).metrics
    assert np.array(metrics.confusion).sum() == 50 * 160


def test_a_repeated_evaluation_agrees(catalog, scenes):
    network = champion().segmenter.train()  # whatever its mode, dropout is off
    found = evaluate(catalog, network, scenes, 32)
    assert found == evaluate(catalog, network, scenes, 32)
    assert found.blocks.confusion.sum(axis=0).tolist() == np.array(found.metrics.confusion).tolist()


def card(judged_on: EvaluationSet) -> ModelCard:
    """A card of the champion, whose network was judged on the validation scenes, with windows of 64 px."""
    network = champion().segmenter
    blocks = BlockCounts(classes=3, side_px=32, places=((0, 0, 0),), counts=((6, 2, 0, 2, 2, 0, 0, 0, 0),))
    judged = {"evaluation": {"validation": judged_on}, "blocks": {"validation": blocks}}
    return ModelCard(
        **dict(origin(network.channels)) | judged,
        channels=network.channels,
        mean=network.mean.tolist(),
        std=network.std.tolist(),
        unet=network.unet.config,
        weights_sha256="0" * 64,
        onnx_sha256="0" * 64,
    )


def test_scores_of_a_card_are_those_of_the_same_evaluation_only(catalog, scenes):
    same = evaluation_set(catalog, scenes)
    of_parent = card(same)
    validation, test = SceneRole.VALIDATION, SceneRole.TEST
    code = of_parent.code_version
    assert recorded_evaluation(of_parent, validation, same, 64, code) == Evaluation(
        of_parent.metrics["validation"], of_parent.blocks["validation"]
    )
    earlier = of_parent.model_copy(update={"blocks": {}})  # of a release whose cards had no blocks
    assert recorded_evaluation(earlier, validation, same, 64, code) is None
    assert recorded_evaluation(of_parent, test, same, 64, code) is None  # what the test scores are of is not known
    assert recorded_evaluation(of_parent, validation, same, 32, code) is None
    assert recorded_evaluation(of_parent, validation, same, 64, "0.2.0") is None
    assert recorded_evaluation(of_parent, validation, evaluation_set(catalog, scenes[:1]), 64, code) is None
    uncommitted = of_parent.model_copy(update={"code_version": "0.1.0+abc-dirty"})
    assert recorded_evaluation(uncommitted, validation, same, 64, "0.1.0+abc-dirty") is None  # may name any code
    other_truth = mask_to_geotiff(predicted(scenes[0]), source_of(scenes[0]).grid, GLACIER_SCHEME)
    raster_store(catalog).put(raster_keys.truth(scenes[0].id), other_truth)
    assert recorded_evaluation(of_parent, validation, evaluation_set(catalog, scenes), 64, code) is None


def test_other_outlines_make_another_truth_and_another_evaluation_set(catalog, tmp_path):
    scene, forged = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)
    before = evaluation_set(catalog, [scene])
    with catalog.database.write() as session:
        new = described_anew(scene, outlines=[vars(forged.outlines[0])])
        done = replace_scene(session, catalog.settings, scene.id, new, None, has_champion=True)
    tile_scene(context_of(catalog, JobKind.TILE_SCENE, str(done.scene.id)), done.scene.id)
    after = evaluation_set(catalog, [done.scene])
    assert before.truth_sha256 != after.truth_sha256
    truth = mask_from_geotiff(raster_store(catalog).get(raster_keys.truth(done.scene.id)), GLACIER_SCHEME)
    assert np.unique(truth).tolist() == [0, 1]  # the debris is outlined no more


def test_a_scene_replaced_without_outlines_has_no_truth(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    with catalog.database.write() as session:
        row = session.get_one(Scene, scene.id)
        row.outlines, row.state = [], SceneState.REGISTERED
    tile_scene(context_of(catalog, JobKind.TILE_SCENE, str(scene.id)), scene.id)
    assert not raster_store(catalog).exists(raster_keys.truth(scene.id))
