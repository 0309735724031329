import numpy as np
import pytest
import torch
from rasterio.io import MemoryFile
from sqlalchemy import select

from catalog import raster_keys, rounds
from catalog.context import Catalog
from catalog.errors import JobLostError
from catalog.records import JobKind, Scene, Score, Scoring
from catalog.settings import Settings
from imagery.classes import UNKNOWN
from imagery.errors import SceneError
from imagery.scene import SceneReader
from models.mc_dropout import predict_mc
from models.measures import reduce_mean, reduce_top_share
from tests.workers.rows import champion, finish, patches, tiled, work_of
from workers.scenes import raster_store, source_of, window_of
from workers.score_pool import score_by


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"mc_passes": 3, "mc_seed": 11, "mc_precision": "float32", "inference_batch_size": 4}
    )


@pytest.fixture
def scene(catalog: Catalog, tmp_path) -> Scene:
    return tiled(catalog, tmp_path / "a.tif", nodata_columns=40)[0]


def run(catalog: Catalog, version: int = 1) -> None:
    work = work_of(catalog, JobKind.SCORE_POOL)
    score_by(work, champion(version))
    finish(work)


def scores(catalog: Catalog) -> dict[tuple[int, int, str], float]:
    with catalog.read() as session:
        rows = session.scalars(select(Score)).all()
    return {(row.scoring_id, row.patch_id, row.measure): row.value for row in rows}


def rasters(catalog: Catalog, scoring_id: int, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    store = raster_store(catalog)
    found = []
    for what in ("classes", "entropy"):
        with MemoryFile(store.get(raster_keys.scored(scoring_id, scene.id, what))) as file, file.open() as raster:
            grid = source_of(scene).grid
            assert (raster.crs.to_string(), raster.transform) == (grid.crs, grid.affine)
            found.append(raster.read(1))
    return found[0], found[1]


def test_scores_are_those_of_the_patch_alone(catalog, scene):
    run(catalog)
    found = scores(catalog)
    of_scene = patches(catalog, scene.id)
    assert len(found) == 3 * len(of_scene)
    network = champion().segmenter
    with SceneReader(source_of(scene)) as reader:
        for patch in of_scene[3:5]:  # one with an edge of nodata, one of nothing else
            raw = torch.from_numpy(reader.read(network.channels, window_of(patch)))[None]
            mc = predict_mc(network, raw, 3, 11)
            valid = raw[0].isfinite().all(dim=0).numpy()
            entropy, information = mc.predictive_entropy[0].numpy(), mc.mutual_information[0].numpy()
            assert found[1, patch.id, "entropy_mean"] == pytest.approx(reduce_mean(entropy, valid), rel=1e-5)
            assert found[1, patch.id, "entropy_top10"] == pytest.approx(reduce_top_share(entropy, valid), rel=1e-5)
            assert found[1, patch.id, "mutual_information"] == pytest.approx(reduce_mean(information, valid), rel=1e-4)


def test_a_patch_of_nodata_scores_nothing(catalog, scene):
    run(catalog)
    empty = [patch.id for patch in patches(catalog, scene.id) if patch.valid_share == 0]
    assert len(empty) == 4
    assert {value for (_, patch_id, _), value in scores(catalog).items() if patch_id in empty} == {0.0}


def test_the_origin_of_the_scores_is_kept(catalog, scene):
    run(catalog, version=7)
    with catalog.read() as session:
        scoring = session.scalars(select(Scoring)).one()
    assert (scoring.model_version, scoring.passes, scoring.seed) == (7, 3, 11)
    assert scoring.completed_at is not None
    assert scoring.seconds > 0


@pytest.mark.parametrize("batch_size", [1, 7])
def test_neither_batches_nor_repetition_change_a_score(catalog, scene, batch_size):
    run(catalog)
    first = scores(catalog)
    with catalog.database.write() as session:
        session.query(Score).delete()
    catalog.settings = catalog.settings.model_copy(update={"inference_batch_size": batch_size})
    run(catalog)
    assert scores(catalog).keys() == first.keys()
    for key, value in scores(catalog).items():
        assert value == pytest.approx(first[key], rel=1e-5, abs=1e-7)


def test_another_seed_scores_otherwise(catalog, scene):
    run(catalog)
    catalog.settings = catalog.settings.model_copy(update={"mc_seed": 12})
    run(catalog)
    by_seed = scores(catalog)
    valid = next(patch.id for patch in patches(catalog, scene.id))
    assert by_seed[1, valid, "mutual_information"] != by_seed[2, valid, "mutual_information"]


def test_what_is_scored_is_not_scored_again(catalog, scene):
    run(catalog)
    entropy = raster_store(catalog).uri(raster_keys.scored(1, scene.id, "entropy"))
    with open(entropy, "r+b") as file:  # noqa: PTH123 - the mark would vanish if the map were written anew
        file.write(b"MARK")
    run(catalog)
    with open(entropy, "rb") as file:  # noqa: PTH123
        assert file.read(4) == b"MARK"


def test_an_interrupted_scoring_goes_on_scene_by_scene(catalog, scene, tmp_path):
    other = tiled(catalog, tmp_path / "b.tif", seed=1, offset_px=400)[0]
    unreadable = tmp_path / "b.tif"
    moved = unreadable.rename(tmp_path / "away.tif")
    work = work_of(catalog, JobKind.SCORE_POOL)
    with pytest.raises(SceneError, match="no such file"):
        score_by(work, champion())
    finish(work)
    with catalog.read() as session:
        assert rounds.newest_scoring(session) is None  # half a scoring ranks nothing
    halfway = scores(catalog)
    assert {patch_id for _, patch_id, _ in halfway} == {patch.id for patch in patches(catalog, scene.id)}
    moved.rename(unreadable)
    run(catalog)
    assert scores(catalog).items() >= halfway.items()
    assert len(scores(catalog)) == 3 * 40
    assert other.id != scene.id


def test_a_scene_tiled_later_is_scored_too(catalog, scene, tmp_path):
    run(catalog)
    tiled(catalog, tmp_path / "b.tif", seed=1, offset_px=400)
    run(catalog)
    assert len(scores(catalog)) == 3 * 40


def test_maps_lie_on_the_scene_and_leave_nodata_out(catalog, scene):
    run(catalog)
    classes, entropy = rasters(catalog, 1, scene)
    assert (classes[:, -40:] == UNKNOWN.value).all()
    assert np.isnan(entropy[:, -40:]).all()
    assert set(np.unique(classes[:, :-40])) <= {0, 1, 2}
    assert (entropy[:, :-40] >= 0).all()
    assert (entropy[:, :-40] <= np.log(3) + 1e-6).all()


def test_a_map_is_the_prediction_where_one_patch_covers_it(catalog, scene):
    run(catalog)
    classes, entropy = rasters(catalog, 1, scene)
    first = patches(catalog, scene.id)[0]  # rows 0 to 31: no other patch reaches there
    network = champion().segmenter
    with SceneReader(source_of(scene)) as reader:
        raw = torch.from_numpy(reader.read(network.channels, window_of(first)))[None]
    mc = predict_mc(network, raw, 3, 11)
    np.testing.assert_allclose(entropy[window_of(first).slices], mc.predictive_entropy[0].numpy(), atol=1e-5)
    np.testing.assert_array_equal(classes[window_of(first).slices], mc.mean_probability[0].argmax(dim=0).numpy())


def test_a_job_that_was_given_away_stops(catalog, scene):
    work = work_of(catalog, JobKind.SCORE_POOL)
    finish(work)
    with pytest.raises(JobLostError):
        score_by(work, champion())


def test_a_network_of_other_channels_is_refused(catalog, scene):
    work = work_of(catalog, JobKind.SCORE_POOL)
    with pytest.raises(SceneError, match="swir1"):
        score_by(work, champion(channels=("red", "swir1")))
