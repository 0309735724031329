"""What is polygonal is decoded, and the rest is said."""

import struct

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from imagery.vector_geometry import LeftOut, Repair, Shapes, decode, describe_left_out

SQUARE = shapely.box(0, 0, 4, 4)
LINE = shapely.LineString([(0, 0), (9, 9)])
Point3 = tuple[float, float, float]


def _decode(*wkb: bytes | None) -> Shapes:
    stored = np.empty(len(wkb), dtype=object)
    stored[:] = wkb
    return decode(np.arange(1, len(wkb) + 1), stored)


def _ring(code: int, corners: list[Point3]) -> bytes:
    flat = [value for corner in corners for value in corner]
    return struct.pack(f"<BIII{len(flat)}d", 1, code, 1, len(corners), *flat)


def _surface(code: int, faces: list[bytes]) -> bytes:
    return struct.pack("<BII", 1, code, len(faces)) + b"".join(faces)


# Two triangles that make the square, seen from above, and a vertical wall on its edge.
LOWER: list[Point3] = [(0, 0, 1), (4, 0, 1), (4, 4, 7), (0, 0, 1)]
UPPER: list[Point3] = [(0, 0, 1), (4, 4, 7), (0, 4, 3), (0, 0, 1)]
WALL: list[Point3] = [(0, 0, 0), (4, 0, 0), (4, 0, 1), (0, 0, 0)]


@pytest.mark.parametrize(
    "wkb",
    [
        _surface(1016, [_ring(1017, LOWER), _ring(1017, UPPER), _ring(1017, WALL)]),  # a TIN
        _surface(1015, [_ring(1003, LOWER), _ring(1003, UPPER)]),  # a polyhedral surface
        _surface(1007, [_surface(1016, [_ring(1017, LOWER)]), _surface(1015, [_ring(1003, UPPER)])]),  # a MultiPatch
        # As "extended" WKB writes three dimensions.
        _surface(0x80000000 | 16, [_ring(0x80000000 | 17, LOWER), _ring(0x80000000 | 17, UPPER)]),
    ],
)
def test_the_faces_of_a_surface_are_joined_as_seen_from_above(wkb: bytes) -> None:
    found = _decode(wkb)
    assert [polygon.equals(SQUARE) for polygon in found.polygons] == [True]
    assert (found.repairs, found.left_out) == ((), ())


def test_polygons_inside_collections_are_read_and_the_rest_is_named() -> None:
    inner = shapely.GeometryCollection([shapely.box(10, 0, 11, 1), shapely.Point(1, 1)])
    found = _decode(shapely.GeometryCollection([SQUARE, LINE, inner]).wkb, LINE.wkb, SQUARE.wkb)
    assert found.features.tolist() == [1, 3]
    assert [polygon.area for polygon in found.polygons] == [17, 16]
    assert found.left_out == (LeftOut(1, "LineString"), LeftOut(1, "Point"), LeftOut(2, "LineString"))


def test_what_has_no_place_or_no_area_is_named() -> None:
    nan = struct.pack("<BIII8d", 1, 3, 1, 4, 0, 0, np.nan, 1, 1, 1, 0, 0)
    found = _decode(None, shapely.Polygon().wkb, nan, b"nonsense", _surface(1016, [_ring(1017, WALL)]))
    assert len(found.polygons) == 0
    assert [(item.feature, item.reason) for item in found.left_out] == [
        (1, "no geometry"),
        (2, "empty geometry"),
        (3, "coordinates that are not numbers"),
        (4, "unreadable geometry"),
        (5, "no area"),
    ]


def test_an_open_ring_is_closed_and_said() -> None:
    found = _decode(struct.pack("<BIII6d", 1, 3, 1, 3, 0, 0, 4, 0, 4, 4))
    assert [polygon.area for polygon in found.polygons] == [8]
    assert found.repairs == (Repair(1, "Ring not closed", dropped=False),)


def test_what_is_left_out_is_described_in_one_line() -> None:
    left_out = [LeftOut(7, "Point"), LeftOut(9, "LineString"), LeftOut(12, "Point")]
    assert describe_left_out(left_out) == (
        "left out because they are no polygons: Point (2), LineString (1); the first is feature 7"
    )
    with pytest.raises(ValueError, match="found nothing that was left out"):
        describe_left_out([])


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(
        [SQUARE.wkb, LINE.wkb, _surface(1016, [_ring(1017, LOWER)]), shapely.GeometryCollection([SQUARE, LINE]).wkb]
    ),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=6),
    st.integers(0, 500),
)
def test_no_damage_to_a_geometry_escapes(wkb: bytes, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(wkb)
    for place, value in changes:
        data[place % len(data)] = value
    found = _decode(bytes(data[:length]))
    assert all(shapely.is_valid(found.polygons))
    assert len(found.polygons) or found.left_out or found.repairs
