"""A scene of 40 % cloud goes through the loop: no cloudy pixel is proposed, shown, learnt from or judged."""

import io
from pathlib import Path

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

import services.rounds
from catalog import rounds
from catalog.context import Catalog
from catalog.records import JobKind, Label, Patch, Proposal, Scene, SceneRole, Score
from imagery.classes import CLEAN_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.maps import read_map
from imagery.masks import mask_from_geotiff, mask_to_geotiff
from imagery.quality import mask_flags
from imagery.scene_source import QualityBand
from services import raster_keys
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.imagery.forge import BAND_NAMES, forge_scene, write_geotiff
from tests.workers.desk import box, brush, saved, sit_down
from tests.workers.rows import champion, context_of, finish, patches, register, score_pool
from workers.evaluation import evaluate
from workers.labelled_patches import LabelledPatchDataset
from workers.propose_round import propose_round
from workers.tile_scene import tile_scene
from workers.views import draw_views
from workers.windows import predict_classes

# The scene has 100 rows and 160 columns; its patches have 32 px.
CLOUD = np.zeros((100, 160), bool)
CLOUD[:, :64] = True


def quality_band(folder: Path, transform: tuple[float, ...]) -> QualityBand:
    """Write the quality band: cloud in the west, snow (which masks nothing) in the east."""
    flags = np.where(CLOUD, 22280, 30048).astype(np.uint16)
    path = write_geotiff(folder / f"qa_{transform[2]:.0f}.tif", flags, transform=transform, nodata=1)
    return QualityBand("QA_PIXEL", str(path), 1, "landsat-c2-qa-pixel")


def cloudy(catalog: Catalog, path: Path, role: SceneRole, offset_px: int = 0, under_cloud: int = 0) -> Scene:
    """Register and tile a scene under cloud; the numbers of its cloudy pixels are random, by a seed."""
    forged = forge_scene(path, offset_px=offset_px)
    with rasterio.open(path, "r+") as dataset:
        pixels = dataset.read()
        noise = np.random.default_rng(under_cloud).integers(1, 255, pixels.shape, dtype=np.uint8)
        dataset.write(np.where(CLOUD, noise, pixels))
    scene_id = register(catalog, forged, role)
    flags = catalog.settings.masked_flags
    quality = mask_flags([quality_band(path.parent, forged.grid.transform)], flags)
    with catalog.database.write() as session:
        session.get_one(Scene, scene_id).source = describe(forged.bands, quality=quality).to_json()
    context = context_of(catalog, JobKind.TILE_SCENE, str(scene_id))
    tile_scene(context, scene_id)
    finish(context)
    with catalog.read() as session:
        return session.get_one(Scene, scene_id)


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Path) -> Scene:
    return cloudy(catalog, tmp_path / "pool.tif", SceneRole.POOL)


def scores(catalog: Catalog, scene: Scene) -> dict[tuple[int, int, str], float]:
    """Return the scores by row, column and measure."""
    with catalog.read() as session:
        rows = session.execute(
            select(Patch, Score).join(Score, Score.patch_id == Patch.id).where(Patch.scene_id == scene.id)
        ).all()
    return {(patch.row_off, patch.col_off, score.measure): score.value for patch, score in rows}


def test_cloud_counts_for_no_patch_and_is_no_truth(catalog: Catalog, pool: Scene) -> None:
    shares = {patch.col_off: patch.valid_share for patch in patches(catalog, pool.id)}
    assert shares == {0: 0, 32: 0, 64: 1, 96: 1, 128: 1}
    truth = mask_from_geotiff(raster_store(catalog).get(raster_keys.truth(pool.id)), GLACIER_SCHEME)
    assert (truth[CLOUD] == UNKNOWN).all()
    assert set(np.unique(truth[~CLOUD])) == {0, 1, 2}


def test_no_cloudy_pixel_is_proposed_for_its_uncertainty(catalog: Catalog, pool: Scene, tmp_path: Path) -> None:
    other = cloudy(catalog, tmp_path / "other.tif", SceneRole.POOL, offset_px=500, under_cloud=1)
    score_pool(catalog, champion())
    assert scores(catalog, pool) == scores(catalog, other)  # whatever the numbers under the cloud
    with catalog.database.write() as session:
        opened = services.rounds.open_round(session, catalog.settings, "entropy_top10", 20, 5)
    propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, str(opened.id)), opened.id)
    with catalog.read() as session:
        proposed = [session.get_one(Patch, item.patch_id) for item in rounds.get(session, opened.id).proposals]
        assert len(proposed) == 20
        assert min(patch.col_off for patch in proposed) == 64
        scoring_id = session.get_one(type(opened), opened.id).scoring_id
    store, whole = raster_store(catalog), source_of(pool).grid.window
    entropy = read_map(store.uri(raster_keys.scored(scoring_id, pool.id, "entropy")), whole)
    classes = read_map(store.uri(raster_keys.scored(scoring_id, pool.id, "classes")), whole)
    np.testing.assert_array_equal(np.isnan(entropy), CLOUD)
    np.testing.assert_array_equal(classes == UNKNOWN, CLOUD)


def test_cloud_is_hatched_in_the_views(catalog: Catalog, pool: Scene) -> None:
    with catalog.database.write() as session:
        patch = Patch(scene_id=pool.id, row_off=0, col_off=48, size_px=32, valid_share=0.5)
        session.add(patch)
        session.flush()
    draw_views(raster_store(catalog), pool, patch, None, 3)
    png = raster_store(catalog).get(raster_keys.view(patch.id, "true-colour"))
    picture: NDArray[np.uint8] = np.asarray(Image.open(io.BytesIO(png)))
    assert set(np.unique(picture[:, :16])) == {72, 120}
    assert len(np.unique(picture[:, 16:])) > 50


def test_what_is_drawn_over_cloud_is_not_learnt(catalog: Catalog, pool: Scene) -> None:
    patch = Patch(id=900, scene=pool, row_off=0, col_off=48, size_px=32)
    key, store = raster_keys.label(patch.id, 1, 1), raster_store(catalog)
    drawn = np.full((32, 32), CLEAN_ICE.value, np.uint8)
    store.put(key, mask_to_geotiff(drawn, source_of(pool).grid, GLACIER_SCHEME, window_of(patch)))
    label = Label(id=1, patch_id=patch.id, patch=patch, mask_key=key, proposal=Proposal(region=None))
    raw, mask = LabelledPatchDataset([label], BAND_NAMES, store, GLACIER_SCHEME)[0]
    assert raw[:, :, :16].isnan().all()
    assert (mask[:, :16] == UNKNOWN).all()
    assert (mask[:, 16:] == CLEAN_ICE.value).all()


def test_what_is_drawn_over_cloud_is_stored_as_unknown(catalog: Catalog, tmp_path: Path) -> None:
    desk = sit_down(catalog, tmp_path / "desk.tif")  # its first patch has rows and columns 32 to 63: all cloud
    source = source_of(desk.scene)
    quality = mask_flags([quality_band(tmp_path, source.grid.transform)], catalog.settings.masked_flags)
    with catalog.database.write() as session:
        session.get_one(Scene, desk.scene.id).source = describe(source.bands, quality=quality).to_json()
        session.get_one(Patch, desk.first.patch_id).valid_share = 0.0  # as tiling would find
    desk.deliver(saved(desk.first, [brush(box(0, 0, 16, 32))]))
    assert (desk.mask() == UNKNOWN).all()


def test_cloud_is_neither_judged_nor_predicted(catalog: Catalog, tmp_path: Path) -> None:
    scene = cloudy(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION)
    metrics = evaluate(catalog, champion().segmenter, [scene], 32).metrics
    assert np.array(metrics.confusion).sum() == 100 * 96
    classes = predict_classes(champion().segmenter, source_of(scene), 32, 4, UNKNOWN)
    np.testing.assert_array_equal(classes == UNKNOWN, CLOUD)
