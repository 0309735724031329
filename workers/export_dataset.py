"""Job: write a data set of labels and windows, zip it, and put it into the raster store."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from catalog.errors import ServiceDownError
from services import data_sets, made_files, raster_keys
from services.data_sets import Contents, KnownDataSet
from services.dataset_export import export_dataset as write_data_set
from services.dataset_model import ServedModel, served_model
from services.dataset_request import Form
from services.places import raster_store
from services.scenes import check_unchanged, ready_scenes
from workers.code_version import software
from workers.jobs import JobContext
from workers.label_repair import check_standing

_STORED_AS_THEY_ARE: Final = frozenset({".tif", ".onnx"})  # pixels are compressed already, weights hardly can be
_DEFLATE_LEVEL: Final = 1  # the fastest: arrays may have many gigabytes


def export_dataset(context: JobContext, uid: str) -> None:
    """Make a data set, unless it is made.

    Damaged masks of labels are made whole first, as the command line does.

    Args:
        context: The job.
        uid: Id of the data set.

    Raises:
        NotFoundError: The data set was removed, or MLflow lacks a file of the served model.
        CorruptBundleError: A file of the served model is not the one that was registered.
        ConflictError: A scene was replaced or removed meanwhile.
        ExportError: There is no label, or the folder cannot be written.
        SceneError: A scene cannot be read, or lacks a channel.
        StoreError: A mask is not in the raster store.
    """
    catalog = context.catalog
    context.progress(0, 1, "checking the masks of labels")  # of a data set that was removed meanwhile, this is the end
    with catalog.read() as session:
        asked = made_files.find(session, KnownDataSet, uid)
        scenes = ready_scenes(session, asked.request.roles)
    if asked.contents is not None:
        return
    left_out = [f"label {number}: {reason}" for number, reason in sorted(check_standing(catalog).items())]
    model = _model(context, asked, left_out)
    store = raster_store(catalog)
    with _draft(context, uid) as draft:
        folder, archive = draft / asked.file_name, draft / "data-set.zip"
        tally = write_data_set(
            catalog, folder, asked.request, software(), model, _telling(context, "writing windows", "windows")
        )
        _pack(folder, archive, _telling(context, "packing", "files"))
        shutil.rmtree(folder)  # the store takes a copy of the archive: three at once would need too much room
        contents = Contents(
            windows=tally.windows,
            labels=len(tally.labels),
            simulated_labels=tally.simulated,
            analysts=len(tally.analysts),
            model_version=None if model is None else model.version,
            left_out=left_out,
            size_bytes=archive.stat().st_size,
        )
        with catalog.read() as session:
            check_unchanged(session, scenes)
        context.progress(1, 1, "storing the data set")  # also asks whether the job is still ours
        store.put_file(raster_keys.data_set(uid), archive)
    made_files.note_contents(catalog, store, uid, contents, tally.labels)


def _model(context: JobContext, asked: KnownDataSet, left_out: list[str]) -> ServedModel | None:
    """Return the served model if it is asked for; while MLflow does not answer, None, which is added to `left_out`."""
    if not asked.row.with_model or Form.STAC not in asked.request.forms:
        return None
    try:
        return served_model(context.catalog)
    except ServiceDownError as error:
        left_out.append(f"the served model: {error}")
        return None


@contextmanager
def _draft(context: JobContext, uid: str) -> Iterator[Path]:
    """Yield an empty folder below the data folder, and remove it at the end; those of killed attempts go first."""
    catalog = context.catalog
    data_sets.remove_drafts(catalog)
    folder = data_sets.draft_of(catalog.settings, uid, context.attempt)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _telling(context: JobContext, doing: str, what: str) -> Callable[[int, int], None]:
    """Return a function that is told what is done and of how much."""
    return lambda done, total: context.progress_of_step(done, total, f"{doing}: {done} of {total} {what}")


def _pack(folder: Path, archive: Path, progress: Callable[[int, int], None]) -> None:
    """Write the files of a folder into a zip, below the name of the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    with ZipFile(archive, "w", ZIP_DEFLATED, compresslevel=_DEFLATE_LEVEL) as file:
        for done, path in enumerate(paths, start=1):
            method = ZIP_STORED if path.suffix in _STORED_AS_THEY_ARE else ZIP_DEFLATED
            file.write(path, path.relative_to(folder.parent), compress_type=method)
            progress(done, len(paths))
