"""The regions: each is divided without overlap, and its labels err as asked."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.imperfect_labels import drawn_in_haste
from benchmarks.regions import PATCH_PX, SPECS, divide, load, read_whole
from imagery.classes import BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN


@pytest.mark.parametrize("name", SPECS)
def test_the_parts_of_a_region_cover_it_without_overlap(name: str) -> None:
    spec = SPECS[name]
    times = np.zeros(spec.size, dtype=int)
    for window in divide(spec).values():
        times[window.slices] += 1
        assert min(window.shape) >= PATCH_PX
    assert (times == 1).all()


def test_there_are_regions_of_each_kind() -> None:
    groups = [spec.group for spec in SPECS.values()]
    assert (groups.count("everest"), groups.count("semi-real")) == (4, 4)
    assert groups.count("synthetic") >= 8


def test_a_semi_real_region_is_kept_and_has_each_class_in_each_part(tmp_path: Path) -> None:
    region = load("exploradores", tmp_path)
    (file,) = tmp_path.glob("*.npz")
    kept_at = file.stat().st_mtime_ns
    again = load("exploradores", tmp_path)
    assert file.stat().st_mtime_ns == kept_at
    assert again.digest() == region.digest()
    for part in region.parts:
        present = set(np.unique(region.masks(part, drawn=False)).tolist())
        assert present == {BACKGROUND, CLEAN_ICE.value, DEBRIS_COVERED_ICE.value, UNKNOWN}
    channels, whole = read_whole(SPECS["exploradores"], tmp_path)
    assert whole.image.shape == (len(channels), 618, 539)
    # The voids of the elevation model are nodata in elevation, and unknown in the truth.
    void = np.isnan(whole.image[channels.index("elevation")])
    assert 0.001 < void.mean() < 0.1
    assert (whole.truth[void] == UNKNOWN).all()
    assert 0.005 < np.mean(whole.drawn != whole.truth) < 0.06


def test_hasty_labels_are_wrong_at_borders_and_where_debris_is_overlooked() -> None:
    truth = np.zeros((200, 200), dtype=np.uint8)
    truth[:, 60:120] = CLEAN_ICE.value
    truth[:, 120:] = DEBRIS_COVERED_ICE.value
    truth[:10] = UNKNOWN
    assert np.array_equal(drawn_in_haste(truth, 1, 0.0, 0.0), truth)
    wobbly = drawn_in_haste(truth, 1, 1.0, 0.0)
    wrong_columns = np.flatnonzero((wobbly != truth)[10:].any(axis=0))
    assert wrong_columns.size
    assert np.all(np.minimum(np.abs(wrong_columns - 60), np.abs(wrong_columns - 120)) <= 5)
    overlooked = drawn_in_haste(truth, 1, 0.0, 0.3)
    debris = truth == DEBRIS_COVERED_ICE.value
    assert np.array_equal(overlooked[~debris], truth[~debris])
    assert 0.1 < np.mean(overlooked[debris] == BACKGROUND) < 0.5
