import numpy as np
import pytest
import torch
from rasterio.io import MemoryFile
from scipy.spatial.distance import pdist
from sqlalchemy import select

from catalog import jobs, scorings
from catalog.context import Catalog
from catalog.errors import JobLostError
from catalog.records import Job, JobKind, JobState, Scene, Score, Scoring, Shard, ShardKind
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.maps import read_map
from imagery.masks import mask_from_geotiff
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from models.mc_dropout import McSampler, predict_mc
from models.measures import MEASURES, reduce_mean, reduce_top_share
from services import raster_keys, stability
from services.expected_edits import ERROR, FOREGROUND, decode_probability
from services.patch_features import DIMENSIONS, read_features
from services.places import raster_store
from services.prior_disagreement import PRIOR_DISAGREEMENT
from services.scenes import source_of, window_of
from services.score_table import read_table
from tests.workers.rows import champion, context_of, coordinate, finish, patches, score_pool, score_shards, tiled
from workers import half_scores, score_shard
from workers import score_pool as module
from workers.feature_rows import project
from workers.jobs import JobContext
from workers.scored_maps import MAPS, wrong_probabilities
from workers.stability import agreement, count_pairs


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"mc_passes": 3, "mc_seed": 11, "mc_precision": "float32", "mc_shortlist_share": 1.0}
    )


@pytest.fixture
def scene(catalog: Catalog, tmp_path) -> Scene:
    return tiled(catalog, tmp_path / "a.tif", nodata_columns=40)[0]


def run(catalog: Catalog, version: int = 1) -> None:
    score_pool(catalog, champion(version))


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


def test_prior_outlines_give_a_measure_of_their_own(catalog, tmp_path):
    scene, forged = tiled(catalog, tmp_path / "a.tif", priors=(0, 1))
    run(catalog)
    found = {
        patch_id: value for (_, patch_id, measure), value in scores(catalog).items() if measure == PRIOR_DISAGREEMENT
    }
    classes, entropy = rasters(catalog, 1, scene)  # patches that do not overlap are in the maps as they were scored
    for patch in [patch for patch in patches(catalog, scene.id) if patch.row_off < 64]:
        at = window_of(patch).slices
        confident = entropy[at] <= 0.5 * np.log(3)
        assert found[patch.id] == ((classes[at] != forged.truth[at]) & confident).mean()


def test_scores_are_those_of_the_patch_alone(catalog, scene):
    run(catalog)
    found = scores(catalog)
    of_scene = patches(catalog, scene.id)
    assert len(found) == len(MEASURES) * len(of_scene)
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


def test_the_table_tells_where_prior_outlines_have_foreground(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "prior.tif", priors=(0, 1))
    run(catalog)
    table = read_table(raster_store(catalog), 1)
    weak = mask_from_geotiff(raster_store(catalog).get(raster_keys.prior(scene.id)), GLACIER_SCHEME)
    expected = {patch.id: np.isin(weak[window_of(patch).slices], [1, 2]).mean() for patch in patches(catalog, scene.id)}
    assert sum(expected.values()) > 0
    np.testing.assert_allclose(table.prior_share, [expected[patch] for patch in table.patch_ids.tolist()], rtol=1e-6)


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


@pytest.mark.parametrize("shard_patches", [1, 7])
@pytest.mark.parametrize("read_together", [1, 3])
def test_neither_shards_nor_batches_nor_repetition_change_a_score(
    catalog, scene, monkeypatch, shard_patches, read_together
):
    run(catalog)
    first, maps = scores(catalog), rasters(catalog, 1, scene)
    with catalog.database.write() as session:
        session.query(Score).delete()
        session.query(Shard).delete()
    for what in MAPS:
        raster_store(catalog).delete(raster_keys.scored(1, scene.id, what))
    monkeypatch.setitem(module.SHARD_PIXELS, "cpu", shard_patches * 32**2)
    monkeypatch.setitem(score_shard.PIXELS_READ_TOGETHER, "cpu", read_together * 32**2)
    run(catalog)
    assert scores(catalog) == pytest.approx(first, rel=1e-5, abs=1e-7)
    # Rows of patches do not overlap here, but for the last, which was shifted upwards to end with the scene.
    for again, before in zip(rasters(catalog, 1, scene), maps, strict=True):
        np.testing.assert_allclose(again[:68], before[:68], atol=1e-5)


def test_a_scoring_says_how_far_its_halves_agree(catalog, scene):
    run(catalog)
    network = champion().segmenter
    sampler = McSampler(network)
    masks = sampler.draw(3, 11)
    measured = {}
    with SceneReader(source_of(scene)) as reader:
        for patch in patches(catalog, scene.id):
            raw = torch.from_numpy(reader.read(network.channels, window_of(patch)))[None]
            valid = raw[0].isfinite().all(dim=0).numpy()
            halves = [
                sampler.sample(raw, half).prediction().predictive_entropy[0].numpy() for half in (masks[:1], masks[1:])
            ]
            measured[patch.id] = [reduce_mean(entropy, valid) for entropy in halves]
    with catalog.read() as session:
        agreement = scorings.newest(session).agreement
    kept = half_scores.read(raster_store(catalog), 1, np.array(sorted(measured)))
    np.testing.assert_allclose(kept["entropy_mean"], [measured[patch_id] for patch_id in sorted(measured)], atol=1e-6)
    assert agreement.keys() == MEASURES.keys()
    one, other = np.array(list(measured.values())).T
    top = set(np.argsort(-one)[:2]) & set(np.argsort(-other)[:2])  # a tenth of twenty
    assert agreement["entropy_mean"] == len(top) / 2


def test_a_scoring_that_lacks_half_scores_has_no_agreement(catalog, scene, monkeypatch):
    """As one that was under way during the upgrade from a release that kept no such file."""
    monkeypatch.setitem(module.SHARD_PIXELS, "cpu", 5 * 32**2)
    coordinate(catalog, 1)
    score_shards(catalog, champion())
    with catalog.read() as session:
        first, *_ = scorings.shards_of(session, session.get_one(Scoring, 1))
    raster_store(catalog).delete(raster_keys.half_scores_part(1, scene.id, 0, first.first_row))
    coordinate(catalog, 1)
    with catalog.read() as session:
        scoring = scorings.newest(session)
    assert scoring.agreement == dict.fromkeys(MEASURES)
    assert len(scores(catalog)) == len(MEASURES) * 20


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


def test_a_scoring_that_lacks_a_shard_ranks_nothing_and_goes_on_with_that_one(catalog, scene, tmp_path):
    other = tiled(catalog, tmp_path / "b.tif", seed=1, offset_px=400)[0]
    unreadable = tmp_path / "b.tif"
    moved = unreadable.rename(tmp_path / "away.tif")
    coordinate(catalog, 1)
    with pytest.raises(SceneError, match="no such file"):
        score_shards(catalog, champion())
    with catalog.read() as session:
        assert scorings.newest(session) is None
        assert scorings.progress(session, session.get_one(Scoring, 1)).done == 0.5
    halfway = scores(catalog)
    assert {patch_id for _, patch_id, _ in halfway} == {patch.id for patch in patches(catalog, scene.id)}
    moved.rename(unreadable)
    with catalog.database.write() as session:
        job = session.scalars(select(Job).where(Job.state == JobState.RUNNING)).one()
        jobs.fail(session, job.id, job.attempt, "no such file")
        jobs.retry(session, job.id)
    score_shards(catalog, champion())
    coordinate(catalog, 1)
    assert scores(catalog).items() >= halfway.items()
    assert len(scores(catalog)) == len(MEASURES) * 40
    assert other.id != scene.id
    with catalog.read() as session:
        assert scorings.newest(session).id == 1


def test_a_scene_tiled_later_is_scored_too(catalog, scene, tmp_path):
    run(catalog)
    tiled(catalog, tmp_path / "b.tif", seed=1, offset_px=400)
    run(catalog)
    assert len(scores(catalog)) == len(MEASURES) * 40


def test_maps_lie_on_the_scene_and_leave_nodata_out(catalog, scene):
    run(catalog)
    classes, entropy = rasters(catalog, 1, scene)
    assert (classes[:, -40:] == UNKNOWN).all()
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
    probability = mc.mean_probability[0].numpy()
    np.testing.assert_array_equal(classes[window_of(first).slices], probability.argmax(axis=0))
    for what, expected in ((ERROR, 1 - probability.max(axis=0)), (FOREGROUND, 1 - probability[0])):
        stored = read_map(raster_store(catalog).uri(raster_keys.scored(1, scene.id, what)), window_of(first))
        np.testing.assert_allclose(decode_probability(stored), expected, atol=1 / 254)


def test_a_scoring_that_an_earlier_release_began_has_unknown_probabilities_there(catalog, scene):
    coordinate(catalog, 1)
    score_shards(catalog, champion())
    store = raster_store(catalog)
    with catalog.read() as session:
        shard = session.scalars(select(Shard)).one()
    for what in (ERROR, FOREGROUND):
        store.delete(raster_keys.scored_part(1, scene.id, what, shard.stage, shard.first_row))
    coordinate(catalog, 1)
    whole = source_of(scene).grid.window
    assert (read_map(store.uri(raster_keys.scored(1, scene.id, ERROR)), whole) == UNKNOWN).all()
    assert np.isfinite(rasters(catalog, 1, scene)[1][:, :-40]).all()


def shard_work(catalog: Catalog) -> tuple[JobContext, Shard]:
    """The job of the only shard, claimed."""
    coordinate(catalog, 1)
    with catalog.database.write() as session:
        job_id = session.scalars(select(Job.id).where(Job.kind == JobKind.SCORE_SHARD)).one()
        job = jobs.claim(session, job_id)
        return JobContext(catalog, job), scorings.get_shard(session, job.subject["shard_id"])


def test_a_job_that_was_given_away_stops(catalog, scene):
    context, shard = shard_work(catalog)
    finish(context)
    with pytest.raises(JobLostError):
        score_shard.score_by(context, champion(), shard)
    assert not scores(catalog)


def test_a_shard_scored_twice_keeps_the_first_scores(catalog, scene):
    context, shard = shard_work(catalog)
    score_shard.score_by(context, champion(), shard)
    first = scores(catalog)
    score_shard.score_by(context, champion(seed=5), shard)  # by an attempt that was taken for dead
    assert scores(catalog) == first


def test_a_network_of_other_channels_is_refused(catalog, scene):
    context, shard = shard_work(catalog)
    with pytest.raises(SceneError, match="swir1"):
        score_shard.score_by(context, champion(channels=("red", "swir1")), shard)


def test_features_are_stored_for_every_patch(catalog, scene):
    run(catalog)
    network, of_scene = champion().segmenter, patches(catalog, scene.id)
    sampler = McSampler(network)
    found = read_features(raster_store(catalog), 1)
    assert found.patch_ids.tolist() == sorted(patch.id for patch in of_scene)
    with SceneReader(source_of(scene)) as reader:
        for patch in of_scene[:4]:
            raw = torch.from_numpy(reader.read(network.channels, window_of(patch)))[None]
            expected = sampler.sample(raw, sampler.draw(3, 11)).features()[0].numpy()
            (stored,) = found.of([patch.id])
            np.testing.assert_allclose(stored[: len(expected)], expected, rtol=1e-3, atol=1e-5)
            assert not stored[len(expected) :].any()  # this network has few


def test_many_features_are_projected_so_that_distances_stay():
    many = np.random.default_rng(3).gamma(1.0, size=(30, 512)).astype(np.float32)
    few = project(many)
    assert few.shape == (30, DIMENSIONS)
    ratios = pdist(few) / pdist(many)
    assert ratios.mean() == pytest.approx(1.0, abs=0.03)
    assert ratios.std() == pytest.approx(1 / np.sqrt(2 * DIMENSIONS), abs=0.02)


def test_a_version_is_compared_with_the_one_before(catalog, scene):
    run(catalog, version=4)
    score_pool(catalog, champion(5, seed=1))
    score_pool(catalog, champion(7, seed=1))
    with catalog.read() as session:
        first, second, *_ = session.scalars(select(Scoring).order_by(Scoring.id))
        newest, changed = stability.read(session)
    assert first.stability is None
    assert (newest.version, newest.before, newest.kappa) == (7, 5, 1.0)  # the same weights
    assert (changed.version, changed.before, changed.patches) == (5, 4, 16)  # of 20 patches 4 have no data
    before, after = (rasters(catalog, scoring.id, scene)[0] for scoring in (first, second))
    counts = sum(
        count_pairs(before[at], after[at], 3)
        for at in (window_of(patch).slices for patch in patches(catalog, scene.id))
    )
    assert changed == agreement(5, 4, 16, counts)
    assert changed.kappa < 0.9


@pytest.fixture
def screened(catalog, monkeypatch) -> None:
    """Shards of three patches, and a pool that is screened first."""
    catalog.settings = catalog.settings.model_copy(update={"mc_shortlist_share": 0.2})
    monkeypatch.setitem(module.SHARD_PIXELS, "cpu", 3 * 32**2)


def run_stages(catalog: Catalog) -> None:
    """Do what the workers do: the screening, the shortlist, the maps."""
    coordinate(catalog, 1)
    score_shards(catalog, champion())
    score_pool(catalog, champion())


def shortlisted(catalog: Catalog) -> set[int]:
    with catalog.read() as session:
        return set(session.scalars(select(Score.patch_id).where(Score.screening.is_(False))))


def test_all_passes_score_the_shortlist_of_the_screening(catalog, scene, screened):
    network, of_scene = champion().segmenter, patches(catalog, scene.id)
    certain, drawn = {}, {}
    with SceneReader(source_of(scene)) as reader:
        for patch in of_scene:
            raw = torch.from_numpy(reader.read(network.channels, window_of(patch)))[None]
            valid = raw[0].isfinite().all(dim=0).numpy()
            entropy = torch.special.entr(network.probabilities(raw)).sum(dim=1)[0].numpy()
            certain[patch.id] = [reduce_top_share(entropy, valid), reduce_mean(entropy, valid)]
            entropy = predict_mc(network, raw, 3, 11).predictive_entropy[0].numpy()
            drawn[patch.id] = [reduce_top_share(entropy, valid), reduce_mean(entropy, valid)]
    run_stages(catalog)
    highest = [sorted(certain, key=lambda patch_id: -certain[patch_id][which])[:4] for which in (0, 1)]
    finer = shortlisted(catalog)
    assert finer == {*highest[0], *highest[1]}
    found = scores(catalog)
    for patch in of_scene:
        expected = drawn if patch.id in finer else certain
        values = [found[1, patch.id, measure] for measure in ("entropy_top10", "entropy_mean")]
        assert values == pytest.approx(expected[patch.id], rel=1e-4, abs=1e-6)
        assert ((1, patch.id, "mutual_information") in found) == (patch.id in finer)
    table = read_table(raster_store(catalog), 1)
    assert table.patch_ids.tolist() == sorted(patch.id for patch in of_scene)
    assert set(table.patch_ids[~table.screening]) == finer
    by_patch = [found[1, patch_id, "entropy_top10"] for patch_id in table.patch_ids.tolist()]
    np.testing.assert_allclose(table.entropy, by_patch, rtol=1e-6)
    assert read_features(raster_store(catalog), 1).patch_ids.tolist() == table.patch_ids.tolist()
    with catalog.read() as session:
        scoring = scorings.newest(session)
        assert (scoring.shortlist_share, scoring.agreement["mutual_information"]) == (0.2, None)
        assert 0 <= scoring.agreement["entropy_top10"] <= 1
        assert scorings.progress(session, scoring).done == 1.0


def test_maps_show_all_passes_on_the_shortlist_and_the_screening_elsewhere(catalog, scene, screened):
    run_stages(catalog)
    classes, entropy = rasters(catalog, 1, scene)
    assert (classes[:, -40:] == UNKNOWN).all()
    assert np.isnan(entropy[:, -40:]).all()
    assert np.isfinite(entropy[:, :-40]).all()
    network, seen = champion().segmenter, set()
    finer = shortlisted(catalog)
    with SceneReader(source_of(scene)) as reader:
        for patch in patches(catalog, scene.id):
            if patch.row_off % 32 or patch.col_off % 32 or patch.row_off > 32 or patch.valid_share < 1:
                continue  # overlaps another, or has an edge of nodata
            seen.add(patch.id in finer)
            raw = torch.from_numpy(reader.read(network.channels, window_of(patch)))[None]
            mc = predict_mc(network, raw, 3, 11)
            certain = network.probabilities(raw)
            probability = mc.mean_probability[0] if patch.id in finer else certain[0]
            expected = torch.special.entr(probability).sum(dim=0).numpy()
            np.testing.assert_allclose(entropy[window_of(patch).slices], expected, atol=1e-5)
            np.testing.assert_array_equal(classes[window_of(patch).slices], probability.argmax(dim=0).numpy())
    assert seen == {True, False}


def test_a_scene_tiled_later_is_screened_and_the_earlier_maps_stay(catalog, scene, screened, tmp_path):
    run_stages(catalog)
    before, maps = shortlisted(catalog), rasters(catalog, 1, scene)
    other = tiled(catalog, tmp_path / "b.tif", seed=1, offset_px=400)[0]
    run_stages(catalog)
    of_other = {patch.id for patch in patches(catalog, other.id)}
    assert shortlisted(catalog) - of_other == before
    for now_there, there in zip(rasters(catalog, 1, scene), maps, strict=True):
        np.testing.assert_array_equal(now_there, there)
    assert np.isfinite(rasters(catalog, 1, other)[1]).all()
    with catalog.read() as session:
        of_screening = session.scalars(select(Shard.scene_id).where(Shard.kind == ShardKind.SCREENING)).all()
    assert set(of_screening) == {scene.id, other.id}
    assert not [name for name in raster_store_names(catalog) if "from-row" in name]


def raster_store_names(catalog: Catalog) -> list[str]:
    return [path.name for path in (catalog.settings.var_dir / "store").rglob("*.*")]


def test_a_larger_share_spends_all_passes_on_the_rest(catalog, scene, screened):
    run_stages(catalog)
    catalog.settings = catalog.settings.model_copy(update={"mc_shortlist_share": 1.0})
    score_pool(catalog, champion())
    with catalog.read() as session:
        scoring = scorings.newest(session)
        assert scoring.agreement["mutual_information"] is not None
    assert len(scores(catalog)) == len(MEASURES) * 20
    assert shortlisted(catalog) == {patch.id for patch in patches(catalog, scene.id)}
    assert np.isfinite(rasters(catalog, 1, scene)[1][:, :-40]).all()


@pytest.mark.parametrize("stopped_after", [0, 1, 3, 5, 7, 9, 11, 13, 15])
def test_maps_and_arrays_are_completed_wherever_merging_was_interrupted(
    catalog, scene, screened, monkeypatch, stopped_after
):
    run_stages(catalog)
    whole = rasters(catalog, 1, scene)
    store = raster_store(catalog)
    for what in MAPS:
        store.delete(raster_keys.scored(1, scene.id, what))
    with catalog.database.write() as session:
        session.query(Score).delete()
        session.query(Shard).delete()
    for _ in range(2):
        coordinate(catalog, 1)
        score_shards(catalog, champion())
    calls = 0

    def stopping(change):
        def changed(*given):
            nonlocal calls
            if calls == stopped_after:
                raise InterruptedError
            calls += 1
            return change(*given)

        return changed

    with monkeypatch.context() as patched:
        for name in ("put", "put_file", "delete"):
            patched.setattr(RasterStore, name, stopping(getattr(RasterStore, name)))
        context = context_of(catalog)
        with pytest.raises(InterruptedError):
            module.score_by(context, 1)
    finish(context)
    coordinate(catalog, 1)
    for again, before in zip(rasters(catalog, 1, scene), whole, strict=True):
        np.testing.assert_array_equal(again, before)
    assert not [name for name in raster_store_names(catalog) if "from-row" in name]


def test_with_a_margin_a_patch_is_scored_by_what_surrounds_it(catalog, settings, scene):
    margin, network = 8, champion().segmenter
    catalog.settings = settings.model_copy(update={"mc_margin_px": margin})
    run(catalog)
    found, patch = scores(catalog), patches(catalog, scene.id)[0]  # in the corner: two sides lie beyond the scene
    window = window_of(patch)
    with SceneReader(source_of(scene)) as reader:
        around = reader.read(network.channels, Window(0, 0, window.height + margin, window.width + margin))
    raw = np.pad(around, ((0, 0), (margin, 0), (margin, 0)), constant_values=np.nan)
    entropy = predict_mc(network, torch.from_numpy(raw)[None], 3, 11).predictive_entropy[0].numpy()
    inside = entropy[margin:-margin, margin:-margin]
    valid = np.isfinite(raw[:, margin:-margin, margin:-margin]).all(axis=0)
    assert found[1, patch.id, "entropy_top10"] == pytest.approx(reduce_top_share(inside, valid), rel=1e-5)
    assert rasters(catalog, 1, scene)[1][window.slices] == pytest.approx(
        np.where(valid, inside, np.nan), rel=1e-4, nan_ok=True
    )


def test_calibration_can_find_a_proposal_worse_than_an_empty_mask():
    """Ice with .7 by a network that is right in every tenth case: then background is more likely."""
    probability = np.array([[[0.3]], [[0.7]], [[0.0]]], np.float32)
    mapped = np.array([[1]], np.uint8)
    assert [float(wrong.item()) for wrong in wrong_probabilities(probability, mapped, None)] == pytest.approx(
        [0.3, 0.7]
    )
    tables = [np.full(64, 0.875), np.full(64, 0.125), np.zeros(64)]
    assert [float(wrong.item()) for wrong in wrong_probabilities(probability, mapped, tables)] == [0.875, 0.125]
