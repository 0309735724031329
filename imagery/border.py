"""The border of a scene: polygons outside of which every pixel has no data."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from pydantic import ConfigDict
from rasterio.features import geometry_mask

from imagery.coordinates import format_bounds
from imagery.errors import OutlineError
from imagery.grid import Grid


@dataclass(frozen=True)
class BorderSource:
    """The file that holds the border polygons of a scene.

    Attributes:
        path: A local vector file (see `imagery.vector_files.ENDINGS`), in any CRS.
        layer: The layer; None only if the file has exactly one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    path: str
    layer: str | None = None


class Border:
    """The polygons of a border, read and clipped to one scene once and rasterised window by window.

    In published pipelines, pixels outside the border of the labels enter training as background, so that a model learns
    that ice which nobody outlined is no ice. Here they have no data at all.

    Attributes:
        sha256: Checksum of the border near the scene, as stored in its file (see `imagery.vectors.VectorLayer`).
        notes: What was repaired and left out, for people; pixels that only what was left out would hold have no data.
    """

    def __init__(self, source: BorderSource, grid: Grid) -> None:
        """Read the polygons.

        Args:
            source: The file.
            grid: The scene's grid.

        Raises:
            OutlineError: The file cannot be used (see `imagery.vectors.read_layer`), or no polygon overlaps the scene.
        """
        # Imported here because it loads pandas, which scenes without a border do not need.
        from imagery.vector_geometry import describe_left_out, describe_repairs, polygonal
        from imagery.vectors import read_layer

        layer = read_layer(source.path, source.layer, grid)
        clipped = shapely.intersection(layer.polygons, grid.footprint())
        self._polygons = np.array([part for polygon in clipped for part in polygonal(polygon)], dtype=object)
        # The layer's bounding box may overlap the scene although none of its polygons does.
        if not len(self._polygons):
            raise OutlineError(
                f"{source.path}: found a border that misses the scene (it covers {format_bounds(layer.extent)} and the "
                f"scene {format_bounds(layer.scene_extent)} in {layer.crs}); expected one that overlaps the scene"
            )
        self._tree = shapely.STRtree(self._polygons)
        self.sha256 = layer.sha256
        self.notes = (
            *([describe_repairs(layer.repairs)] if layer.repairs else []),
            *([describe_left_out(layer.left_out)] if layer.left_out else []),
        )

    def inside(self, transform: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return which pixels have their centre inside the border.

        Args:
            transform: From (column, row) of these pixels to the scene's CRS.
            shape: Rows and columns.

        Returns:
            (h, w).
        """
        inside: NDArray[np.bool_] = np.zeros(shape, dtype=np.bool_)
        height, width = shape
        footprint = shapely.Polygon(
            [transform @ corner for corner in ((0, 0), (0, height), (width, height), (width, 0))]
        )
        near = self._polygons[self._tree.query(footprint, predicate="intersects")]
        if len(near):
            inside = geometry_mask(near, shape, transform, invert=True)
        return inside
