"""Write the report of the demonstration: ``report.json`` for programs, ``report.html`` for people."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.records import SceneRole
from cli.everest import AGED
from cli.levers import Comparisons, Lever, iou_levers
from cli.report_charts import comparison_curve, learning_curve, stage_times
from cli.report_content import SCENE_TITLE, Content, LabelledPatch, gather, mean_edited_share
from cli.report_pictures import (
    compare,
    data_uri,
    draw_agreement,
    draw_mask,
    draw_scene,
    draw_uncertainty,
    read_png,
)
from cli.round_record import RoundRecord, predicted_classes
from cli.server import connected
from glacier_al_client.types import ArmsAnswer
from imagery.classes import BACKGROUND, GLACIER_SCHEME, UNKNOWN
from imagery.maps import read_map
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from services import raster_keys
from services.places import raster_store
from services.scenes import source_of

MAP_TIMEOUT_S = 300.0
_TILE_PX = 192  # small patches are enlarged to about this side


def write_report(
    folder: Path, catalog: Catalog, records: Sequence[RoundRecord], seconds: float, comparisons: Comparisons
) -> tuple[Path, Sequence[Lever]]:
    """Write ``report.json`` and ``report.html``; the page embeds its pictures and needs no network.

    The champion's map of the test region is fetched from the running server, as a web tool would do.

    Args:
        folder: existing folder for both files.
        catalog: catalog of the running system.
        records: what version 1 brought, and then each round; at least one round.
        seconds: duration of the demonstration.
        comparisons: the same trainings with one thing changed.

    Returns:
        The path of the page, and what each part of the loop gave.

    Raises:
        ClickException: the server does not answer, or the catalog lacks rows that the report needs.
        StoreError: a mask or a view is not in the raster store.
    """
    both = (comparisons.without_outlines, comparisons.random_patches)
    with connected(catalog.settings.api_url, catalog.secrets.operator_token) as api:
        told = api.get("arms", ArmsAnswer).model_dump(mode="json")
    outlook = {name: told[name] for name in ("next_round", "agreements", "worth")}
    content = gather(catalog, records, seconds, iou_levers(catalog, records, comparisons), both, outlook)
    test = content.scenes[SceneRole.TEST]
    with TemporaryDirectory() as temporary:
        with connected(catalog.settings.api_url, catalog.secrets.operator_token) as api:
            api.save_prediction(test.id, map_of_test := Path(temporary) / "test.tif", timeout_s=MAP_TIMEOUT_S)
        predicted = mask_from_geotiff(map_of_test.read_bytes(), GLACIER_SCHEME, source_of(test).grid)
    page = write_files(folder, content, raster_store(catalog), predicted)
    return page, content.levers


def write_files(folder: Path, content: Content, store: RasterStore, predicted: NDArray[np.uint8]) -> Path:
    """Write both files from gathered content, without a running system.

    Args:
        folder: existing folder for both files.
        content: content of the report.
        store: raster store with the views and masks.
        predicted: (H, W) class map of the test region by the champion.

    Returns:
        The path of the page.

    Raises:
        ValueError: a figure is NaN, where an undefined one is None; or the map has another shape than the region.
        StoreError: a mask or a view is not in the raster store.
    """
    (folder / "report.json").write_text(json.dumps(content.to_json(), indent=2, allow_nan=False) + "\n")
    environment = Environment(
        loader=PackageLoader("cli"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"figure": _figure, "change": _change, "percent": _percent}
    page = folder / "report.html"
    page.write_text(
        environment.get_template("report.html").render(
            title=SCENE_TITLE,
            headline=headline(content),
            content=content,
            classes=predicted_classes(content.records),
            legend=GLACIER_SCHEME.legend,
            served=content.served[-1],
            aged=AGED,
            levers=_levers(content),
            comparison_curve=comparison_curve(content) if content.comparisons else None,
            learning_curve=learning_curve(content),
            stage_times=stage_times(content),
            test=_test_region(content, store, predicted),
            pool=_pool(content, store),
            rounds=[_round(content, store, record) for record in content.rounds],
            effort=_effort(content.patches),
        )
    )
    return page


def headline(content: Content) -> str:
    """Return a sentence on the served model's mean IoU and its change since version 1."""
    first, served, last = content.records[0], content.served[-1], content.records[-1]
    before, after = first.iou[SceneRole.TEST]["mean"], served.iou[SceneRole.TEST]["mean"]
    took = f"{content.seconds / 60:.0f} minutes" if content.seconds >= 90 else f"{content.seconds:.0f} seconds"
    learnt = f"After {last.labels} labelled {'patch' if last.labels == 1 else 'patches'} and {took}, the served model"
    if before is None or after is None:
        return f"{learnt} has no defined mean IoU on ground that nobody labelled."
    change = round(after, 2) - round(before, 2)  # difference of the rounded figures, as shown
    direction = "up" if change > 0 else "down" if change < 0 else "unchanged"
    reaches = f"{learnt} maps ground that nobody labelled with a mean IoU of {after:.2f}"
    compared = f"{reaches}, {direction} from {before:.2f} with old outlines alone."
    if served.labels == last.labels:
        return compared
    return f"{compared} It learnt from {served.labels} of them: no version that learnt from more passed the gate."


_INTERVAL_PX = 230  # width of the drawing of an interval


def _levers(content: Content) -> list[dict[str, Any]]:
    """Return the levers by unit, each with the places of its interval in a drawing of `_INTERVAL_PX` pixels."""
    groups = []
    for unit in dict.fromkeys(lever.unit for lever in content.levers):
        levers = [lever for lever in content.levers if lever.unit == unit]
        ends = [
            0.0,
            *(value for lever in levers for value in (lever.low, lever.value, lever.high) if value is not None),
        ]
        low, high = min(ends), max(ends)
        scale = (_INTERVAL_PX - 16) / ((high - low) or 1.0)

        def place(value: float | None, low: float = low, scale: float = scale) -> float | None:
            return None if value is None else round(8 + (value - low) * scale, 1)

        rows = [
            {"lever": lever, "low": place(lever.low), "value": place(lever.value), "high": place(lever.high)}
            for lever in levers
        ]
        groups.append({"unit": unit, "zero": place(0.0), "width": _INTERVAL_PX, "rows": rows})
    return groups


def _test_region(content: Content, store: RasterStore, predicted: NDArray[np.uint8]) -> dict[str, Any]:
    scene = content.scenes[SceneRole.TEST]
    truth = mask_from_geotiff(store.get(raster_keys.truth(scene.id)), GLACIER_SCHEME, source_of(scene).grid)
    if predicted_classes(content.records) != GLACIER_SCHEME.classes:
        truth = np.where((truth == BACKGROUND) | (truth == UNKNOWN), truth, np.uint8(1))
    parts = compare(predicted, truth)
    judged = sum(int(covered.sum()) for covered in parts.values())
    return {
        "true_colour": data_uri(draw_scene(scene), 2),
        "prediction": data_uri(draw_mask(predicted), 2),
        "truth": data_uri(draw_mask(truth), 2),
        "errors": data_uri(draw_agreement(parts), 2),
        "shares": {kind: int(covered.sum()) / judged if judged else None for kind, covered in parts.items()},
    }


def _pool(content: Content, store: RasterStore) -> dict[str, Any]:
    scene, scoring = content.scenes[SceneRole.POOL], content.scoring
    window = source_of(scene).grid.window
    classes = read_map(store.uri(raster_keys.scored(scoring.id, scene.id, "classes")), window)
    return {
        "height": window.height,
        "width": window.width,
        "true_colour": data_uri(draw_scene(scene)),
        "classes": data_uri(draw_mask(classes)),
        "uncertainty": data_uri(draw_uncertainty(store, scene, scoring, len(predicted_classes(content.records)))),
    }


def _round(content: Content, store: RasterStore, record: RoundRecord) -> dict[str, Any]:
    patches = content.of_round(record.round)
    # From yellow to violet: warm colours, which neither snow nor rock nor shadow has.
    place = 0.9 - 0.6 * content.rounds.index(record) / max(1, len(content.rounds) - 1)
    return {
        "record": record,
        "colour": to_hex(colormaps["plasma"](place)),
        "ink": "#ffffff" if place < 0.6 else "#0f172a",  # readable on that colour
        "patches": [{"facts": patch, "tiles": _tiles(store, patch)} for patch in patches],
        "reasons": Counter(patch.reason for patch in patches),
        "edited": mean_edited_share(patches) if patches else None,
    }


def _tiles(store: RasterStore, patch: LabelledPatch) -> dict[str, str | None]:
    """Return the pictures of a patch by name, enlarged; None for those that need a model that did not exist yet."""
    scale = max(1, _TILE_PX // patch.size_px)
    pictures = {name: None if key is None else read_png(store.get(key)) for name, key in patch.view_keys.items()}
    for name, key in (("pre-annotation", patch.preannotation_key), ("label", patch.label_key)):
        pictures[name] = None if key is None else draw_mask(mask_from_geotiff(store.get(key), GLACIER_SCHEME))
    return {name: None if picture is None else data_uri(picture, scale) for name, picture in pictures.items()}


def _effort(patches: Sequence[LabelledPatch]) -> list[tuple[str, int, float]]:
    """Return (kind of patch, how many, mean share edited) for each kind that occurs."""
    kinds: dict[str, list[LabelledPatch]] = {}
    for patch in patches:
        began = "from an empty mask" if patch.preannotation_key is None else "from a pre-annotation"
        kinds.setdefault(f"{patch.reason}, {began}", []).append(patch)
    return [(kind, len(group), mean_edited_share(group)) for kind, group in kinds.items()]


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _change(value: float | None) -> str:
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.{1 if 0 < share < 0.01 else 0}f} %"
