"""A clock that was ahead by a year, and was set back: the rows that it wrote do not stand in the way of later ones."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy.orm import InstrumentedAttribute, Session

from catalog import jobs, retention, scorings, set_back_clock
from catalog.access_records import LogInAttempt
from catalog.context import Catalog
from catalog.records import Base, Job, JobKind, JobState, Label, Scoring, Shard, ShardKind, now
from catalog.set_aside import SetAside
from catalog.webhook_records import Delivery, OutgoingEvent, Subscription
from catalog.withdrawal_records import Withdrawal
from tests.catalog_fixtures import add_round, add_scene, add_scoring, label_of

AHEAD = timedelta(days=365)


def written_ahead(
    row: Base, *columns: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None]
) -> None:
    """Give a row the times that it had if the clock had been ahead when they were noted."""
    for column in columns:
        noted = getattr(row, column.key)
        setattr(row, column.key, None if noted is None else noted + AHEAD)


def bring_back(catalog: Catalog) -> dict[str, int]:
    with catalog.database.write() as session:
        return set_back_clock.bring_back(session)


def is_now(moment: datetime | None) -> bool:
    return moment is not None and abs(moment - now()) < timedelta(minutes=1)


def end_job(catalog: Catalog, *, ahead: bool, error: str) -> str:
    with catalog.database.write() as session:
        job_id = jobs.enqueue(session, JobKind.FINE_TUNE).id
    with catalog.database.write() as session:
        claimed = jobs.claim(session, job_id)
        assert claimed is not None
        jobs.fail(session, job_id, claimed.attempt, error)
    if ahead:
        with catalog.database.write() as session:
            job = jobs.get(session, job_id)
            written_ahead(job, Job.created_at, Job.started_at, Job.heartbeat_at, Job.finished_at)
    return job_id


def add_delivery(session: Session, *, in_a: timedelta) -> Delivery:
    """Add an event that is to be sent to a subscriber of its own after a while."""
    subscription = Subscription(url="https://example.org/hook", created_by="somebody")
    event = OutgoingEvent(type="model.promoted", body={})
    session.add_all([subscription, event])
    session.flush()
    delivery = Delivery(subscription_id=subscription.id, event_id=event.id, next_attempt_at=now() + in_a)
    session.add(delivery)
    session.flush()
    return delivery


def test_what_was_to_be_tried_again_in_a_moment_is_due(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.TILE_SCENE, "1")
        job.run_after = now() + AHEAD
        soon, later = add_delivery(session, in_a=AHEAD), add_delivery(session, in_a=timedelta(hours=9))
    assert bring_back(catalog) == {"jobs": 1, "deliveries": 1}
    with catalog.read() as session:
        assert [due.id for due in jobs.due(session)] == [job.id]
        assert is_now(session.get_one(Delivery, soon.id).next_attempt_at)
        assert session.get_one(Delivery, later.id).next_attempt_at == later.next_attempt_at


def test_a_worker_that_died_while_the_clock_was_ahead_is_noticed(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        job_id = jobs.enqueue(session, JobKind.TILE_SCENE, "1").id
    with catalog.database.write() as session:
        job = jobs.claim(session, job_id)
        assert job is not None
        written_ahead(job, Job.created_at, Job.started_at, Job.heartbeat_at)
    assert bring_back(catalog) == {"jobs": 1}
    with catalog.database.write() as session:
        heartbeat = jobs.get(session, job_id).heartbeat_at
        assert is_now(heartbeat)
        jobs.get(session, job_id).heartbeat_at = heartbeat - timedelta(hours=1)  # an hour later
    catalog.sweep()
    with catalog.read() as session:
        assert jobs.get(session, job_id).state is JobState.QUEUED


def test_the_last_job_is_the_one_that_came_last(catalog: Catalog) -> None:
    end_job(catalog, ahead=False, error="before")
    end_job(catalog, ahead=True, error="while it was ahead")
    last = end_job(catalog, ahead=True, error="while it was ahead, too")
    assert bring_back(catalog) == {"jobs": 2}
    with catalog.read() as session:
        found = jobs.last_of(session, JobKind.FINE_TUNE)
    assert found is not None
    assert found.id == last
    assert is_now(found.finished_at)
    later = end_job(catalog, ahead=False, error="after it was set back")
    with catalog.read() as session:
        found = jobs.last_of(session, JobKind.FINE_TUNE)
    assert found is not None
    assert found.id == later


def test_a_later_scoring_ranks_the_pool_and_is_not_removed(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        first = add_scoring(session, 1, {patches[0].id: 0.5})
        place = {"scene_id": scene.id, "first_row": 0, "last_row": 0, "patch_count": 1}
        shard = Shard(scoring_id=first.id, kind=ShardKind.MONTE_CARLO, done_at=now(), **place)
        session.add(shard)
        written_ahead(first, Scoring.started_at, Scoring.completed_at)
        written_ahead(shard, Shard.done_at)
    assert bring_back(catalog) == {"scorings": 1, "shards": 1}
    with catalog.database.write() as session:
        second = add_scoring(session, 2, {patches[0].id: 0.7})
        assert scorings.newest(session) == second
        assert scorings.current(session) == second
        assert [scoring.model_version for scoring in retention.superseded(session, 1)] == [1]


def test_labels_things_set_aside_and_log_ins_are_of_now(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, proposals = add_round(session, patches[:2])
        labels = [label_of(session, proposal, number) for number, proposal in enumerate(proposals, start=1)]
        session.add_all(labels)
        session.flush()
        written_ahead(labels[0], Label.created_at)
        labels[1].created_at = labels[0].created_at + timedelta(minutes=5)
        drawn = [label.annotated_at for label in labels]
        aside = SetAside(kind="file", name="labels/a.tif", reason="damaged", checked_at=now() + AHEAD)
        session.add_all([aside, LogInAttempt(user_name="a", address="192.0.2.1", at=now() + AHEAD)])
    assert bring_back(catalog) == {"labels": 2, "set_aside": 1, "log_in_attempts": 1}
    with catalog.read() as session:
        again = [session.get_one(Label, label.id) for label in labels]
        assert [label.annotated_at for label in again] == drawn  # a person's time, which our clock did not note
        assert again[1].created_at - again[0].created_at == timedelta(minutes=5)
        assert is_now(again[1].created_at)
        assert is_now(session.get_one(SetAside, aside.id).checked_at)


def test_a_withdrawal_covers_what_was_drawn_until_now(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        withdrawal = Withdrawal(
            annotator="anna@example.org", reason="a course", actor="olga", withdrawn_at=now() + AHEAD
        )
        session.add(withdrawal)
    assert bring_back(catalog) == {"withdrawals": 1}
    with catalog.read() as session:
        assert is_now(session.get_one(Withdrawal, withdrawal.id).withdrawn_at)


@pytest.mark.parametrize("ahead", [timedelta(seconds=50), -timedelta(days=365)])
def test_clocks_of_several_machines_may_differ_a_little(catalog: Catalog, ahead: timedelta) -> None:
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.TILE_SCENE, "1")
        job.created_at = job.run_after = now() + ahead
    assert bring_back(catalog) == {}
    with catalog.read() as session:
        assert jobs.get(session, job.id).created_at == job.created_at
