"""Export labels, images and masks as a data set that others can use: GeoTIFF, NumPy arrays (LILA form), STAC.

Window by window, so that memory does not depend on the number of windows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from catalog.context import Catalog
from catalog.records import Scene, SceneRole, now
from imagery.channels import CHANNEL_SETS
from imagery.errors import ExportError, SceneError
from services import stac_collection, stac_items
from services.class_scheme import class_scheme
from services.dataset_card import data_card
from services.dataset_windows import count_simulated, labelled_windows
from services.dataset_writer import LABELS, SLICES, DatasetWriter, Form, Tally
from services.export_folder import ExportFolder, export_folder
from services.scenes import source_of
from services.stac_items import FileFacts
from services.unit_rules import unit_of

KIND: Final = "dataset"
CLASSES: Final = "classes.json"
README: Final = "README.md"
MODEL_FOLDER: Final = "model"


@dataclass(frozen=True)
class ServedModel:
    """The model version that the labels trained, for the STAC collection.

    Attributes:
        version: Its number.
        card: Its model card as JSON.
        files: The local files "onnx" and "card".
    """

    version: int
    card: Mapping[str, Any]
    files: Mapping[str, Path]


@dataclass(frozen=True)
class DatasetRequest:
    """What to export.

    Attributes:
        roles: Scenes of these roles.
        simulated: Whether labels of a simulated annotator count as well; they are marked as such.
        channels: Names of channels, or the name of a channel set; empty: the channels that all scenes have.
        forms: The forms to write.
        licence: SPDX identifier of the licence that the user gives the labels, or "other".
        title: Title of the data set.
    """

    roles: tuple[SceneRole, ...] = tuple(SceneRole)
    simulated: bool = False
    channels: tuple[str, ...] = ()
    forms: tuple[Form, ...] = tuple(Form)
    licence: str = "other"
    title: str = "Glacier labels and image windows"


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
    if not request.forms:
        raise ExportError("found no form to write; expected at least one of geotiff, npy, stac")
    scheme = class_scheme(catalog)
    with catalog.read() as session:
        chosen = list(labelled_windows(session, request.roles, simulated=request.simulated))
        left_out = 0 if request.simulated else count_simulated(session)
    if not chosen:
        hint = f"; there are {left_out} of a simulated annotator: --labels all exports them, too" if left_out else ""
        roles = ", ".join(role.value for role in request.roles)
        raise ExportError(
            f"found no labels in scenes of the roles {roles}; expected at least one labelled window{hint}"
        )
    channels = _channels(request.channels, [scene for scene, _ in chosen])
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


def _channels(wanted: Sequence[str], scenes: Sequence[Scene]) -> tuple[str, ...]:
    """Return the channels to export.

    Raises:
        SceneError: A scene lacks one, the scenes have none in common, or one has several units.
    """
    sources = {scene.name: source_of(scene) for scene in scenes}
    known = {name: source.channel_names for name, source in sources.items()}
    first = next(iter(known.values()))
    if len(wanted) == 1 and wanted[0] in CHANNEL_SETS:
        wanted = CHANNEL_SETS[wanted[0]]
    if not wanted:
        common = tuple(name for name in first if all(name in names for names in known.values()))
        if not common:
            raise SceneError(f"found no channel that all of {', '.join(known)} have; export the roles one by one")
        wanted = common
    for scene, names in known.items():
        if missing := [name for name in wanted if name not in names]:
            raise SceneError(f"{scene}: found no channel {', '.join(missing)}; expected some of {', '.join(names)}")
    for channel in wanted:
        units = {str(unit_of(source, channel)) for source in sources.values()}
        if len(units) > 1:
            raise SceneError(
                f"found the channel {channel} in {' and in '.join(sorted(units))}; expected one unit in a data set: "
                "export scenes of one role at a time (--role), or other channels (--channel)"
            )
    return tuple(wanted)


def _facts(tally: Tally, request: DatasetRequest) -> dict[str, Any]:
    return {
        "title": request.title,
        "licence": request.licence,
        "forms": [form.value for form in request.forms],
        "windows": tally.windows,
        "pixels": tally.pixels,
        "labels": tally.labels,
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
