import os
from pathlib import Path

import numpy as np
import pytest
import rasterio

from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.scene_source import SceneSource
from services import patch_bands
from services.patch_bands import KEPT_PATCHES, read_bands
from tests.imagery.forge import forge_scene

WINDOW = Window(8, 0, 32, 32)


@pytest.fixture
def path(tmp_path) -> Path:
    patch_bands._kept.cache_clear()
    return tmp_path / "scene.tif"


@pytest.fixture
def source(path: Path) -> SceneSource:
    return describe(forge_scene(path).bands)


def test_a_patch_is_read_once(source: SceneSource) -> None:
    first = read_bands(source, WINDOW)
    assert first.shape == (4, 32, 32)
    assert read_bands(SceneSource.from_json(source.to_json()), Window(8, 0, 32, 32)) is first
    assert not np.array_equal(read_bands(source, Window(0, 0, 32, 32)), first)


def test_a_file_that_changed_is_read_again(source: SceneSource, path: Path) -> None:
    before, written = read_bands(source, WINDOW), path.stat().st_mtime_ns
    with rasterio.open(path, "r+") as dataset:
        dataset.write(np.full((100, 160), 7, np.uint8), 1)
    os.utime(path, ns=(written + 1, written + 1))
    after = read_bands(source, WINDOW)
    assert (after[0] == 7).all()
    np.testing.assert_array_equal(after[1:], before[1:])


def test_what_is_kept_is_bounded_and_cannot_be_changed(source: SceneSource) -> None:
    for column in range(KEPT_PATCHES + 2):
        bands = read_bands(source, Window(0, column, 32, 32))
    assert patch_bands._kept.cache_info().currsize == KEPT_PATCHES
    with pytest.raises(ValueError, match="read-only"):
        bands[0, 0, 0] = 1


def test_a_file_that_is_gone_is_reported(source: SceneSource, path: Path) -> None:
    read_bands(source, WINDOW)
    path.unlink()
    with pytest.raises(SceneError, match=r"scene\.tif"):
        read_bands(source, WINDOW)
