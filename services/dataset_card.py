"""The data card (README) of an exported data set."""

from collections.abc import Mapping
from typing import Any

from imagery.classes import ClassScheme


def data_card(about: Mapping[str, Any], scheme: ClassScheme) -> str:
    """Return the data card as Markdown.

    Args:
        about: What `export.json` states of the data set.
        scheme: The classes.
    """
    windows = ", ".join(f"{count} {split}" for split, count in about["windows"].items())
    total = sum(about["pixels"].values())
    classes = "\n".join(
        f"| {item.value} | {item.name} | {_channel(item.value, len(scheme.classes))} | {item.colour} | "
        f"{100 * about['pixels'].get(item.name, 0) / total:.2f} % |"
        for item in scheme.legend
    )
    scenes = "\n".join(
        f"| {scene['name']} | {scene['split']} | {scene['sensor'] or 'not stated'} | "
        f"{scene['acquired'] or 'not stated'} | {scene['crs'] if len(scene['crs']) < 30 else 'custom'} | "
        f"{scene['level'] or 'digital numbers'} | {scene['windows']} |"
        for scene in about["scenes"]
    )
    units = about["scenes"][0]["units"]
    channels = "\n".join(f"| {index} | {name} | {units[name]} |" for index, name in enumerate(about["channels"]))
    human = about["labels"] - about["simulated_labels"]
    drawn = f"{about['labels']} labels: {human} by people, {about['simulated_labels']} by a simulated annotator."
    return f"""# {about["title"]}

Written by {about["software"]} on {about["created_at"]}. Licence of the labels: {about["licence"]}. The images keep the
licence of their providers. Windows: {windows}. {drawn}

## Files

| file | what |
|---|---|
| `geotiff/SPLIT/images/img_ID.tif` | channels of a window: float32, band descriptions and units, nodata NaN, scale 1 |
| `geotiff/SPLIT/masks/mask_ID.tif` | classes of its pixels: uint8, nodata 255 |
| `npy/SPLIT/images/img_ID.npy` | the channels as (height, width, channel), float32, NaN for no data |
| `npy/SPLIT/masks/mask_ID.npy` | a channel for each class from value 1, as (height, width, classes - 1), uint8: \
1 where it is, 0 elsewhere, 255 in all channels where unknown |
| `labels/SPLIT/labels_ID.geojson` | the classes as polygons in WGS 84 |
| `slices.geojson` | windows: footprint (WGS 84), split, scene, time, CRS, transform, shares of classes, labels |
| `labels.csv` | every label: analyst, round, strategy, dates |
| `classes.json` | the class scheme |
| `collection.json`, `stac/` | STAC 1.1 |
| `checksums.sha256` | for `sha256sum -c` |

The arrays have the form of the HKH data set of Baraka et al. on LILA: two folders of equally sorted files.

## Channels

| number | name | unit |
|---|---|---|
{channels}

## Classes

| value | class | channel in `npy` masks | colour | pixels |
|---|---|---|---|---|
{classes}

Pixels that nobody judged are {scheme.unknown.name} (255), never {scheme.background.name}: also the rest of a window of
which only a part was judged, and pixels that a band does not show. Leave them out of losses and metrics.

## Scenes

| scene | split | sensor | acquired | CRS | level | windows |
|---|---|---|---|---|---|---|
{scenes}

Scenes of different splits share no ground. Windows of one scene may overlap.

## Labels

Labels of the split "train" were drawn by annotators, mostly as corrections of a model's proposal (`edited_px` of
`labels.csv` counts what they changed). Windows were chosen by active learning, so they are no random sample of their
scenes, unless `reason` says "random". Where several labels of a window overlap, the one that was asked for last
counts; labels that were updated, skipped or deleted are left out. The other splits are whole scenes with outlines that
were registered with them. Analysts are pseudonyms; their accounts stay with the installation.
"""


def _channel(value: int, classes: int) -> str:
    return str(value - 1) if 0 < value < classes else "–"
