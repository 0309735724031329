"""The situation that rows tell, and so the next step and the light of the dashboard."""

from datetime import UTC, datetime, timedelta

import pytest

from catalog import failures, jobs, registry_copy
from catalog.context import Catalog
from catalog.data_set_records import DataSet
from catalog.job_queue import ASKED_BY_READERS
from catalog.records import JobKind, RoundState, Scene, SceneRole, SceneState
from catalog.registry_records import PartState
from services import reproductions
from services.next_step import Act, light, next_step
from services.part_checks import STALE_S
from services.reproductions import Options
from services.rounds import abandon
from services.situation import Situation, Work, read_situation
from tests import dashboard_world as world
from tests.catalog_fixtures import add_scene


@pytest.fixture
def in_round_3(catalog: Catalog) -> Catalog:
    with catalog.database.write() as session:
        world.populate(session)
    world.tick(catalog)
    return catalog


def read(catalog: Catalog) -> Situation:
    with catalog.read() as session:
        return read_situation(session, catalog.settings)


def step(catalog: Catalog) -> str:
    return next_step(read(catalog), datetime.now(UTC)).text


def test_a_loop_in_its_third_round(in_round_3: Catalog) -> None:
    """16 labels, of which the run of version 2 learnt 12; the tasks that are left are two of six."""
    found = read(in_round_3)
    assert light(found).tone is None
    assert found.scenes == {(role, SceneState.READY): 1 for role in SceneRole}
    assert found.round is not None
    assert (found.round.id, found.round.state, found.round.done, found.round.waiting) == (3, RoundState.OPEN, 4, 2)
    assert (found.labels, found.new.count, found.new.needed) == (16, 4, 20)
    assert found.new.due_at is not None
    assert timedelta(minutes=59) < found.new.due_at - datetime.now(UTC) <= timedelta(hours=1)
    assert (found.rounds, found.is_scored, found.has_candidates, found.fine_tune) == (3, True, True, None)


def test_the_steps_of_a_round_follow_the_rows(in_round_3: Catalog) -> None:
    assert step(in_round_3) == "Round 3 waits for its annotators: 4 of 6 patches are done."
    with in_round_3.database.write() as session:
        world.complete_round(session)
    assert step(in_round_3).startswith("Open the next round: 16 more labels start a fine-tune on the 4 labels")
    with in_round_3.database.write() as session:
        job = world.run_fine_tune(session)
    assert step(in_round_3) == "A version is in training, a few seconds left; then it scores the pool."
    with in_round_3.database.write() as session:
        jobs.fail(session, job, 1, "out of memory")
    assert step(in_round_3) == "The fine-tune failed: out of memory. Mend the cause, then retry."
    with in_round_3.database.write() as session:
        failures.retry(session, job)
    assert step(in_round_3) == "A version waits for its turn to be trained; then it scores the pool."


def test_a_failed_job_is_no_trouble_once_its_work_is_done_or_not_wanted(in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        scene, _ = add_scene(session, "broken", state=SceneState.REGISTERED, offset_px=5000)
        failed = jobs.enqueue(session, JobKind.TILE_SCENE, str(scene.id), scene_id=scene.id)
        jobs.claim(session, failed.id)
        jobs.fail(session, failed.id, 1, "found no pixel that is valid")
        scene_id = scene.id
    assert [job.id for job in read(in_round_3).failed_jobs] == [failed.id]
    with in_round_3.database.write() as session:
        session.get_one(Scene, scene_id).state = SceneState.REMOVED
    assert light(read(in_round_3)).tone is None


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (JobKind.EXPORT_DATASET, "Making a data set"),
        (JobKind.EXPORT_SUBMISSION, "Writing outlines for GLIMS"),
        (JobKind.RUN_EXPERIMENT, "An experiment"),
    ],
)
def test_a_failed_data_set_is_no_trouble_once_it_is_removed(in_round_3: Catalog, kind: JobKind, what: str) -> None:
    with in_round_3.database.write() as session:
        failed = jobs.enqueue(session, kind, "a", uid="a")
        jobs.claim(session, failed.id)
        jobs.fail(session, failed.id, 1, "found no labels")
        asked = DataSet(request={}, with_model=False, asked_by="olga", job_id=failed.id)
        session.add(asked)
    assert step(in_round_3) == f"{what} failed: found no labels. Mend the cause, then retry."
    with in_round_3.database.write() as session:
        session.delete(session.get_one(DataSet, asked.id))
    assert light(read(in_round_3)).tone is None


def test_a_version_that_cannot_be_trained_again_is_no_trouble_of_the_loop(in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        waiting = reproductions.ask(session, 2, Options(), "olga")
    assert read(in_round_3).reproduction == Work(running=False)
    with in_round_3.database.write() as session:
        jobs.claim(session, waiting.id)
        jobs.fail(session, waiting.id, 1, "found 1 of the 4 labels without a mask")
    assert read(in_round_3).reproduction is None
    assert light(read(in_round_3)).tone is None


@pytest.mark.parametrize("kind", sorted(ASKED_BY_READERS))
def test_what_readers_asked_for_in_vain_holds_up_nobody(in_round_3: Catalog, kind: JobKind) -> None:
    with in_round_3.database.write() as session:
        failed = jobs.enqueue(session, kind, "a", scene_id=1)
        jobs.claim(session, failed.id)
        jobs.fail(session, failed.id, 1, "found 3 bands, expected 7")
    assert light(read(in_round_3)).tone is None


def test_a_cancelled_first_version_is_not_waited_for(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        scene.prior_outlines = {"paths": ["old.gpkg"]}
        add_scene(session, "judge", SceneRole.VALIDATION, offset_px=5000)
    world.tick(catalog)
    assert step(catalog) == "The first version is about to learn from the old outlines, without any label."
    with catalog.database.write() as session:
        failures.cancel(session, jobs.enqueue(session, JobKind.FINE_TUNE, trigger="priors").id)
    assert step(catalog).startswith("Open the first round")


def test_a_cancelled_fine_tune_is_retried_by_its_own_job(in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        world.complete_round(session)
        cancelled = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
        failures.cancel(session, cancelled.id)
    found = next_step(read(in_round_3), datetime.now(UTC))
    assert (found.act, found.subject) == (Act.RETRY_JOB, cancelled.id)


def test_failed_rounds_events_parts_and_alerts_are_troubles(in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        event = world.add_failed_event(session)
        world.add_alert(session)
        abandon(session, 3)
        assert event.id
    assert step(in_round_3) == "1 drawing was not understood: look at the reason, and replay."
    assert [alert.version for alert in read(in_round_3).alerts] == [2]


def test_a_clock_that_stopped_is_the_first_trouble(in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        ticked = session.get_one(PartState, "clock")
        ticked.checked_at -= timedelta(seconds=STALE_S + 45)
        registry_copy.note_seen(session)
    assert step(in_round_3).startswith("The clock: not checked for 6")
    assert light(read(in_round_3)).words.startswith(
        "Not healthy: The clock, The queue or its workers, MLflow, Label Studio do not answer as expected"
    )
