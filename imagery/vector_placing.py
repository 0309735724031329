"""Moving the polygons of a layer onto a scene: the part near it, exact edges, and the antimeridian."""

from functools import partial
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon

from imagery.grid import Grid
from imagery.projection import period, same_crs, transform_points
from imagery.vector_files import Bounds
from imagery.vector_geometry import make_valid

_TOLERANCE_PX: Final = 0.1  # of a straight edge that is curved in the other CRS
_MOST_ROUNDS: Final = 12  # each at least halves the edges that are still too far off
# The neighbourhood of a scene beyond its footprint, as a share of its size. Polygons end there before they are moved:
# a map projection may be undefined far away, and a long edge would need many vertices.
_MARGIN: Final = 0.02
# Without a move they may reach much farther, but GDAL counts pixels in 32 bits: coordinates of 1e18 would burn nothing.
_FARTHEST: Final = 1000.0


class Placement:
    """How a layer in some CRS lies to a scene.

    Attributes:
        boxes: Where the scene lies in the layer's coordinates: bounds that select the features near it. Several where
            the antimeridian divides it.
        scene_extent: The scene's bounds in the layer's CRS, continued across the antimeridian.
        turn: The period of the layer's CRS (see `imagery.projection.period`).
        misses: Whether the layer's bounds and the scene's do not overlap.
    """

    def __init__(self, grid: Grid, crs: str, extent: Bounds) -> None:
        """Find the scene in a layer.

        Args:
            grid: The scene's grid.
            crs: The layer's CRS.
            extent: The layer's bounds.

        Raises:
            SceneError: There is no transformation between the systems, or none that knows how their datums lie to each
                other (see `Grid.check_shift`).
        """
        grid.check_shift(crs)
        self._grid, self._crs = grid, crs
        self.turn = period(crs)
        self._footprint = grid.footprint_in(crs)
        left, bottom, right, top = self.scene_extent = self._footprint.bounds
        turns = (0,) if self.turn is None else (0, -1, 1, -2, 2)
        shifted = [(left + turn * (self.turn or 0), right + turn * (self.turn or 0)) for turn in turns]
        meets = [(x0, x1) for x0, x1 in shifted if x0 <= extent[2] and x1 >= extent[0]]
        self.misses = not meets or bottom > extent[3] or top < extent[1]
        self.boxes: list[Bounds] = [(x0, bottom, x1, top) for x0, x1 in meets] or [self.scene_extent]

    def place(self, polygons: NDArray[np.object_]) -> NDArray[np.object_]:
        """Move valid polygons onto the scene.

        Args:
            polygons: (n,) in the layer's CRS, each continued across the antimeridian.

        Returns:
            Valid polygons in the grid's CRS, of those that touch the scene; edges within 0.1 px of where they are.

        Raises:
            SceneError: A polygon cannot be transformed.
        """
        near = polygons if self.turn is None else self._beside_the_scene(polygons, self.turn)
        size = max(np.ptp(np.reshape(self.scene_extent, (2, 2)), axis=0))
        if same_crs(self._crs, self._grid.crs):
            return _clipped(near, self._footprint.buffer(_FARTHEST * size))
        near = _clipped(near, self._footprint.buffer(_MARGIN * size))
        moved = shapely.transform(self._densify(_polygons_in(near)), self._onto_grid)
        valid = make_valid(moved)
        placed: NDArray[np.object_] = valid[~shapely.is_empty(valid)]
        return placed

    def _beside_the_scene(self, polygons: NDArray[np.object_], turn: float) -> NDArray[np.object_]:
        """Shift polygons by whole turns to where the longitudes of the scene are counted."""
        first, last = shapely.bounds(polygons)[:, ::2].T if len(polygons) else np.empty((2, 0))
        left, _, right, _ = self.scene_extent
        near = []
        for k in range(-2, 3):
            copies = polygons[(first + k * turn <= right) & (last + k * turn >= left)]
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


def _clipped(polygons: NDArray[np.object_], neighbourhood: Polygon) -> NDArray[np.object_]:
    """Return the polygons that touch a neighbourhood, those that reach beyond it clipped to it."""
    shapely.prepare(neighbourhood)
    near: NDArray[np.object_] = polygons[shapely.intersects(neighbourhood, polygons)]
    beyond = ~shapely.covers(neighbourhood, near)
    near[beyond] = shapely.intersection(near[beyond], neighbourhood)
    return near


def _polygons_in(geometries: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the polygons of intersections, which may also hold lines and points along the cut."""
    parts = shapely.get_parts(shapely.get_parts(geometries))
    polygons: NDArray[np.object_] = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return polygons
