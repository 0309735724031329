"""Who notices that the pool is not scored by the champion."""

import pytest

from catalog import jobs, scorings
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState
from catalog.settings import Settings
from tests.workers.rows import champion, claimed, context_of, coordinate, finish, score_pool, score_shards, tiled
from workers.score_pool import score_by


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"mc_passes": 2})


def needed(catalog: Catalog, version: int) -> bool:
    """Ask, and forget the job that followed."""
    with catalog.read() as session:
        return scorings.enqueue_if_unscored(session, version, catalog.settings) is not None


def test_an_empty_pool_needs_no_scoring(catalog):
    assert not needed(catalog, 1)


def test_a_new_champion_scores_the_pool_once(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    assert needed(catalog, 1)
    score_pool(catalog, champion(1))
    assert not needed(catalog, 1)
    assert needed(catalog, 2)


def test_after_a_roll_back_the_old_scores_rank_again(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    score_pool(catalog, champion(1))
    score_pool(catalog, champion(2))
    assert needed(catalog, 1)
    score_pool(catalog, champion(1))
    assert not needed(catalog, 1)
    with catalog.read() as session:
        assert scorings.newest(session).model_version == 1


def test_a_scene_that_came_while_the_pool_was_scored_is_not_forgotten(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    coordinate(catalog, 1)
    score_shards(catalog, champion(1))
    context = context_of(catalog, JobKind.SCORE_POOL)
    score_by(context, 1)
    tiled(catalog, tmp_path / "b.tif", offset_px=400)  # finds the job running, so adds none
    finish(context)
    assert needed(catalog, 1)


def test_while_shards_wait_nothing_is_enqueued(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    coordinate(catalog, 1)
    assert not needed(catalog, 1)
    assert needed(catalog, 2)  # the shards will find that their version is no longer served, and end


def test_shards_that_were_given_up_are_wanted_when_their_version_is_served_again(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    coordinate(catalog, 1)
    with catalog.database.write() as session:
        job = jobs.claim(session, session.query(Job).filter_by(kind=JobKind.SCORE_SHARD).one().id)
        jobs.finish(session, job.id, job.attempt)  # as when version 2 is served meanwhile
    assert needed(catalog, 1)


def test_other_settings_need_another_scoring(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    score_pool(catalog, champion(1))
    catalog.settings = catalog.settings.model_copy(update={"mc_passes": 3})
    assert needed(catalog, 1)


def test_a_scoring_that_failed_is_left_to_people(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    job = claimed(catalog, JobKind.SCORE_POOL)
    with catalog.database.write() as session:
        jobs.fail(session, job.id, job.attempt, "the scene lacks a channel")
    assert not needed(catalog, 1)
    with catalog.database.write() as session:
        jobs.retry(session, job.id)
        assert session.get_one(Job, job.id).state is JobState.QUEUED
    assert needed(catalog, 1)


def test_a_shard_that_failed_is_left_to_people(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    coordinate(catalog, 1)
    with catalog.database.write() as session:
        job = jobs.claim(session, session.query(Job).filter_by(kind=JobKind.SCORE_SHARD).one().id)
        jobs.fail(session, job.id, job.attempt, "the scene lacks a channel")
    assert not needed(catalog, 1)
    assert needed(catalog, 2)
    coordinate(catalog, 1)  # someone asks for the scoring again
    with catalog.read() as session:
        assert session.get_one(Job, job.id).state is JobState.QUEUED
