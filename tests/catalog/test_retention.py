"""Which scorings are kept, and the removal of the rows of the others in batches."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import jobs, retention, scorings, sharding
from catalog.context import Catalog
from catalog.records import (
    Job,
    JobKind,
    Patch,
    ProposalState,
    Round,
    RoundState,
    Score,
    Scoring,
    Shard,
    ShardKind,
    now,
)
from tests.catalog_fixtures import add_round, add_scene, add_scoring


@pytest.fixture
def pool(catalog: Catalog) -> list[Patch]:
    with catalog.database.write() as session:
        return add_scene(session)[1]


def add_complete(session: Session, patches: Sequence[Patch], versions: int) -> list[Scoring]:
    """Add complete scorings by the versions 1, 2, ..., a day apart, each of one shard."""
    found = []
    for version in range(1, versions + 1):
        scoring = add_scoring(session, version, {patch.id: 0.5 for patch in patches})
        scoring.passes = 20
        scoring.started_at = scoring.completed_at = now() - timedelta(days=versions - version)
        place = {"scene_id": 1, "first_row": 0, "last_row": 68, "patch_count": len(patches)}
        shard = Shard(scoring_id=scoring.id, kind=ShardKind.MONTE_CARLO, done_at=scoring.completed_at, **place)
        session.add(shard)
        found.append(scoring)
    session.flush()
    return found


def superseded_versions(session: Session, keep: int = 2) -> list[int]:
    return [scoring.model_version for scoring in retention.superseded(session, keep)]


@pytest.mark.parametrize(("keep", "versions"), [(1, [1, 2, 3]), (2, [1, 2]), (3, [1]), (9, [])])
def test_the_last_complete_scorings_are_kept(
    catalog: Catalog, pool: list[Patch], keep: int, versions: list[int]
) -> None:
    with catalog.database.write() as session:
        add_complete(session, pool, 4)
        assert superseded_versions(session, keep) == versions


def test_after_a_roll_back_the_version_that_is_served_again_is_kept(catalog: Catalog, pool: list[Patch]) -> None:
    with catalog.database.write() as session:
        first, *_ = add_complete(session, pool, 3)
        scorings.complete(session, first, {})
        session.flush()
        assert superseded_versions(session) == [2]


def test_the_scoring_under_way_is_kept_and_one_that_was_given_up_is_not(catalog: Catalog, pool: list[Patch]) -> None:
    with catalog.database.write() as session:
        add_complete(session, pool, 2)
        given_up = scorings.find_or_open(session, 3, catalog.settings)
        given_up.started_at = now() - timedelta(hours=2)
        under_way = scorings.find_or_open(session, 4, catalog.settings)
        sharding.plan(session, under_way, 5 * 32**2, 1.0)
        session.flush()
        assert superseded_versions(session) == [3]


def test_a_scoring_with_open_jobs_is_kept(catalog: Catalog, pool: list[Patch]) -> None:
    with catalog.database.write() as session:
        first, *_ = add_complete(session, pool, 3)
        shard_id = session.scalars(select(Shard.id).where(Shard.scoring_id == first.id)).one()
        job = jobs.enqueue(session, JobKind.SCORE_SHARD, str(shard_id), shard_id=shard_id)
        jobs.enqueue(session, JobKind.INGEST_LABEL, "1", event_id=shard_id + 1)
        assert superseded_versions(session) == []
        jobs.request_cancel(session, job.id)
        assert superseded_versions(session) == [1]


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (RoundState.CHOOSING, True),
        (RoundState.PUBLISHING, True),
        (RoundState.OPEN, False),
        (RoundState.COMPLETE, False),
        (RoundState.ABANDONED, False),
    ],
)
def test_the_scoring_of_a_round_that_is_being_made_is_kept(
    catalog: Catalog, pool: list[Patch], state: RoundState, kept: bool
) -> None:
    with catalog.database.write() as session:
        first, *_ = add_complete(session, pool, 4)
        session.add(Round(strategy="entropy_top10", size=1, seed=0, state=state, scoring_id=first.id))
        session.flush()
        assert superseded_versions(session) == ([2] if kept else [1, 2])
        # Its publication may have begun with the maps of the scoring before the newest.
        assert superseded_versions(session, keep=1) == ([2] if kept else [1, 2, 3])


def test_the_scoring_of_an_open_round_is_kept_until_all_its_proposals_are_published(
    catalog: Catalog, pool: list[Patch]
) -> None:
    with catalog.database.write() as session:
        first, *_ = add_complete(session, pool, 3)
        opened, proposals = add_round(session, pool[:2])
        opened.scoring_id, proposals[1].state = first.id, ProposalState.CHOSEN
        session.flush()
        assert superseded_versions(session) == []
        proposals[1].state = ProposalState.PUBLISHED
        session.flush()
        assert superseded_versions(session) == [1]


def test_a_removed_scoring_ranks_nothing_and_its_version_is_scored_anew(catalog: Catalog, pool: list[Patch]) -> None:
    with catalog.database.write() as session:
        first, second = add_complete(session, pool, 2)
        retention.mark_superseded(session, keep=1)
        session.flush()
        assert first.removed_at is not None
        assert scorings.newest(session) is second
        assert scorings.current(session) is second
        assert scorings.enqueue_if_unscored(session, 2, catalog.settings) is None
        assert scorings.enqueue_if_unscored(session, 1, catalog.settings) is not None
        anew = scorings.find_or_open(session, 1, catalog.settings)
        assert anew.id not in {first.id, second.id}
        assert [scene.id for scene in sharding.unplanned(session, anew)] == [1]
        assert scorings.find_or_open(session, 1, catalog.settings) is anew


def test_scores_are_deleted_in_batches_and_shards_last(catalog: Catalog, pool: list[Patch]) -> None:
    with catalog.database.write() as session:
        first, second = add_complete(session, pool, 2)
        for patch in pool:
            session.add(Score(scoring_id=first.id, patch_id=patch.id, measure="entropy_mean", value=0.5))
        retention.mark_superseded(session, keep=1)
        session.flush()

        def left(scoring: Scoring) -> int:
            of_scoring = select(func.count()).select_from(Score).where(Score.scoring_id == scoring.id)
            return session.scalar(of_scoring)

        counts = [left(first)]
        while retention.delete_scores(session, first.id, 15):
            counts.append(left(first))
            assert retention.unfinished(session) == [first.id]
        # Whole patches: the fifteenth score is the first of the eighth patch, whose second one goes, too.
        assert counts == [40, 24, 8]
        assert left(first) == 0
        assert retention.unfinished(session) == [first.id]
        retention.delete_shards(session, first.id)
        assert retention.unfinished(session) == []
        assert left(second) == 20
        assert session.scalars(select(Shard.scoring_id)).all() == [second.id]


def test_the_removal_is_enqueued_when_a_scoring_completes_and_when_anything_is_left(
    catalog: Catalog, pool: list[Patch]
) -> None:
    def removal() -> list[Job]:
        return list(session.scalars(select(Job).where(Job.kind == JobKind.REMOVE_SUPERSEDED)))

    with catalog.database.write() as session:
        first, second, _ = add_complete(session, pool, 3)
        assert retention.enqueue_if_due(session, 3) is None
        job = retention.enqueue_if_due(session, 2)
        assert removal() == [job]
        claimed = jobs.claim(session, job.id)
        retention.mark_superseded(session, 2)
        jobs.finish(session, claimed.id, claimed.attempt)
        again = retention.enqueue_if_due(session, 2)  # its rows are there still
        assert again is not None
        claimed = jobs.claim(session, again.id)
        retention.delete_scores(session, first.id, 1000)
        retention.delete_shards(session, first.id)
        jobs.fail(session, claimed.id, claimed.attempt, "the disk is full")
        assert retention.enqueue_if_due(session, 1) is None  # failed: it would fail again
        scorings.complete(session, second, {})
        assert {str(job.state) for job in removal()} == {"finished", "failed", "queued"}
