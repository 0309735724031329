"""Data sets made by a job: what the command line writes, in one zip, once, whatever happens meanwhile."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
import pytest
from sqlalchemy import select

from catalog import failures, jobs, set_aside
from catalog.context import Catalog
from catalog.data_set_records import DataSet
from catalog.records import Job, JobState, Label, Patch, Scene, SceneRole
from imagery.classes import GLACIER_SCHEME
from services import data_sets, dataset_model, made_files, raster_keys
from services.data_sets import Contents, KnownDataSet
from services.dataset_export import export_dataset as write_data_set
from services.dataset_request import DatasetRequest, Form
from services.places import raster_store
from services.scenes import window_of
from tests.imagery.forge import ForgedScene
from tests.services.judging import judge
from tests.workers.rows import champion, patches, tiled
from workers import export_dataset as job_module
from workers.code_version import software
from workers.jobs import JobContext, perform
from workers.mend_files import mend

WRITTEN_ANEW = {"README.md", "collection.json", "export.json", "checksums.sha256"}  # they state the time


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Path) -> tuple[Scene, ForgedScene]:
    return tiled(catalog, tmp_path / "pool.tif")


@pytest.fixture
def judged(catalog: Catalog, pool: tuple[Scene, ForgedScene]) -> list[Patch]:
    """Two windows that experts have labelled."""
    scene, forged = pool
    found = [item for item in patches(catalog, scene.id) if (item.row_off, item.col_off) in {(32, 32), (64, 64)}]
    for minute, patch in enumerate(found):
        judge(catalog, patch, forged.truth[window_of(patch).slices], minute=minute)
    return found


def ask(catalog: Catalog, *, with_model: bool = False, **request: Any) -> KnownDataSet:
    return data_sets.ask(catalog, DatasetRequest(**request), with_model=with_model, by="olga")


def attempt(catalog: Catalog, asked: KnownDataSet) -> Job:
    """Do an attempt of the job, also if it is due only later; return how it ended."""
    with catalog.write() as session:
        job = jobs.claim(session, asked.job.id)
    assert job is not None
    perform(catalog, job)
    with catalog.read() as session:
        return session.get_one(Job, asked.job.id)


def made(catalog: Catalog, asked: KnownDataSet) -> Contents:
    job = attempt(catalog, asked)
    assert (job.state, job.error) == (JobState.FINISHED, None)
    with catalog.read() as session:
        contents = made_files.find(session, KnownDataSet, asked.row.uid).contents
    assert contents is not None
    return contents


def stored(catalog: Catalog) -> list[str]:
    return [key for key in raster_store(catalog).all_keys() if key.startswith("data-sets/")]


def drafts(catalog: Catalog) -> list[Path]:
    folder = data_sets.drafts(catalog.settings)
    return sorted(folder.iterdir()) if folder.exists() else []


def archive_of(catalog: Catalog, asked: KnownDataSet) -> ZipFile:
    return ZipFile(raster_store(catalog).uri(raster_keys.data_set(asked.row.uid)))


def unpacked(catalog: Catalog, asked: KnownDataSet, target: Path) -> Path:
    with archive_of(catalog, asked) as archive:
        archive.extractall(target)
    (folder,) = target.iterdir()
    assert folder.name == asked.file_name
    return folder


def files_below(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_zip_holds_what_the_command_line_writes(catalog: Catalog, judged: list[Patch], tmp_path: Path) -> None:
    test, _ = tiled(catalog, tmp_path / "test.tif", SceneRole.TEST, offset_px=200)
    asked = ask(catalog, licence="CC-BY-4.0", title="The data set")
    contents = made(catalog, asked)
    found = files_below(unpacked(catalog, asked, tmp_path / "unpacked"))
    write_data_set(catalog, tmp_path / "written", asked.request, software())
    expected = files_below(tmp_path / "written")
    assert found.keys() == expected.keys()
    assert {name for name in found if found[name] != expected[name]} <= WRITTEN_ANEW
    for line in found["checksums.sha256"].decode().splitlines():
        checksum, _, name = line.partition("  ")
        assert hashlib.sha256(found[name]).hexdigest() == checksum
    about = json.loads(found["export.json"])
    assert (about["title"], about["licence"], about["software"]) == ("The data set", "CC-BY-4.0", software())
    assert contents.windows == about["windows"] == {"train": 2, "test": len(patches(catalog, test.id))}
    assert (contents.labels, contents.simulated_labels, contents.analysts) == (2, 0, 1)
    assert contents.size_bytes == Path(raster_store(catalog).uri(raster_keys.data_set(asked.row.uid))).stat().st_size
    with archive_of(catalog, asked) as archive:
        methods = {Path(item.filename).suffix: item.compress_type for item in archive.infolist()}
    assert [suffix for suffix, method in methods.items() if method == ZIP_STORED] == [".tif"]
    assert drafts(catalog) == []


def test_its_progress_is_that_of_the_windows(
    catalog: Catalog, judged: list[Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, str]] = []
    report = JobContext.progress

    def note(context: JobContext, done: int, total: int, message: str) -> None:
        told.append((done, total, message))
        report(context, done, total, message)

    monkeypatch.setattr(JobContext, "progress", note)
    made(catalog, ask(catalog, forms=(Form.NPY,)))
    assert told[0] == (0, 1, "checking the masks of labels")
    assert (2, 2, "writing windows: 2 of 2 windows") in told
    assert told[-1][2] == "storing the data set"


def test_one_whose_scene_was_replaced_meanwhile_is_refused(
    catalog: Catalog, judged: list[Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(catalog, forms=(Form.NPY,))

    def replaced_at_the_end(*_: object, **__: object) -> Any:
        tally = write_data_set(*_, **__)
        with catalog.database.write() as session:
            session.get_one(Scene, judged[0].scene_id).revision += 1
        return tally

    monkeypatch.setattr(job_module, "write_data_set", replaced_at_the_end)
    job = attempt(catalog, asked)
    assert (job.state, stored(catalog)) == (JobState.FAILED, [])
    assert "was replaced or removed meanwhile; have it made again" in str(job.error)


@pytest.mark.parametrize("step", ["imagery.store.RasterStore.put_file", "services.made_files.note_contents"])
def test_one_that_is_cut_off_is_made_once_by_the_next_attempt(
    catalog: Catalog, judged: list[Patch], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    asked = ask(catalog, forms=(Form.NPY,))
    left = data_sets.draft_of(catalog.settings, asked.row.uid, 0)  # of a killed process, which tidies nothing up
    left.mkdir(parents=True)
    (left / "half.npy").write_bytes(b"half")

    def fail(*_: object) -> None:
        raise RuntimeError("cut off")

    with monkeypatch.context() as patched:
        patched.setattr(step, fail)
        assert attempt(catalog, asked).state is JobState.QUEUED
    assert drafts(catalog) == []
    contents = made(catalog, asked)
    assert stored(catalog) == [raster_keys.data_set(asked.row.uid)]
    with archive_of(catalog, asked) as archive:
        assert archive.testzip() is None
    assert contents.labels == 2


def test_one_that_is_made_is_not_made_again(catalog: Catalog, judged: list[Patch]) -> None:
    asked = ask(catalog, forms=(Form.NPY,))
    contents = made(catalog, asked)
    path = Path(raster_store(catalog).uri(raster_keys.data_set(asked.row.uid)))
    before = path.stat()
    with catalog.write() as session:  # a worker died before it could note the end of the job
        session.get_one(Job, asked.job.id).state = JobState.QUEUED
    assert made(catalog, asked) == contents
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_label_whose_mask_cannot_be_had_is_left_out_and_named(
    catalog: Catalog, judged: list[Patch], tmp_path: Path
) -> None:
    asked = ask(catalog, forms=(Form.NPY,))
    with catalog.read() as session:
        label = session.scalars(select(Label).where(Label.patch_id == judged[0].id)).one()
    raster_store(catalog).delete(label.mask_key)  # its event holds no drawing, from which it could be made again
    contents = made(catalog, asked)
    (left_out,) = contents.left_out
    assert left_out.startswith(f"label {label.id}: its mask {label.mask_key} is damaged or missing")
    assert (contents.windows, contents.labels) == ({"train": 1}, 1)
    masks = list(unpacked(catalog, asked, tmp_path / "out").glob("npy/train/masks/*"))
    assert [path.name for path in masks] == [f"mask_{judged[1].id:06d}.npy"]


def test_labels_that_are_gone_when_its_job_begins_fail_it_with_the_cause(catalog: Catalog, judged: list[Patch]) -> None:
    asked = ask(catalog)
    with catalog.write() as session:
        for label in session.scalars(select(Label)):
            label.superseded_at = label.created_at
    job = attempt(catalog, asked)
    assert (job.state, job.failures) == (JobState.FAILED, 1)  # another attempt would find none either
    assert (job.error or "").startswith("found no labels in scenes of the roles pool, validation, test")
    assert (stored(catalog), drafts(catalog)) == ([], [])


def test_the_served_model_is_left_out_while_mlflow_is_away_which_is_said(catalog: Catalog, judged: list[Patch]) -> None:
    contents = made(catalog, ask(catalog, with_model=True))
    (left_out,) = contents.left_out
    assert left_out.startswith("the served model: MLflow does not answer")
    assert contents.model_version is None
    assert made(catalog, ask(catalog, with_model=False)).left_out == []
    assert made(catalog, ask(catalog, with_model=True, forms=(Form.NPY,))).left_out == []  # it is part of STAC only


def test_the_served_model_is_added(
    catalog: Catalog, judged: list[Patch], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    version = champion(3)
    version.version.tags["class_names"] = json.dumps(GLACIER_SCHEME.names)
    files = {name: tmp_path / name for name in ("card.json", "model.onnx")}
    files["card.json"].write_text(version.card.model_dump_json())
    files["model.onnx"].write_bytes(b"a graph")
    monkeypatch.setattr(dataset_model, "registry_of", lambda _: SimpleNamespace(champion=lambda: version.version))
    monkeypatch.setattr(dataset_model, "bundle_cache", lambda *_: SimpleNamespace(file=lambda _, name: files[name]))
    asked = ask(catalog, with_model=True, forms=(Form.STAC,))
    assert made(catalog, asked).model_version == 3
    folder = unpacked(catalog, asked, tmp_path / "out")
    assert (folder / "model" / "model.onnx").read_bytes() == b"a graph"
    assert json.loads((folder / "stac" / "model-version-3.json").read_text())["id"] == "model-version-3"


def test_one_that_is_cancelled_leaves_nothing_and_can_be_retried(
    catalog: Catalog, judged: list[Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(catalog, forms=(Form.NPY,))
    check = job_module.check_standing

    def cancelled_meanwhile(of: Catalog) -> dict[int, str]:
        with of.write() as session:
            failures.cancel(session, asked.job.id)
        return check(of)

    with monkeypatch.context() as patched:
        patched.setattr(job_module, "check_standing", cancelled_meanwhile)
        assert attempt(catalog, asked).state is JobState.CANCELLED
    assert (stored(catalog), drafts(catalog)) == ([], [])
    with catalog.write() as session:
        failures.retry(session, asked.job.id)
    assert made(catalog, asked).labels == 2


def test_one_that_is_removed_while_its_file_is_stored_leaves_no_file(
    catalog: Catalog, judged: list[Patch], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(catalog, forms=(Form.NPY,))
    note = made_files.note_contents

    def removed_meanwhile(*arguments: Any) -> None:
        with catalog.write() as session:
            session.delete(session.scalars(select(DataSet)).one())
        assert stored(catalog) != []
        note(*arguments)

    monkeypatch.setattr(made_files, "note_contents", removed_meanwhile)
    attempt(catalog, asked)
    assert stored(catalog) == []


def test_mending_removes_what_belongs_to_no_data_set_and_nothing_else(catalog: Catalog, judged: list[Patch]) -> None:
    kept, ended, waiting = ask(catalog, forms=(Form.NPY,)), ask(catalog), ask(catalog)
    made(catalog, kept)
    with catalog.write() as session:
        failures.cancel(session, ended.job.id)
    left = raster_keys.data_set("0" * 32)  # whoever removed its row was killed
    raster_store(catalog).put(left, b"PK")
    for asked in (ended, waiting):
        data_sets.draft_of(catalog.settings, asked.row.uid, 0).mkdir(parents=True)
    mend(catalog, lambda *_: None)
    assert stored(catalog) == [raster_keys.data_set(kept.row.uid)]
    assert drafts(catalog) == [data_sets.draft_of(catalog.settings, waiting.row.uid, 0)]


def test_a_file_that_is_lost_is_named_until_its_data_set_is_removed(catalog: Catalog, judged: list[Patch]) -> None:
    asked, store = ask(catalog, forms=(Form.NPY,)), raster_store(catalog)
    made(catalog, asked)
    key = raster_keys.data_set(asked.row.uid)
    Path(store.uri(key)).write_bytes(b"PK")
    assert not store.exists(key)  # moved aside
    mend(catalog, lambda *_: None)
    assert set_aside_files(catalog) == [key]
    made_files.remove(catalog, store, KnownDataSet, asked.row.uid)
    mend(catalog, lambda *_: None)
    assert (set_aside_files(catalog), store.damaged()) == ([], [])


def set_aside_files(catalog: Catalog) -> list[str]:
    with catalog.read() as session:
        return [row.name for row in set_aside.standing(session, set_aside.Kind.FILE)]


def test_arrays_are_those_of_the_windows(
    catalog: Catalog, judged: list[Patch], pool: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    asked = ask(catalog, forms=(Form.NPY,), channels=("red",))
    made(catalog, asked)
    folder = unpacked(catalog, asked, tmp_path / "out")
    for patch in judged:
        mask = np.load(folder / f"npy/train/masks/mask_{patch.id:06d}.npy")
        truth = pool[1].truth[window_of(patch).slices]
        for channel, value in enumerate((1, 2)):
            np.testing.assert_array_equal(mask[..., channel] == 1, truth == value)
