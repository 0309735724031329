"""Weak patches: prior outlines burnt at tiling, what labels override, and which patches are drawn."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Label, Patch, Proposal, Scene
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_from_geotiff
from models.weak_masks import AMBIGUOUS
from services import raster_keys
from services.places import raster_store
from tests.imagery.forge import BAND_NAMES
from tests.workers.rows import tiled
from workers import weak_patches
from workers.recipe import weak_share
from workers.weak_patches import WeakPatchDataset, prior_scenes, read_weak_patches

BOTH, CLEAN_ONLY, DEBRIS_ONLY = (0, 1), (0,), (1,)


def weak_mask(catalog: Catalog, scene: Scene) -> np.ndarray:
    return mask_from_geotiff(raster_store(catalog).get(raster_keys.prior(scene.id)), GLACIER_SCHEME)


def label_on(patch: Patch, region: list[int] | None = None) -> Label:
    return Label(id=1, event_id=1, patch_id=patch.id, patch=patch, proposal=Proposal(region=region))


def patch_at(catalog: Catalog, row: int, col: int) -> Patch:
    with catalog.read() as session:
        patch = session.scalars(select(Patch).where(Patch.row_off == row, Patch.col_off == col)).one()
        assert patch.scene.id  # loads it
        return patch


def dataset_of(catalog: Catalog, labels: list[Label], seed: int = 0) -> WeakPatchDataset:
    with catalog.read() as session:
        scenes = prior_scenes(session, labels)
    return WeakPatchDataset(scenes, BAND_NAMES, raster_store(catalog), GLACIER_SCHEME, 0.1, seed)


def test_the_ring_along_edges_is_unknown(catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "a.tif", priors=BOTH, ring_m=15.0)
    found = weak_mask(catalog, scene)
    # Half a pixel of 30 m on either side: of the rock island in rows 30 to 44 and columns 40 to 59, its outer pixels.
    assert (found[30:45, 40:60] == UNKNOWN).sum() == 15 * 20 - 13 * 18
    assert (found[found != UNKNOWN] == forged.truth[found != UNKNOWN]).all()


def test_without_a_ring_the_outlines_are_burnt_as_they_are(catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "a.tif", priors=BOTH, nodata_columns=40)
    expected = forged.truth.copy()
    expected[:, -40:] = UNKNOWN
    np.testing.assert_array_equal(weak_mask(catalog, scene), expected)


def test_outside_of_outlines_of_debris_nothing_is_known(catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "a.tif", priors=DEBRIS_ONLY)
    np.testing.assert_array_equal(weak_mask(catalog, scene), np.where(forged.truth == 2, 2, UNKNOWN))


def test_whole_glaciers_are_ambiguous(catalog: Catalog, tmp_path: Path) -> None:
    tiled(catalog, tmp_path / "a.tif", priors=CLEAN_ONLY)
    dataset = dataset_of(catalog, [])
    assert len(dataset) == 20
    assert set(np.unique([mask.numpy() for _, mask in dataset])) == {0, AMBIGUOUS + 1}


def test_a_label_overrides_its_patch_and_the_ground_that_others_share_with_it(catalog: Catalog, tmp_path: Path) -> None:
    tiled(catalog, tmp_path / "a.tif", priors=BOTH)
    patch = patch_at(catalog, 64, 64)
    dataset = dataset_of(catalog, [label_on(patch)])
    assert patch.id not in dataset.patch_ids
    shares = dict(zip(dataset.patch_ids, (mask for _, mask in dataset), strict=True))
    # The last row of patches begins at 68, and shares all but its last four rows with the row that begins at 64.
    below = shares.get(patch_at(catalog, 68, 64).id)
    assert below is not None
    assert (below[:28] == UNKNOWN).all()
    assert (below[28:] != UNKNOWN).all()


def test_a_label_of_a_part_overrides_that_part(catalog: Catalog, tmp_path: Path) -> None:
    tiled(catalog, tmp_path / "a.tif", priors=BOTH)
    patch = patch_at(catalog, 0, 32)
    dataset = dataset_of(catalog, [label_on(patch, [0, 512, 512])])
    mask = dataset[dataset.patch_ids.index(patch.id)][1]
    assert (mask[:16] == UNKNOWN).all()
    assert (mask[16:] != UNKNOWN).all()


def test_patches_with_foreground_are_preferred(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiled(catalog, tmp_path / "a.tif", priors=BOTH)
    monkeypatch.setattr(weak_patches, "MOST_PATCHES", 8)
    drawn = [dataset_of(catalog, [], seed) for seed in range(3)]
    for dataset in drawn:  # of 20 patches, the 4 of the last column and one of its neighbours have no ice
        assert sum(bool(((mask > 0) & (mask != UNKNOWN)).any()) for _, mask in dataset) >= 6
        assert len(dataset) == 8
    assert drawn[0].patch_ids == dataset_of(catalog, [], 0).patch_ids
    assert len({tuple(dataset.patch_ids) for dataset in drawn}) == 3


def test_the_memory_bounds_the_patches(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiled(catalog, tmp_path / "a.tif", priors=BOTH)
    monkeypatch.setattr(weak_patches, "CACHE_BYTES", 5 * 32 * 32 * (4 * len(BAND_NAMES) + 1))
    assert len(dataset_of(catalog, [])) == 5


def test_a_training_without_priors_has_no_weak_patches(catalog: Catalog) -> None:
    weak = read_weak_patches(catalog, [], BAND_NAMES, GLACIER_SCHEME, 3, 0)
    assert (weak.dataset, weak.share, weak.provenance, weak.parameters, weak.fingerprint) == (None, 0.0, None, {}, [])


def test_neither_labels_nor_known_priors_is_refused(catalog: Catalog, tmp_path: Path) -> None:
    tiled(catalog, tmp_path / "a.tif", priors=BOTH, ring_m=1000.0 * 30)
    with catalog.read() as session:
        scenes = prior_scenes(session, [])
    with pytest.raises(ConflictError, match="no pixel of known class in prior outlines"):
        read_weak_patches(catalog, scenes, BAND_NAMES, GLACIER_SCHEME, 0, 0)


def test_the_share_falls_with_the_number_of_labels() -> None:
    settings = Settings(prior_share=0.5, prior_share_halved_at=100)
    assert [weak_share(labels, settings) for labels in (0, 100, 300)] == [1.0, 0.25, 0.125]
    assert weak_share(1, settings) == pytest.approx(0.5, abs=0.006)
