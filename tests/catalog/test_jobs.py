import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from catalog import failures, jobs
from catalog.context import Catalog
from catalog.errors import ConflictError, JobLostError, NotFoundError
from catalog.job_queue import queue_of
from catalog.records import EventState, Job, JobKind, JobState, LabelEvent, Round, RoundState, now
from catalog.settings import Strategy
from labeling.events import AnnotationDeleted
from services import label_events


def enqueue(catalog: Catalog, kind: JobKind = JobKind.TILE_SCENE, key: str = "1") -> str:
    with catalog.database.write() as session:
        return jobs.enqueue(session, kind, key).id


def claim(catalog: Catalog, job_id: str) -> Job:
    with catalog.database.write() as session:
        job = jobs.claim(session, job_id)
    assert job is not None
    return job


def stored(catalog: Catalog, job_id: str) -> Job:
    with catalog.read() as session:
        return jobs.get(session, job_id)


def age(catalog: Catalog, job_id: str, **moments: float) -> None:
    """Move moments of a job into the past, by seconds."""
    with catalog.database.write() as session:
        for name, seconds in moments.items():
            setattr(jobs.get(session, job_id), name, now() - timedelta(seconds=seconds))


def test_enqueue_gives_one_open_job_per_kind_and_key(catalog: Catalog) -> None:
    first = enqueue(catalog)
    assert enqueue(catalog) == first
    assert enqueue(catalog, key="2") != first
    assert enqueue(catalog, JobKind.PREDICT_SCENE) != first
    claim(catalog, first)
    assert enqueue(catalog) == first
    with catalog.database.write() as session:
        jobs.finish(session, first, 1)
    assert enqueue(catalog) != first


def test_the_report_of_the_newest_finished_job_is_found(catalog: Catalog) -> None:
    def done(key: str, report: dict[str, object] | None) -> None:
        job_id = enqueue(catalog, key=key)
        claim(catalog, job_id)
        with catalog.database.write() as session:
            if report is not None:
                jobs.keep_report(session, job_id, 1, report)
            jobs.finish(session, job_id, 1)

    def found(key: str) -> object:
        with catalog.read() as session:
            job = jobs.last_reported(session, JobKind.TILE_SCENE, key)
        return None if job is None else job.report

    done("1", None)
    assert found("1") is None
    done("1", {"faults": 2})
    done("1", {"faults": 1})
    done("2", {"faults": 7})
    claimed_later = enqueue(catalog)
    claim(catalog, claimed_later)
    with catalog.database.write() as session:
        jobs.keep_report(session, claimed_later, 1, {"faults": 0})
        jobs.fail(session, claimed_later, 1, "its scene is gone")
    assert found("1") == {"faults": 1}


def test_an_attempt_that_was_given_up_keeps_no_report(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    claim(catalog, job_id)
    with pytest.raises(JobLostError), catalog.database.write() as session:
        jobs.keep_report(session, job_id, 0, {"faults": 0})


def test_enqueue_from_many_threads_gives_one_job(catalog: Catalog) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(enqueue(catalog))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_job_that_is_rolled_back_was_never_enqueued(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError), catalog.write() as session:
        job_id = jobs.enqueue(session, JobKind.SCORE_POOL).id
        raise RuntimeError
    with catalog.read() as session, pytest.raises(NotFoundError, match=job_id):
        jobs.get(session, job_id)


def test_of_two_claimants_at_once_one_wins(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    barrier, won = threading.Barrier(4), []

    def contend() -> None:
        barrier.wait()
        with catalog.database.write() as session:
            won.append(jobs.claim(session, job_id) is not None)

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False, False, False, True]
    assert stored(catalog, job_id).attempt == 1


def test_the_attempt_fences_off_a_worker_that_seemed_dead(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    claim(catalog, job_id)
    age(catalog, job_id, heartbeat_at=120)
    catalog.sweep()
    assert stored(catalog, job_id).state is JobState.QUEUED
    age(catalog, job_id, run_after=1)
    assert claim(catalog, job_id).attempt == 2
    steps = (
        lambda session: jobs.heartbeat(session, job_id, 1),
        lambda session: jobs.report_progress(session, job_id, 1, 1, 2, "half"),
        lambda session: jobs.finish(session, job_id, 1),
        lambda session: jobs.fail(session, job_id, 1, "too late"),
        lambda session: jobs.try_again(session, job_id, 1, "too late", 3),
        lambda session: jobs.wait_for_service(session, job_id, 1, "too late"),
    )
    for step in steps:
        with pytest.raises(JobLostError, match=job_id), catalog.database.write() as session:
            step(session)
    with catalog.database.write() as session:
        jobs.finish(session, job_id, 2)
    job = stored(catalog, job_id)
    assert (job.state, job.attempt, job.done) == (JobState.FINISHED, 2, 0)


def test_a_beating_job_is_not_handed_over(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    claim(catalog, job_id)
    age(catalog, job_id, heartbeat_at=120)
    with catalog.database.write() as session:
        jobs.heartbeat(session, job_id, 1)
    catalog.sweep()
    assert stored(catalog, job_id).state is JobState.RUNNING


def test_a_failing_job_is_tried_later_each_time_and_then_given_up(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    delays = []
    for attempt in (1, 2):
        claim(catalog, job_id)
        before = now()
        with catalog.database.write() as session:
            assert jobs.try_again(session, job_id, attempt, "boom", 3)
        delays.append((stored(catalog, job_id).run_after - before).total_seconds())
        age(catalog, job_id, run_after=1)
    assert delays == pytest.approx([5.0, 10.0], abs=1.0)
    claim(catalog, job_id)
    with catalog.database.write() as session:
        assert not jobs.try_again(session, job_id, 3, "boom", 3)
    job = stored(catalog, job_id)
    assert (job.state, job.failures, job.error) == (JobState.FAILED, 3, "boom")


def test_an_outage_counts_no_failure(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    for attempt in range(1, 8):
        claim(catalog, job_id)
        with catalog.database.write() as session:
            jobs.wait_for_service(session, job_id, attempt, "MLflow does not answer")
    job = stored(catalog, job_id)
    assert (job.state, job.failures, job.error) == (JobState.QUEUED, 0, "MLflow does not answer")
    assert job.run_after > now() + timedelta(seconds=10)


def test_only_due_jobs_are_due_the_oldest_first(catalog: Catalog) -> None:
    ids = [enqueue(catalog, key=str(number)) for number in range(4)]
    age(catalog, ids[3], created_at=60)
    age(catalog, ids[0], run_after=-60)
    claim(catalog, ids[1])
    with catalog.read() as session:
        assert [job.id for job in jobs.due(session)] == [ids[3], ids[2]]


def test_retry_reopens_a_failed_job_and_nothing_else(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    with (
        pytest.raises(ConflictError, match="is queued; only a failed or cancelled job"),
        catalog.database.write() as session,
    ):
        jobs.retry(session, job_id)
    claim(catalog, job_id)
    with catalog.database.write() as session:
        jobs.fail(session, job_id, 1, "boom")
    other = enqueue(catalog)
    with pytest.raises(ConflictError, match="another job 'tile_scene:1' is open"), catalog.database.write() as session:
        jobs.retry(session, job_id)
    claim(catalog, other)
    with catalog.database.write() as session:
        jobs.finish(session, other, 1)
    with catalog.database.write() as session:
        jobs.retry(session, job_id)
    job = stored(catalog, job_id)
    assert (job.state, job.failures, job.finished_at) == (JobState.QUEUED, 0, None)
    assert claim(catalog, job_id).attempt == 2


def test_the_job_enqueued_last_is_found_open_or_not(catalog: Catalog) -> None:
    with catalog.read() as session:
        assert jobs.last_of(session, JobKind.TILE_SCENE, "1") is None
    first = enqueue(catalog)
    claim(catalog, first)
    with catalog.database.write() as session:
        jobs.finish(session, first, 1)
    second = enqueue(catalog)
    with catalog.read() as session:
        last = jobs.last_of(session, JobKind.TILE_SCENE, "1")
        assert last is not None
        assert last.id == second


def test_time_left_follows_from_progress(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    assert jobs.eta_s(stored(catalog, job_id)) is None
    claim(catalog, job_id)
    assert jobs.eta_s(stored(catalog, job_id)) is None
    with catalog.database.write() as session:
        jobs.report_progress(session, job_id, 1, 25, 100, "training")
    age(catalog, job_id, started_at=10)
    assert jobs.eta_s(stored(catalog, job_id)) == pytest.approx(30.0, rel=0.1)  # 10 s for a quarter: 30 s for the rest
    with catalog.database.write() as session:
        jobs.report_progress(session, job_id, 1, 100, 100, "judging")
    assert jobs.eta_s(stored(catalog, job_id)) is None  # what counts no steps goes on


def test_time_left_of_a_further_attempt_is_not_known(catalog: Catalog) -> None:
    """It may have gone on at step 24, and have done one step in the 10 s."""
    job_id = enqueue(catalog)
    for attempt in (1, 2):
        claim(catalog, job_id)
        with catalog.database.write() as session:
            jobs.report_progress(session, job_id, attempt, 25, 100, "training")
            if attempt == 1:
                jobs.hand_back(session, job_id, 1)
    age(catalog, job_id, started_at=10)
    assert jobs.eta_s(stored(catalog, job_id)) is None


def test_a_job_that_is_retried_waits_without_the_progress_of_its_last_attempt(catalog: Catalog) -> None:
    job_id = enqueue(catalog)
    claim(catalog, job_id)
    with catalog.database.write() as session:
        jobs.report_progress(session, job_id, 1, 25, 100, "training")
        jobs.fail(session, job_id, 1, "its scene is gone")
    with catalog.database.write() as session:
        jobs.retry(session, job_id)
    waiting = stored(catalog, job_id)
    assert (waiting.state, waiting.done, waiting.total, waiting.message) == (JobState.QUEUED, 0, 0, None)


def test_every_kind_of_work_has_a_queue() -> None:
    compute = {
        JobKind.FINE_TUNE,
        JobKind.SCORE_POOL,
        JobKind.SCORE_SHARD,
        JobKind.PREDICT_SCENE,
        JobKind.PREDICT_AREA,
        JobKind.EXPORT_GLIMS,
        JobKind.COMPARE_SCENES,
        JobKind.COMPARE_SERVED,
        JobKind.EXPORT_DATASET,
        JobKind.REPRODUCE_VERSION,
        JobKind.EXPORT_SUBMISSION,
        JobKind.RUN_EXPERIMENT,
    }
    assert {kind for kind in JobKind if queue_of(kind) == "compute"} == compute
    assert {queue_of(kind) for kind in JobKind} == {"labels", "io", "upkeep", "compute"}
    assert [kind for kind in JobKind if queue_of(kind) == "labels"] == [JobKind.INGEST_LABEL]
    assert {kind for kind in JobKind if queue_of(kind) == "upkeep"} == {
        JobKind.BACK_UP,
        JobKind.CHECK_INSTALLATION,
        JobKind.READ_SCENE,
    }


def test_a_worker_that_dies_too_often_fails_the_round_it_was_to_make(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        opened = Round(strategy=Strategy.RANDOM, size=4, seed=0)
        session.add(opened)
        session.flush()
        job_id = jobs.enqueue(session, JobKind.PROPOSE_ROUND, "1", round_id=opened.id).id
        round_id = opened.id
    for _ in range(catalog.settings.job_attempts):
        claim(catalog, job_id)
        age(catalog, job_id, heartbeat_at=120)
        catalog.sweep()
    assert stored(catalog, job_id).state is JobState.FAILED
    with catalog.read() as session:
        failed = session.get_one(Round, round_id)
    assert (failed.state, failed.error) == (RoundState.FAILED, "its worker died")


def test_an_event_whose_job_is_given_up_can_be_replayed(catalog: Catalog) -> None:
    event = AnnotationDeleted(annotation_id=1, project_id=15)
    with catalog.database.write() as session:
        (row,) = label_events.record(session, [event], b"{}", "webhook")
        job = session.info["enqueued"][0]
    claim(catalog, job.id)
    with catalog.database.write() as session:
        failures.note_failure(session, jobs.get(session, job.id), "MemoryError: ", 0)
    with catalog.read() as session:
        failed = session.get_one(LabelEvent, row.id)
    assert (failed.state, failed.detail) == (EventState.FAILED, "MemoryError: ")


def test_a_queued_job_is_cancelled_at_once_and_can_be_retried(catalog: Catalog) -> None:
    job_id = enqueue(catalog, JobKind.SCORE_POOL, "")
    with catalog.database.write() as session:
        assert failures.cancel(session, job_id).state is JobState.CANCELLED
    with catalog.database.write() as session:
        assert jobs.claim(session, job_id) is None
        failures.retry(session, job_id)
    assert (stored(catalog, job_id).state, stored(catalog, job_id).error) == (JobState.QUEUED, None)
    claim(catalog, job_id)
    assert stored(catalog, job_id).cancel_requested is False


def test_a_running_job_learns_of_its_cancellation_when_it_notes_its_progress(catalog: Catalog) -> None:
    job_id = enqueue(catalog, JobKind.SCORE_POOL, "")
    claim(catalog, job_id)
    with catalog.database.write() as session:
        assert jobs.report_progress(session, job_id, 1, 1, 2, "working") is False
        assert failures.cancel(session, job_id).state is JobState.RUNNING
    with catalog.database.write() as session:
        assert jobs.heartbeat(session, job_id, 1) is True
        assert jobs.report_progress(session, job_id, 1, 2, 2, "working") is True


@pytest.mark.parametrize(
    "requeue",
    [
        lambda session, job_id: jobs.hand_back(session, job_id, 1),
        lambda session, job_id: jobs.wait_for_service(session, job_id, 1, "Redis is down"),
        lambda session, job_id: jobs.try_again(session, job_id, 1, "ValueError", 3),
    ],
    ids=["handed back", "waits for a service", "tried again"],
)
def test_a_cancellation_outlasts_the_attempt_that_did_not_see_it(catalog: Catalog, requeue) -> None:
    job_id = enqueue(catalog, JobKind.SCORE_POOL, "")
    claim(catalog, job_id)
    with catalog.database.write() as session:
        failures.cancel(session, job_id)
    with catalog.database.write() as session:
        requeue(session, job_id)
    claim(catalog, job_id)
    assert stored(catalog, job_id).cancel_requested is True


def test_of_several_jobs_with_one_key_the_open_one_is_kept(catalog: Catalog) -> None:
    first = enqueue(catalog, JobKind.SCORE_SHARD, "1")
    with catalog.database.write() as session:
        failures.cancel(session, first)
    second = enqueue(catalog, JobKind.SCORE_SHARD, "1")
    claim(catalog, second)
    with catalog.database.write() as session:
        jobs.fail(session, second, 1, "out of memory")
    with catalog.database.write() as session:
        jobs.retry(session, first)
    with catalog.database.write() as session:
        jobs.enqueue_all(session, JobKind.SCORE_SHARD, {"1": {}})
    assert (stored(catalog, first).state, stored(catalog, second).state) == (JobState.QUEUED, JobState.FAILED)


def test_a_job_that_has_ended_cannot_be_cancelled(catalog: Catalog) -> None:
    job_id = enqueue(catalog, JobKind.SCORE_POOL, "")
    claim(catalog, job_id)
    with catalog.database.write() as session:
        jobs.finish(session, job_id, 1)
    with pytest.raises(ConflictError, match="is finished already"), catalog.database.write() as session:
        failures.cancel(session, job_id)


def test_a_job_that_is_handed_back_has_not_failed(catalog: Catalog) -> None:
    job_id = enqueue(catalog, JobKind.SCORE_POOL, "")
    claim(catalog, job_id)
    with catalog.database.write() as session:
        jobs.hand_back(session, job_id, 1)
    job = stored(catalog, job_id)
    assert (job.state, job.failures, job.error) == (JobState.QUEUED, 0, None)
    assert claim(catalog, job_id).attempt == 2


def test_an_event_whose_ingestion_is_cancelled_can_be_replayed(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        (row,) = label_events.record(session, [AnnotationDeleted(annotation_id=1, project_id=15)], b"{}", "webhook")
        failures.cancel(session, session.info["enqueued"][0].id)
    with catalog.read() as session:
        failed = session.get_one(LabelEvent, row.id)
    assert (failed.state, failed.detail) == (EventState.FAILED, "cancelled by a person")


def test_the_last_end_of_a_job_is_found_in_an_index(catalog: Catalog) -> None:
    """Each look for changes asks for it, several times a second, and jobs are many."""
    if not catalog.settings.database_url.startswith("sqlite"):
        pytest.skip("the plan of a query is read in the words of SQLite")
    statement = str(select(func.max(Job.finished_at)))
    with catalog.database.engine.connect() as connection:
        plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
    assert plan == ["SEARCH jobs USING COVERING INDEX ix_jobs_finished_at"]
