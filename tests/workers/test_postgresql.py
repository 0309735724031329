"""Workers on PostgreSQL, where only locks keep two of them apart; SQLite has one writer anyway."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import labels, registry_copy, training, withdrawals
from catalog import rounds as stored_rounds
from catalog.context import Catalog
from catalog.errors import ConflictError, LabelsWithdrawnError
from catalog.records import (
    EventState,
    Job,
    JobKind,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    SceneRole,
    TrainingRun,
    now,
)
from catalog.rounds import Choice
from catalog.settings import Strategy
from catalog.withdrawal_records import Withdrawal
from labeling.errors import EventError
from services import corrections, rounds
from services import withdrawals as withdrawing
from services.class_scheme import store_scheme
from services.corrections import Correction
from services.label_studio import _store_project
from services.registration import store_scene
from services.scene_removal import remove_scene
from services.scene_replacement import LabelFate, replace_scene
from services.withdrawals import WithdrawalEffect, WithdrawalRequest
from tests.catalog.conftest import database_url
from tests.catalog_fixtures import add_round, add_scene
from tests.workers.desk import ANNOTATION, Desk, box, brush, deleted, moment, saved, sit_down, task_deleted, updated
from tests.workers.rows import claimed, described_anew
from tests.workers.threads import together
from workers import ingest_label as ingestion
from workers.jobs import JobContext, _call
from workers.training_run import note_version

__all__ = ["database_url"]


def reopen(session: Session, event_id: int) -> None:
    labels.reopen(labels.lock_event(session, event_id))


ICE = brush(box(2, 2, 20, 20))


@pytest.fixture
def desk(catalog: Catalog, tmp_path: Path) -> Desk:
    return sit_down(catalog, tmp_path / "a.tif")


def ingest_together(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *payloads: dict, at_lock: int | None = None
) -> list[EventState]:
    """Ingest events in workers that reach the lock of the proposal before any of them has changed anything.

    `at_lock` says how many do, all of them by default: a state that was overtaken is settled without the lock.
    """
    event_ids = [event_id for payload in payloads for event_id in desk.receive(payload)]
    all_there, lock = threading.Barrier(at_lock or len(event_ids)), labels.lock
    first_time = threading.local()

    def lock_together(*arguments: object) -> object:
        # SQLite's one writer holds everything: there, the others cannot come so far.
        if not desk.catalog.database.is_sqlite and not getattr(first_time, "over", False):
            first_time.over = True
            all_there.wait(30)
        return lock(*arguments)

    monkeypatch.setattr(ingestion.labels, "lock", lock_together)
    together(*[lambda event_id=event_id: desk.ingest(event_id) for event_id in event_ids])
    with desk.catalog.read() as session:
        return list(
            session.scalars(select(LabelEvent.state).where(LabelEvent.id.in_(event_ids)).order_by(LabelEvent.id))
        )


def test_of_two_versions_ingested_at_once_the_newer_stands(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest_together(desk, monkeypatch, saved(desk.first, []), updated(desk.first, [ICE], 5))
    assert (desk.mask()[box(2, 2, 20, 20)] == 1).all()
    assert desk.states() == ("labelled", "labelled", "open")


def test_a_deletion_ingested_at_once_with_its_annotation_holds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    states = ingest_together(desk, monkeypatch, saved(desk.first, [ICE]), deleted(), at_lock=1)
    assert states == [EventState.SUPERSEDED, EventState.APPLIED]
    assert desk.standing() == []
    assert desk.states() == ("published", "proposed", "open")


def test_a_deleted_task_ingested_at_once_with_its_annotation_holds(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    ingest_together(desk, monkeypatch, saved(desk.first, [ICE]), task_deleted(desk.first.task_id), at_lock=1)
    assert desk.standing() == []
    assert desk.states() == ("withdrawn", "unlabelled", "open")


def test_the_last_two_answers_ingested_at_once_complete_the_round(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    other = saved(desk.second, [], id=ANNOTATION + 1, created_at=moment(1), was_cancelled=True)
    ingest_together(desk, monkeypatch, saved(desk.first, [ICE]), other)
    assert desk.states() == ("labelled", "labelled", "complete")
    with desk.catalog.read() as session:
        assert labels.find_proposal(session, desk.second.uid).state is ProposalState.SKIPPED


def ask_twice_about_one_patch(desk: Desk) -> None:
    """Let the second proposal of a desk be of a later round about the patch of the first, as a second label is."""
    with desk.catalog.database.write() as session:
        _, (desk.second,) = add_round(session, [session.get_one(Patch, desk.first.patch_id)], first_task=90)


def test_of_two_answers_for_one_patch_ingested_at_once_the_second_counts_the_first(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_twice_about_one_patch(desk)
    both_stored, refresh_states = threading.Barrier(2), labels.refresh_states

    def refresh_together(session: Session, proposal: Proposal, *, skipped: bool) -> None:
        if not desk.catalog.database.is_sqlite:  # its one writer would keep the other from storing a label
            both_stored.wait(30)
        refresh_states(session, proposal, skipped=skipped)
        wait_for_lock(session)

    monkeypatch.setattr(labels, "refresh_states", refresh_together)
    ingest_together(
        desk, monkeypatch, saved(desk.first, [ICE]), saved(desk.second, [ICE], id=ANNOTATION + 1, created_at=moment(1))
    )
    assert len(desk.standing()) == 2
    assert desk.states() == ("labelled", "labelled", "open")


def test_two_rounds_that_ask_about_the_same_patches_can_be_abandoned_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with desk.catalog.database.write() as session:
        chosen = [session.get_one(Patch, patch_id) for patch_id in (desk.second.patch_id, desk.first.patch_id)]
        other, _ = add_round(session, chosen, first_task=90)  # in the other order than the first round
    refresh_states = labels.refresh_states

    def refresh_slowly(session: Session, proposal: Proposal, *, skipped: bool) -> None:
        refresh_states(session, proposal, skipped=skipped)
        wait_for_lock(session)

    def abandon_other() -> None:
        with desk.catalog.database.write() as session:
            rounds.abandon(session, other.id)

    monkeypatch.setattr(labels, "refresh_states", refresh_slowly)
    together(lambda: abandon(desk), abandon_other)
    assert desk.states() == ("abandoned", "unlabelled", "abandoned")
    with desk.catalog.read() as session:
        assert {session.get_one(Patch, patch.id).state for patch in chosen} == {PatchState.UNLABELLED}


def test_a_patch_that_is_chosen_while_it_is_corrected_waits_for_its_annotator(desk: Desk) -> None:
    catalog = desk.catalog
    desk.deliver(saved(desk.first, [ICE]))
    with catalog.database.write() as session:
        choosing = Round(strategy=Strategy.RANDOM, size=1, seed=0, state=RoundState.CHOOSING)
        session.add(choosing)
    is_chosen = threading.Event()

    def choose() -> None:
        with catalog.database.write() as session:
            choice = Choice(desk.first.patch_id, ProposalReason.RANDOM_START, None)
            assert stored_rounds.store_choices(session, choosing.id, [choice])
            is_chosen.set()
            wait_for_lock(session)

    def delete_label() -> None:
        is_chosen.wait(30)
        desk.deliver(saved(desk.first, [], 5, was_cancelled=True))

    together(choose, delete_label)
    assert desk.states() == ("skipped", "proposed", "open")


def linger_at_lock(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let ingestion rest once it has locked a proposal; the event is set then."""
    is_locked, lock = threading.Event(), labels.lock

    def lock_and_linger(*arguments: object) -> object:
        locked = lock(*arguments)
        is_locked.set()
        time.sleep(0.5)  # meanwhile the other takes what locks it can get
        return locked

    monkeypatch.setattr(ingestion.labels, "lock", lock_and_linger)
    return is_locked


def abandon(desk: Desk) -> None:
    with desk.catalog.database.write() as session:
        rounds.abandon(session, desk.first.round_id)


def test_a_proposal_abandoned_while_it_is_published_stays_abandoned(desk: Desk) -> None:
    with desk.catalog.database.write() as session:
        session.get_one(Round, desk.first.round_id).state = RoundState.PUBLISHING
        session.get_one(Proposal, desk.first.id).state = ProposalState.CHOSEN
    if desk.catalog.database.is_sqlite:
        pytest.skip("SQLite has one writer: nothing can be abandoned meanwhile")
    with desk.catalog.database.write() as session:
        before = session.get_one(Proposal, desk.first.id)
        abandon(desk)
        stored_rounds.mark_published(session, before.id, 15, 77, "http://al.example")
    assert desk.states() == ("abandoned", "unlabelled", "abandoned")


def test_a_round_abandoned_while_its_choice_fails_stays_abandoned(desk: Desk) -> None:
    if desk.catalog.database.is_sqlite:
        pytest.skip("SQLite has one writer: nothing can be abandoned meanwhile")
    with desk.catalog.database.write() as session:
        session.get_one(Round, desk.first.round_id).state = RoundState.CHOOSING
    with desk.catalog.database.write() as session:
        before = session.get_one(Round, desk.first.round_id)
        abandon(desk)
        stored_rounds.mark_failed(session, before.id, "no scores")
    with desk.catalog.read() as session:
        failed = session.get_one(Round, desk.first.round_id)
        assert (failed.state, failed.error) == (RoundState.ABANDONED, None)


def test_a_round_can_be_abandoned_while_an_answer_is_ingested(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (event_id,) = desk.receive(saved(desk.first, [ICE]))
    is_locked = linger_at_lock(monkeypatch)

    def abandon_meanwhile() -> None:
        is_locked.wait(30)
        monkeypatch.undo()
        abandon(desk)

    together(lambda: desk.ingest(event_id), abandon_meanwhile)
    assert desk.states() == ("labelled", "labelled", "abandoned")


def test_labels_can_be_withdrawn_while_one_of_them_is_changed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.deliver(saved(desk.first, [ICE]))
    desk.deliver(saved(desk.second, [ICE], id=ANNOTATION + 1))
    (event_id,) = desk.receive(updated(desk.second, [], 5, id=ANNOTATION + 1))
    is_locked = linger_at_lock(monkeypatch)

    def withdraw_meanwhile() -> None:
        is_locked.wait(30)
        monkeypatch.undo()
        with desk.catalog.database.write() as session:
            drawn = withdrawals.labels_by(session, withdrawals.annotators(session), None)
            withdrawal = Withdrawal(annotator="an annotator", reason="shifted", actor="an operator", withdrawn_at=now())
            withdrawals.withdraw(session, withdrawal, drawn)

    together(lambda: desk.ingest(event_id), withdraw_meanwhile)
    assert desk.states() == ("abandoned", "unlabelled", "complete")


def withdraw_slowly(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let a withdrawal rest once it has looked for labels and versions; the event is set then."""
    with desk.catalog.write() as session:
        store_scheme(session, desk.catalog.settings)
    has_looked, note_affected = threading.Event(), withdrawing.note_affected

    def note_and_linger(session: Session) -> None:
        note_affected(session)
        if not has_looked.is_set():
            has_looked.set()
            wait_for_lock(session)

    monkeypatch.setattr(withdrawing, "note_affected", note_and_linger)
    return has_looked


def withdraw_all(desk: Desk) -> WithdrawalEffect:
    """Withdraw the labels of the desk's annotator."""
    annotator = desk.standing()[0].annotator
    return withdrawing.withdraw(desk.catalog, WithdrawalRequest(annotator=annotator, reason="shifted"), "an operator")


def test_a_version_is_not_registered_while_its_labels_are_withdrawn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.deliver(saved(desk.first, [ICE]))
    has_looked = withdraw_slowly(desk, monkeypatch)
    with desk.catalog.write() as session:
        run = training.begin_run(session, RunTrigger.MANUAL)

    def register() -> None:
        has_looked.wait(30)
        with pytest.raises(LabelsWithdrawnError, match=r"\(1 of its own\)"):
            note_version(desk.catalog, run, 3, {})

    together(lambda: withdraw_all(desk), register)
    with desk.catalog.read() as session:
        assert session.get_one(TrainingRun, run.id).model_version is None


def test_a_withdrawal_finds_the_version_that_is_registered_and_served_meanwhile(desk: Desk) -> None:
    catalog = desk.catalog
    with catalog.write() as session:
        store_scheme(session, catalog.settings)
    desk.deliver(saved(desk.first, [ICE]))
    is_registered = threading.Event()

    def register() -> None:
        with catalog.write() as session:
            run = training.begin_run(session, RunTrigger.MANUAL)
            run.model_version, run.state = 3, RunState.FINISHED
            registry_copy.set_aliases(session, {"champion": 3, "learner": 3})
            session.flush()
            is_registered.set()
            wait_for_lock(session)

    def withdraw_meanwhile() -> None:
        is_registered.wait(30)
        effect = withdraw_all(desk)
        assert ([(item.version, item.directly) for item in effect.versions], effect.champion) == ([(3, True)], 3)

    together(register, withdraw_meanwhile)


def test_a_label_that_is_stored_while_its_annotator_is_withdrawn_is_withdrawn_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.deliver(saved(desk.first, [ICE]))
    with desk.catalog.database.write() as session:  # of another round, for which neither waits
        _, (other,) = add_round(session, [session.get_one(Patch, desk.second.patch_id)], first_task=90)
    (event_id,) = desk.receive(saved(other, [ICE], id=ANNOTATION + 1, created_at=moment(1)))
    has_looked = withdraw_slowly(desk, monkeypatch)

    def ingest_meanwhile() -> None:
        has_looked.wait(30)
        desk.ingest(event_id)

    together(lambda: withdraw_all(desk), ingest_meanwhile)
    assert desk.standing() == []
    assert desk.event(event_id).detail == "saved before withdrawal 1 of this annotator's labels, so withdrawn, too"


def test_a_correction_that_is_applied_while_its_author_is_withdrawn_is_withdrawn_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.deliver(saved(desk.first, [ICE]))
    has_looked, (label,) = withdraw_slowly(desk, monkeypatch), desk.standing()
    said = Correction(
        id=uuid4(), row_off=0, col_off=0, height=32, width=32, shown=None, seconds=1.0, annotator=label.annotator
    )
    ice = np.ones((32, 32), np.uint8)
    (event,), _ = corrections.record(desk.catalog, desk.scene, said, ice, np.zeros_like(ice))

    def ingest_meanwhile() -> None:
        has_looked.wait(30)
        desk.ingest(event.id)

    together(lambda: withdraw_all(desk), ingest_meanwhile)
    assert desk.standing() == []
    assert desk.event(event.id).state is EventState.APPLIED


@pytest.mark.parametrize("change", [lambda session, event_id: labels.mark_failed(session, event_id, "it died"), reopen])
def test_an_event_that_is_applied_meanwhile_is_neither_given_up_nor_reopened(
    desk: Desk, change: Callable[[Session, int], object]
) -> None:
    """By an attempt that had seemed dead, so that the job was given up (the first) and then retried (the second)."""
    if desk.catalog.database.is_sqlite:
        pytest.skip("SQLite has one writer: nothing can be changed meanwhile")
    (event_id,) = desk.receive(saved(desk.first, [ICE]))
    is_applied = threading.Event()

    def apply() -> None:
        with desk.catalog.database.write() as session:
            session.get_one(LabelEvent, event_id).state = EventState.FAILED if change is reopen else EventState.RECEIVED
        with desk.catalog.database.write() as session:
            labels.settle(session.get_one(LabelEvent, event_id), EventState.APPLIED)
            session.flush()
            is_applied.set()
            time.sleep(0.5)  # meanwhile the other reads the state of before

    def change_meanwhile() -> None:
        is_applied.wait(30)
        with desk.catalog.database.write() as session:
            change(session, event_id)

    together(apply, change_meanwhile)
    assert desk.event(event_id).state is EventState.APPLIED


def test_the_first_worker_decides_which_project_is_ours(desk: Desk) -> None:
    found: list[int] = []

    def store(project_id: int) -> Callable[[], None]:
        return lambda: found.append(_store_project(desk.catalog, project_id))

    together(*[store(project_id) for project_id in (21, 22, 23, 24)])
    assert len(found) == 4
    assert len(set(found)) == 1


def test_of_an_error_of_the_database_readers_are_told_what_it_says_and_the_log_has_the_rest(
    catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    class Doubled(JobContext):
        @contextmanager
        def heartbeats(self) -> Iterator[None]:
            with self.catalog.database.write() as session:
                session.add(Job(id=self.job_id, kind=JobKind.SCORE_POOL, key="another", subject={"secret": "values"}))
            yield

    job = claimed(catalog, JobKind.SCORE_POOL)
    note_end = _call(Doubled(catalog, job), job)
    with catalog.database.write() as session:
        note_end(session)
    says = "UNIQUE constraint failed: jobs.id"
    if not catalog.database.is_sqlite:
        says = 'duplicate key value violates unique constraint "jobs_pkey"'
    with catalog.read() as session:
        assert session.get_one(Job, job.id).error == f"IntegrityError: {says}"
    assert "INSERT INTO jobs" in caplog.text
    assert "values" in caplog.text


def wait_for_lock(session: Session) -> None:
    """Give the other session time to come as far as it can, unless it is done."""
    session.flush()
    time.sleep(0.5)


def test_of_two_scenes_of_different_roles_on_the_same_ground_one_is_registered(catalog: Catalog) -> None:
    with catalog.write() as session:
        store_scheme(session, catalog.settings)
        scene, _ = add_scene(session)
        pool, judging = described_anew(scene, name="a"), described_anew(scene, name="b", role=SceneRole.VALIDATION)
        remove_scene(session, scene.id)
    is_stored = threading.Event()

    def register_first() -> None:
        with catalog.write() as session:
            store_scene(session, catalog.settings, pool, has_champion=True)
            is_stored.set()
            wait_for_lock(session)

    def register_second() -> None:
        is_stored.wait(30)
        with pytest.raises(ConflictError, match="shares ground with 'a'"), catalog.write() as session:
            store_scene(session, catalog.settings, judging, has_champion=True)

    together(register_first, register_second)


def test_a_run_that_begins_while_a_scene_is_replaced_does_not_learn_what_is_discarded(desk: Desk) -> None:
    catalog = desk.catalog
    with catalog.write() as session:
        store_scheme(session, catalog.settings)
    desk.deliver(saved(desk.first, [ICE]))
    abandon(desk)
    is_replaced = threading.Event()

    def discard() -> None:
        with catalog.write() as session:
            new = described_anew(desk.scene)
            replace_scene(session, catalog.settings, desk.scene.id, new, LabelFate.DISCARD, has_champion=True)
            is_replaced.set()
            wait_for_lock(session)

    def begin() -> None:
        is_replaced.wait(30)
        with pytest.raises(ConflictError, match="found no label to learn from"), catalog.write() as session:
            training.begin_run(session, RunTrigger.MANUAL)

    together(discard, begin)


def test_an_answer_that_comes_while_its_scene_is_replaced_becomes_no_label(desk: Desk) -> None:
    catalog = desk.catalog
    desk.deliver(saved(desk.first, [ICE]))
    abandon(desk)
    if catalog.database.is_sqlite:
        pytest.skip("SQLite has one writer: nothing can come meanwhile")
    is_replaced = threading.Event()

    def discard() -> None:
        with catalog.write() as session:
            new = described_anew(desk.scene)
            replace_scene(session, catalog.settings, desk.scene.id, new, LabelFate.DISCARD, has_champion=True)
            is_replaced.set()
            wait_for_lock(session)

    def answer() -> None:
        is_replaced.wait(30)
        with pytest.raises(EventError, match="was removed"):
            desk.deliver(updated(desk.first, [], 5))

    together(discard, answer)
    assert desk.standing() == []
