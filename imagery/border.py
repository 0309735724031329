"""The border of a scene: the ground inside is judged, the ground outside is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import geometry_mask

from imagery.errors import OutlineError
from imagery.grid import Grid, check_keys


@dataclass(frozen=True)
class BorderSource:
    """Where the border polygons of a scene lie.

    Attributes:
        path: A local GeoPackage, GeoJSON or shapefile, in any CRS.
        layer: The layer; None only where the file has just one.
    """

    path: str
    layer: str | None = None

    def to_json(self) -> dict[str, Any]:
        """A dictionary that `json.dumps` takes and `from_json` reads back exactly."""
        return {"path": self.path, "layer": self.layer}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            SceneError: Keys are missing or unknown.
        """
        check_keys(data, {"path", "layer"}, "border")
        return cls(str(data["path"]), None if data["layer"] is None else str(data["layer"]))


class Border:
    """The polygons of a border on one scene, read and clipped once and burnt window by window.

    Trap: in published pipelines ground outside the border of the labels enters training as background, so that ice
    which nobody outlined is learnt to be none. Here it has no data at all.

    Attributes:
        sha256: Of the border as its file has it near the scene (see `imagery.vectors.VectorLayer`).
    """

    def __init__(self, source: BorderSource, grid: Grid) -> None:
        """Read the polygons.

        Args:
            source: Where they are.
            grid: The scene's.

        Raises:
            OutlineError: The file cannot be used (see `imagery.vectors.read_layer`), or it misses the scene.
        """
        # Loads pandas, which whoever only describes scenes can do without.
        from imagery.vectors import polygonal, read_layer

        layer = read_layer(source.path, source.layer, grid)
        clipped = shapely.intersection(layer.polygons, grid.footprint())
        self._polygons = np.array([part for polygon in clipped for part in polygonal(polygon)], dtype=object)
        # The layer's bounds may reach the scene where none of its polygons does.
        if not len(self._polygons):
            raise OutlineError(
                f"{source.path}: found a border that misses the scene (it covers {layer.extent} and the scene "
                f"{layer.scene_extent} in {layer.crs}); expected one that holds some of the scene's ground"
            )
        self._tree = shapely.STRtree(self._polygons)
        self.sha256 = layer.sha256

    def inside(self, transform: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Which pixels have their centre inside the border.

        Args:
            transform: From (column, row) of these pixels to the scene's CRS.
            shape: Rows and columns.

        Returns:
            (h, w).
        """
        inside: NDArray[np.bool_] = np.zeros(shape, dtype=np.bool_)
        height, width = shape
        ground = shapely.Polygon([transform @ corner for corner in ((0, 0), (0, height), (width, height), (width, 0))])
        near = self._polygons[self._tree.query(ground, predicate="intersects")]
        if len(near):
            inside = geometry_mask(near, shape, transform, invert=True)
        return inside
