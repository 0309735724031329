"""The polygons of glaciers with their ids, as inventories deliver them."""

from typing import Any, Final

from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.vector_files import choose_layer, open_vector
from imagery.vector_geometry import decode
from imagery.vector_placing import Placement
from imagery.vectors import find_field, value_text

ID_FIELDS: Final = ("rgi_id", "RGIId", "glac_id")
"""Fields that hold a glacier's id: in the Randolph Glacier Inventory 7 and 6, and in GLIMS."""


def read_glaciers(
    path: str, layer: str | None, grid: Grid, id_field: str | None = None, *, required: bool = True
) -> list[tuple[str, Any]]:
    """Read the glaciers near a scene.

    Args:
        path: A local vector file, in any CRS (see `imagery.vectors.read_layer`).
        layer: The layer; None only if the file has exactly one with features.
        grid: The scene's grid.
        id_field: The field that holds the id; by default the first of `ID_FIELDS` that the layer has, and without any
            the feature's number.
        required: Whether it is an error if no glacier is near.

    Returns:
        Id and polygon, in the grid's CRS. Several features of one id stay several items.

    Raises:
        OutlineError: The file cannot be used, lacks the field, or has no polygon near the scene.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        names = [id_field] if id_field else list(ID_FIELDS)
        field = next((found for name in names if (found := find_field(header.fields, name))), None)
        if id_field and field is None:
            raise OutlineError(f"{path}: found no field {id_field!r}; expected one of {', '.join(header.fields)}")
        placement = Placement(grid, header.crs, header.extent)
        near = file.read(header, placement.boxes, [field] if field else [])
        shapes = decode(near.ids, near.wkb)
        labels = near.columns[field] if field else near.ids
        ids = {int(feature): value_text(label) for feature, label in zip(near.ids, labels, strict=True)}
        glaciers = [
            (ids[int(feature)], placed)
            for place, feature in enumerate(shapes.features)
            for placed in placement.place(shapes.polygons[place : place + 1])
            if placed.intersects(grid.footprint())
        ]
    if required and not glaciers:
        raise OutlineError(f"{path}: found no glacier on the ground of the two scenes; expected some")
    return glaciers
