import tracemalloc
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.grid import Window, tile
from imagery.stitching import stitch


def whole(parts: Iterable[tuple[Window, NDArray[np.float32]]], height: int, width: int) -> NDArray[np.float32]:
    """The strips, one below the other."""
    strips, top = [], 0
    for row, strip in stitch(parts, height, width):
        assert row == top
        top += strip.shape[1]
        strips.append(strip)
    assert top == height
    return np.concatenate(strips, axis=1)


def raised_cosine(length: int) -> NDArray[np.float64]:
    return np.sin(np.pi * (np.arange(length) + 0.5) / length) ** 2


@given(st.integers(8, 40), st.integers(8, 40), st.integers(1, 8), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_strips_are_the_weighted_mean_over_the_whole_raster(height, width, size, overlap, seed) -> None:
    windows = tile(width, height, size, min(overlap, size - 1))
    arrays = np.random.default_rng(seed).random((len(windows), 2, size, size), dtype=np.float32)
    total, weight = np.zeros((2, height, width)), np.zeros((height, width))
    for window, array in zip(windows, arrays, strict=True):
        weights = np.outer(raised_cosine(size), raised_cosine(size))
        total[:, *window.slices] += weights * array
        weight[window.slices] += weights
    np.testing.assert_allclose(whole(zip(windows, arrays, strict=True), height, width), total / weight, rtol=1e-4)


def test_windows_that_agree_give_exactly_what_they_agree_on() -> None:
    windows = tile(70, 50, 32, overlap=12)
    array = np.stack([np.full((32, 32), 0.25), np.full((32, 32), -3.0)]).astype(np.float32)
    result = whole([(window, array) for window in windows], 50, 70)
    assert result.shape == (2, 50, 70)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0], 0.25, rtol=1e-6)
    np.testing.assert_allclose(result[1], -3.0, rtol=1e-6)


def test_a_smooth_field_cut_into_windows_comes_back_without_seams() -> None:
    rows, cols = np.mgrid[0:60, 0:90]
    field = (np.sin(rows / 9) * np.cos(cols / 7)).astype(np.float32)[None]
    parts = [(window, field[:, *window.slices]) for window in tile(90, 60, 32, overlap=8)]
    np.testing.assert_allclose(whole(parts, 60, 90), field, atol=1e-6)


def test_a_disagreement_is_blended_over_the_overlap_without_a_step() -> None:
    west = (Window(0, 0, 16, 32), np.zeros((1, 16, 32), dtype=np.float32))
    east = (Window(0, 16, 16, 32), np.ones((1, 16, 32), dtype=np.float32))
    row = whole([west, east], 16, 48)[0, 8]
    assert row[15] == 0.0
    assert row[32] == 1.0
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() < 0.12
    assert row[16:32].mean() == pytest.approx(0.5)


def test_rows_are_handed_out_before_the_windows_below_are_asked_for() -> None:
    """What makes memory independent of the raster's height."""
    asked = []

    def parts() -> Iterator[tuple[Window, NDArray[np.float32]]]:
        for window in tile(8, 400, 8, overlap=4):
            asked.append(window.row_off)
            yield window, np.ones((1, 8, 8), dtype=np.float32)

    handed_out = 0
    for row, strip in stitch(parts(), 400, 8):
        assert strip.shape[1] <= 8
        assert max(asked) <= row + 8
        handed_out += strip.shape[1]
    assert handed_out == 400


def test_pixels_that_no_window_covered_are_an_error() -> None:
    square = np.zeros((1, 4, 4), dtype=np.float32)
    with pytest.raises(SceneError, match="found 8 pixels that no window covered, the first at row 0, column 4"):
        whole([(Window(0, 0, 4, 4), square)], 4, 6)
    with pytest.raises(SceneError, match="found 4 pixels that no window covered, the first at row 4, column 0"):
        whole([(Window(0, 0, 4, 4), square), (Window(5, 0, 4, 4), square)], 9, 4)
    with pytest.raises(SceneError, match="found no window"):
        whole([], 4, 4)


def test_pixels_that_no_window_covered_may_be_holes() -> None:
    parts = [
        (Window(row, col, 8, 8), np.full((1, 8, 8), row, dtype=np.float32)) for row, col in ((8, 0), (8, 4), (300, 9))
    ]
    strips = list(stitch(parts, 400, 20, holes=True))
    assert [row for row, _ in strips] == np.cumsum([0, *(strip.shape[1] for _, strip in strips[:-1])]).tolist()
    result = np.concatenate([strip for _, strip in strips], axis=1)[0]
    expected = np.full((400, 20), np.nan, dtype=np.float32)
    expected[8:16, :12], expected[300:308, 9:17] = 8, 300
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_rows_of_holes_are_never_held() -> None:
    corners = [(Window(row, 0, 8, 8), np.ones((1, 8, 8), dtype=np.float32)) for row in (0, 99_992)]
    tracemalloc.start()
    rows = sum(strip.shape[1] for _, strip in stitch(corners, 100_000, 100, holes=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 100_000
    assert peak < 2**20  # all of them are 40 MB


def test_windows_out_of_order_are_refused() -> None:
    square = np.zeros((1, 4, 4), dtype=np.float32)
    with pytest.raises(SceneError, match="after a window that begins at row 2; expected windows row by row"):
        whole([(Window(0, 0, 4, 4), square), (Window(2, 0, 4, 4), square), (Window(0, 0, 4, 4), square)], 6, 4)


@pytest.mark.parametrize(
    ("window", "array", "message"),
    [
        (Window(0, 0, 4, 4), np.zeros((1, 4, 5)), r"shape \(1, 4, 5\); expected \(channels, 4, 4\)"),
        (Window(2, 0, 4, 4), np.zeros((1, 4, 4)), "expected it inside 4 rows x 6 columns"),
        (Window(0, 0, 4, 4), np.full((1, 4, 4), np.nan), "NaN or infinity"),
        (Window(0, 2, 4, 4), np.zeros((2, 4, 4)), "found 2 channels .* expected 1, as in the windows before"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(window: Window, array: np.ndarray, message: str) -> None:
    first = (Window(0, 0, 4, 4), np.zeros((1, 4, 4), dtype=np.float32))
    with pytest.raises(SceneError, match=message):
        whole([first, (window, array.astype(np.float32))], 4, 6)
