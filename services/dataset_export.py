"""Export labels, images and masks as a data set that others can use: GeoTIFF, NumPy arrays (LILA form), STAC.

Window by window, so that memory does not depend on the number of windows.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from catalog.context import Catalog
from catalog.records import now
from services import stac_collection, stac_items
from services.class_scheme import class_scheme
from services.dataset_card import data_card
from services.dataset_model import ServedModel
from services.dataset_request import DatasetRequest, Form, check_request
from services.dataset_windows import labelled_windows
from services.dataset_writer import LABELS, SLICES, DatasetWriter, Tally
from services.export_folder import ExportFolder, export_folder
from services.stac_items import FileFacts

KIND: Final = "dataset"
CLASSES: Final = "classes.json"
README: Final = "README.md"
MODEL_FOLDER: Final = "model"


def export_dataset(
    catalog: Catalog,
    target: Path,
    request: DatasetRequest,
    software: str,
    model: ServedModel | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Tally:
    """Write a data set into a folder that is new, empty, or an earlier data set of ours.

    Args:
        catalog: The catalog.
        target: The folder.
        request: What to export.
        software: Name and version of this program.
        model: The served model, if it is to be described.
        progress: Called with the numbers of windows done and in all.

    Raises:
        ExportError: There is nothing to export, or the folder holds something else.
        SceneError: A scene cannot be read, or lacks a channel.
        StoreError: A mask is not in the raster store.
    """
    scheme = class_scheme(catalog)
    with catalog.read() as session:
        channels = check_request(session, request)
        chosen = list(labelled_windows(session, request.roles, simulated=request.simulated))
    about: dict[str, Any] = {}
    with export_folder(target, KIND, about) as folder:
        writer = DatasetWriter(catalog, folder, request.forms, scheme, channels)
        total, done = sum(len(windows) for _, windows in chosen), 0
        with writer:
            for scene, windows in chosen:
                for _ in writer.scene(scene, windows):
                    done += 1
                    progress(done, total)
        about |= {"software": software, "created_at": now().isoformat(timespec="seconds"), "channels": list(channels)}
        about |= _facts(writer.tally, request)
        _write_common(folder, writer, request, about, model)
        return writer.tally


def _facts(tally: Tally, request: DatasetRequest) -> dict[str, Any]:
    return {
        "title": request.title,
        "licence": request.licence,
        "forms": [form.value for form in request.forms],
        "windows": tally.windows,
        "pixels": tally.pixels,
        "labels": len(tally.labels),
        "simulated_labels": tally.simulated,
        "analysts": sorted(tally.analysts),
        "scenes": tally.scenes,
    }


def _write_common(
    folder: ExportFolder,
    writer: DatasetWriter,
    request: DatasetRequest,
    about: Mapping[str, Any],
    model: ServedModel | None,
) -> None:
    """Write the files that concern the whole data set."""
    scheme, tally = writer.scheme, writer.tally
    folder.write_text(CLASSES, json.dumps(scheme.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n")
    folder.write_text(README, data_card(about, scheme))
    if Form.STAC not in request.forms:
        return
    if model is not None:
        paths = {"onnx": f"{MODEL_FOLDER}/model.onnx", "card": f"{MODEL_FOLDER}/card.json"}
        for key, path in paths.items():
            data = model.files[key].read_bytes()
            folder.write(path, data)
            writer.sizes[path] = len(data)
        facts = FileFacts(folder.sha256, writer.sizes)
        writer.item(stac_collection.model_item(model.card, model.version, scheme, tally.footprints, facts, paths))
    document = stac_collection.collection_document(
        title=request.title,
        description=data_card(about, scheme),
        licence=request.licence,
        items=tally.items,
        bbox=stac_items.bounding_box(tally.footprints),
        interval=(min(tally.times), max(tally.times)),
        assets={
            "readme": (README, "text/markdown", "Data card"),
            "classes": (CLASSES, "application/json", "Class scheme"),
            "labels": (LABELS, "text/csv", "Labels with their provenance"),
            "slices": (SLICES, "application/geo+json", "Windows"),
        },
        summaries={"split": sorted(tally.windows), "classes": [item.name for item in scheme.legend]},
    )
    folder.write_text(stac_items.COLLECTION, json.dumps(document, allow_nan=False, ensure_ascii=False))
