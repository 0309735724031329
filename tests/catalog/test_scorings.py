"""How a scoring is cut into shards, and how it is completed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import select

from catalog import jobs, scorings
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Patch, SceneRole, SceneState, Score, Scoring, Shard
from tests.catalog_fixtures import add_scene


def planned(catalog: Catalog, pixels: int) -> tuple[Scoring, list[Shard]]:
    with catalog.database.write() as session:
        scoring = scorings.find_or_open(session, 1, catalog.settings)
        scorings.plan(session, scoring, pixels)
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
        found = [patch.id for shard in shards for patch in scorings.patches_of(session, shard)]
        assert sorted(found) == sorted(pool)
        for shard in shards:
            assert shard.patch_count == len(scorings.patches_of(session, shard))


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


def test_scores_come_with_how_the_halves_of_the_passes_differ(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scoring = scorings.find_or_open(session, 1, catalog.settings)
        for patch, difference in zip(patches[:3], (0.25, None, -0.5), strict=True):
            session.add(
                Score(scoring_id=scoring.id, patch_id=patch.id, measure="m", value=patch.id, half_difference=difference)
            )
        session.flush()
        values, differences = scorings.scores_of(session, scoring, "m")
        assert values.tolist() == [patch.id for patch in patches[:3]]
        np.testing.assert_array_equal(differences, [0.25, np.nan, -0.5])
        assert [part.shape for part in scorings.scores_of(session, scoring, "other")] == [(0,), (0,)]
