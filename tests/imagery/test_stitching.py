import numpy as np
import pytest

from imagery.errors import SceneError
from imagery.grid import Window, tile
from imagery.stitching import Stitcher


def test_windows_that_agree_give_exactly_what_they_agree_on() -> None:
    stitcher = Stitcher(50, 70, 2)
    for window in tile(70, 50, 32, overlap=12):
        stitcher.add(window, np.stack([np.full(window.shape, 0.25), np.full(window.shape, -3.0)]).astype(np.float32))
    result = stitcher.result()
    assert result.shape == (2, 50, 70)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result[0], 0.25, rtol=1e-6)
    np.testing.assert_allclose(result[1], -3.0, rtol=1e-6)


def test_a_smooth_field_cut_into_windows_comes_back_without_seams() -> None:
    rows, cols = np.mgrid[0:60, 0:90]
    field = (np.sin(rows / 9) * np.cos(cols / 7)).astype(np.float32)[None]
    stitcher = Stitcher(60, 90, 1)
    for window in tile(90, 60, 32, overlap=8):
        stitcher.add(window, field[:, *window.slices])
    np.testing.assert_allclose(stitcher.result(), field, atol=1e-6)


def test_a_disagreement_is_blended_over_the_overlap_without_a_step() -> None:
    stitcher = Stitcher(16, 48, 1)
    stitcher.add(Window(0, 0, 16, 32), np.zeros((1, 16, 32), dtype=np.float32))
    stitcher.add(Window(0, 16, 16, 32), np.ones((1, 16, 32), dtype=np.float32))
    row = stitcher.result()[0, 8]
    assert row[15] == 0.0
    assert row[32] == 1.0
    assert (np.diff(row) >= 0).all()
    assert np.diff(row).max() < 0.12
    assert row[16:32].mean() == pytest.approx(0.5)


def test_a_single_window_is_returned_as_it_is_to_its_corners() -> None:
    array = np.random.default_rng(0).random((3, 64, 64), dtype=np.float32)
    stitcher = Stitcher(64, 64, 3)
    stitcher.add(Window(0, 0, 64, 64), array)
    np.testing.assert_allclose(stitcher.result(), array, rtol=1e-6)


def test_pixels_that_no_window_covered_are_an_error() -> None:
    stitcher = Stitcher(4, 6, 1)
    stitcher.add(Window(0, 0, 4, 4), np.zeros((1, 4, 4), dtype=np.float32))
    with pytest.raises(SceneError, match="found 8 pixels that no window covered, the first at row 0, column 4"):
        stitcher.result()


@pytest.mark.parametrize(
    ("window", "array", "message"),
    [
        (Window(0, 0, 4, 4), np.zeros((2, 4, 4)), r"shape \(2, 4, 4\); expected \(1, 4, 4\)"),
        (Window(2, 0, 4, 4), np.zeros((1, 4, 4)), "expected it inside 4 rows x 6 columns"),
        (Window(0, 0, 4, 4), np.full((1, 4, 4), np.nan), "NaN or infinity"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(window: Window, array: np.ndarray, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        Stitcher(4, 6, 1).add(window, array.astype(np.float32))
