import pytest

from catalog import failures, jobs, rounds, training
from catalog.context import Catalog
from catalog.errors import ConflictError, JobLostError
from catalog.records import (
    EventState,
    Job,
    JobKind,
    JobState,
    LabelEvent,
    RoundState,
    RunState,
    RunTrigger,
    Scene,
    SceneState,
    TrainingRun,
)
from tests.catalog_fixtures import add_round, add_scene, label_of


def failed(catalog: Catalog, kind: JobKind, **subject: int) -> Job:
    with catalog.database.write() as session:
        job = jobs.claim(session, jobs.enqueue(session, kind, "1", **subject).id)
        assert job is not None
    with catalog.database.write() as session:
        failures.note_failure(session, job, "the disk was full", max_failures=0)
    return job


def test_a_retried_ingestion_finds_its_event_as_it_came(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, (proposal,) = add_round(session, patches[:1])
        event_id = label_of(session, proposal, 1).event_id
        session.get_one(LabelEvent, event_id).state = EventState.RECEIVED
    job = failed(catalog, JobKind.INGEST_LABEL, event_id=event_id)
    with catalog.database.write() as session:
        assert session.get_one(LabelEvent, event_id).state is EventState.FAILED
        failures.retry(session, job.id)
    with catalog.read() as session:
        assert session.get_one(LabelEvent, event_id).state is EventState.RECEIVED
        assert session.get_one(Job, job.id).state is JobState.QUEUED


def test_a_retried_choice_finds_its_round_to_be_chosen(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, _ = add_round(session, patches[:1])
        opened.state = RoundState.CHOOSING
    job = failed(catalog, JobKind.PROPOSE_ROUND, round_id=opened.id)
    with catalog.database.write() as session:
        assert rounds.get(session, opened.id).state is RoundState.FAILED
        failures.retry(session, job.id)
        assert (rounds.get(session, opened.id).state, rounds.get(session, opened.id).error) == (
            RoundState.CHOOSING,
            None,
        )


def test_a_choice_is_not_retried_while_another_is_made(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        first, _ = add_round(session, patches[:1])
        first.state = RoundState.CHOOSING
    job = failed(catalog, JobKind.PROPOSE_ROUND, round_id=first.id)
    with catalog.database.write() as session:
        second, _ = add_round(session, patches[1:2])
        second.state = RoundState.CHOOSING
    with (
        pytest.raises(ConflictError, match=f"round {second.id} is being chosen"),
        catalog.database.write() as session,
    ):
        failures.retry(session, job.id)
    with catalog.read() as session:
        assert session.get_one(Job, job.id).state is JobState.FAILED


def test_a_rejected_scene_is_registered_anew_and_not_retried(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        scene.state, scene.error = SceneState.REJECTED, "found no valid pixel"
    job = failed(catalog, JobKind.TILE_SCENE, scene_id=scene.id)
    with pytest.raises(ConflictError, match="was rejected"), catalog.database.write() as session:
        failures.retry(session, job.id)
    with catalog.read() as session:
        assert session.get_one(Job, job.id).state is JobState.FAILED
        assert session.get_one(Scene, scene.id).state is SceneState.REJECTED


def learning(catalog: Catalog, *, version: int | None = None) -> tuple[Job, int]:
    """A fine-tune that runs, and the id of its run, which has a checkpoint."""
    with catalog.database.write() as session:
        job = jobs.claim(session, jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand").id)
        assert job is not None
        run = TrainingRun(trigger=RunTrigger.MANUAL, label_ids=[1], labels_sha256="0" * 64, seed=0, checkpoint_step=3)
        run.model_version = version
        session.add(run)
    return job, run.id


def run_of(catalog: Catalog, run_id: int) -> tuple[RunState, str | None, int | None]:
    with catalog.read() as session:
        run = session.get_one(TrainingRun, run_id)
        return run.state, run.error, run.checkpoint_step


def test_a_run_ends_with_its_job_that_is_given_up(catalog: Catalog) -> None:
    job, run_id = learning(catalog)
    with catalog.database.write() as session:
        failures.note_failure(session, job, "its worker died", max_failures=2)
    assert run_of(catalog, run_id) == (RunState.OPEN, None, 3)  # the next attempt resumes it
    with catalog.database.write() as session:
        session.get_one(Job, job.id).state = JobState.RUNNING
    with catalog.database.write() as session:
        failures.note_failure(session, job, "its worker died", max_failures=2)
    assert run_of(catalog, run_id) == (RunState.KILLED, "its worker died", None)


def test_a_run_ends_with_its_job_that_is_cancelled_before_its_next_attempt(catalog: Catalog) -> None:
    job, run_id = learning(catalog)
    with catalog.database.write() as session:
        training.interrupt_run(session, run_id)
    with catalog.database.write() as session:
        failures.note_cancelled(session, job)
    assert run_of(catalog, run_id) == (RunState.KILLED, jobs.CANCELLED, None)
    with pytest.raises(JobLostError, match=f"training run {run_id} is killed"), catalog.database.write() as session:
        training.resume_run(session, run_id)


def test_a_run_whose_version_is_registered_is_left_to_be_concluded(catalog: Catalog) -> None:
    job, run_id = learning(catalog, version=4)
    with catalog.database.write() as session:
        failures.note_cancelled(session, job)
    assert run_of(catalog, run_id) == (RunState.OPEN, None, 3)
