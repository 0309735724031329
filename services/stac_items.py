"""STAC 1.1 documents of an exported data set: a collection, an item for each window, for its labels, and for the model.

Specification: https://github.com/radiantearth/stac-spec (1.1.0), with the extensions projection 2.0.0, file 2.1.0,
classification 2.0.0, label 1.0.1 and mlm 1.4.0. Every document is made on its own and refers to the others by relative
addresses, so that a large data set needs little memory.

Labels are vectors in the sense of the label extension, polygons of each class in GeoJSON, with the label mask as a
second asset. Their items name version 1.0.0 of the extension beside 1.0.1, because the schema that is published as
1.0.1 asks for the address of 1.0.0.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pyproj import CRS
from pystac import Asset, Item, Link, MediaType, RelType
from pystac.extensions.classification import Classification, ClassificationExtension
from pystac.extensions.file import FileExtension
from pystac.extensions.projection import ProjectionExtension
from shapely.geometry import mapping

from imagery.classes import BACKGROUND, ClassScheme, LabelClass
from imagery.grid import Grid

COLLECTION: Final = "collection.json"
COLLECTION_ID: Final = "glacier-al-dataset"
FOLDER: Final = "stac"
"""Folder of the items, below that of the collection."""

NPY: Final = "application/x-npy"
CLASS_PROPERTY: Final = "class"
"""Property of the polygons of a label that names their class."""
_LABEL_EXTENSIONS: Final = tuple(
    f"https://stac-extensions.github.io/label/{version}/schema.json" for version in ("v1.0.1", "v1.0.0")
)
_BEFORE_LANDSAT: Final = datetime(1972, 7, 23, tzinfo=UTC)  # launch of Landsat 1, the first satellite of its kind


class FileFacts:
    """Size and checksum of the files of the export, for the assets that refer to them."""

    def __init__(self, sha256: Mapping[str, str], sizes: Mapping[str, int]) -> None:
        self._sha256 = sha256
        self._sizes = sizes

    def add(self, item: Item, key: str, name: str, media_type: str, roles: Sequence[str], title: str) -> Asset:
        """Add a file as an asset of an item in `FOLDER`."""
        asset = Asset(href=f"../{name}", media_type=media_type, roles=list(roles), title=title)
        item.add_asset(key, asset)
        # A multihash: 0x12 for SHA-256, 0x20 for its 32 bytes.
        FileExtension.ext(asset, add_if_missing=True).apply(
            checksum=f"1220{self._sha256[name]}", size=self._sizes[name]
        )
        return asset


def window_item(
    name: str, grid: Grid, acquired: str | None, registered: datetime, properties: Mapping[str, Any]
) -> Item:
    """Return the item of a window, without assets.

    Args:
        name: Its id.
        grid: The grid of the window.
        acquired: Day or time of the image (ISO 8601), if known.
        registered: When its scene was registered, before which it was taken in any case.
        properties: More properties.
    """
    geometry = grid.footprint_wgs84()
    item = Item(
        id=name,
        geometry=mapping(geometry),
        bbox=bounding_box([mapping(geometry)]),
        properties=dict(properties),
        **_times(acquired, registered),
    )
    crs = CRS.from_user_input(grid.crs)
    authority = crs.to_authority()
    left, bottom, right, top = grid.bounds
    ProjectionExtension.ext(item, add_if_missing=True).apply(
        code=":".join(authority) if authority else None,
        wkt2=None if authority else crs.to_wkt(),
        bbox=[left, bottom, right, top],
        shape=[grid.height, grid.width],
        transform=list(grid.transform),
    )
    refer_to_collection(item)
    return item


def describe_image(asset: Asset, channels: Sequence[str], units: Mapping[str, str]) -> None:
    """State the channels of an image as bands, in order, with unit, type and nodata value."""
    asset.extra_fields["bands"] = [
        {"name": name, "unit": units[name], "data_type": "float32", "nodata": "nan"} for name in channels
    ]


def describe_mask(asset: Asset, scheme: ClassScheme) -> None:
    """State what the values of a label mask mean."""
    classes = [classification(item) for item in scheme.legend]
    ClassificationExtension.ext(asset, add_if_missing=True).apply(classes=classes)


def classification(item: LabelClass) -> Classification:
    """Return a class as the classification extension describes it."""
    return Classification.create(
        value=item.value,
        name=re.sub(r"[^0-9A-Za-z_-]+", "-", item.name),
        description=item.name,
        color_hint=item.colour.removeprefix("#").upper(),
    )


def label_item(window: Item, scheme: ClassScheme, counts: Mapping[str, int], properties: Mapping[str, Any]) -> Item:
    """Return the item of the labels of a window, without assets.

    Args:
        window: Item of the window, with its assets, which the item refers to as its source.
        scheme: The classes.
        counts: Number of pixels of each class.
        properties: `description` and `methods` of the labels, and more properties.
    """
    more = dict(properties)
    description, methods = more.pop("description"), more.pop("methods")
    item = Item(
        id=f"{window.id}-labels",
        geometry=window.geometry,
        bbox=window.bbox,
        datetime=window.datetime,
        start_datetime=window.common_metadata.start_datetime,
        end_datetime=window.common_metadata.end_datetime,
        properties=more,
    )
    # Not by pystac's own class for this extension, which is deprecated there.
    item.properties |= {
        "label:description": description,
        "label:type": "vector",
        "label:properties": [CLASS_PROPERTY],
        "label:classes": [
            {"name": CLASS_PROPERTY, "classes": [entry.name for entry in scheme.legend if entry.value != BACKGROUND]}
        ],
        "label:tasks": ["segmentation"],
        "label:methods": methods,
        "label:overviews": [
            {
                "property_key": CLASS_PROPERTY,
                "counts": [{"name": name, "count": count} for name, count in counts.items()],
            }
        ],
    }
    item.stac_extensions += _LABEL_EXTENSIONS
    refer_to_collection(item)
    source = Link("source", f"./{window.id}.json", MediaType.GEOJSON)
    source.extra_fields["label:assets"] = [key for key in window.assets if key.startswith("image")]
    item.add_link(source)
    return item


def bounding_box(geometries: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return west, south, east, north of GeoJSON geometries; west > east if they cross the antimeridian (RFC 7946)."""
    parts = [
        ring[0]
        for geometry in geometries
        for ring in (geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]])
    ]
    west = [min(lon for lon, *_ in ring) for ring in parts]
    east = [max(lon for lon, *_ in ring) for ring in parts]
    south, north = (limit(lat for ring in parts for _, lat, *_ in ring) for limit in (min, max))
    eastern, western = [value for value in west if value > 0], [value for value in east if value < 0]
    if any(geometry["type"] == "MultiPolygon" for geometry in geometries) and eastern and western:
        return [min(eastern), south, max(western), north]
    return [min(west), south, max(east), north]


def _times(acquired: str | None, registered: datetime) -> dict[str, Any]:
    """Return the time of an image as STAC states it: an interval where only the day, or nothing, is known."""
    if acquired and "T" in acquired:
        return {"datetime": datetime.fromisoformat(acquired).astimezone(UTC)}
    if acquired:
        day = datetime.fromisoformat(acquired).replace(tzinfo=UTC)
        return {
            "datetime": None,
            "start_datetime": day,
            "end_datetime": day + timedelta(days=1) - timedelta(seconds=1),
        }
    return {"datetime": None, "start_datetime": _BEFORE_LANDSAT, "end_datetime": registered}


def refer_to_collection(item: Item) -> None:
    """Link an item to the collection, which is one folder higher."""
    item.collection_id = COLLECTION_ID
    for rel in (RelType.ROOT, RelType.PARENT, RelType.COLLECTION):
        item.add_link(Link(rel, f"../{COLLECTION}", MediaType.JSON))
