"""How a scoring is cut into shards, by stages, and how it is completed."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import numpy as np
import pytest
import redis
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from catalog import failures, jobs, scorings, sharding
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Patch, SceneRole, SceneState, Score, Scoring, Shard, ShardKind, now
from tests.catalog_fixtures import add_scene


def planned(catalog: Catalog, pixels: int, share: float = 1.0) -> tuple[Scoring, list[Shard]]:
    with catalog.database.write() as session:
        scoring = scorings.find_or_open(session, 1, catalog.settings)
        sharding.plan(session, scoring, pixels, share)
        return scoring, list(scorings.shards_of(session, scoring))


@pytest.mark.parametrize("patches_of_shard", [1, 5, 7, 10, 100])
def test_shards_hold_every_patch_of_the_pool_once(catalog: Catalog, patches_of_shard: int) -> None:
    with catalog.database.write() as session:
        add_scene(session, "a")
        add_scene(session, "b", offset_px=200, width=320)
        add_scene(session, "validation", SceneRole.VALIDATION, offset_px=600)
        add_scene(session, "untiled", state=SceneState.REGISTERED, offset_px=800)
        pool = set(session.scalars(select(Patch.id).where(Patch.scene_id.in_([1, 2]))))
    _, shards = planned(catalog, patches_of_shard * 32**2)
    with catalog.read() as session:
        found = [patch.id for shard in shards for patch in sharding.patches_of(session, shard)]
        assert sorted(found) == sorted(pool)
        for shard in shards:
            assert shard.patch_count == len(sharding.patches_of(session, shard))


def test_shards_are_whole_rows_of_about_the_size_asked_for(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session, width=320, height=320)  # ten rows of ten
    _, shards = planned(catalog, 30 * 32**2)
    assert [(shard.first_row // 32, shard.last_row // 32) for shard in shards] == [(0, 3), (4, 6), (7, 9)]


def test_planning_again_adds_only_what_is_new(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    _, first = planned(catalog, 5 * 32**2)
    with catalog.database.write() as session:
        add_scene(session, "later", offset_px=400)
    _, both = planned(catalog, 5 * 32**2)
    assert len(both) == 2 * len(first)
    assert [shard.id for shard in both[: len(first)]] == [shard.id for shard in first]


def test_the_largest_shards_are_done_first(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session, width=320, height=320)
    scoring, _ = planned(catalog, 15 * 32**2)
    with catalog.write() as session:
        scorings.enqueue_undone(session, session.get_one(Scoring, scoring.id))
    with catalog.read() as session:
        by_job = {f"{job.id}-0": job.subject["shard_id"] for job in session.scalars(select(Job))}
        sizes = {shard.id: shard.patch_count for shard in session.scalars(select(Shard))}
    with redis.Redis.from_url(catalog.settings.redis_url) as client:
        queue = [name.decode() for name in client.lrange("rq:queue:compute", 0, -1)]
    waiting = [sizes[by_job[name]] for name in queue]
    assert waiting == [20, 20, 20, 10, 10, 10, 10]


def test_who_ends_the_last_shard_has_the_scoring_completed(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    _, shards = planned(catalog, 5 * 32**2)
    for number, shard in enumerate(shards):
        with catalog.read() as session:
            assert not jobs.is_open(session, JobKind.SCORE_POOL), number
        with catalog.database.write() as session:
            assert scorings.mark_done(session, shard.id, 1.0)
    with catalog.read() as session:
        assert jobs.is_open(session, JobKind.SCORE_POOL)


def test_shards_that_end_together_complete_the_scoring_once(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session, width=320, height=320)
    _, shards = planned(catalog, 10 * 32**2)

    def end(shard: Shard) -> bool:
        with catalog.database.write() as session:
            return scorings.mark_done(session, shard.id, 1.0)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(end, [*shards, *shards])) == len(shards)
    with catalog.read() as session:
        assert len(session.scalars(select(Job).where(Job.kind == JobKind.SCORE_POOL)).all()) == 1


def test_a_retry_of_one_failed_shard_has_all_of_them_done_again(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    scoring, shards = planned(catalog, 5 * 32**2)
    with catalog.database.write() as session:
        scorings.enqueue_undone(session, scoring)
        for job_id in session.scalars(select(Job.id)).all():
            job = jobs.claim(session, job_id)
            jobs.fail(session, job.id, job.attempt, "the disk with the scenes is gone")
    with catalog.database.write() as session:
        failures.retry(session, job.id)
        assert jobs.is_open(session, JobKind.SCORE_POOL)
        scorings.enqueue_undone(session, session.get_one(Scoring, scoring.id))  # as that job does
    with catalog.read() as session:
        of_shards = session.scalars(select(Job.state).where(Job.kind == JobKind.SCORE_SHARD)).all()
        assert of_shards == [JobState.QUEUED] * len(shards)
        assert len(shards) > 1


def test_after_a_roll_back_the_scoring_that_was_given_up_is_not_told_of(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
        served = scorings.find_or_open(session, 1, catalog.settings)
        scorings.complete(session, served, {"m": 0.9})
        given_up = scorings.find_or_open(session, 2, catalog.settings)
        sharding.plan(session, given_up, 5 * 32**2, 1.0)
        scorings.enqueue_undone(session, given_up)
        session.flush()
        assert scorings.current(session) is given_up
        assert scorings.newest(session) is served
        seconds = served.seconds
        scorings.complete(session, served, {"m": 0.9})  # version 1 is served again
        session.flush()
        assert scorings.current(session) is served
        assert served.seconds == seconds  # nothing had to be done


def test_a_huge_pool_is_cut_into_larger_shards_rather_than_into_more(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "MOST_SHARDS", 3)
    with catalog.database.write() as session:
        add_scene(session, width=320, height=320)
    _, shards = planned(catalog, 32**2)
    assert len(shards) == 3


def test_a_failed_shard_is_tried_again_when_the_scoring_is_asked_for(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    scoring, _ = planned(catalog, 100 * 32**2)
    with catalog.database.write() as session:
        assert scorings.enqueue_undone(session, scoring)
        job = jobs.claim(session, session.scalars(select(Job.id)).one())
        jobs.fail(session, job.id, job.attempt, "the scene cannot be read")
    with catalog.database.write() as session:
        scorings.enqueue_undone(session, session.get_one(Scoring, scoring.id))
    with catalog.read() as session:
        again = session.scalars(select(Job)).one()
        assert (again.id, again.state) == (job.id, JobState.QUEUED)


def test_patches_that_all_passes_have_scored_are_known_by_their_ids(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scoring = scorings.find_or_open(session, 1, catalog.settings)
        for patch, screening in zip(patches[:3][::-1], (False, True, False), strict=True):
            row = {"scoring_id": scoring.id, "patch_id": patch.id, "screening": screening, "value": 1.0}
            session.add_all([Score(measure="entropy_top10", **row), Score(measure="entropy_mean", **row)])
        session.flush()
        found = scorings.monte_carlo_patches(session, scoring, "entropy_mean")
        assert found.tolist() == [patches[0].id, patches[2].id]
        assert found.dtype == np.int64
        assert scorings.monte_carlo_patches(session, scoring, "mutual_information").shape == (0,)


PIXELS = 5 * 32**2  # of a shard


@pytest.fixture
def hundred(catalog: Catalog) -> list[int]:
    """The ids of the patches of a pool whose screening is planned."""
    with catalog.database.write() as session:
        _, patches = add_scene(session, width=320, height=320)
    planned(catalog, PIXELS, share=0.2)
    return [patch.id for patch in patches]


def screen(session: Session, values: Mapping[int, tuple[float, float]]) -> Scoring:
    """End all shards of the screening pass, which gives patches these scores by the two entropies."""
    for patch_id, of_patch in values.items():
        for measure, value in zip(sharding.SHORTLIST_MEASURES, of_patch, strict=True):
            session.add(Score(scoring_id=1, patch_id=patch_id, measure=measure, screening=True, value=value))
    for shard in session.scalars(select(Shard).where(Shard.done_at.is_(None))):
        scorings.mark_done(session, shard.id, 1.0)
    session.flush()
    return session.get_one(Scoring, 1)


def plan_shortlist(session: Session, scoring: Scoring, share: float = 0.2) -> set[int]:
    """Plan the next stage, and do it; return the ids of its patches."""
    assert sharding.plan_shortlist(session, scoring, PIXELS, share)
    found = set()
    for shard in scorings.shards_of(session, scoring):
        if shard.done_at is None:
            of_shard = sharding.patches_of(session, shard)
            assert (shard.kind, shard.patch_count) == (ShardKind.MONTE_CARLO, len(of_shard))
            found |= {patch.id for patch in of_shard}
    session.execute(update(Score).where(Score.patch_id.in_(found)).values(screening=False))
    for shard in scorings.shards_of(session, scoring):
        scorings.mark_done(session, shard.id, 1.0)
    session.flush()
    return found


def alike(values: Mapping[int, float]) -> dict[int, tuple[float, float]]:
    """The same scores by both entropies."""
    return {patch_id: (value, value) for patch_id, value in values.items()}


def rising(patches: Sequence[int], start: float = 0.0) -> dict[int, float]:
    return {patch_id: start + index / 1000 for index, patch_id in enumerate(patches, start=1)}


def test_a_large_pool_is_screened_in_larger_shards_and_a_small_one_is_not(catalog: Catalog, hundred: list[int]) -> None:
    scoring, shards = planned(catalog, PIXELS, share=0.2)
    assert {(shard.kind, shard.shortlist_planned) for shard in shards} == {(ShardKind.SCREENING, False)}
    assert [shard.patch_count for shard in shards] == [50, 50]
    with catalog.database.write() as session:
        add_scene(session, "small", offset_px=400, width=64, height=64)
    _, both = planned(catalog, PIXELS, share=0.2)
    small = [(shard.kind, shard.shortlist_planned) for shard in both if shard.scene_id == 2]
    assert small == [(ShardKind.MONTE_CARLO, True)]
    with catalog.read() as session:
        assert not sharding.is_shortlist_planned(session, scoring, 0.2)


def test_on_the_shortlist_are_the_highest_by_either_entropy(catalog: Catalog, hundred: list[int]) -> None:
    values = {patch_id: (place / 100, place % 10 + place / 1000) for place, patch_id in enumerate(hundred)}
    with catalog.database.write() as session:
        scoring = screen(session, values)
        found = plan_shortlist(session, scoring)
        assert not sharding.plan_shortlist(session, scoring, PIXELS, 0.2)  # once
        stages = [shard.stage for shard in scorings.shards_of(session, scoring)]
    highest = [sorted(values, key=lambda patch_id: -values[patch_id][which])[:20] for which in (0, 1)]
    assert found == {*highest[0], *highest[1]}
    assert 30 < len(found) < 40
    assert stages.count(1) > 1


def test_patches_without_data_or_uncertainty_are_not_on_the_shortlist(catalog: Catalog, hundred: list[int]) -> None:
    with catalog.database.write() as session:
        scoring = screen(session, alike({patch_id: float(patch_id in hundred[:3]) for patch_id in hundred}))
        assert plan_shortlist(session, scoring) == set(hundred[:3])


def test_a_pool_without_uncertainty_needs_no_further_stage(catalog: Catalog, hundred: list[int]) -> None:
    with catalog.database.write() as session:
        scoring = screen(session, alike(dict.fromkeys(hundred, 0.0)))
        assert plan_shortlist(session, scoring) == set()
        assert not scorings.enqueue_undone(session, scoring)
        assert sharding.is_shortlist_planned(session, scoring, 0.2)
        assert scorings.progress(session, scoring).done == 1.0


def add_later(catalog: Catalog) -> list[int]:
    """Add a scene of a hundred patches and plan its screening; return their ids."""
    with catalog.database.write() as session:
        _, later = add_scene(session, "later", offset_px=400, width=320, height=320)
    _, shards = planned(catalog, PIXELS, share=0.2)
    assert {shard.kind for shard in shards if shard.scene_id == 2} == {ShardKind.SCREENING}
    return [patch.id for patch in later]


@pytest.mark.parametrize("start", [-0.05, 0.0, 5.0])
def test_a_later_scene_has_a_shortlist_of_its_own(catalog: Catalog, hundred: list[int], start: float) -> None:
    with catalog.database.write() as session:
        plan_shortlist(session, screen(session, alike(rising(hundred, start=0.1))))
    later = add_later(catalog)
    with catalog.database.write() as session:
        scoring = session.get_one(Scoring, 1)
        done, to_do = 100 + 20 * 20, 100 + 30 * 20
        assert scorings.progress(session, scoring).done == pytest.approx(done / (done + to_do))
        screen(session, alike(rising(later, start=0.1 + start)))
        assert plan_shortlist(session, scoring) == set(later[80:])


@pytest.mark.parametrize("shares", [[0.2, 1.0], [0.2, 0.5], [0.5]])
def test_earlier_shares_do_not_matter_to_a_later_scene(
    catalog: Catalog, hundred: list[int], shares: list[float]
) -> None:
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(hundred)))
        for share in shares:
            plan_shortlist(session, scoring, share)
    later = add_later(catalog)
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(later)))
        assert plan_shortlist(session, scoring) == set(later[80:])
        assert scoring.shortlist_share == 0.2


def test_a_share_that_grows_during_a_screening_holds_for_all(catalog: Catalog, hundred: list[int]) -> None:
    with catalog.database.write() as session:
        plan_shortlist(session, screen(session, alike(rising(hundred))))
    later = add_later(catalog)
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(later, start=1.0)))
        assert plan_shortlist(session, scoring, 0.5) == set(later[10:])  # half of the 180 that were only screened


def test_a_share_that_shrinks_during_a_screening_holds_for_it(catalog: Catalog, hundred: list[int]) -> None:
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(hundred)))
        scoring.shortlist_share = 0.5
        assert plan_shortlist(session, scoring, 0.2) == set(hundred[80:])


def test_a_larger_share_takes_the_next_patches(catalog: Catalog, hundred: list[int]) -> None:
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(hundred)))
        plan_shortlist(session, scoring)
        assert plan_shortlist(session, scoring, 0.3) == set(hundred[70:80])
        assert scoring.shortlist_share == 0.3


def test_mutual_information_ranks_once_all_passes_have_scored_every_patch(catalog: Catalog, hundred: list[int]) -> None:
    wanted = catalog.settings.model_copy(update={"mc_shortlist_share": 1.0})
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(hundred)))
        plan_shortlist(session, scoring)
        scorings.complete(session, scoring, {})
        session.execute(delete(Job))
        assert scorings.enqueue_if_unscored(session, 1, catalog.settings) is None
        assert scorings.enqueue_if_unscored(session, 1, wanted) is not None
        assert not scorings.ranks_by(session, scoring, "mutual_information")
        assert scorings.ranks_by(session, scoring, "entropy_mean")
        with session.begin_nested() as nested:
            sharding.plan_shortlist(session, scoring, PIXELS, 1.0)
            assert not scorings.ranks_by(session, scoring, "mutual_information")  # planned only
            nested.rollback()
        assert plan_shortlist(session, scoring, 1.0) == set(hundred[:80])
        assert scorings.ranks_by(session, scoring, "mutual_information")


def test_progress_counts_the_work_of_both_stages(catalog: Catalog, hundred: list[int]) -> None:
    with catalog.database.write() as session:
        scoring = session.get_one(Scoring, 1)
        assert scorings.progress(session, scoring) == scorings.Progress(0.0, 100, None)
        screen(session, alike(rising(hundred)))
        assert scorings.progress(session, scoring).done == pytest.approx(100 / (100 + 30 * 20))
        sharding.plan_shortlist(session, scoring, PIXELS, 0.2)
        assert scorings.progress(session, scoring).done == pytest.approx(100 / (100 + 20 * 20))
        for shard in scorings.shards_of(session, scoring):
            scorings.mark_done(session, shard.id, 1.0)
        assert scorings.progress(session, scoring).done == 1.0


@pytest.mark.parametrize("pause", [timedelta(seconds=5), timedelta(days=3)])
def test_stages_are_one_work_unless_something_came_between(
    catalog: Catalog, hundred: list[int], pause: timedelta
) -> None:
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(hundred)))
        scoring.completed_at, scoring.started_at = None, now() - pause - timedelta(seconds=10)
        began = scoring.started_at
        for shard in scorings.shards_of(session, scoring):
            shard.done_at = now() - pause
        sharding.plan_shortlist(session, scoring, PIXELS, 0.2)
        scorings.enqueue_undone(session, scoring)
        assert (scoring.started_at == began) == (pause < timedelta(minutes=1))


def test_work_on_a_complete_scoring_begins_anew(catalog: Catalog, hundred: list[int]) -> None:
    with catalog.database.write() as session:
        scoring = screen(session, alike(rising(hundred)))
        plan_shortlist(session, scoring)
        scorings.complete(session, scoring, {})
    completed = scoring.completed_at
    add_later(catalog)
    with catalog.database.write() as session:
        scoring = session.get_one(Scoring, 1)
        scorings.enqueue_undone(session, scoring)
        assert scoring.started_at > completed


def test_after_a_roll_back_in_haste_the_scoring_that_is_worked_on_is_told_of(
    catalog: Catalog, hundred: list[int]
) -> None:
    with catalog.database.write() as session:
        scorings.mark_done(session, scorings.shards_of(session, session.get_one(Scoring, 1))[0].id, 1.0)
        other = scorings.find_or_open(session, 2, catalog.settings)
        assert scorings.current(session) is other
        scorings.enqueue_undone(session, session.get_one(Scoring, 1))
        assert scorings.current(session).model_version == 1
