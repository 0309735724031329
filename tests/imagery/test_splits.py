import json
import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from pyproj import Transformer

from imagery import splits
from imagery.errors import SceneError
from imagery.grid import Grid, Window, tile
from imagery.splits import (
    ARYAL_SHARES,
    BARAKA_SHARES,
    Split,
    fishnet,
    fishnet_split,
    random_split,
    region_split,
    select_windows,
    tile_cells,
    write_footprints,
)
from tests.imagery.forge import UTM_45N

rasters = st.tuples(st.integers(20, 90), st.integers(20, 90), st.integers(3, 20), st.integers(0, 19))
seeds = st.integers(0, 2**32 - 1)


def windows_of(raster: tuple[int, int, int, int]) -> list[Window]:
    width, height, size, overlap = raster
    return tile(width, height, size, overlap % size)


def check_no_pixel_is_shared(split: Split, width: int, height: int) -> None:
    """Paint each split onto the raster, without the arithmetic of the code under test."""
    painted = np.zeros((3, height, width), dtype=bool)
    for layer, windows in zip(painted, split.named().values(), strict=True):
        for window in windows:
            layer[window.slices] = True
    assert painted.sum(axis=0).max() == 1


def check_nothing_is_lost(split: Split, windows: list[Window]) -> None:
    found = [*split.training, *split.validation, *split.test, *split.dropped]
    assert sorted(map(repr, found)) == sorted(map(repr, windows))


def split_or_reject(split, *arguments) -> Split:
    """Not every small raster has a window for each split."""
    try:
        return split(*arguments)
    except SceneError as error:
        assume("found no window for" not in str(error))
        raise


@given(rasters, seeds)
def test_no_window_of_a_random_split_shares_a_pixel_with_another_split(raster, seed) -> None:
    windows = windows_of(raster)
    split = split_or_reject(random_split, windows, np.random.default_rng(seed))
    check_no_pixel_is_shared(split, *raster[:2])
    check_nothing_is_lost(split, windows)


@given(rasters, st.integers(3, 40), st.booleans(), seeds)
def test_no_window_of_a_fishnet_split_shares_a_pixel_with_another_split(raster, cell_px, by_cell, seed) -> None:
    width, height, size, overlap = raster
    cells = fishnet(width, height, cell_px)
    windows = tile_cells(cells, size, overlap % size) if by_cell else windows_of(raster)
    split = split_or_reject(fishnet_split, windows, cells, np.random.default_rng(seed))
    check_no_pixel_is_shared(split, width, height)
    check_nothing_is_lost(split, windows)
    assert not (by_cell and split.dropped)


@given(rasters, st.floats(0.3, 0.55), st.floats(0.6, 0.8))
def test_no_window_of_a_region_split_shares_a_pixel_with_another_split(raster, west, east) -> None:
    width, height = raster[:2]
    first, second = int(width * west), int(width * east)
    region = Window(0, first, height, second - first)
    windows = windows_of(raster)
    split = split_or_reject(region_split, windows, region, np.random.default_rng(0))
    check_no_pixel_is_shared(split, width, height)
    assert all(first <= window.col_off and window.col_off + window.width <= second for window in split.test)
    for window in (*split.training, *split.validation):
        assert window.col_off + window.width <= first or window.col_off >= second
    check_nothing_is_lost(split, windows)


def test_random_shares_are_70_10_20_where_the_paper_prints_70_10_10() -> None:
    split = random_split(tile(100, 100, 10), np.random.default_rng(0))
    assert BARAKA_SHARES == (0.7, 0.1, 0.2)
    assert [len(windows) for windows in split.named().values()] == [70, 10, 20]
    assert split.dropped == ()


def test_cells_are_drawn_in_the_papers_141_20_40() -> None:
    cells = fishnet(67 * 4, 12, 4)
    split = fishnet_split(cells, cells, np.random.default_rng(0))
    assert len(cells) == 201
    assert [len(windows) for windows in split.named().values()] == [141, 20, 40]
    assert sum(ARYAL_SHARES) == pytest.approx(1)


def test_a_split_follows_from_its_seed_not_from_the_global_generator_as_in_public_code() -> None:
    windows = tile(100, 100, 10)
    first = random_split(windows, np.random.default_rng(3))
    np.random.seed(5)
    np.random.random(7)
    assert random_split(windows, np.random.default_rng(3)) == first
    assert random_split(windows, np.random.default_rng(4)) != first


def test_the_test_split_keeps_every_window_drawn_for_it() -> None:
    windows = tile(105, 105, 10)  # the last row and column are moved back by 5 px
    split = random_split(windows, np.random.default_rng(0))
    assert len(windows) == 121
    assert len(split.test) == 24
    assert 0 < len(split.dropped) < 15


def test_windows_of_one_cell_stay_together() -> None:
    cells = fishnet(64, 48, 16)
    windows = tile_cells(cells, 8, overlap=4)
    split = fishnet_split(windows, cells, np.random.default_rng(1), (0.5, 0.25, 0.25))
    assert len(windows) == 12 * 9
    assert [len(part) for part in split.named().values()] == [6 * 9, 3 * 9, 3 * 9]


def test_a_fishnet_covers_the_raster_once_and_small_edge_cells_give_no_windows() -> None:
    cells = fishnet(10, 7, 4)
    assert cells[2] == Window(0, 8, 4, 2)
    assert cells[-1] == Window(4, 8, 3, 2)
    painted = np.zeros((7, 10), dtype=int)
    for cell in cells:
        painted[cell.slices] += 1
    assert (painted == 1).all()
    assert tile_cells(cells, 4) == [Window(0, 0, 4, 4), Window(0, 4, 4, 4)]


def test_windows_across_a_cells_edge_are_dropped() -> None:
    cells = fishnet(12, 4, 4)
    crossing = Window(0, 2, 4, 4)
    split = fishnet_split([*cells, crossing], cells, np.random.default_rng(0), (0.4, 0.3, 0.3))
    assert split.dropped == (crossing,)


def test_windows_whole_in_the_region_are_for_the_test_and_those_across_its_edge_are_dropped() -> None:
    windows = tile(48, 4, 4)
    split = region_split(windows, Window(0, 14, 4, 34), np.random.default_rng(0), validation_share=1 / 3)
    assert split.test == tuple(windows[4:])
    assert split.dropped == (windows[3],)
    assert len(split.validation) == 1
    assert {*split.training, *split.validation} == set(windows[:3])


def test_the_validation_share_of_a_region_split_is_barakas_one_to_seven() -> None:
    split = region_split(tile(90, 10, 1), Window(0, 80, 10, 10), np.random.default_rng(0))
    assert len(split.validation) / (len(split.training) + len(split.validation)) == pytest.approx(1 / 8)


def test_splits_that_cannot_be_made_are_refused() -> None:
    windows = tile(40, 40, 10)
    generator = np.random.default_rng(0)
    with pytest.raises(SceneError, match="expected three positive numbers that sum to 1"):
        random_split(windows, generator, (0.7, 0.1, 0.1))
    with pytest.raises(SceneError, match="found no window for validation"):
        random_split(windows[:4], generator)
    with pytest.raises(SceneError, match=r"cell 0 .* and cell 1 .* that overlap"):
        fishnet_split(windows, [Window(0, 0, 10, 10), Window(5, 5, 10, 10)], generator)
    with pytest.raises(SceneError, match="found no window for test"):
        region_split(windows, Window(0, 0, 9, 40), generator)
    with pytest.raises(SceneError, match="windows of training that overlap windows of test"):
        Split((windows[0],), (windows[1],), (windows[0],))
    with pytest.raises(SceneError, match="cell of 0 px"):
        fishnet(10, 10, 0)


def test_windows_of_any_size_are_apart_where_no_pixel_is_in_both_and_at_home_where_all_are_in_one_cell() -> None:
    rng = np.random.default_rng(0)
    windows = [Window(*map(int, (*rng.integers(0, 25, 2), *rng.integers(1, 7, 2)))) for _ in range(300)]
    cells = fishnet(30, 30, 6)
    painted = np.zeros((300, 30, 30), dtype=bool)
    for layer, window in zip(painted, windows, strict=True):
        layer[window.slices] = True
    meets = (painted[20:] & painted[:20].any(axis=0)).any(axis=(1, 2))
    assert 0.1 < meets.mean() < 0.9
    kept = splits._without_overlap(windows[20:], windows[:20])
    assert kept == [window for window, met in zip(windows[20:], meets, strict=True) if not met]
    number = np.kron(np.arange(25).reshape(5, 5), np.ones((6, 6), dtype=int))
    homes = [set(number[layer]) for layer in painted]
    assert splits._containing_cell(windows, cells).tolist() == [
        next(iter(home)) if len(home) == 1 else -1 for home in homes
    ]


def test_thirty_thousand_windows_are_split_without_a_table_of_all_pairs() -> None:
    windows = tile(174 * 256 + 256, 174 * 256 + 256, 512, 256)  # two Landsat scenes side by side, half overlapping
    cells = fishnet(174 * 256 + 256, 174 * 256 + 256, 2048)
    assert len(windows) == 30276
    tracemalloc.start()
    split = fishnet_split(windows, cells, np.random.default_rng(0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # a table of 21 000 x 6 000 pairs of four edges has 4 GB
    assert all(split.named().values())


def test_windows_are_kept_by_their_shares_of_valid_pixels_and_of_glacier() -> None:
    valid, mask = np.ones((10, 40), dtype=bool), np.zeros((10, 40), dtype=np.uint8)
    mask[0, :20] = 1  # a tenth of the first two windows
    mask[0, 20:29] = 2  # nine hundredths of the third
    mask[:, 30:] = 255  # masked is no glacier
    valid[:6, 10:20] = False
    kept = select_windows(tile(40, 10, 10), lambda w: valid[w.slices], lambda w: mask[w.slices], 0.5, 0.1)
    assert kept == [Window(0, 0, 10, 10)]


@pytest.mark.parametrize("north_up", [True, False])
def test_footprints_lie_where_the_pixels_are_not_mirrored_north_south(north_up: bool) -> None:
    step, top = (-30.0, 3108140.0) if north_up else (30.0, 3000000.0)
    grid = Grid(UTM_45N, (30.0, 0.0, 478000.0, 0.0, step, top), width=40, height=100)
    split = Split((Window(0, 0, 20, 30),), (Window(40, 10, 20, 30),), (Window(80, 10, 20, 30),))
    acquired = datetime(2005, 10, 4, 4, 52, tzinfo=UTC)
    written = json.loads(write_footprints(split, grid, "everest", acquired))
    to_utm = Transformer.from_crs("EPSG:4326", UTM_45N, always_xy=True)
    for feature, (name, (window,)) in zip(written["features"], split.named().items(), strict=True):
        ground = shapely.transform(
            shapely.from_geojson(json.dumps(feature["geometry"])), to_utm.transform, interleaved=False
        )
        rows = (window.row_off, window.row_off + window.height)
        low, high = sorted(top + step * row for row in rows)
        assert ground.bounds == pytest.approx(
            (478000 + 30 * window.col_off, low, 478000 + 30 * (window.col_off + 30), high), abs=0.01
        )
        assert feature["properties"] == {
            "scene": "everest",
            "acquired": "2005-10-04T04:52:00+00:00",
            "crs": UTM_45N,
            "split": name,
            "row_off": window.row_off,
            "col_off": window.col_off,
            "height": 20,
            "width": 30,
        }


def test_a_time_without_a_zone_is_refused() -> None:
    grid = Grid(UTM_45N, (30.0, 0.0, 0.0, 0.0, -30.0, 0.0), width=30, height=10)
    first, second, third = tile(30, 10, 10)
    with pytest.raises(SceneError, match="without a zone"):
        write_footprints(Split((first,), (second,), (third,)), grid, "a", datetime(2005, 10, 4))
