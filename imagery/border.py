"""The border of a scene: the ground inside is judged, the ground outside is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
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
    """The polygons of a border near one scene, read once and burnt window by window.

    Trap: in published pipelines ground outside the border of the labels enters training as background, so that ice
    which nobody outlined is learnt to be none. Here it has no data at all.
    """

    def __init__(self, source: BorderSource, grid: Grid) -> None:
        """Read the polygons.

        Args:
            source: Where they are.
            grid: The scene's.

        Raises:
            OutlineError: The file cannot be used (see `imagery.vectors.read_layer`), or it misses the scene.
        """
        from imagery.vectors import read_layer  # loads pandas, which whoever only describes scenes can do without

        layer = read_layer(source.path, source.layer, grid)
        # The layer's bounds may reach the scene where none of its polygons does.
        if not any(polygon.intersects(grid.footprint()) for polygon in layer.polygons):
            raise OutlineError(
                f"{source.path}: found a border that misses the scene (it covers {layer.extent} and the scene "
                f"{layer.scene_extent} in {layer.crs}); expected one that holds some of the scene's ground"
            )
        self._polygons = list(layer.polygons)

    def inside(self, transform: Affine, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Which pixels have their centre inside the border.

        Args:
            transform: From (column, row) of these pixels to the scene's CRS.
            shape: Rows and columns.

        Returns:
            (h, w).
        """
        inside: NDArray[np.bool_] = geometry_mask(self._polygons, shape, transform, invert=True)
        return inside
