"""The polygons of glaciers with their ids, as inventories deliver them."""

from dataclasses import dataclass
from typing import Any, Final

from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.vector_files import choose_layer, open_vector
from imagery.vector_geometry import decode
from imagery.vector_placing import Placement
from imagery.vectors import find_field, value_text

ID_FIELDS: Final = ("rgi_id", "RGIId", "glac_id")
"""Fields that hold a glacier's id: in the Randolph Glacier Inventory 7 and 6, and in GLIMS."""

_TITLE_FIELDS: Final = ("glac_name", "Name")  # of RGI 7 and GLIMS, and of RGI 6
_GLIMS_FIELDS: Final = ("glac_id", "glims_id", "GLIMSId")  # of GLIMS, and of RGI 7 and 6


@dataclass(frozen=True)
class InventoryGlacier:
    """A glacier of an inventory.

    Attributes:
        name: Its id in the inventory.
        glims_id: Its id in GLIMS, if the inventory states one.
        polygon: In the CRS of the scene's grid.
        title: What people call it, if the inventory says so.
    """

    name: str
    glims_id: str | None
    polygon: Any
    title: str | None = None


def names_glaciers(path: str, layer: str | None) -> bool:
    """Return whether a layer has a field with glaciers' ids.

    Raises:
        OutlineError: The file cannot be used.
    """
    with open_vector(path) as file:
        fields = choose_layer(path, file, layer).fields
    return any(find_field(fields, name) for name in ID_FIELDS)


def count_glaciers(path: str, layer: str | None, grid: Grid, id_field: str | None) -> int:
    """Return how many polygons an inventory has near a scene; arguments and errors as `read_inventory`."""
    return len(read_inventory(path, layer, grid, id_field))


def read_glaciers(
    path: str, layer: str | None, grid: Grid, id_field: str | None = None, *, required: bool = True
) -> list[tuple[str, Any]]:
    """Return id and polygon of the glaciers near a scene; see `read_inventory`."""
    glaciers = read_inventory(path, layer, grid, id_field, required=required)
    return [(glacier.name, glacier.polygon) for glacier in glaciers]


def read_inventory(
    path: str, layer: str | None, grid: Grid, id_field: str | None = None, *, required: bool = True
) -> list[InventoryGlacier]:
    """Read the glaciers near a scene.

    Args:
        path: A local vector file, in any CRS (see `imagery.vectors.read_layer`).
        layer: The layer; None only if the file has exactly one with features.
        grid: The scene's grid.
        id_field: The field that holds the id; by default the first of `ID_FIELDS` that the layer has, and without any
            the feature's number.
        required: Whether it is an error if no glacier is near.

    Returns:
        The glaciers. Several features of one id stay several items.

    Raises:
        OutlineError: The file cannot be used, lacks the field, or has no polygon near the scene.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        names = [id_field] if id_field else list(ID_FIELDS)
        field = next((found for name in names if (found := find_field(header.fields, name))), None)
        if id_field and field is None:
            raise OutlineError(f"{path}: found no field {id_field!r}; expected one of {', '.join(header.fields)}")
        glims_field = next((found for name in _GLIMS_FIELDS if (found := find_field(header.fields, name))), None)
        placement = Placement(grid, header.crs, header.extent)
        title_field = next((found for name in _TITLE_FIELDS if (found := find_field(header.fields, name))), None)
        wanted = dict.fromkeys(name for name in (field, glims_field, title_field) if name)
        near = file.read(header, placement.boxes, list(wanted))
        shapes = decode(near.ids, near.wkb)
        labels = near.columns[field] if field else near.ids
        nothing = [None] * len(near.ids)
        glims = near.columns[glims_field] if glims_field else nothing
        titles = near.columns[title_field] if title_field else nothing
        ids = {
            int(feature): (value_text(label), value_text(known) or None, value_text(title) or None)
            for feature, label, known, title in zip(near.ids, labels, glims, titles, strict=True)
        }
        glaciers = [
            InventoryGlacier(*ids[int(feature)][:2], placed, ids[int(feature)][2])
            for place, feature in enumerate(shapes.features)
            for placed in placement.place(shapes.polygons[place : place + 1])
            if placed.intersects(grid.footprint())
        ]
    if required and not glaciers:
        raise OutlineError(f"{path}: found no glacier on the ground of the image; expected some")
    return glaciers
