from contextlib import nullcontext

import numpy as np
import pytest
import shapely
from rasterio.io import MemoryFile
from sqlalchemy import select

from catalog import jobs
from catalog.records import JobKind, Patch, PatchState, Scene, SceneRole, SceneState
from imagery.border import BorderSource
from imagery.channels import INDICES
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.errors import OutlineError, SceneError
from imagery.masks import mask_from_geotiff
from imagery.scene_source import BandSource
from imagery.valid_pixels import check_has_data
from services import raster_keys
from services.places import raster_store
from services.scene_removal import remove_scene
from tests.imagery.forge import forge_scene, write_geotiff, write_polygons
from tests.workers.rows import context_of, finish, patches, register, tiled
from workers.tile_scene import tile_scene


def test_every_pixel_lies_in_a_patch(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    found = patches(catalog, scene.id)
    # 100 rows are three patches and a fourth moved back to the edge; 160 columns are five.
    assert sorted({patch.row_off for patch in found}) == [0, 32, 64, 68]
    assert sorted({patch.col_off for patch in found}) == [0, 32, 64, 96, 128]
    assert len(found) == 20
    assert {(patch.size_px, patch.valid_share, patch.state) for patch in found} == {(32, 1.0, PatchState.UNLABELLED)}
    assert (scene.state, scene.error, scene.patch_count) == (SceneState.READY, None, 20)


def test_the_share_of_valid_pixels_is_exact(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif", nodata_columns=40)
    shares = {patch.col_off: patch.valid_share for patch in patches(catalog, scene.id)}
    assert shares == {0: 1.0, 32: 1.0, 64: 1.0, 96: 24 / 32, 128: 0.0}


def test_the_views_stretch_is_kept(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    assert set(scene.stretch) == {"red", "green", "blue", "nir", "ndvi", "ndwi"}  # all that the map can show
    for name, (low, high) in scene.stretch.items():
        assert (-1 if name in INDICES else 0) < low < high < (1 if name in INDICES else 256)


def test_outlines_become_the_truth_raster(catalog, tmp_path):
    scene, forged = tiled(catalog, tmp_path / "a.tif", role=SceneRole.VALIDATION)
    with MemoryFile(raster_store(catalog).get(raster_keys.truth(scene.id))) as file, file.open() as truth:
        np.testing.assert_array_equal(truth.read(1), forged.truth)
        assert (truth.crs.to_string(), truth.transform) == (forged.grid.crs, forged.grid.affine)


def test_only_the_pool_is_scored_next(catalog, tmp_path):
    tiled(catalog, tmp_path / "validation.tif", role=SceneRole.VALIDATION, offset_px=500)
    with catalog.read() as session:
        assert not jobs.is_open(session, JobKind.SCORE_POOL)
    tiled(catalog, tmp_path / "pool.tif")
    with catalog.read() as session:
        assert jobs.is_open(session, JobKind.SCORE_POOL)


def test_a_second_run_changes_nothing(catalog, tmp_path):
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    before = [patch.id for patch in patches(catalog, scene.id)]
    tile_scene(context_of(catalog, JobKind.TILE_SCENE), scene.id)
    assert [patch.id for patch in patches(catalog, scene.id)] == before


def test_a_scene_of_nodata_is_rejected_with_the_reason(catalog, tmp_path):
    forged = forge_scene(tmp_path / "a.tif")
    empty = np.zeros((4, 100, 160), np.uint8)
    write_geotiff(forged.path, empty, transform=forged.grid.transform, nodata=0, descriptions=["a", "b", "c", "d"])
    check_rejected(catalog, register(catalog, forged), SceneError, "found no pixel of 100 rows x 160 columns")


def test_repaired_outlines_are_reported(catalog, tmp_path, caplog):
    forged = forge_scene(tmp_path / "a.tif")
    x0, y0, x1, y1 = forged.grid.bounds
    bow_tie = shapely.Polygon([(x0, y0), (x1, y1), (x1, y0), (x0, y1)])
    outlines = write_polygons(tmp_path / "bow_tie.gpkg", {"a": [bow_tie]})
    scene_id = register(catalog, forged, SceneRole.VALIDATION)
    with catalog.database.write() as session:
        layer = {"path": str(outlines), "layer": None, "class_name": "clean ice"}
        session.get_one(Scene, scene_id).outlines = [layer]
    tile_scene(context_of(catalog, JobKind.TILE_SCENE, str(scene_id)), scene_id)
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "workers.scene_masks"]
    assert "bow_tie.gpkg: invalid outlines: 1 repaired, 0 dropped" in warning
    assert "feature 1: Self-intersection" in warning


def test_the_truth_is_unknown_outside_the_border(catalog, tmp_path):
    forged = forge_scene(tmp_path / "a.tif")
    x0, y0, x1, y1 = forged.grid.bounds
    west = write_polygons(tmp_path / "west.gpkg", {"border": [shapely.box(x0, y0, (x0 + x1) / 2, y1)]})
    scene_id = register(catalog, forged, SceneRole.VALIDATION)
    with catalog.database.write() as session:
        bordered = describe(forged.bands, border=BorderSource(str(west)))
        session.get_one(Scene, scene_id).source = bordered.to_json()
    tile_scene(context_of(catalog, JobKind.TILE_SCENE, str(scene_id)), scene_id)
    truth = mask_from_geotiff(raster_store(catalog).get(raster_keys.truth(scene_id)), GLACIER_SCHEME)
    np.testing.assert_array_equal(truth[:, :80], forged.truth[:, :80])
    assert (truth[:, 80:] == UNKNOWN).all()


def test_a_scene_with_few_valid_pixels_is_ready(catalog, tmp_path):
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"), SceneRole.POOL)
    side = 1100  # decimated to 512 pixels a side to choose the stretch: row 500 is not in that sample
    pixels = np.zeros((side, side), dtype=np.uint8)
    pixels[500, 500:504] = [50, 60, 70, 80]
    path = write_geotiff(tmp_path / "sparse.tif", pixels, nodata=0)
    with catalog.database.write() as session:
        source = describe([BandSource("red", str(path), 1)])
        session.get_one(Scene, scene_id).source = source.to_json()
    tile_scene(context_of(catalog, JobKind.TILE_SCENE, str(scene_id)), scene_id)
    with catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
        assert scene.state is SceneState.READY
        assert scene.stretch["red"] == pytest.approx([50.6, 79.4])


def test_outlines_that_miss_the_scene_reject_it(catalog, tmp_path):
    here, there = forge_scene(tmp_path / "here.tif"), forge_scene(tmp_path / "there.tif", offset_px=1000)
    scene_id = register(catalog, here, SceneRole.VALIDATION)
    with catalog.database.write() as session:
        session.get_one(Scene, scene_id).outlines = [vars(layer) for layer in there.outlines]
    check_rejected(catalog, scene_id, OutlineError, "found outlines that miss the scene")


@pytest.mark.parametrize("usable", [True, False])
def test_a_scene_removed_meanwhile_stays_removed(catalog, tmp_path, monkeypatch, usable):
    forged = forge_scene(tmp_path / "a.tif")
    if not usable:
        empty = np.zeros((4, 100, 160), np.uint8)
        write_geotiff(forged.path, empty, transform=forged.grid.transform, nodata=0, descriptions=["a", "b", "c", "d"])
    scene_id = register(catalog, forged)

    def check_while_it_is_removed(source) -> None:
        with catalog.database.write() as session:
            remove_scene(session, scene_id)  # the attempt seemed dead, and its job waits again
        check_has_data(source)

    context = context_of(catalog, JobKind.TILE_SCENE, str(scene_id))
    monkeypatch.setattr("workers.tile_scene.check_has_data", check_while_it_is_removed)
    with nullcontext() if usable else pytest.raises(SceneError):
        tile_scene(context, scene_id)
    with catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
    assert (scene.state, scene.error, scene.patch_count) == (SceneState.REMOVED, None, 0)
    assert patches(catalog, scene_id) == []


def check_rejected(catalog, scene_id: int, error: type[Exception], message: str) -> None:
    context = context_of(catalog, JobKind.TILE_SCENE, str(scene_id))
    with pytest.raises(error, match=message):
        tile_scene(context, scene_id)
    finish(context)
    with catalog.read() as session:
        scene = session.get_one(Scene, scene_id)
        assert scene.state is SceneState.REJECTED
        assert message in scene.error
        assert session.scalars(select(Patch)).all() == []
