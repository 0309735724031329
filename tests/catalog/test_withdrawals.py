"""Labels taken back: which rows change, what stands again, and which versions had learnt from them."""

from datetime import timedelta

import pytest

from catalog import candidates, jobs, labels, references, training, withdrawals
from catalog.context import Catalog
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalState,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    TrainingRun,
    now,
)
from catalog.withdrawal_records import Withdrawal, WithdrawnLabel
from catalog.withdrawals import TrainedVersion, affected_by
from tests.catalog_fixtures import NOON, add_round, add_scene, label_of

CARELESS, CAREFUL = "careless@glacier.local", "careful@glacier.local"


@pytest.fixture
def proposals(catalog: Catalog) -> list[Proposal]:
    """Four published proposals of one open round."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, made = add_round(session, patches[:4])
    return made


def draw(catalog: Catalog, proposal: Proposal, annotation: int, minutes: float = 0, by: str = CARELESS) -> int:
    """Store a label saved some minutes after noon."""
    with catalog.database.write() as session:
        label = label_of(session, session.get_one(Proposal, proposal.id), annotation, minutes, annotator=by)
        labels.store(session, label)
        return label.id


def withdraw(catalog: Catalog, by: str = CARELESS, since_minutes: float | None = None) -> tuple[int, int, int]:
    """Withdraw the labels of an annotator; return how many stood, were superseded, and freed a patch."""
    since = None if since_minutes is None else NOON + timedelta(minutes=since_minutes)
    with catalog.database.write() as session:
        found = withdrawals.labels_by(session, withdrawals.spellings(session, by), since)
        withdrawal = Withdrawal(annotator=by, since=since, reason="shifted", actor="an operator", withdrawn_at=now())
        withdrawal.retrain_after_run = withdrawals.newest_run(session)
        freed = withdrawals.withdraw(session, withdrawal, found)
        withdrawals.note_affected(session)
    return freed.standing, freed.superseded, freed.patches


def states(catalog: Catalog, proposal: Proposal) -> tuple[ProposalState, PatchState]:
    with catalog.read() as session:
        return session.get_one(Proposal, proposal.id).state, session.get_one(Patch, proposal.patch_id).state


def standing(catalog: Catalog) -> set[int]:
    with catalog.read() as session:
        return {label.id for label in training.training_labels(session)}


def test_withdrawn_labels_keep_their_rows_and_free_their_patches(catalog, proposals):
    first = draw(catalog, proposals[0], 1)
    second = draw(catalog, proposals[0], 1, minutes=5)  # an update, which superseded the first
    kept = draw(catalog, proposals[1], 2, by=CAREFUL)
    assert withdraw(catalog, CARELESS.upper()) == (1, 1, 1)
    with catalog.read() as session:
        assert {row.label_id for row in session.query(WithdrawnLabel)} == {first, second}
        assert all(session.get_one(Label, label_id).superseded_at is not None for label_id in (first, second))
        assert withdrawals.count_withdrawn(session, [first, kept]) == 1
    assert standing(catalog) == {kept}
    assert states(catalog, proposals[0]) == (ProposalState.ABANDONED, PatchState.UNLABELLED)
    assert states(catalog, proposals[1]) == (ProposalState.LABELLED, PatchState.LABELLED)


def test_labels_saved_before_stand(catalog, proposals):
    before = draw(catalog, proposals[0], 1, minutes=0)
    draw(catalog, proposals[1], 2, minutes=10)
    assert withdraw(catalog, since_minutes=10) == (1, 0, 1)
    assert standing(catalog) == {before}


def test_a_patch_whose_accepted_label_is_withdrawn_may_be_proposed_again(catalog, proposals):
    """No patch is lost: the withdrawal says that the patch is free, and rounds may propose it."""
    accepted = draw(catalog, proposals[0], 1)
    with catalog.database.write() as session:
        references.accept(session, accepted)
        before = candidates.count(session, 0.0, at_most=1000)
    assert withdraw(catalog) == (1, 0, 1)
    with catalog.read() as session:
        assert candidates.count(session, 0.0, at_most=1000) == before + 1


def test_an_older_label_of_another_person_counts_again(catalog, proposals):
    older = draw(catalog, proposals[0], 1, by=CAREFUL)
    newer = draw(catalog, proposals[0], 2, minutes=5)  # a second annotation of the task, over the first
    assert standing(catalog) == {newer}
    assert withdraw(catalog) == (1, 0, 0)
    assert standing(catalog) == {older}
    assert states(catalog, proposals[0]) == (ProposalState.LABELLED, PatchState.LABELLED)


def test_a_withdrawal_keeps_a_complete_round_complete(catalog, proposals):
    for number, proposal in enumerate(proposals, start=1):
        draw(catalog, proposal, number)
    withdraw(catalog)
    with catalog.read() as session:
        assert session.get_one(Round, proposals[0].round_id).state is RoundState.COMPLETE


@pytest.mark.parametrize(
    ("origin", "received_before", "saved_before", "stands"),
    [
        ("webhook", True, True, False),  # its ingestion waited
        ("webhook", False, True, True),  # Label Studio's clock is behind
        ("reconciliation", False, True, False),  # its webhook was lost
        ("reconciliation", False, False, True),
    ],
)
def test_what_is_submitted_anew_stands_and_what_was_late_does_not(
    catalog, proposals, origin, received_before, saved_before, stands
):
    draw(catalog, proposals[0], 1)
    withdraw(catalog)
    minutes = 3 if saved_before else (now() - NOON) / timedelta(minutes=1) + 1
    with catalog.database.write() as session:
        label = label_of(session, session.get_one(Proposal, proposals[0].id), 1, minutes, annotator=CARELESS)
        event = session.get_one(LabelEvent, label.event_id)
        event.origin = origin
        event.received_at = NOON if received_before else now()
        labels.store(session, label)
        assert withdrawals.withdraw_if_late(session, label) != stands
    assert standing(catalog) == ({label.id} if stands else set())
    labelled, free = (ProposalState.LABELLED, PatchState.LABELLED), (ProposalState.ABANDONED, PatchState.UNLABELLED)
    assert states(catalog, proposals[0]) == (labelled if stands else free)


def test_late_labels_of_others_and_of_earlier_times_stand(catalog, proposals):
    draw(catalog, proposals[0], 1, minutes=10)
    withdraw(catalog, since_minutes=5)
    with catalog.database.write() as session:
        for number, (by, minutes) in enumerate(((CAREFUL, 6), (CARELESS, 4)), start=1):
            label = label_of(session, session.get_one(Proposal, proposals[number].id), number, minutes, annotator=by)
            session.get_one(LabelEvent, label.event_id).received_at = NOON
            labels.store(session, label)
            assert not withdrawals.withdraw_if_late(session, label)


def test_versions_are_affected_directly_or_through_their_parents():
    line = [
        TrainedVersion(1, None, [1, 2]),
        TrainedVersion(2, 1, [1, 2, 3]),
        TrainedVersion(3, 2, [1, 2]),  # the label was updated before this one
        TrainedVersion(4, 1, [1, 2, 4]),  # beside the line of 2 and 3
        TrainedVersion(5, 3, [1, 3, 4]),
    ]
    assert affected_by(reversed(line), {3}) == {2: True, 3: False, 5: True}
    assert affected_by(line, {9}) == {}
    assert affected_by(line, {2}) == {1: True, 2: True, 3: True, 4: True, 5: False}


def trained(catalog: Catalog, version: int, parent: int | None) -> None:
    """Add the finished run of a version that learnt from all labels that stand."""
    with catalog.database.write() as session:
        run = training.begin_run(session, RunTrigger.LABELS)
        run.model_version, run.parent_version = version, parent
        training.end_run(session, run.id, RunState.FINISHED)


def test_training_goes_on_from_the_newest_version_that_never_learnt_from_them(catalog, proposals):
    draw(catalog, proposals[0], 1, by=CAREFUL)
    trained(catalog, 1, None)
    trained(catalog, 2, 1)
    draw(catalog, proposals[1], 2)
    trained(catalog, 3, 2)
    trained(catalog, 4, 3)
    withdraw(catalog)
    trained(catalog, 5, 4)  # registered at that moment, before anybody noticed
    with catalog.database.write() as session:
        withdrawals.note_affected(session)
        assert {version: [row.directly for row in rows] for version, rows in affected(session).items()} == {
            3: [True],
            4: [True],
            5: [False],
        }
        assert withdrawals.unaffected_line(session, 5) == [2, 1]
        assert withdrawals.unaffected_line(session, 2) == [2, 1]
    withdraw(catalog, CAREFUL)
    with catalog.read() as session:
        assert withdrawals.unaffected_line(session, 5) == []
        assert [row.withdrawal_id for row in affected(session)[3]] == [1, 2]


affected = withdrawals.affected_versions


@pytest.mark.parametrize("ended", jobs.UNSUCCESSFUL)
def test_a_fine_tune_that_ran_at_a_withdrawal_gives_up_none_that_the_withdrawal_calls_for(catalog, proposals, ended):
    draw(catalog, proposals[0], 1)
    draw(catalog, proposals[1], 2, by=CAREFUL)
    with catalog.database.write() as session:
        running = jobs.enqueue(session, JobKind.FINE_TUNE).id
        run = training.begin_run(session, RunTrigger.LABELS).id
    withdraw(catalog)
    with catalog.database.write() as session:
        assert training.enqueue_if_due(session, catalog.settings) is None  # the job is open
        training.end_run(session, run, RunState.KILLED)
        job = session.get_one(Job, running)
        job.state, job.finished_at = ended, now()
        session.flush()
        assert training.why_due(session, catalog.settings) is RunTrigger.WITHDRAWAL


def test_a_fine_tune_is_due_until_one_begins(catalog, proposals):
    draw(catalog, proposals[0], 1)
    draw(catalog, proposals[1], 2, by=CAREFUL)
    trained(catalog, 1, None)
    withdraw(catalog)
    with catalog.database.write() as session:
        job = training.enqueue_if_due(session, catalog.settings)
        assert job is not None
        assert (job.kind, job.subject) == (JobKind.FINE_TUNE, {"trigger": "labels withdrawn"})
        assert training.enqueue_if_due(session, catalog.settings) is None  # it is open
        job.state, job.finished_at = JobState.FAILED, now()
        session.flush()
        assert training.enqueue_if_due(session, catalog.settings) is None  # it would fail again
        jobs.retry(session, job.id)
        job.state = JobState.FINISHED
    with catalog.database.write() as session:
        assert withdrawals.retraining_due(session)
        training.begin_run(session, RunTrigger.WITHDRAWAL)
        assert not withdrawals.retraining_due(session)


def test_nothing_is_due_when_nothing_is_left_to_learn_from(catalog, proposals):
    draw(catalog, proposals[0], 1)
    trained(catalog, 1, None)
    withdraw(catalog)
    with catalog.database.write() as session:
        assert withdrawals.retraining_due(session)
        assert training.enqueue_if_due(session, catalog.settings) is None


def test_a_run_in_progress_that_learns_from_them_is_found(catalog, proposals):
    draw(catalog, proposals[0], 1)
    draw(catalog, proposals[1], 2, by=CAREFUL)
    with catalog.database.write() as session:
        run_id = training.begin_run(session, RunTrigger.LABELS).id
        assert withdrawals.learning_now(session) is None
    withdraw(catalog)
    with catalog.database.write() as session:
        found = withdrawals.learning_now(session)
        assert isinstance(found, TrainingRun)
        assert found.id == run_id
