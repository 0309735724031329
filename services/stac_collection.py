"""The STAC collection of an exported data set, and the item of the model that its labels trained.

See `services.stac_items` for the versions of the specification and its extensions.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from pystac import Asset, Collection, Extent, Item, Link, MediaType, RelType, SpatialExtent, TemporalExtent
from pystac.extensions.mlm import AssetGeneralMLMExtension, MLMExtension

from imagery.classes import ClassScheme
from services.stac_items import (
    COLLECTION,
    COLLECTION_ID,
    FOLDER,
    FileFacts,
    bounding_box,
    classification,
    refer_to_collection,
)

ONNX: Final = "application/octet-stream; framework=onnx; profile=onnx"  # as the mlm extension's best practices write it
_WORLD: Final = [-180.0, -90.0, 180.0, 90.0]


def collection_document(
    title: str,
    description: str,
    licence: str,
    items: Sequence[str],
    bbox: Sequence[float] | None,
    interval: tuple[datetime | None, datetime | None],
    assets: Mapping[str, tuple[str, str, str]],
    summaries: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the collection of a data set.

    Args:
        title: Its title.
        description: What it holds, in Markdown.
        licence: An SPDX identifier, or "other".
        items: Ids of all items.
        bbox: West, south, east, north in degrees.
        interval: The first and last time of its images.
        assets: Files that concern the whole data set by key: path, media type, title.
        summaries: Values that its items have in common.
    """
    collection = Collection(
        id=COLLECTION_ID,
        title=title,
        description=description,
        license=licence,
        extent=Extent(SpatialExtent([list(bbox or _WORLD)]), TemporalExtent([list(interval)])),
    )
    for key, (path, media_type, label) in assets.items():
        collection.add_asset(key, Asset(href=f"./{path}", media_type=media_type, title=label, roles=["metadata"]))
    collection.clear_links()
    collection.add_link(Link(RelType.ROOT, f"./{COLLECTION}", MediaType.JSON))
    for item in items:
        collection.add_link(Link(RelType.ITEM, f"./{FOLDER}/{item}.json", MediaType.GEOJSON))
    document: dict[str, Any] = collection.to_dict(include_self_link=False, transform_hrefs=False)
    document["summaries"] = dict(summaries)
    return document


def model_item(
    card: Mapping[str, Any],
    version: int,
    scheme: ClassScheme,
    geometries: Sequence[Mapping[str, Any]],
    files: FileFacts,
    paths: Mapping[str, str],
) -> Item:
    """Return the item of a model version, from its card.

    Its input is stated without a scaling of values, because the network normalises its input itself: a client that did
    it as well would get other classes, and nobody would notice. The statistics are among the hyperparameters.

    Args:
        card: The model card (`models.card.ModelCard` as JSON).
        version: Its number in the registry.
        scheme: The classes of the labels.
        geometries: Footprints of the windows, GeoJSON, which say where the model was trained.
        files: Facts of the files.
        paths: Path of each file of the model in the export: "onnx" and "card".
    """
    west, south, east, north = bounding_box(geometries)
    outline = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    stated = card.get("input_channels") or [{"name": name} for name in card["channels"]]  # cards of format 1 lack it
    bands = [{key: band[key] for key in ("name", "unit") if key in band} for band in stated]
    created = datetime.fromisoformat(card["created_at"])
    item = Item(
        id=f"model-version-{version}",
        geometry={"type": "Polygon", "coordinates": [outline]},
        bbox=[west, south, east, north],
        datetime=created,
        properties={
            "title": f"Model version {version}",
            "description": f"U-Net with the head {card['head']!r}; see the model card for scores and training.",
            "bands": bands,
        },
    )
    MLMExtension.ext(item, add_if_missing=True)
    item.properties |= _model_properties(card, version, scheme)
    onnx = files.add(item, "model", paths["onnx"], ONNX, ["mlm:model", "data"], "The network as ONNX")
    AssetGeneralMLMExtension.ext(onnx).apply(artifact_type="onnx")
    # The mlm schema asks for bands among the properties; that of STAC 1.1 allows them there only if an asset has them,
    # too.
    onnx.extra_fields["bands"] = bands
    files.add(item, "card", paths["card"], MediaType.JSON, ["metadata"], "Model card")
    refer_to_collection(item)
    return item


def _model_properties(card: Mapping[str, Any], version: int, scheme: ClassScheme) -> dict[str, Any]:
    """Return the fields of the mlm extension that its schema of 1.4.0 requires, and those that we know."""
    colours, names = {item.name: item for item in scheme.legend}, card["classes"]
    known = [
        colours.get(name, scheme.classes[min(value, len(scheme.classes) - 1)]).model_copy(
            update={"name": name, "value": value, "annotated": value > 0}
        )
        for value, name in enumerate(names)
    ]
    axes = {"data_type": "float32"}
    return {
        "mlm:name": f"glacier-al version {version}",
        "mlm:architecture": "U-Net",
        "mlm:framework": "ONNX",
        "mlm:tasks": ["semantic-segmentation"],
        "mlm:pretrained": card["parent_version"] is not None,
        "mlm:pretrained_source": None if card["parent_version"] is None else f"version {card['parent_version']}",
        "mlm:accelerator": None,
        "mlm:input": [
            {
                "name": "raw",  # the graph's own names (`models.onnx_export`)
                "description": f"{card['input']}; normalised inside the network",
                "bands": list(card["channels"]),
                "input": {
                    "shape": [-1, len(card["channels"]), -1, -1],
                    "dim_order": ["batch", "channel", "height", "width"],
                    **axes,
                },
                "value_scaling": None,
                "resize_type": None,
            }
        ],
        "mlm:output": [
            {
                "name": "probabilities",
                "description": card["output"],
                "tasks": ["semantic-segmentation"],
                "result": {
                    "shape": [-1, len(names), -1, -1],
                    "dim_order": ["batch", "class", "height", "width"],
                    **axes,
                },
                "classification:classes": [classification(item).to_dict() for item in known],
            }
        ],
        "mlm:hyperparameters": {
            "head": card["head"],
            "input_normalization": card["input_normalization"],
            "input_channels": card.get("input_channels"),
            "levels": card.get("levels"),
            "channel_means": list(card["mean"]),
            "channel_standard_deviations": list(card["std"]),
            "unet": card["unet"],
            "training": card["training"],
        },
    }
