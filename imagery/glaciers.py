"""The polygons of glaciers with their ids, as inventories deliver them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.vector_files import Features, choose_layer, open_vector
from imagery.vector_geometry import decode, describe_left_out, describe_repairs
from imagery.vector_placing import Placement
from imagery.vectors import FeatureFilter, check_kept, find_field, first_field, value_text, without_place

ID_FIELDS: Final = ("rgi_id", "RGIId", "glac_id")
"""Fields that hold a glacier's id: in the Randolph Glacier Inventory 7 and 6, and in GLIMS."""

_TITLE_FIELDS: Final = ("glac_name", "Name")  # of RGI 7 and GLIMS, and of RGI 6
_GLIMS_FIELDS: Final = ("glac_id", "glims_id", "GLIMSId")  # of GLIMS, and of RGI 7 and 6


@dataclass(frozen=True)
class InventoryGlacier:
    """A glacier of an inventory.

    Attributes:
        name: Its id in the inventory; without one its id in GLIMS, or else the number of its feature and the file's
            name, so that it shares its name with no other feature.
        glims_id: Its id in GLIMS, if the inventory states one.
        polygon: In the CRS of the scene's grid.
        title: What people call it, if the inventory says so.
        has_id: Whether `name` is its id in the inventory.
    """

    name: str
    glims_id: str | None
    polygon: Any
    title: str | None = None
    has_id: bool = True


@dataclass(frozen=True)
class InventoryPart:
    """The part of an inventory near a scene.

    Attributes:
        glaciers: Several features of one id stay several items.
        notes: What was repaired or left out, and how many features have no id; for people, without the file's name.
    """

    glaciers: tuple[InventoryGlacier, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def named_polygons(self) -> list[tuple[str, Any]]:
        """Name and polygon of each item."""
        return [(glacier.name, glacier.polygon) for glacier in self.glaciers]


def names_glaciers(path: str, layer: str | None) -> bool:
    """Return whether a layer has a field with glaciers' ids.

    Raises:
        OutlineError: The file cannot be used.
    """
    with open_vector(path) as file:
        return first_field(choose_layer(path, file, layer).fields, ID_FIELDS) is not None


def count_glaciers(path: str, layer: str | None, grid: Grid, id_field: str | None) -> int:
    """Return how many polygons an inventory has near a scene; arguments and errors as `read_inventory`."""
    return len(read_inventory(path, layer, grid, id_field).glaciers)


def read_inventory(
    path: str,
    layer: str | None,
    grid: Grid,
    id_field: str | None = None,
    *,
    required: bool = True,
    filters: Collection[FeatureFilter] = (),
) -> InventoryPart:
    """Read the glaciers near a scene.

    Invalid polygons are repaired or refused as by `imagery.vectors.read_layer`.

    Args:
        path: A local vector file, in any CRS (see `imagery.vectors.read_layer`).
        layer: The layer; None only if the file has exactly one with features.
        grid: The scene's grid.
        id_field: The field that holds the id; by default the first of `ID_FIELDS` that the layer has. Features without
            an id are glaciers of their own.
        required: Whether it is an error if no glacier is near.
        filters: Only features that one of these lets count are read; all without any.

    Raises:
        OutlineError: The file cannot be used, lacks the field or one of a filter, or has no polygon near the scene; or
            a polygon cannot be repaired without losing most of it.
    """
    with open_vector(path) as file:
        header = choose_layer(path, file, layer)
        field = find_field(header.fields, id_field) if id_field else first_field(header.fields, ID_FIELDS)
        if id_field and field is None:
            raise OutlineError(f"{path}: found no field {id_field!r}; expected one of {', '.join(header.fields)}")
        glims_field, title_field = first_field(header.fields, _GLIMS_FIELDS), first_field(header.fields, _TITLE_FIELDS)
        placement = Placement(grid, header.crs, header.extent)
        told_by = [name for item in filters for name in item.columns(path, header)]
        wanted = dict.fromkeys(name for name in (field, glims_field, title_field, *told_by) if name)
        near = file.read(header, placement.boxes, list(wanted))
        if filters:
            kept = np.any([item.counts(path, header, near) for item in filters], axis=0)
            columns = {name: column[kept] for name, column in near.columns.items()}
            near = Features(near.ids[kept], near.wkb[kept], columns)
        shapes = decode(near.ids, near.wkb, placement.turn)
        check_kept(path, shapes.repairs)
        left_out = (*shapes.left_out, *without_place(file, header, shapes.left_out))
        placed = [placement.place(shapes.polygons[index : index + 1]) for index in range(len(shapes.polygons))]
    texts = {name: [value_text(value) for value in column] for name, column in near.columns.items()}
    nothing = [""] * len(near.ids)
    ids, glims, titles = (texts.get(name or "", nothing) for name in (field, glims_field, title_field))
    row_of = {feature: row for row, feature in enumerate(near.ids.tolist())}
    footprint = grid.footprint()
    glaciers: list[InventoryGlacier] = []
    without_id: set[int] = set()
    for feature, polygons in zip(shapes.features.tolist(), placed, strict=True):
        row = row_of[feature]
        name = ids[row] or glims[row] or f"feature {feature} of {Path(path).name}"
        found = [
            InventoryGlacier(name, glims[row] or None, polygon, titles[row] or None, has_id=bool(ids[row]))
            for polygon in polygons
            if polygon.intersects(footprint)
        ]
        glaciers += found
        if found and not ids[row] and not glims[row]:
            without_id.add(feature)
    notes = [describe_repairs(shapes.repairs)] if shapes.repairs else []
    notes += [describe_left_out(left_out)] if left_out else []
    if required and not glaciers:
        told = f" ({'; '.join(notes)})" if notes else ""
        raise OutlineError(f"{path}: found no glacier on the ground of the image{told}; expected some")
    if without_id:
        where = f"in the field {field!r}" if field else f"(none of the fields {', '.join(ID_FIELDS)})"
        notes.append(
            f"{len(without_id)} polygons have no id {where}: each is a glacier of its own, named by the number of its "
            f"feature; the first is feature {min(without_id)}"
        )
    return InventoryPart(tuple(glaciers), tuple(notes))
