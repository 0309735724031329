"""Moving the polygons of a layer onto a scene: the part near it, exact edges, and the antimeridian."""

from functools import partial
from typing import Final

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from imagery.grid import Grid
from imagery.projection import period, same_crs, transform_points, unwrap
from imagery.vector_files import Bounds
from imagery.vector_geometry import make_valid

_TOLERANCE_PX: Final = 0.1  # of a straight edge that is curved in the other CRS
_MOST_ROUNDS: Final = 12  # each at least halves the edges that are still too far off
# The neighbourhood of a scene beyond its footprint, as a share of its size. Polygons end there before they are moved:
# a map projection may be undefined far away, and a long edge would need many vertices.
_MARGIN: Final = 0.02
_AT_SEAM: Final = 1e-6  # share of the period


class Placement:
    """How a layer in some CRS lies to a scene.

    Attributes:
        boxes: Where the scene lies in the layer's coordinates: bounds that select the features near it. Several where
            the antimeridian divides it.
        scene_extent: The scene's bounds in the layer's CRS, continued across the antimeridian.
    """

    def __init__(self, grid: Grid, crs: str, extent: Bounds) -> None:
        """Find the scene in a layer.

        Args:
            grid: The scene's grid.
            crs: The layer's CRS.
            extent: The layer's bounds.

        Raises:
            SceneError: There is no transformation between the systems.
        """
        self._grid, self._crs = grid, crs
        self._turn = period(crs)
        self._footprint = grid.footprint_in(crs)
        left, bottom, right, top = self.scene_extent = self._footprint.bounds
        turns = (0,) if self._turn is None else (0, -1, 1, -2, 2)
        shifted = [(left + turn * (self._turn or 0), right + turn * (self._turn or 0)) for turn in turns]
        meets = [(x0, x1) for x0, x1 in shifted if x0 <= extent[2] and x1 >= extent[0]]
        self.misses = not meets or bottom > extent[3] or top < extent[1]
        self.boxes: list[Bounds] = [(x0, bottom, x1, top) for x0, x1 in meets] or [self.scene_extent]

    def place(self, polygons: NDArray[np.object_]) -> NDArray[np.object_]:
        """Move valid polygons onto the scene.

        Args:
            polygons: (n,) in the layer's CRS.

        Returns:
            Valid polygons in the grid's CRS, of those that touch the scene; edges within 0.1 px of where they are.

        Raises:
            SceneError: A polygon cannot be transformed.
        """
        near = polygons if self._turn is None else self._beside_the_scene(polygons, self._turn)
        if same_crs(self._crs, self._grid.crs):
            return near
        neighbourhood = self._footprint.buffer(_MARGIN * max(np.ptp(np.reshape(self.scene_extent, (2, 2)), axis=0)))
        shapely.prepare(neighbourhood)
        near = near[shapely.intersects(neighbourhood, near)]
        beyond = ~shapely.covers(neighbourhood, near)
        near[beyond] = shapely.intersection(near[beyond], neighbourhood)
        moved = shapely.transform(self._densify(_polygons_in(near)), self._onto_grid)
        valid = make_valid(moved)
        placed: NDArray[np.object_] = valid[~shapely.is_empty(valid)]
        return placed

    def _beside_the_scene(self, polygons: NDArray[np.object_], turn: float) -> NDArray[np.object_]:
        """Continue polygons across the antimeridian, and shift them by whole turns to where the scene is counted."""
        whole = np.empty(len(polygons), dtype=object)
        whole[:] = [unwrapped(polygon, turn) for polygon in polygons]
        first, last = shapely.bounds(whole)[:, ::2].T if len(whole) else np.empty((2, 0))
        left, _, right, _ = self.scene_extent
        near = []
        for k in range(-2, 3):
            copies = whole[(first + k * turn <= right) & (last + k * turn >= left)]
            shift = np.array([k * turn, 0.0])
            near.append(shapely.transform(copies, partial(np.add, shift)) if k else copies)
        beside: NDArray[np.object_] = np.concatenate(near)
        return beside

    def _onto_grid(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        moved = transform_points(points, self._crs, self._grid.crs)
        turn = period(self._grid.crs)
        left, _, right, _ = self._grid.bounds
        if turn is not None and right - left < turn / 2:
            moved[:, 0] -= turn * np.round((moved[:, 0] - (left + right) / 2) / turn)
        return moved

    def _densify(self, polygons: NDArray[np.object_]) -> NDArray[np.object_]:
        """Add vertices until the middle of each edge is moved to the middle of the moved edge, within 0.1 px."""
        pixel = np.sqrt(self._grid.pixel_area())
        for _ in range(_MOST_ROUNDS):
            rings, polygon_of = shapely.get_rings(polygons, return_index=True)
            points, ring_of = shapely.get_coordinates(rings, return_index=True)
            if not len(points):
                return polygons
            starts, ends = points[:-1], points[1:]
            moved = self._onto_grid(points)
            middle = self._onto_grid((starts + ends) / 2)
            error = np.hypot(*(middle - (moved[:-1] + moved[1:]) / 2).T) / pixel
            length = np.hypot(*(ends - starts).T)
            too_far = (ring_of[:-1] == ring_of[1:]) & (error > _TOLERANCE_PX)
            if not too_far.any():
                return polygons
            # The error grows with the square of the length.
            pieces = np.clip(np.ceil(np.sqrt(error[too_far] / _TOLERANCE_PX)), 2, 1000)
            longest = np.full(len(polygons), np.inf)
            np.minimum.at(longest, polygon_of[ring_of[:-1][too_far]], length[too_far] / pieces)
            dense = np.isfinite(longest)
            polygons = polygons.copy()
            polygons[dense] = shapely.segmentize(polygons[dense], longest[dense])
        return polygons


def unwrapped(polygon: Polygon | MultiPolygon, turn: float) -> Polygon | MultiPolygon:
    """Make a polygon continuous whose vertices jump across the antimeridian, as from 179.9 to -179.9 degrees.

    An edge of more than half a turn is such a jump, unless it runs along the whole map from seam to seam.

    Args:
        polygon: In a CRS with a period.
        turn: The period.
    """
    if np.ptp(polygon.bounds[::2]) <= turn / 2 or not _jumps(polygon, turn):
        return polygon
    parts = []
    for part in shapely.get_parts(polygon):
        shell, *holes = (unwrap(Polygon(ring), turn) for ring in (part.exterior, *part.interiors))
        # A hole lies beside its own shell.
        turns = [round((shell.centroid.x - hole.centroid.x) / turn) for hole in holes]
        moved = [shapely.affinity.translate(hole, k * turn) for hole, k in zip(holes, turns, strict=True)]
        parts.append(shapely.difference(shell, shapely.union_all(moved)))
    whole: Polygon | MultiPolygon = make_valid(np.array([shapely.union_all(parts)], dtype=object))[0]
    return whole


def _jumps(polygon: Polygon | MultiPolygon, turn: float) -> bool:
    rings = (shapely.get_coordinates(ring)[:, 0] for ring in shapely.get_rings(shapely.get_parts(polygon)))
    steps = np.concatenate([np.abs(np.diff(ring)) for ring in rings])
    return bool(((steps > turn / 2) & (steps < turn * (1 - _AT_SEAM))).any())


def _polygons_in(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the polygons of intersections, which may also hold lines and points along the cut."""
    parts = shapely.get_parts(shapely.get_parts(geometries))
    polygons: NDArray[np.object_] = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return polygons
