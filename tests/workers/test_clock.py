import threading
from datetime import timedelta

import pytest
from sqlalchemy import select

from catalog import failures, jobs
from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.records import Job, JobKind, JobState, Round, RoundState, SceneState, now
from catalog.settings import Settings, Strategy
from services import changing_settings, rounds
from tests.catalog_fixtures import NO_REDIS, add_round, add_scene, add_scoring, label_of, pushed
from workers.clock import repeat, tick


def open_kinds(catalog: Catalog) -> list[str]:
    with catalog.read() as session:
        statement = select(Job.kind).where(Job.state.in_(jobs.OPEN)).order_by(Job.kind)
        return [kind.value for kind in session.scalars(statement)]


@pytest.fixture
def change(catalog: Catalog):
    def change_settings(**values: object) -> None:
        catalog.settings = Settings(**{**catalog.settings.model_dump(), **values})

    return change_settings


def add_label(catalog: Catalog, *, hours_ago: float) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, (proposal,) = add_round(session, patches[:1])
        label = label_of(session, proposal, 1)
        label.created_at = now() - timedelta(hours=hours_ago)
        session.add(label)


def test_nothing_is_due_in_an_empty_system(catalog):
    tick(catalog, reconcile=False)
    assert open_kinds(catalog) == []


def test_an_action_that_fails_is_tried_again(caplog):
    stop, tried = threading.Event(), []

    def action() -> None:
        tried.append(len(tried))
        if len(tried) == 1:
            raise RuntimeError("an error that nobody expected")
        stop.set()

    repeat("the action", action, 0.001, stop).join(10)
    assert tried == [0, 1]
    assert "the action failed; it is tried again" in caplog.text


def test_label_studio_is_asked_when_it_is_time(catalog):
    tick(catalog, reconcile=True)
    tick(catalog, reconcile=True)
    assert open_kinds(catalog) == ["compare_masks", "mend_files", "sync_label_studio"]
    assert len(pushed(catalog)) == 3


def test_superseded_scorings_are_removed_by_and_by(catalog, change):
    change(keep_scorings=1)
    with catalog.database.write() as session:
        _, patches = add_scene(session, state=SceneState.REGISTERED)
        add_scoring(session, 1, {patches[0].id: 0.5})
    tick(catalog, reconcile=False)
    assert open_kinds(catalog) == []
    with catalog.database.write() as session:
        add_scoring(session, 2, {patches[0].id: 0.5})
    tick(catalog, reconcile=False)
    assert open_kinds(catalog) == ["remove_superseded"]


@pytest.mark.parametrize(("hours_ago", "due"), [(0.9, []), (1.1, ["fine_tune"])])
def test_the_last_few_labels_are_not_stranded(catalog, change, hours_ago, due):
    change(fine_tune_after_labels=20, fine_tune_after_s=3600)
    add_label(catalog, hours_ago=hours_ago)
    tick(catalog, reconcile=False)
    assert open_kinds(catalog) == due


def test_work_that_redis_lost_is_handed_over_again(catalog):
    with catalog.write() as session:
        jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
    catalog.queue.connection.flushall()
    assert pushed(catalog) == []
    tick(catalog, reconcile=False)
    assert len(pushed(catalog)) == 1


def test_work_of_a_dead_worker_is_handed_over(catalog):
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
        jobs.claim(session, job.id)
        job.heartbeat_at = now() - timedelta(seconds=catalog.settings.job_stale_after_s + 1)
    tick(catalog, reconcile=False)
    with catalog.read() as session:
        again = session.get_one(Job, job.id)
    assert (again.state, again.failures, again.error) == (JobState.QUEUED, 1, "its worker died")


def finished_round(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
        session.add(Round(strategy=Strategy.RANDOM, size=1, seed=0, state=RoundState.COMPLETE))


def test_rounds_follow_one_another_if_that_is_wished(catalog, change):
    finished_round(catalog)
    tick(catalog, reconcile=False)
    assert open_kinds(catalog) == []
    change(auto_rounds=True, random_start_rounds=2)
    tick(catalog, reconcile=False)
    assert open_kinds(catalog) == ["propose_round"]


@pytest.fixture
def fail_round(catalog: Catalog):
    """Cancel the job that chooses the open round, which then fails; return the ids of the job and of the round."""

    def cancel_choice() -> tuple[str, int]:
        with catalog.database.write() as session:
            failed = session.scalars(select(Round).where(Round.state == RoundState.CHOOSING)).one()
            job = jobs.last_of(session, JobKind.PROPOSE_ROUND, str(failed.id))
            failures.cancel(session, job.id)
        return job.id, failed.id

    return cancel_choice


def round_states(catalog: Catalog) -> list[str]:
    with catalog.read() as session:
        return [state.value for state in session.scalars(select(Round.state).order_by(Round.id))]


def test_no_round_follows_one_that_failed_until_a_person_retries_it(catalog, change, fail_round):
    finished_round(catalog)
    change(auto_rounds=True, random_start_rounds=9)
    tick(catalog, reconcile=False)
    job_id, round_id = fail_round()
    for _ in range(3):
        tick(catalog, reconcile=False)
    assert round_states(catalog) == ["complete", "failed"]
    with catalog.database.write() as session:
        failures.retry(session, job_id)
        session.get_one(Round, round_id).state = RoundState.COMPLETE
        session.get_one(Job, job_id).state = JobState.FINISHED
    tick(catalog, reconcile=False)
    assert round_states(catalog) == ["complete", "complete", "choosing"]


def test_rounds_follow_again_once_a_person_has_opened_another_than_the_failed_one(catalog, change, fail_round):
    finished_round(catalog)
    change(auto_rounds=True, random_start_rounds=9)
    tick(catalog, reconcile=False)
    fail_round()
    with catalog.database.write() as session:
        by_hand = rounds.open_round(session, catalog.settings, Strategy.RANDOM, 1)
        by_hand.state = RoundState.COMPLETE
    tick(catalog, reconcile=False)
    assert round_states(catalog) == ["complete", "failed", "complete", "choosing"]


def test_what_people_change_of_the_settings_is_obeyed_at_the_next_tick(catalog, settings):
    finished_round(catalog)
    page = Catalog(settings)  # of the API, another process
    changing_settings.change(page, {"auto_rounds": True}, "olga")
    tick(catalog, reconcile=False)
    assert open_kinds(catalog) == ["propose_round"]
    changing_settings.change(page, {"auto_rounds": None}, "olga")
    tick(catalog, reconcile=False)
    assert not catalog.settings.auto_rounds
    page.close()


def test_a_round_that_cannot_be_ranked_yet_does_not_stop_the_clock(catalog, change):
    finished_round(catalog)
    change(auto_rounds=True, random_start_rounds=1)  # the next must rank, but no version has scored the pool
    tick(catalog, reconcile=True)
    assert open_kinds(catalog) == ["compare_masks", "mend_files", "sync_label_studio"]
    assert len(pushed(catalog)) == 3


def test_without_redis_rows_are_kept(catalog, settings):
    deaf = Catalog(Settings(**{**settings.model_dump(), "redis_url": NO_REDIS}))
    with pytest.raises(ServiceDownError, match="Redis does not answer"):
        tick(deaf, reconcile=True)
    deaf.close()
    assert open_kinds(catalog) == ["compare_masks", "mend_files", "sync_label_studio"]
    tick(catalog, reconcile=False)
    assert len(pushed(catalog)) == 3
