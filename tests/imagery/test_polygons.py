import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imagery.errors import OutlineError
from imagery.masks import compose
from imagery.polygons import mask_to_polygons, split_holes

MASKS = arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 15)), elements=st.sampled_from([0, 1, 2, 255]))

RING = np.zeros((30, 40), dtype=np.uint8)
RING[5:15, 10:30] = 1
RING[8:10, 15:20] = 0
RING[20:25, 2:6] = 2
RING[0, 0] = 255


def test_an_outline_runs_along_pixel_edges_and_keeps_its_hole() -> None:
    (clean,) = [polygon for value, polygon in mask_to_polygons(RING, [1])]
    assert clean.bounds == (10.0, 5.0, 30.0, 15.0)
    assert clean.area == 10 * 20 - 2 * 5
    assert shapely.Polygon(clean.interiors[0]).bounds == (15.0, 8.0, 20.0, 10.0)


def test_pixels_that_touch_at_a_corner_are_two_patches() -> None:
    assert len(mask_to_polygons(np.eye(2, dtype=np.uint8), [1])) == 2


@given(MASKS)
def test_polygons_give_back_exactly_their_pixels(mask: np.ndarray) -> None:
    polygons = mask_to_polygons(mask, [1, 2, 255])
    assert all(polygon.is_valid for _, polygon in polygons)
    np.testing.assert_array_equal(compose(polygons, *mask.shape), mask)


@given(MASKS)
def test_parts_without_holes_give_back_exactly_the_same_pixels(mask: np.ndarray) -> None:
    parts = [(value, part) for value, whole in mask_to_polygons(mask, [1, 2, 255]) for part in split_holes(whole)]
    assert not any(part.interiors for _, part in parts)
    assert all(part.is_valid for _, part in parts)
    np.testing.assert_array_equal(compose(parts, *mask.shape), mask)


def test_parts_without_holes_have_the_area_of_the_whole_and_no_overlap() -> None:
    disc = shapely.Point(0, 0).buffer(10)
    holes = [
        shapely.Point(-3.3, 1).buffer(1.2),
        shapely.Polygon([(3, 3), (4, 3), (3, 4)]),
        shapely.Point(5, -5).buffer(0.1),
    ]
    whole = disc.difference(shapely.union_all(holes))
    parts = split_holes(whole)
    assert not any(part.interiors for part in parts)
    assert sum(part.area for part in parts) == pytest.approx(whole.area)
    assert shapely.union_all(parts).symmetric_difference(whole).area == pytest.approx(0.0, abs=1e-9)


def test_a_polygon_without_holes_is_left_alone() -> None:
    box = shapely.box(0, 0, 2, 3)
    assert split_holes(box) == [box]


@pytest.mark.parametrize(
    "mask",
    [
        np.indices((9, 8)).sum(axis=0) % 2,  # a checkerboard
        np.indices((9, 8)).sum(axis=0) % 3,  # diagonal stripes of all classes
        np.minimum.reduce([*np.indices((11, 11)), *(10 - np.indices((11, 11)))]) % 3,  # islands within islands
        np.full((4, 5), 255),
    ],
)
def test_round_trip_is_exact_for_corners_stripes_and_nested_islands(mask: np.ndarray) -> None:
    labels = mask.astype(np.uint8)
    np.testing.assert_array_equal(compose(mask_to_polygons(labels, [0, 1, 2, 255]), *labels.shape), labels)


@given(MASKS, st.sampled_from([0.5, 0.8, 1.0, 2.0, 5.0]))
def test_smoothed_neighbours_leave_no_gap_and_no_overlap(mask: np.ndarray, smoothing_px: float) -> None:
    smooth = mask_to_polygons(mask, [0, 1, 2, 255], smoothing_px=smoothing_px)
    exact = mask_to_polygons(mask, [0, 1, 2, 255])
    assert [value for value, _ in smooth] == [value for value, _ in exact]
    polygons = np.array([polygon for _, polygon in smooth])
    assert shapely.is_valid(polygons).all()
    assert shapely.coverage_is_valid(polygons)  # no overlap, and common edges have the same vertices
    whole = shapely.coverage_union_all(polygons)
    assert whole.area == pytest.approx(mask.size)
    assert whole.bounds == (0, 0, mask.shape[1], mask.shape[0])


def test_smoothing_straightens_a_staircase_and_keeps_the_frame() -> None:
    below = np.tri(20, dtype=np.uint8)  # the diagonal and what lies below it
    (exact,) = mask_to_polygons(below, [1])
    (smooth,) = mask_to_polygons(below, [1], smoothing_px=1.0)
    assert len(exact[1].exterior.coords) > 40
    assert len(smooth[1].exterior.coords) < 10
    assert smooth[1].bounds == (0, 0, 20, 20)
    assert (0.0, 20.0) in smooth[1].exterior.coords


def test_a_negative_smoothing_is_refused() -> None:
    with pytest.raises(OutlineError, match="smoothing of -1 px; expected 0"):
        mask_to_polygons(RING, [1], smoothing_px=-1)


def test_large_masks_are_outlined_and_burnt_in_one_pass_each() -> None:
    # 10,000 patches: one pass of the whole mask for each would take half a minute.
    mask = np.zeros((1000, 1000), dtype=np.uint8)
    mask[::10, ::10] = 1
    polygons = mask_to_polygons(mask, [1])
    assert len(polygons) == 10_000
    np.testing.assert_array_equal(compose(polygons, *mask.shape), mask)
