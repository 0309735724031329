"""Who notices that the pool is not scored by the champion."""

import pytest

from catalog import jobs, rounds
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState
from catalog.settings import Settings
from tests.workers.rows import champion, claimed, finish, tiled, work_of
from workers.pool import enqueue_if_unscored
from workers.score_pool import score_by


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"mc_passes": 2})


def needed(catalog: Catalog, version: int) -> bool:
    """Ask, and forget the job that followed."""
    with catalog.read() as session:
        return enqueue_if_unscored(session, version, catalog.settings) is not None


def score(catalog: Catalog, version: int) -> None:
    work = work_of(catalog, JobKind.SCORE_POOL)
    score_by(work, champion(version))
    finish(work)


def test_an_empty_pool_needs_no_scoring(catalog):
    assert not needed(catalog, 1)


def test_a_new_champion_scores_the_pool_once(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    assert needed(catalog, 1)
    score(catalog, 1)
    assert not needed(catalog, 1)
    assert needed(catalog, 2)


def test_after_a_roll_back_the_old_scores_rank_again(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    score(catalog, 1)
    score(catalog, 2)
    assert needed(catalog, 1)
    score(catalog, 1)
    assert not needed(catalog, 1)
    with catalog.read() as session:
        assert rounds.newest_scoring(session).model_version == 1


def test_a_scene_that_came_while_the_pool_was_scored_is_not_forgotten(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    work = work_of(catalog, JobKind.SCORE_POOL)
    score_by(work, champion(1))
    tiled(catalog, tmp_path / "b.tif", offset_px=400)  # finds the job running, so adds none
    finish(work)
    assert needed(catalog, 1)


def test_other_settings_need_another_scoring(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    score(catalog, 1)
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
