"""The job that removes superseded scorings: scores, shards, maps and views that no task shows."""

import threading
import time
from collections import Counter

import pytest
from sqlalchemy import func, insert, select

from catalog import rounds, scorings
from catalog.context import Catalog
from catalog.records import (
    Installation,
    Job,
    JobKind,
    Proposal,
    ProposalState,
    Round,
    Scene,
    Score,
    Scoring,
    Shard,
    now,
)
from catalog.settings import Settings
from imagery.store import RasterStore
from services import raster_keys
from services.places import raster_store
from tests.catalog_fixtures import add_round, add_scene
from tests.workers.rows import champion, context_of, coordinate, finish, patches, score_pool, score_shards, tiled
from workers import remove_superseded as module
from workers.jobs import JobContext
from workers.remove_superseded import remove_superseded


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"mc_passes": 2, "mc_precision": "float32", "keep_scorings": 1})


@pytest.fixture
def scene(catalog: Catalog, tmp_path) -> Scene:
    return tiled(catalog, tmp_path / "a.tif")[0]


def remove(catalog: Catalog) -> None:
    context = context_of(catalog, JobKind.REMOVE_SUPERSEDED)
    remove_superseded(context)
    finish(context)


def stored(catalog: Catalog) -> set[str]:
    root = catalog.settings.var_dir / "store"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def scores_by_scoring(catalog: Catalog) -> dict[int, int]:
    with catalog.read() as session:
        return dict(Counter(session.scalars(select(Score.scoring_id))))


def files_of(catalog: Catalog, scoring_id: int) -> set[str]:
    return {name for name in stored(catalog) if name.startswith(f"{raster_keys.scoring(scoring_id)}/")}


def written(scoring_id: int, scene: Scene) -> set[str]:
    """Return the files of a complete scoring of one scene, each with the file that holds its checksum."""
    maps = [(f"scene-{scene.id}/", f"{name}.tif") for name in ("classes", "entropy", "error", "foreground")]
    arrays = [("", f"{name}.npy") for name in ("features", "half-scores", "patches")]
    return {
        f"scorings/{scoring_id}/{folder}{shown}"
        for folder, name in (*maps, *arrays)
        for shown in (name, f".{name}.sha256")
    }


def test_rows_and_files_of_superseded_scorings_go_and_the_newest_stays(catalog, scene):
    for version in (1, 2):
        score_pool(catalog, champion(version))
    kept = files_of(catalog, 2)
    assert kept == written(2, scene)
    with catalog.read() as session:
        waiting = session.scalars(select(Job.kind).where(Job.state == "queued")).all()
    assert waiting == [JobKind.REMOVE_SUPERSEDED]
    remove(catalog)
    assert files_of(catalog, 1) == set()
    assert files_of(catalog, 2) == kept
    assert scores_by_scoring(catalog) == {2: 5 * 20}
    with catalog.read() as session:
        assert set(session.scalars(select(Shard.scoring_id))) == {2}
        origins = session.scalars(select(Scoring).order_by(Scoring.id)).all()
        assert [(origin.model_version, origin.removed_at is None) for origin in origins] == [(1, False), (2, True)]
        assert origins[0].completed_at is not None  # the row is as it was
        assert origins[0].agreement is not None
    remove(catalog)
    assert scores_by_scoring(catalog) == {2: 5 * 20}


def test_after_a_roll_back_the_pool_is_scored_anew(catalog, scene):
    for version in (1, 2):
        score_pool(catalog, champion(version))
    with catalog.read() as session:
        before = dict(session.execute(select(Score.patch_id, Score.value).where(Score.scoring_id == 1)).all())
    remove(catalog)
    with catalog.database.write() as session:
        assert scorings.enqueue_if_unscored(session, 1, catalog.settings) is not None
    score_pool(catalog, champion(1))
    with catalog.read() as session:
        newest = scorings.newest(session)
        again = dict(session.execute(select(Score.patch_id, Score.value).where(Score.scoring_id == newest.id)).all())
    assert (newest.id, newest.model_version) == (3, 1)
    assert again == pytest.approx(before)
    assert files_of(catalog, 3) == written(3, scene)
    remove(catalog)
    assert scores_by_scoring(catalog) == {3: 5 * 20}


def test_a_removal_while_the_version_is_scored_anew_takes_nothing_of_that(catalog, scene, monkeypatch):
    """The roll-back comes when the old scores are half gone."""
    for version in (1, 2):
        score_pool(catalog, champion(version))
    monkeypatch.setattr(module, "SCORES_TOGETHER", 30)
    progress, calls = JobContext.progress, []

    def roll_back(self: JobContext, done: int, total: int, message: str) -> None:
        progress(self, done, total, message)
        if message.startswith("removing"):
            calls.append(message)
            if len(calls) == 2:
                score_pool(catalog, champion(1))

    monkeypatch.setattr(JobContext, "progress", roll_back)
    remove(catalog)
    assert len(calls) > 2
    assert scores_by_scoring(catalog) == {2: 5 * 20, 3: 5 * 20}
    assert files_of(catalog, 3) == written(3, scene)
    with catalog.read() as session:
        assert scorings.newest(session).id == 3


@pytest.mark.parametrize("stopped_at", range(4))
def test_a_removal_that_was_interrupted_goes_on(catalog, scene, monkeypatch, stopped_at):
    for version in (1, 2):
        score_pool(catalog, champion(version))
    monkeypatch.setattr(module, "SCORES_TOGETHER", 15)
    context = context_of(catalog, JobKind.REMOVE_SUPERSEDED)
    progress, calls = JobContext.progress, []

    def stopping(self: JobContext, *given: object) -> None:
        if len(calls) == stopped_at:
            raise InterruptedError
        calls.append(given)
        progress(self, *given)

    with monkeypatch.context() as patched:
        patched.setattr(JobContext, "progress", stopping)
        with pytest.raises(InterruptedError):
            remove_superseded(context)
    finish(context)
    with catalog.read() as session:
        assert scorings.newest(session).id == 2
    remove(catalog)
    assert scores_by_scoring(catalog) == {2: 5 * 20}
    assert files_of(catalog, 1) == set()


def test_a_removal_ends_when_its_time_is_up_and_the_clock_has_it_go_on(catalog, scene, monkeypatch):
    for version in (1, 2):
        score_pool(catalog, champion(version))
    with monkeypatch.context() as patched:
        patched.setattr(module, "SECONDS_AT_ONCE", -1.0)
        patched.setattr(module, "SCORES_TOGETHER", 30)  # those of six patches by five measures
        remove(catalog)
        assert scores_by_scoring(catalog) == {1: 5 * 14, 2: 5 * 20}
        remove(catalog)
        assert scores_by_scoring(catalog) == {1: 5 * 8, 2: 5 * 20}
    from catalog import retention

    with catalog.database.write() as session:
        assert retention.enqueue_if_due(session, catalog.settings.keep_scorings) is not None
    remove(catalog)
    assert scores_by_scoring(catalog) == {2: 5 * 20}


def view(patch_id: int, scoring_id: int) -> str:
    return raster_keys.view(patch_id, raster_keys.uncertainty_view(scoring_id))


def test_views_that_a_task_shows_stay(catalog, scene):
    for version in (1, 2):
        score_pool(catalog, champion(version))
    store, of_scene = raster_store(catalog), patches(catalog, scene.id)
    states = (
        ProposalState.PUBLISHED,
        ProposalState.LABELLED,
        ProposalState.SKIPPED,
        ProposalState.WITHDRAWN,
        ProposalState.ABANDONED,
    )
    with catalog.database.write() as session:
        opened, proposals = add_round(session, [session.merge(patch) for patch in of_scene[:7]])
        opened.scoring_id = 1
        for proposal, state in zip(proposals, states, strict=False):
            proposal.state = state
        for proposal in proposals:
            proposal.views = {"true_colour": "true-colour", "uncertainty": raster_keys.uncertainty_view(1)}
        proposals[5].views = {**proposals[5].views, "uncertainty": raster_keys.uncertainty_view(2)}  # drawn anew since
        proposals[6].views = None
    of_patch = {patch.id for patch in of_scene[:7]}
    for patch_id in of_patch:
        store.put(view(patch_id, 1), b"entropy by version 1")
        store.put(raster_keys.view(patch_id, "true-colour"), b"as the eye sees it")
    store.put(view(of_scene[5].id, 2), b"entropy by version 2")
    remove(catalog)
    shown = {of_scene[index].id for index in (0, 1, 2)}
    assert {patch_id for patch_id in of_patch if store.exists(view(patch_id, 1))} == shown
    assert store.exists(view(of_scene[5].id, 2))
    assert all(store.exists(raster_keys.view(patch_id, "true-colour")) for patch_id in of_patch)
    with catalog.database.write() as session:
        made = rounds.get(session, 1).proposals
        assert made[3].views == made[4].views == {"true_colour": "true-colour"}
        assert made[0].views["uncertainty"] == "uncertainty-1"
        made[0].state = ProposalState.WITHDRAWN  # its task is deleted later
        made[1].state = ProposalState.ABANDONED
        add_round(session, [session.get_one(type(of_scene[0]), of_scene[1].id)])[1][0].views = dict(made[1].views)
    remove(catalog)
    assert not store.exists(view(of_scene[0].id, 1))
    assert store.exists(view(of_scene[1].id, 1))  # another proposal of the patch shows it


def test_a_removal_gets_on_however_long_it_looks_for_views(catalog, scene, monkeypatch):
    """Each attempt deletes at least one picture or one batch of scores, and asks for no picture by itself."""
    for version in (1, 2):
        score_pool(catalog, champion(version))
    store, shown = raster_store(catalog), [patch.id for patch in patches(catalog, scene.id)[:3]]
    for patch_id in shown:
        store.put(view(patch_id, 1), b"entropy by version 1")
    listed, list_keys = [], RasterStore.keys_in

    def list_slowly(self: RasterStore, folder: str) -> list[str]:
        time.sleep(0.2)
        listed.append(folder)
        return list_keys(self, folder)

    monkeypatch.setattr(RasterStore, "keys_in", list_slowly)
    monkeypatch.setattr(RasterStore, "exists", None)
    monkeypatch.setattr(module, "SECONDS_AT_ONCE", 0.0)
    left = []
    for _ in range(3):
        remove(catalog)
        left.append(len(list_keys(store, "views")))
    assert (left, len(listed)) == ([2, 1, 0], 3)
    assert scores_by_scoring(catalog) == {2: 5 * 20}  # there are fewer than a batch


def test_views_with_an_outlined_part_go_like_the_others(catalog, scene):
    for version in (1, 2):
        score_pool(catalog, champion(version))
    store, of_scene = raster_store(catalog), patches(catalog, scene.id)
    with catalog.database.write() as session:
        _, (shown, withdrawn) = add_round(session, [session.merge(patch) for patch in of_scene[:2]])
        withdrawn.state = ProposalState.WITHDRAWN
        keys = []
        for proposal in (shown, withdrawn):
            name = raster_keys.uncertainty_view(1, proposal.id)
            proposal.views = {"uncertainty": name}
            keys.append(raster_keys.view(proposal.patch_id, name))
    for key in keys:
        store.put(key, b"entropy by version 1, with an outline")
    remove(catalog)
    assert [store.exists(key) for key in keys] == [True, False]


def test_other_writers_do_not_wait_for_a_removal(catalog, monkeypatch):
    """SQLite has one writer at a time; each of many batches lets the others in."""
    with catalog.database.write() as session:
        _, of_scene = add_scene(session, width=32 * 100, height=32 * 60)
        for version in (1, 2):
            session.add(Scoring(id=version, model_version=version, passes=2, seed=0, completed_at=now()))
        session.flush()
        for version in (1, 2):
            for measure in ("entropy_mean", "entropy_top10", "mutual_information"):
                rows = [
                    {"scoring_id": version, "patch_id": patch.id, "measure": measure, "screening": False, "value": 0.1}
                    for patch in of_scene
                ]
                session.execute(insert(Score), rows)
        session.add(Installation())
    monkeypatch.setattr(module, "SCORES_TOGETHER", 500)
    waits, over = [], threading.Event()

    def write() -> None:
        while not over.is_set():
            started = time.monotonic()
            with catalog.database.write() as session:
                session.get_one(Installation, 1).created_at = now()
            waits.append(time.monotonic() - started)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        remove(catalog)
    finally:
        over.set()
        thread.join()
    assert scores_by_scoring(catalog) == {2: 3 * 6000}
    assert len(waits) > 18000 // 500  # at least one between any two batches
    assert max(waits) < 2.0


def test_no_scoring_means_nothing_to_do(catalog):
    remove(catalog)
    with catalog.read() as session:
        assert session.scalar(select(func.count(Scoring.id))) == 0
        assert session.scalars(select(Round)).all() == []
        assert session.scalars(select(Proposal)).all() == []


def test_a_shard_of_a_removed_scoring_is_not_scored(catalog, scene, monkeypatch):
    from workers import score_shard

    coordinate(catalog, 1)
    with catalog.database.write() as session:
        shard = session.scalars(select(Shard)).one()
        session.get_one(Scoring, 1).removed_at = now()
    monkeypatch.setattr(score_shard, "load_scoring_version", lambda _: champion(1))
    score_shard.score_shard(context_of(catalog, JobKind.SCORE_SHARD, "again"), shard.id)
    assert scores_by_scoring(catalog) == {}
    score_shards(catalog, champion(1))  # as an attempt that was under way would
    remove(catalog)
    assert scores_by_scoring(catalog) == {}
