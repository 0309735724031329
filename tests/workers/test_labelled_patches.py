import numpy as np
import torch

from catalog.records import Label, Patch, Proposal, SceneRole
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_to_geotiff
from imagery.scene_reader import SceneReader
from services import raster_keys
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.imagery.forge import BAND_NAMES
from tests.workers.rows import blobs, patches, tiled
from workers.labelled_patches import LabelledPatchDataset


def label_of_patch(patch: Patch, key: str, minutes: int = 0, region: list[int] | None = None) -> Label:
    return Label(
        id=minutes, event_id=minutes, patch_id=patch.id, patch=patch, mask_key=key, proposal=Proposal(region=region)
    )


def test_an_item_is_pixels_and_mask(catalog, tmp_path):
    scene = tiled(catalog, tmp_path / "a.tif", role=SceneRole.POOL, nodata_columns=40)[0]
    store, labels = raster_store(catalog), []
    for number, patch in enumerate(patches(catalog, scene.id)[2:5]):
        patch.scene = scene
        key = raster_keys.label(patch.id, number, number)
        store.put(key, mask_to_geotiff(blobs(number), source_of(scene).grid, GLACIER_SCHEME, window_of(patch)))
        labels.append(label_of_patch(patch, key))
    dataset = LabelledPatchDataset(labels, ("nir", "red"), store, GLACIER_SCHEME)
    assert len(dataset) == 3
    for number, label in enumerate(labels):
        raw, mask = dataset[number]
        assert (raw.dtype, mask.dtype) == (torch.float32, torch.uint8)
        with SceneReader(source_of(scene)) as reader:
            pixels = reader.read(("nir", "red"), window_of(label.patch))
        np.testing.assert_array_equal(raw.numpy(), pixels)
        expected = np.where(np.isnan(pixels).any(axis=0), UNKNOWN, blobs(number))
        np.testing.assert_array_equal(mask.numpy(), expected)
    assert (dataset[2][1] == UNKNOWN).all()  # a patch of nodata teaches nothing, whatever was drawn
    assert dataset.teaches
    assert not LabelledPatchDataset(labels[2:], ("nir", "red"), store, GLACIER_SCHEME).teaches


def test_files_are_read_once(catalog, tmp_path):
    scene = tiled(catalog, tmp_path / "a.tif")[0]
    patch = patches(catalog, scene.id)[0]
    patch.scene = scene
    store = raster_store(catalog)
    key = raster_keys.label(patch.id, 1, 1)
    store.put(key, mask_to_geotiff(blobs(0), source_of(scene).grid, GLACIER_SCHEME, window_of(patch)))
    dataset = LabelledPatchDataset([label_of_patch(patch, key)], BAND_NAMES, store, GLACIER_SCHEME)
    first = dataset[0]
    store.delete(key)
    assert dataset[0] is first


def test_the_labels_of_parts_of_a_patch_are_one_item(catalog, tmp_path):
    scene = tiled(catalog, tmp_path / "a.tif")[0]
    patch = patches(catalog, scene.id)[0]
    patch.scene = scene
    store, size = raster_store(catalog), patch.size_px
    half = size * size // 2
    labels = []
    for minutes, (value, region) in enumerate([(1, [0, half, half]), (2, [half, half // 2, half - half // 2])]):
        key = raster_keys.label(patch.id, minutes, minutes)
        mask = np.full((size, size), value, dtype=np.uint8)
        store.put(key, mask_to_geotiff(mask, source_of(scene).grid, GLACIER_SCHEME, window_of(patch)))
        labels.append(label_of_patch(patch, key, minutes, region))
    dataset = LabelledPatchDataset(labels, BAND_NAMES, store, GLACIER_SCHEME)
    assert len(dataset) == 1
    rows = dataset[0][1].numpy()[:, 0]
    assert rows.tolist() == [1] * (size // 2) + [2] * (size // 4) + [UNKNOWN] * (size // 4)
