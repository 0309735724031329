import torch

from benchmarks.plain_training import FilesOfPatches, PatchesInMemory, plain_fit
from catalog.records import Label, Proposal
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from models.segmenter import build_segmenter
from models.training_config import TrainingConfig
from models.unet import UNetConfig
from services import raster_keys
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.workers.rows import blobs, patches, tiled
from workers.labelled_patches import LabelledPatchDataset

CHANNELS = ("nir", "red")


def labelled(catalog, folder, count: int) -> list[Label]:
    scene = tiled(catalog, folder / "a.tif")[0]
    labels = []
    for number, patch in enumerate(patches(catalog, scene.id)[:count]):
        patch.scene = scene
        key = raster_keys.label(patch.id, number, number)
        mask = mask_to_geotiff(blobs(number), source_of(scene).grid, GLACIER_SCHEME, window_of(patch))
        raster_store(catalog).put(key, mask)
        labels.append(Label(patch=patch, patch_id=patch.id, proposal=Proposal(), mask_key=key))
    return labels


def test_the_plain_loop_rotates_and_flips_a_patch_with_its_mask(catalog, tmp_path):
    labels = labelled(catalog, tmp_path, 1)
    raw, mask = LabelledPatchDataset(labels, CHANNELS, raster_store(catalog), GLACIER_SCHEME)[0]
    stacked = torch.cat([raw, mask[None].float()])
    turned = [stacked.rot90(turns, (1, 2)) for turns in range(4)]
    symmetries = {tuple(part.flatten().nan_to_num().tolist()) for part in (*turned, *(t.flip(-1) for t in turned))}
    torch.manual_seed(0)
    files = FilesOfPatches(labels, CHANNELS, raster_store(catalog))
    seen = set()
    for _ in range(60):
        raw, mask = files[0]
        seen.add(tuple(torch.cat([raw, mask[None].float()]).flatten().nan_to_num().tolist()))
    assert seen == symmetries
    assert len(seen) == 8


def test_patches_in_memory_and_patches_from_files_train_alike(catalog, tmp_path):
    labels = labelled(catalog, tmp_path, 2)
    files = FilesOfPatches(labels, CHANNELS, raster_store(catalog))
    shape = UNetConfig(in_channels=2, classes=3, depth=1, width=4, dropout=0.0)
    losses = []
    for dataset in (files, PatchesInMemory(files)):
        segmenter = build_segmenter(CHANNELS, [100.0, 100.0], [50.0, 50.0], shape, 0)
        losses.append(plain_fit(segmenter, dataset, 2, TrainingConfig(steps=3)))
    assert losses[0] == losses[1]


def test_the_plain_loop_learns(catalog, tmp_path):
    labels = labelled(catalog, tmp_path, 2)
    shape = UNetConfig(in_channels=2, classes=3, depth=2, width=4, dropout=0.0)
    segmenter = build_segmenter(CHANNELS, [100.0, 100.0], [50.0, 50.0], shape, 0)
    files = FilesOfPatches(labels, CHANNELS, raster_store(catalog))
    losses = plain_fit(segmenter, files, 2, TrainingConfig(steps=30, batch_size=2, learning_rate=1e-2))
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert not segmenter.training
