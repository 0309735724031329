from pathlib import Path

import numpy as np
import pytest
import torch

from experiments import patches
from experiments.areas import StudyArea
from experiments.division import Place
from experiments.patches import PatchReader, PatchSet
from imagery.channels import FURTHER_TERRAIN
from imagery.classes import UNKNOWN
from imagery.grid import Window
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from tests.experiments.study_areas import half_ice, paint
from tests.imagery.forge import BAND_NAMES

WINDOWS = [Window(0, 0, 32, 32), Window(96, 160, 32, 32), Window(224, 224, 32, 32)]


def gap(tmp_path: Path) -> StudyArea:
    """Rows 5 and 6 of the near infrared have no data; the truth says ice there all the same."""
    bands = np.arange(4 * 32 * 32, dtype=np.float32).reshape(4, 32, 32) + 1
    bands[BAND_NAMES.index("nir"), 5:7] = np.nan
    return paint(tmp_path, half_ice(32, 32), "gap", bands)


def test_pixels_are_those_of_the_scene(area: StudyArea) -> None:
    with PatchReader([area]) as reader, SceneReader(area.source) as scene:
        assert reader.channels == tuple(name for name in area.source.channel_names if name not in FURTHER_TERRAIN)
        for window in WINDOWS:
            raw, _ = reader.patch(Place(area, window))
            assert raw.dtype == np.float32
            np.testing.assert_array_equal(raw, scene.read(reader.channels, window))


def test_the_truth_is_that_of_the_map_where_bands_have_data(area: StudyArea) -> None:
    with PatchReader([area]) as reader, SceneReader(area.source) as scene:
        for window in WINDOWS:
            _, mask = reader.patch(Place(area, window))
            expected = np.where(scene.valid_mask(window), read_map(area.truth, window), UNKNOWN)
            np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("channels", [["red"], ["nir"], ["nir", "red"]])
def test_the_judged_pixels_do_not_depend_on_the_channels(tmp_path: Path, channels: list[str]) -> None:
    area = gap(tmp_path)
    expected = half_ice(32, 32)
    expected[5:7] = UNKNOWN
    with PatchReader([area]) as reader:
        ((raw, mask),) = PatchSet(reader, [Place(area, WINDOWS[0])], channels).arrays()
    np.testing.assert_array_equal(mask, expected)
    assert np.isnan(raw[:, 5:7]).any() == ("nir" in channels)


def test_channels_have_the_requested_order(tmp_path: Path) -> None:
    area = gap(tmp_path)
    with PatchReader([area]) as reader:
        (tensor, _) = PatchSet(reader, [Place(area, WINDOWS[0])], ["blue", "red"])[0]
    # Bands are numbered through: the first pixel of red is 1, that of blue, the third, 1 + 2 * 32 * 32.
    assert tensor[:, 0, 0].tolist() == [2049.0, 1.0]
    assert tensor.shape == (2, 32, 32)


def test_items_arrays_and_batches_are_equal(area: StudyArea) -> None:
    places = [Place(area, window) for window in WINDOWS]
    with PatchReader([area]) as reader:
        patch_set = PatchSet(reader, places, ["nir", "slope"])
        assert len(patch_set) == 3
        arrays = list(patch_set.arrays())
        ((batch, masks),) = patch_set.batches()
        for index, (raw, mask) in enumerate(arrays):
            tensor, target = patch_set[index]
            np.testing.assert_array_equal(raw, tensor)
            np.testing.assert_array_equal(raw, batch[index])
            np.testing.assert_array_equal(mask, target)
            np.testing.assert_array_equal(mask, masks[index])
            assert (tensor.dtype, target.dtype) == (torch.float32, torch.uint8)


def test_batches_are_limited_by_memory(tmp_path: Path) -> None:
    area = paint(tmp_path, half_ice(32 * 10, 32 * 7))
    places = [Place(area, Window(row, col, 32, 32)) for row in range(0, 320, 32) for col in range(0, 224, 32)]
    with PatchReader([area]) as reader:
        sizes = [len(masks) for _, masks in PatchSet(reader, places, ["red"]).batches()]
    assert sizes == [64, 6]


def test_the_cache_limit_does_not_change_the_values(area: StudyArea, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(area, WINDOWS[1])
    with PatchReader([area]) as keeping:
        kept = keeping.patch(place)
        assert keeping.patch(place)[0] is kept[0]
    monkeypatch.setattr(patches, "KEPT_BYTES", 0)
    with PatchReader([area]) as forgetting:
        first, second = forgetting.patch(place), forgetting.patch(place)
    assert first[0] is not second[0]
    for read in (first, second):
        np.testing.assert_array_equal(read[0], kept[0])
        np.testing.assert_array_equal(read[1], kept[1])


def test_several_areas_give_the_channels_that_all_have(area: StudyArea, tmp_path: Path) -> None:
    other = paint(tmp_path, half_ice(32, 32), "other")
    with PatchReader([area, other]) as reader:
        assert reader.channels == ("blue", "green", "red", "nir", "ndvi", "ndwi")  # in the order of the first
        for place in (Place(area, WINDOWS[0]), Place(other, WINDOWS[0])):
            with SceneReader(place.area.source) as scene:
                np.testing.assert_array_equal(reader.patch(place)[0], scene.read(reader.channels, place.window))
