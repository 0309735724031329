import pytest

from catalog import failures, jobs, rounds
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import EventState, Job, JobKind, JobState, LabelEvent, RoundState, Scene, SceneState
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
