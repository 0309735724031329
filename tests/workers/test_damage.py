"""Files of the store and of scenes are damaged behind our back: they are made again, or stop nothing but themselves."""

import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn
from uuid import uuid4

import numpy as np
import pytest
import rasterio
from pyproj.exceptions import ProjError
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog import jobs, scorings, set_aside, training
from catalog.context import Catalog
from catalog.errors import SetAsideError
from catalog.job_queue import UPKEEP, queue_of
from catalog.records import (
    EventState,
    Job,
    JobKind,
    JobState,
    Label,
    LabelEvent,
    Patch,
    Proposal,
    ProposalState,
    Round,
    RoundState,
    Scene,
    SceneRole,
    SceneState,
    Score,
    Shard,
    now,
)
from catalog.set_aside import SetAside
from imagery.classes import GLACIER_SCHEME
from imagery.errors import DamagedFileError, SceneError, UnreadableFileError
from imagery.grid import tile
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from models.gate import Verdict
from services import corrections, raster_keys
from services.corrections import Correction
from services.places import raster_store
from services.scenes import ready_scenes, source_of
from services.unusable_scenes import check_scenes, set_aside_scenes, take_back, why_unusable
from tests.catalog_fixtures import add_round
from tests.imagery.forge import forge_scene
from tests.workers.desk import Desk, box, brush, saved, sit_down
from tests.workers.few_handles import few_handles
from tests.workers.rows import (
    champion,
    claimed,
    context_of,
    coordinate,
    finish,
    patches,
    register,
    score_pool,
    score_shards,
    tiled,
)
from workers import conclusion, fine_tune, mend_files, publish_round
from workers.evaluation import evaluation_set
from workers.jobs import JobContext, perform
from workers.label_repair import usable_labels
from workers.labelled_patches import LabelledPatchDataset
from workers.scene_masks import make_whole, usable_scenes
from workers.score_pool import rescore_scene
from workers.score_pool import score_by as score_pool_by
from workers.versions import LoadedVersion

DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut in half": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "one byte flipped": lambda file: file.write_bytes(file.read_bytes()[:-9] + b"?" + file.read_bytes()[-8:]),
    "deleted": lambda file: file.unlink(),
}


def file_of(catalog: Catalog, key: str) -> Path:
    return Path(catalog.settings.raster_store) / key


def standing(catalog: Catalog) -> list[tuple[str, str]]:
    with catalog.read() as session:
        return [(row.kind, row.name) for row in set_aside.standing(session)]


def moved(scene: Scene, away: Path) -> list[tuple[str, Path]]:
    """Move the files of a scene away; return them, to be put back."""
    away.mkdir()
    paths = sorted({band["path"] for band in scene.source["bands"]})
    return [(path, Path(shutil.move(path, away / Path(path).name))) for path in paths]


@pytest.fixture
def desk(catalog: Catalog, tmp_path: Path) -> Desk:
    """An annotator's desk with one label."""
    desk = sit_down(catalog, tmp_path / "a.tif")
    mask = np.zeros((32, 32), dtype=bool)
    mask[box(2, 3, 20, 25)] = True
    assert desk.deliver(saved(desk.first, [brush(mask, "clean ice")])).state is EventState.APPLIED
    return desk


def loaded(desk: Desk) -> list[Label]:
    with desk.catalog.read() as session:
        run = training.begin_run(session, training.RunTrigger.MANUAL)
        return list(training.labels_of_run(session, run))


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_label_mask_is_drawn_again_from_the_ledger(desk: Desk, damage: Callable[[Path], object]) -> None:
    (label,) = loaded(desk)
    file = file_of(desk.catalog, label.mask_key)
    whole = file.read_bytes()
    damage(file)
    assert [kept.id for kept in usable_labels(desk.catalog, [label])] == [label.id]
    assert file.read_bytes() == whole
    assert standing(desk.catalog) == []
    assert raster_store(desk.catalog).damaged() == []


def test_another_mask_in_the_place_of_a_label_is_not_learnt(desk: Desk) -> None:
    """It is a whole file, stored as ours are; but it is not the one of the label's row."""
    (label,) = loaded(desk)
    store = raster_store(desk.catalog)
    whole = store.get(label.mask_key)
    store.put(label.mask_key, b"a mask of somebody else")
    dataset = LabelledPatchDataset([label], ("red", "green", "blue", "nir"), store, GLACIER_SCHEME)
    with pytest.raises(DamagedFileError):
        dataset.fill()
    usable_labels(desk.catalog, [label])
    assert store.get(label.mask_key) == whole


def test_a_label_whose_mask_cannot_be_had_is_set_aside_and_learnt_when_it_can(desk: Desk) -> None:
    (label,) = loaded(desk)
    file = file_of(desk.catalog, label.mask_key)
    whole = file.read_bytes()
    file.unlink()
    with desk.catalog.database.write() as session:
        event = session.get_one(LabelEvent, label.event_id)
        body, event.body = event.body, b"{}"
    assert usable_labels(desk.catalog, [label]) == []
    assert standing(desk.catalog) == [("label", f"label {label.id}")]
    with desk.catalog.read() as session:
        assert training.training_labels(session) == []
        assert training.new_labels(session) == set(), "else a fine-tune would be due for ever"
        (reason,) = training.left_out(session).values()
        assert "cannot be drawn again from the ledger" in reason
    with desk.catalog.database.write() as session:
        session.get_one(LabelEvent, label.event_id).body = body
    mend_files._look_at_labels(desk.catalog)
    assert (standing(desk.catalog), file.read_bytes()) == ([], whole)
    with desk.catalog.read() as session:
        assert training.new_labels(session) == {label.id}


def test_a_label_event_of_a_moved_scene_is_ingested_when_the_scene_is_back(desk: Desk, tmp_path: Path) -> None:
    (event_id,) = desk.receive(saved(desk.second, [brush(np.ones((32, 32), dtype=bool), "clean ice")], id=901))
    with desk.catalog.database.write() as session:  # some pixels have no data: the scene is read to find them
        session.get_one(Patch, desk.second.patch_id).valid_share = 0.9
    away = moved(desk.scene, tmp_path / "away")
    for expected in (JobState.QUEUED, JobState.FAILED):
        job = next_job(desk.catalog, JobKind.INGEST_LABEL)
        perform(desk.catalog, job)
        assert state_of(desk.catalog, job) is expected
    assert desk.event(event_id).state is EventState.FAILED
    assert standing(desk.catalog) == [("scene", desk.scene.name)]
    for path, kept in away:
        shutil.move(kept, path)
    assert take_back(desk.catalog) == [desk.scene.name]
    perform(desk.catalog, next_job(desk.catalog, JobKind.INGEST_LABEL))
    assert desk.event(event_id).state is EventState.APPLIED


def test_a_correction_on_the_map_of_a_moved_scene_is_applied_when_the_scene_is_back(desk: Desk, tmp_path: Path) -> None:
    catalog = desk.catalog
    other, _ = tiled(catalog, tmp_path / "other.tif", offset_px=400)
    with catalog.database.write() as session:
        for patch in session.scalars(select(Patch)):  # some pixels have no data: scenes are read to find them
            patch.valid_share = 0.9
        scenes = [session.get_one(Scene, scene.id) for scene in (other, desk.scene)]
    ice = np.ones((32, 32), np.uint8)
    said = {"row_off": 0, "col_off": 0, "height": 32, "width": 32, "shown": None, "seconds": 9.0}
    of_scenes = []
    for scene in scenes:
        correction = Correction(id=uuid4(), annotator="anna", **said)
        (event,), _ = corrections.record(catalog, scene, correction, ice, np.zeros_like(ice))
        of_scenes.append(event.id)
    with catalog.database.write() as session:
        session.get_one(LabelEvent, of_scenes[0]).state = EventState.FAILED  # for a reason that lasts
    away = moved(desk.scene, tmp_path / "away")
    for expected in (JobState.QUEUED, JobState.FAILED):
        job = next_job(catalog, JobKind.INGEST_LABEL)
        perform(catalog, job)
        assert state_of(catalog, job) is expected
    assert [desk.event(event_id).state for event_id in of_scenes] == [EventState.FAILED] * 2
    for path, kept in away:
        shutil.move(kept, path)
    assert take_back(catalog) == [desk.scene.name]
    assert [desk.event(event_id).state for event_id in of_scenes] == [EventState.FAILED, EventState.RECEIVED]
    desk.ingest(of_scenes[1])
    assert desk.event(of_scenes[1]).state is EventState.APPLIED


def test_others_can_write_while_a_host_that_hangs_is_asked_for_a_scene(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = desk.catalog
    monkeypatch.setattr("catalog.database.LOCK_TIMEOUT_S", 0.2)

    class Hanging:
        """A reader of scenes whose host answers nobody; another process writes meanwhile."""

        def __init__(self, source: SceneSource) -> None:
            with catalog.write() as session:
                jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
            raise UnreadableFileError(source.rasters[0].path, "the host does not answer")

    source = {**desk.scene.source}
    address = "https://scenes.example/a.tif"
    source["bands"] = [{**band, "path": address} for band in source["bands"]]
    with catalog.write() as session:
        session.get_one(Scene, desk.scene.id).source = source
    monkeypatch.setattr("services.unusable_scenes.SceneReader", Hanging)
    assert set_aside_scenes(catalog, UnreadableFileError(address, "it hangs")) == [desk.scene.name]
    with catalog.write() as session:  # as a scene is that was set aside when its host still answered
        row = set_aside.find(session, set_aside.Kind.SCENE, desk.scene.name)
        assert row is not None
        row.seen = "something else"
    assert take_back(catalog) == []
    assert standing(catalog) == [("scene", desk.scene.name)]


def next_job(catalog: Catalog, kind: JobKind) -> Job:
    with catalog.database.write() as session:
        waiting = select(Job.id).where(Job.kind == kind, Job.state == JobState.QUEUED)
        job = jobs.claim(session, session.scalars(waiting.order_by(Job.created_at.desc())).first() or "")
    assert job is not None
    return job


def state_of(catalog: Catalog, job: Job) -> JobState:
    with catalog.read() as session:
        return session.get_one(Job, job.id).state


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_truth_is_burned_again(catalog: Catalog, tmp_path: Path, damage: Callable[[Path], object]) -> None:
    scene, _ = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)
    file = file_of(catalog, raster_keys.truth(scene.id))
    whole = file.read_bytes()
    damage(file)
    assert [kept.id for kept in usable_scenes(catalog, [scene])] == [scene.id]
    assert file.read_bytes() == whole


def test_a_truth_that_cannot_be_burned_sets_its_scene_aside(catalog: Catalog, tmp_path: Path) -> None:
    scene, _ = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)
    file_of(catalog, raster_keys.truth(scene.id)).unlink()
    outlines = Path(scene.outlines[0]["path"])
    outlines.rename(tmp_path / "elsewhere")
    assert usable_scenes(catalog, [scene]) == []
    with catalog.read() as session:
        assert ready_scenes(session, [SceneRole.VALIDATION]) == []
        (row,) = set_aside.standing(session)
        assert outlines.name in row.reason
    (tmp_path / "elsewhere").rename(outlines)
    assert take_back(catalog) == [scene.name]
    make_whole(catalog, scene)
    assert raster_store(catalog).exists(raster_keys.truth(scene.id))


def test_a_process_without_file_handles_sets_no_scene_aside(catalog: Catalog, tmp_path: Path) -> None:
    scene, _ = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)
    source = source_of(scene)
    with few_handles(), pytest.raises(UnreadableFileError, match="Too many open files") as caught:
        SceneReader(source).__enter__()
    with pytest.raises(UnreadableFileError):  # it goes on as it is, and the job is tried again
        set_aside_scenes(catalog, caught.value)
    with few_handles(), pytest.raises(UnreadableFileError):
        why_unusable(scene)
    assert standing(catalog) == []
    assert why_unusable(scene) is None


def test_a_process_without_memory_sets_no_scene_aside(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, _ = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)

    def without_memory(*_: object) -> bool:
        raise SceneError("found two systems; expected two that PROJ knows") from ProjError("SQLite: out of memory")

    monkeypatch.setattr("imagery.grid.same_crs", without_memory)
    with pytest.raises(SceneError, match="PROJ"):
        usable_scenes(catalog, [scene])
    assert standing(catalog) == []


def test_a_scene_that_could_not_be_opened_is_back_when_it_can_though_its_files_have_not_changed(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, forged = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)

    def unmounted(_: SceneSource) -> NoReturn:
        raise UnreadableFileError(str(forged.path), "found a file that cannot be read (Stale file handle)")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("services.unusable_scenes.SceneReader", unmounted)
        assert check_scenes(catalog, [scene]) == []
        assert take_back(catalog) == []
        assert standing(catalog) == [("scene", scene.name)]
    assert take_back(catalog) == [scene.name]


def age(catalog: Catalog, **ages: timedelta) -> None:
    """Let the one thing that is set aside be older."""
    with catalog.write() as session:
        (row,) = set_aside.standing(session)
        for name, by in ages.items():
            setattr(row, name, now() - by)


def damage_pixels(path: Path) -> None:
    """Compress the pixels of a GeoTIFF, and overwrite some: it can still be opened, but not be read."""
    with rasterio.open(path) as file:
        profile, pixels, names = file.profile, file.read(), file.descriptions
    with rasterio.open(path, "w", **{**profile, "compress": "deflate"}) as file:
        file.write(pixels)
        file.descriptions = names
    with path.open("r+b") as raw:
        raw.seek(path.stat().st_size // 3)
        raw.write(b"\xff" * 200)


@pytest.mark.parametrize("whole", [True, False])
def test_a_scene_that_opens_but_could_not_be_read_is_read_again_each_hour(
    catalog: Catalog, tmp_path: Path, whole: bool
) -> None:
    scene, forged = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)
    if not whole:
        damage_pixels(forged.path)
    assert set_aside_scenes(catalog, UnreadableFileError(str(forged.path), "it could not be read")) == [scene.name]
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    age(catalog, since=59 * minute, checked_at=minute)
    assert take_back(catalog) == []
    assert reading_jobs(catalog) == []
    age(catalog, since=61 * minute, checked_at=2 * minute)
    assert take_back(catalog) == []
    assert take_back(catalog) == []
    (job,) = reading_jobs(catalog)
    assert queue_of(job.kind) == UPKEEP, "tiling and rounds must not wait until a large scene is read"
    perform(catalog, next_job(catalog, JobKind.READ_SCENE))
    assert state_of(catalog, job) is JobState.FINISHED
    assert standing(catalog) == ([] if whole else [("scene", scene.name)])
    if not whole:
        age(catalog, since=hour + 3 * minute, checked_at=minute)
        assert take_back(catalog) == []
        assert len(reading_jobs(catalog)) == 1, "it was tried in this hour"
        age(catalog, since=2 * hour + minute, checked_at=2 * minute)
        assert take_back(catalog) == []
        assert len(reading_jobs(catalog)) == 2


def unreadable(catalog: Catalog, path: Path, offset_px: int = 0) -> Scene:
    """A scene of the pool that is set aside since its pixels cannot be read, though its file opens."""
    scene, forged = tiled(catalog, path, offset_px=offset_px)
    damage_pixels(forged.path)
    source = source_of(scene)
    with SceneReader(source) as reader, pytest.raises(UnreadableFileError) as caught:
        for window in tile(source.grid.width, source.grid.height, scene.patch_size_px):
            reader.read(source.channel_names, window)
    assert set_aside_scenes(catalog, caught.value) == [scene.name]
    return scene


def test_a_round_goes_on_without_a_scene_that_opens_but_cannot_be_read(catalog: Catalog, tmp_path: Path) -> None:
    scenes = [tiled(catalog, tmp_path / "whole.tif")[0], unreadable(catalog, tmp_path / "damaged.tif", 400)]
    with catalog.database.write() as session:
        opened, proposals = add_round(
            session, [session.get_one(Patch, patches(catalog, scene.id)[6].id) for scene in scenes]
        )
        for proposal in proposals:
            proposal.state = ProposalState.CHOSEN
        round_id, expected = opened.id, [proposal.id for proposal in proposals]
    with catalog.read() as session:
        chosen = publish_round._proposals(session, Proposal.round_id == round_id)
    context = context_of(catalog, JobKind.PUBLISH_ROUND, round_id=round_id)
    kept = publish_round._without_unusable(context, chosen)
    assert [proposal.id for proposal in kept] == expected[:1]
    with catalog.read() as session:
        states = [session.get_one(Proposal, proposal_id).state for proposal_id in expected]
    assert states == [ProposalState.CHOSEN, ProposalState.WITHDRAWN]


def test_a_run_that_resumes_does_not_learn_labels_of_a_scene_set_aside_meanwhile(desk: Desk, tmp_path: Path) -> None:
    catalog = desk.catalog
    (label,) = loaded(desk)
    with catalog.write() as session:
        run = training.begin_run(session, training.RunTrigger.MANUAL)
    assert fine_tune._usable_labels(catalog, run, [label]) == [label]
    assert set_aside_scenes(catalog, UnreadableFileError(str(tmp_path / "a.tif"), "it could not be read")) == [
        desk.scene.name
    ]
    with pytest.raises(SetAsideError, match="found every label set aside"):  # the job waits for the scene
        fine_tune._usable_labels(catalog, run, [label])


def test_a_version_is_not_promoted_by_a_scene_that_cannot_be_read_any_more(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The validation scene was set aside after the version was judged on it; its file still opens."""
    scene, forged = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)
    judged_on = {SceneRole.VALIDATION.value: evaluation_set(catalog, [scene])}
    monkeypatch.setattr(conclusion, "load_card", lambda *_: SimpleNamespace(evaluation=judged_on))
    verdict = Verdict(True, "it is better", None)
    assert conclusion._withheld_if_truth_changed(catalog, 2, verdict) == verdict
    set_aside_scenes(catalog, UnreadableFileError(str(forged.path), "it could not be read"))
    assert conclusion._withheld_if_truth_changed(catalog, 2, verdict) == Verdict(
        False,
        "it is better, but meanwhile validation scenes that it was judged on were changed or set aside",
        None,
    )


def reading_jobs(catalog: Catalog) -> list[Job]:
    with catalog.read() as session:
        return list(session.scalars(select(Job).where(Job.kind == JobKind.READ_SCENE)))


@pytest.fixture
def unread(catalog: Catalog, tmp_path: Path) -> tuple[Scene, Job]:
    """A scene of the pool that is whole, and set aside since its pixels could not be read; the job that reads it."""
    scene, forged = tiled(catalog, tmp_path / "a.tif")
    set_aside_scenes(catalog, UnreadableFileError(str(forged.path), "it could not be read"))
    with catalog.write() as session:
        session.execute(delete(Job))  # the scoring that the new scene called for
    return scene, claimed(catalog, JobKind.READ_SCENE, str(scene.id), scene_id=scene.id)


def test_a_scene_that_can_be_read_again_is_scored_and_trained_on_at_once(
    catalog: Catalog, unread: tuple[Scene, Job]
) -> None:
    scene, job = unread
    perform(catalog, job)
    assert (state_of(catalog, job), standing(catalog)) == (JobState.FINISHED, [])
    assert next_job(catalog, JobKind.SCORE_POOL).state is JobState.RUNNING
    with catalog.read() as session:
        read = session.get_one(Job, job.id)
    assert read.message == f"reading scene {scene.name}"
    assert read.total == 5 * 4, "windows of 32 px in 160 times 100 px"


def test_a_scene_is_not_read_on_when_the_job_is_cancelled(catalog: Catalog, unread: tuple[Scene, Job]) -> None:
    scene, job = unread
    with catalog.write() as session:
        jobs.request_cancel(session, job.id)
    perform(catalog, job)
    assert (state_of(catalog, job), standing(catalog)) == (JobState.CANCELLED, [("scene", scene.name)])


def test_a_lack_of_memory_while_a_scene_is_read_has_it_read_again(
    catalog: Catalog, unread: tuple[Scene, Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, job = unread

    def without_memory(*_: object) -> NoReturn:
        raise SceneError("a.tif cannot be read: out of memory")

    monkeypatch.setattr(SceneReader, "read", without_memory)
    perform(catalog, job)
    assert (state_of(catalog, job), standing(catalog)) == (JobState.QUEUED, [("scene", scene.name)])


def test_a_damaged_scene_that_could_not_be_opened_for_a_while_is_not_taken_back(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, forged = tiled(catalog, tmp_path / "a.tif", SceneRole.VALIDATION)
    damage_pixels(forged.path)
    assert why_unusable(scene) is None, "it opens"
    assert set_aside_scenes(catalog, UnreadableFileError(str(forged.path), "it could not be read")) == [scene.name]

    def unmounted(_: SceneSource) -> NoReturn:
        raise UnreadableFileError(str(forged.path), "found a file that cannot be read (Stale file handle)")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("services.unusable_scenes.SceneReader", unmounted)
        assert check_scenes(catalog, [scene]) == []
    assert take_back(catalog) == []
    assert standing(catalog) == [("scene", scene.name)]


def test_a_lack_of_memory_rejects_no_scene(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene_id = register(catalog, forge_scene(tmp_path / "a.tif"))
    job = claimed(catalog, JobKind.TILE_SCENE, str(scene_id), scene_id=scene_id)

    def without_memory(*_: object) -> NoReturn:
        raise SceneError("a.tif cannot be read: out of memory")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("workers.tile_scene.check_has_data", without_memory)
        perform(catalog, job)
    assert state_of(catalog, job) is JobState.QUEUED
    perform(catalog, next_job(catalog, JobKind.TILE_SCENE))
    with catalog.read() as session:
        assert session.get_one(Scene, scene_id).state is SceneState.READY


def test_a_lack_of_memory_sets_no_label_aside(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (label,) = loaded(desk)
    file_of(desk.catalog, label.mask_key).unlink()

    def without_memory(*_: object) -> NoReturn:
        raise SceneError("the scene cannot be read: out of memory")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("workers.label_repair.draw_annotation", without_memory)
        with pytest.raises(SceneError, match="out of memory"):
            usable_labels(desk.catalog, [label])
    assert standing(desk.catalog) == []
    assert [kept.id for kept in usable_labels(desk.catalog, [label])] == [label.id]


@pytest.fixture
def two_scenes(catalog: Catalog, tmp_path: Path) -> tuple[list[Scene], LoadedVersion]:
    scenes = [
        tiled(catalog, tmp_path / f"{name}.tif", offset_px=offset)[0] for name, offset in (("here", 0), ("there", 300))
    ]
    return scenes, champion(1)


def test_the_scoring_is_complete_without_a_moved_scene_and_takes_it_in_when_it_is_back(
    catalog: Catalog, tmp_path: Path, two_scenes: tuple[list[Scene], LoadedVersion]
) -> None:
    (here, there), version = two_scenes
    away = moved(there, tmp_path / "away")
    assert [scene.name for scene in check_scenes(catalog, [here, there])] == ["here-pool"]
    score_pool(catalog, version)
    with catalog.read() as session:
        scoring = scorings.newest(session)
        assert scoring is not None
        assert {shard.scene_id for shard in session.scalars(select(Shard))} == {here.id}
        assert scorings.progress(session, scoring).done == 1.0
    for path, kept in away:
        shutil.move(kept, path)
    assert take_back(catalog) == ["there-pool"]
    with catalog.database.write() as session:
        assert jobs.is_open(session, JobKind.SCORE_POOL)
        session.execute(delete(Job))  # the test does it itself
    score_pool(catalog, version)
    assert raster_store(catalog).exists(raster_keys.scored(scoring.id, there.id, "classes"))


def test_a_scene_that_is_moved_while_its_shard_waits_does_not_keep_the_scoring(
    catalog: Catalog, tmp_path: Path, two_scenes: tuple[list[Scene], LoadedVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here, there), version = two_scenes
    monkeypatch.setattr("workers.score_shard.load_scoring_version", lambda catalog: version)
    coordinate(catalog, version.version.version)
    moved(there, tmp_path / "away")
    while waiting := shard_jobs(catalog):
        with catalog.database.write() as session:
            job = jobs.claim(session, waiting[0])
        perform(catalog, job)
    with catalog.read() as session:
        assert {job.state for job in session.scalars(select(Job).where(Job.kind == JobKind.SCORE_SHARD))} == {
            JobState.FINISHED
        }
    assert standing(catalog) == [("scene", "there-pool")]
    coordinate(catalog, version.version.version)
    with catalog.read() as session:
        assert scorings.newest(session) is not None
    assert raster_store(catalog).exists(raster_keys.scored(1, here.id, "entropy"))


def shard_jobs(catalog: Catalog) -> list[str]:
    waiting = select(Job.id).where(Job.kind == JobKind.SCORE_SHARD, Job.state == JobState.QUEUED)
    with catalog.read() as session:
        return list(session.scalars(waiting.order_by(Job.created_at)))


class Registry:
    """MLflow with one version that scores."""

    def __init__(self, version: LoadedVersion) -> None:
        self.version = version.version

    def scoring(self, which: str) -> Any:
        return self.version

    def champion(self) -> None:
        return None

    learner = champion


def test_damaged_maps_are_computed_again(
    catalog: Catalog, two_scenes: tuple[list[Scene], LoadedVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here, there), version = two_scenes
    monkeypatch.setattr("workers.mend_files.registry_of", lambda settings: Registry(version))
    score_pool(catalog, version)
    keys = [raster_keys.scored(1, here.id, "entropy"), raster_keys.scored(1, there.id, "classes")]
    before = [file_of(catalog, key).read_bytes() for key in keys]
    with catalog.read() as session:
        scores = {(score.patch_id, score.measure): score.value for score in session.scalars(select(Score))}
    DAMAGES["one byte flipped"](file_of(catalog, keys[0]))
    file_of(catalog, keys[1]).unlink()
    assert not raster_store(catalog).exists(keys[0]), "the damage is noticed when the map is used"
    mend(catalog)
    with catalog.database.write() as session:
        assert {row.name: row.outcome for row in session.scalars(select(SetAside))} == dict.fromkeys(
            keys, "it is computed again by a job"
        )
        session.execute(delete(Job))
    score_pool(catalog, version)
    assert [file_of(catalog, key).read_bytes() for key in keys] == before
    with catalog.read() as session:
        assert {(score.patch_id, score.measure): score.value for score in session.scalars(select(Score))} == scores
    mend(catalog)
    assert standing(catalog) == []


def test_a_lost_part_of_the_maps_has_its_scene_scored_again(
    catalog: Catalog, two_scenes: tuple[list[Scene], LoadedVersion]
) -> None:
    (here, _), version = two_scenes
    coordinate(catalog, 1)
    score_shards(catalog, version)
    file_of(catalog, raster_keys.scored_part(1, here.id, "classes", 0, 0)).unlink()
    score_pool(catalog, version)  # finds the loss, and is enqueued again by the clock
    score_pool(catalog, version)
    with catalog.read() as session:
        assert scorings.newest(session) is not None
    assert raster_store(catalog).exists(raster_keys.scored(1, here.id, "classes"))


def test_a_lack_of_file_handles_has_no_scene_scored_again(
    catalog: Catalog, two_scenes: tuple[list[Scene], LoadedVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, version = two_scenes
    coordinate(catalog, 1)
    score_shards(catalog, version)

    def done() -> list[int]:
        with catalog.read() as session:
            return list(session.scalars(select(Shard.id).where(Shard.done_at.is_not(None)).order_by(Shard.id)))

    scored = done()
    assert scored

    def without_handles(*_: object) -> NoReturn:
        raise UnreadableFileError("classes.tif", "classes.tif: Too many open files")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("workers.score_pool.merge_parts", without_handles)
        with pytest.raises(UnreadableFileError):
            score_pool_by(context_of(catalog), 1)
    assert done() == scored


def mend(catalog: Catalog) -> None:
    context = context_of(catalog, JobKind.MEND_FILES)
    mend_files.mend_files(context)
    finish(context)


def test_what_is_written_as_soon_as_a_scene_is_to_be_scored_again_stays(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, forget = raster_store(catalog), scorings.forget_scene
    old, new = (f"{raster_keys.scored_scene(1, 1)}/{name}" for name in ("old", "new"))
    store.put(old, b"of before")

    def forget_and_write(session: Session, scoring_id: int, scene_id: int) -> None:
        forget(session, scoring_id, scene_id)
        store.put(new, b"a part of the next attempt")

    monkeypatch.setattr(scorings, "forget_scene", forget_and_write)
    rescore_scene(catalog, 1, 1)
    assert (store.exists(old), store.exists(new)) == (False, True)


def test_a_map_that_no_version_can_compute_any_more_stays_set_aside_by_name(
    catalog: Catalog, two_scenes: tuple[list[Scene], LoadedVersion], monkeypatch: pytest.MonkeyPatch
) -> None:
    (here, _), version = two_scenes
    score_pool(catalog, version)
    monkeypatch.setattr("workers.mend_files.registry_of", lambda settings: Registry(champion(2)))
    key = raster_keys.scored(1, here.id, "entropy")
    file_of(catalog, key).unlink()
    mend(catalog)
    assert standing(catalog) == [("file", key)]


def test_a_job_that_finds_a_damaged_file_is_repeated(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_damage(context: JobContext) -> None:
        raise DamagedFileError("a/b.tif", "a/b.tif is damaged")

    monkeypatch.setattr("workers.jobs.function_of", lambda kind: find_damage)
    job = claimed(catalog)
    perform(catalog, job)
    assert state_of(catalog, job) is JobState.QUEUED


def test_a_job_that_cannot_read_a_file_of_no_scene_fails(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(context: JobContext) -> None:
        raise UnreadableFileError("/nowhere.tif", "/nowhere.tif: found no such file")

    monkeypatch.setattr("workers.jobs.function_of", lambda kind: find_nothing)
    job = claimed(catalog)
    perform(catalog, job)
    assert (state_of(catalog, job), standing(catalog)) == (JobState.FAILED, [])


def test_bands_of_tasks_that_wait_are_stored_when_clicks_are_switched_on_and_deleted_when_the_round_is_over(
    catalog: Catalog, tmp_path: Path
) -> None:
    desk = sit_down(catalog, tmp_path / "a.tif")
    keys = [raster_keys.bands(proposal.patch_id) for proposal in (desk.first, desk.second)]
    mend(catalog)
    store = raster_store(catalog)
    assert [store.exists(key) for key in keys] == [False, False]
    catalog.settings = catalog.settings.model_copy(update={"interactive_clicks": True})
    mend(catalog)
    assert [store.exists(key) for key in keys] == [True, True]
    with catalog.database.write() as session:
        session.get_one(Round, desk.first.round_id).state = RoundState.COMPLETE
        session.get_one(Proposal, desk.first.id).state = ProposalState.LABELLED
    mend(catalog)
    assert [store.exists(key) for key in keys] == [False, True]
