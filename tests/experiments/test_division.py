import json
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from experiments.areas import StudyArea
from experiments.division import LEAST_GLACIER, LEAST_VALID, Division, Place, SplitKind, divide, footprints, hold_out
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE
from imagery.errors import SceneError
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from tests.experiments.study_areas import PATCH, covered, half_ice, paint, parts


def all_places(division: Division) -> list[Place]:
    return [place for places in division.named().values() for place in places]


def check_disjoint(division: Division, area: StudyArea) -> None:
    """Every pixel is in one window at most, whatever the part."""
    assert covered(all_places(division), area).max() == 1
    assert min(parts(division).values()) >= 1


@pytest.mark.parametrize("kind", ["fishnet", "random"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trap_no_pixel_is_in_windows_of_two_parts(area: StudyArea, kind: SplitKind, seed: int) -> None:
    check_disjoint(divide([area], kind, PATCH, seed), area)


def test_squares_of_the_fishnet_are_of_one_part(tmp_path: Path) -> None:
    # All 64 windows have ice; the 16 squares of 2 x 2 windows go 11, 2 and 3: shares 141, 20 and 40 of 201.
    division = divide([paint(tmp_path, half_ice(256, 256))], "fishnet", PATCH, 0)
    assert parts(division) == {"training": 44, "validation": 8, "test": 12}
    squares = [
        {(p.window.row_off // 64, p.window.col_off // 64) for p in of_part} for of_part in division.named().values()
    ]
    assert [len(of_part) for of_part in squares] == [11, 2, 3]
    assert len(set.union(*squares)) == 16


def test_random_windows_are_drawn_in_the_shares_of_the_paper(tmp_path: Path) -> None:
    division = divide([paint(tmp_path, half_ice(160, 128))], "random", PATCH, 0)  # 20 windows
    assert parts(division) == {"training": 14, "validation": 2, "test": 4}


def test_windows_have_data_and_glacier(area: StudyArea) -> None:
    places = all_places(divide([area], "random", PATCH, 0))
    assert places
    with SceneReader(area.source) as reader:
        for place in places:
            truth = read_map(area.truth, place.window)
            assert np.isin(truth, (CLEAN_ICE.value, DEBRIS_COVERED_ICE.value)).mean() >= LEAST_GLACIER
            assert reader.valid_mask(place.window).mean() >= LEAST_VALID


def test_windows_short_of_glacier_or_of_data_are_left_out(tmp_path: Path) -> None:
    truth = half_ice(128, 128)
    truth[:32] = 0  # no glacier in the first row of windows
    truth[40:43, 5:39] = CLEAN_ICE.value
    bands = np.full((4, 128, 128), 50.0)
    bands[2, 96:, 32:64] = np.nan  # one band lacks a window
    kept = {
        (p.window.row_off, p.window.col_off)
        for p in all_places(divide([paint(tmp_path, truth, bands=bands)], "random", PATCH, 0))
    }
    assert kept == {(row, col) for row in (32, 64, 96) for col in (0, 32, 64, 96)} - {(96, 32)}


def test_each_third_is_held_out_once(area: StudyArea) -> None:
    thirds = [(0, 85), (85, 171), (171, 256)]  # of 256 columns
    divisions = hold_out([area], PATCH, 0)
    assert len(divisions) == 3
    for (start, end), division in zip(thirds, divisions, strict=True):
        check_disjoint(division, area)
        columns = {name: covered(places, area).any(axis=0) for name, places in division.named().items()}
        assert not columns["test"][:start].any()
        assert not columns["test"][end:].any()
        assert not (columns["training"] | columns["validation"])[start:end].any()
    tested = np.sum([covered(division.test, area) for division in divisions], axis=0)
    assert tested.max() == 1


def test_a_tall_area_is_cut_across_its_rows(tmp_path: Path) -> None:
    tall = paint(tmp_path, half_ice(192, 64))
    divisions = hold_out([tall], PATCH, 0)
    assert len(divisions) == 3
    for number, division in enumerate(divisions):
        # 12 windows: 4 to test, and of the other 8 one in eight to validate.
        assert parts(division) == {"training": 7, "validation": 1, "test": 4}
        rows = np.flatnonzero(covered(division.test, tall).any(axis=1))
        assert (rows[0], rows[-1] + 1) == (64 * number, 64 * number + 64)


def test_every_area_gives_to_every_part(area: StudyArea, tmp_path: Path) -> None:
    other = paint(tmp_path, half_ice(192, 64), "other")
    for division in (divide([area, other], "random", PATCH, 0), *hold_out([area, other], PATCH, 0)):
        for places in division.named().values():
            assert [place.area.name for place in places] == sorted((p.area.name for p in places), reverse=True)
            assert {place.area.name for place in places} == {"other", "synthetic"}


def test_a_division_is_the_same_when_made_again(area: StudyArea) -> None:
    made = [divide([area], "fishnet", PATCH, seed) for seed in (0, 0, 1)]
    assert made[0] == made[1] != made[2]


def test_blocks_are_squares_of_two_by_two_windows(area: StudyArea, tmp_path: Path) -> None:
    other = paint(tmp_path, half_ice(128, 128), "other")
    division = divide([area, other], "random", PATCH, 0)
    for part, places in division.named().items():
        blocks = division.blocks(part)
        squares = [(p.area.name, p.window.row_off // 64, p.window.col_off // 64) for p in places]
        assert len(blocks) == len(places) > 0
        # One number for each square, and one square for each number.
        assert len(set(zip(blocks.tolist(), squares, strict=True))) == len(set(blocks.tolist())) == len(set(squares))


def test_a_square_of_the_fishnet_is_a_block(tmp_path: Path) -> None:
    division = divide([paint(tmp_path, half_ice(256, 256))], "fishnet", PATCH, 0)
    assert np.bincount(division.blocks("test")).tolist() == [4, 4, 4]


@pytest.mark.parametrize("kind", ["fishnet", "random"])
def test_too_small_an_area_is_refused(tmp_path: Path, kind: SplitKind) -> None:
    with pytest.raises(SceneError, match=r"found no window for .* take smaller windows, .* or a larger scene"):
        divide([paint(tmp_path, half_ice(32, 64))], kind, PATCH, 0)


def test_too_small_an_area_to_hold_out_a_third_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match=r"found no window for .* take smaller windows, .* or a larger scene"):
        hold_out([paint(tmp_path, half_ice(32, 64))], PATCH, 0)


def test_an_area_without_glacier_is_refused(tmp_path: Path) -> None:
    barren = paint(tmp_path, np.zeros((128, 128), np.uint8), "barren")
    with pytest.raises(SceneError, match=r"found no window of 32 px in barren with 10% of glacier; .* smaller patches"):
        divide([barren], "fishnet", PATCH, 0)


def test_the_windows_are_written_by_area_with_what_they_are_for(area: StudyArea, tmp_path: Path) -> None:
    other = replace(paint(tmp_path, half_ice(128, 128), "other"), acquired=date(2000, 10, 30))
    division = divide([area, other], "random", PATCH, 0)
    documents = {name: json.loads(document) for name, document in footprints(division).items()}
    assert set(documents) == {"synthetic", "other"}
    for name, places in division.named().items():
        written = [
            (f["properties"]["scene"], f["properties"]["row_off"], f["properties"]["col_off"])
            for document in documents.values()
            for f in document["features"]
            if f["properties"]["split"] == name
        ]
        assert written == [(p.area.name, p.window.row_off, p.window.col_off) for p in places]
    days = {f["properties"]["acquired"] for document in documents.values() for f in document["features"]}
    assert days == {None, "2000-10-30"}
