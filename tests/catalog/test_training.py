from datetime import timedelta
from typing import Any

import pytest

from catalog import jobs, labels, references, set_aside, training, withdrawals
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    Patch,
    Proposal,
    ProposalReason,
    Round,
    RunState,
    RunTrigger,
    SceneRole,
    SceneState,
    TrainingRun,
    now,
)
from catalog.settings import Settings
from catalog.withdrawal_records import Withdrawal
from tests.catalog_fixtures import PROJECT_ID, add_round, add_scene, deletion_of, label_of


@pytest.fixture
def proposals(catalog: Catalog) -> list[Proposal]:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, made = add_round(session, patches[:6])
    return made


def add_label(catalog: Catalog, proposal: Proposal, annotation_id: int, minutes: float = 0) -> int:
    with catalog.database.write() as session:
        label = label_of(session, session.get_one(Proposal, proposal.id), annotation_id, minutes)
        labels.store(session, label)
        return label.id


def due(catalog: Catalog, **changes: object) -> str | None:
    """Return why a fine-tune is enqueued, if it is; and finish its job."""
    values = {"fine_tune_after_labels": 3, "fine_tune_after_s": 3600.0, "var_dir": catalog.settings.var_dir}
    with catalog.database.write() as session:
        job = training.enqueue_if_due(session, Settings(**{**values, **changes}))
        if job is None:
            return None
        job.state = JobState.FINISHED
        return str(job.subject["trigger"])


def run(catalog: Catalog, state: RunState) -> int:
    with catalog.database.write() as session:
        run_id = training.begin_run(session, RunTrigger.LABELS).id
    with catalog.database.write() as session:
        if state is not RunState.OPEN:
            training.end_run(session, run_id, state)
    return run_id


def test_enough_labels_start_a_fine_tune(catalog: Catalog, proposals: list[Proposal]) -> None:
    assert due(catalog) is None
    for number in range(2):
        add_label(catalog, proposals[number], number)
    assert due(catalog) is None
    add_label(catalog, proposals[2], 2)
    assert due(catalog) == "enough new labels"


def test_labels_that_the_last_run_knew_are_not_new(catalog: Catalog, proposals: list[Proposal]) -> None:
    for number in range(3):
        add_label(catalog, proposals[number], number)
    run(catalog, RunState.FINISHED)
    assert due(catalog) is None
    for number in range(3, 6):
        assert due(catalog) is None
        add_label(catalog, proposals[number], number)
    assert due(catalog) == "enough new labels"


def test_the_last_few_labels_are_not_stranded(catalog: Catalog, proposals: list[Proposal]) -> None:
    label_id = add_label(catalog, proposals[0], 1)
    assert due(catalog) is None
    with catalog.database.write() as session:
        session.get_one(Label, label_id).created_at = now() - timedelta(seconds=3601)
    assert due(catalog) == "time limit"
    run(catalog, RunState.FINISHED)
    assert due(catalog) is None


def test_one_fine_tune_is_asked_for_at_a_time(catalog: Catalog, proposals: list[Proposal]) -> None:
    for number in range(3):
        add_label(catalog, proposals[number], number)
    with catalog.database.write() as session:
        jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
    assert due(catalog) is None


def test_a_failed_run_is_not_repeated_until_there_is_something_new(catalog: Catalog, proposals: list[Proposal]) -> None:
    for number in range(3):
        add_label(catalog, proposals[number], number)
    run(catalog, RunState.FAILED)
    assert due(catalog) is None
    assert due(catalog, fine_tune_after_s=1e-9) is None
    add_label(catalog, proposals[3], 3)
    assert due(catalog, fine_tune_after_labels=1) == "enough new labels"


def test_a_killed_run_is_repeated(catalog: Catalog, proposals: list[Proposal]) -> None:
    for number in range(3):
        add_label(catalog, proposals[number], number)
    run(catalog, RunState.KILLED)
    assert due(catalog) == "enough new labels"


def test_of_each_patch_the_newest_label_that_stands_is_learnt(catalog: Catalog, proposals: list[Proposal]) -> None:
    add_label(catalog, proposals[0], annotation_id=2, minutes=9)
    newest = add_label(catalog, proposals[0], annotation_id=1, minutes=3)  # received later, by a clock set back
    other = add_label(catalog, proposals[1], annotation_id=3, minutes=1)
    with catalog.read() as session:
        assert [label.id for label in training.training_labels(session)] == [newest, other]
    with catalog.database.write() as session:
        labels.supersede(session, PROJECT_ID, 1)
        assert newest not in [label.id for label in training.training_labels(session)]
        assert len(training.training_labels(session)) == 2


def test_a_second_label_counts_also_after_the_first_was_changed(catalog: Catalog, proposals: list[Proposal]) -> None:
    with catalog.database.write() as session:
        _, (again,) = add_round(session, [session.get_one(Patch, proposals[0].patch_id)], first_task=90)
        again.reason = ProposalReason.SECOND_LABEL
    add_label(catalog, proposals[0], annotation_id=1)
    second = add_label(catalog, again, annotation_id=2, minutes=1)
    changed = add_label(catalog, proposals[0], annotation_id=1, minutes=2)
    with catalog.read() as session:
        assert [label.id for label in training.training_labels(session)] == [second, changed]
        assert training.count_teaching(session, [second, changed]) == 2


def test_labels_that_teach_no_more_are_not_counted(catalog: Catalog, proposals: list[Proposal]) -> None:
    """Six labels were learnt: one stands, one was changed, one is set aside; the others teach no more."""
    learnt = [add_label(catalog, proposal, number) for number, proposal in enumerate(proposals)]
    unchanged, changed, aside, deleted, reference, withdrawn = range(6)
    with catalog.read() as session:
        assert training.count_teaching(session, learnt) == 6
    add_label(catalog, proposals[changed], changed, minutes=1)
    with catalog.database.write() as session:
        set_aside.set_aside(session, set_aside.Kind.LABEL, "label", "its mask is lost", learnt[aside])
        labels.supersede(session, PROJECT_ID, deleted)
        references.accept(session, learnt[reference])
    with catalog.read() as session:
        assert training.count_teaching(session, learnt) == 4
    with catalog.database.write() as session:
        label = session.get_one(Label, learnt[withdrawn])
        withdrawals.withdraw(session, Withdrawal(annotator="", reason="careless", actor="ann"), [label])
    add_label(catalog, proposals[withdrawn], withdrawn, minutes=2)  # submitted anew on the old task
    with catalog.read() as session:
        assert training.count_teaching(session, learnt) == 3
        assert training.count_teaching(session, [learnt[unchanged]]) == 1


def test_a_run_freezes_what_it_learns_from(catalog: Catalog, proposals: list[Proposal]) -> None:
    ids = [add_label(catalog, proposals[number], number) for number in range(3)]
    run_id = run(catalog, RunState.OPEN)
    add_label(catalog, proposals[3], 3)
    with catalog.read() as session:
        frozen = training.unfinished_run(session)
        assert frozen is not None
        assert (frozen.id, frozen.label_ids, frozen.seed) == (run_id, ids, run_id)
        by_id = [session.get_one(Label, label_id) for label_id in ids]
        assert frozen.labels_sha256 == training.checksum(by_id)
    with catalog.database.write() as session:
        ended = training.end_run(session, run_id, RunState.FAILED, "boom")
        assert (ended.state, ended.error) == (RunState.FAILED, "boom")
        assert training.unfinished_run(session) is None


def test_a_run_may_have_more_labels_than_a_query_takes_parameters(catalog: Catalog, proposals: list[Proposal]) -> None:
    ids = [add_label(catalog, proposals[number], number) for number in range(3)]
    run_id = run(catalog, RunState.OPEN)
    with catalog.database.write() as session:
        of_run = session.get_one(TrainingRun, run_id)
        of_run.label_ids = list(range(300_000, 0, -1))
        assert [label.id for label in training.labels_of_run(session, of_run)] == ids


def test_the_checksum_is_that_of_the_content(catalog: Catalog, proposals: list[Proposal]) -> None:
    first, second = Label(id=1, mask_sha256="a" * 64), Label(id=2, mask_sha256="b" * 64)
    base = training.checksum([first, second])
    # printf '1 %s\n2 %s' aaa... bbb... | sha256sum
    assert base == "9e2be1bdec80cffe80f5f73f7dcb1c34bc7f5682e26fa3db11aefd4325b3b873"
    assert training.checksum([first]) != base
    assert training.checksum([first, Label(id=3, mask_sha256="b" * 64)]) != base
    assert training.checksum([first, Label(id=2, mask_sha256="c" * 64)]) != base


def test_a_fine_tune_by_hand_needs_a_label(catalog: Catalog, proposals: list[Proposal]) -> None:
    with pytest.raises(ConflictError, match="label a round in Label Studio first"), catalog.database.write() as session:
        training.enqueue_by_hand(session)
    add_label(catalog, proposals[0], 1)
    with catalog.database.write() as session:
        job = training.enqueue_by_hand(session)
    with catalog.read() as session:
        assert session.get_one(Job, job.id).subject == {"trigger": "by hand"}


def test_a_run_without_labels_does_not_begin(catalog: Catalog, proposals: list[Proposal]) -> None:
    add_label(catalog, proposals[0], 1)
    with catalog.database.write() as session:
        withdrawn = labels.proposal_of_task(session, PROJECT_ID, 1)
        assert withdrawn is not None
        labels.delete_task(session, withdrawn, deletion_of(session, withdrawn, 1))
        assert session.get_one(Patch, proposals[0].patch_id).state.value == "unlabelled"
    with pytest.raises(ConflictError, match="every one has been withdrawn"), catalog.database.write() as session:
        training.begin_run(session, RunTrigger.MANUAL)


def test_a_fine_tune_that_failed_is_not_enqueued_again_until_there_is_something_new(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    for number in range(3):
        add_label(catalog, proposals[number], number)
    with catalog.database.write() as session:
        job = training.enqueue_if_due(session, catalog.settings.model_copy(update={"fine_tune_after_labels": 3}))
        assert job is not None
        jobs.claim(session, job.id)
        jobs.fail(session, job.id, 1, "found no validation scene")
    assert due(catalog) is None
    assert due(catalog, fine_tune_after_s=1e-9) is None
    add_label(catalog, proposals[3], 3)
    assert due(catalog) == "enough new labels"


@pytest.mark.parametrize(("ended", "then"), [(JobState.FAILED, "enough new labels"), (JobState.CANCELLED, None)])
def test_labels_that_came_during_a_fine_tune_that_failed_were_not_tried(
    catalog: Catalog, proposals: list[Proposal], ended: JobState, then: str | None
) -> None:
    for number in range(3):
        add_label(catalog, proposals[number], number)
    with catalog.database.write() as session:
        job = jobs.enqueue(session, JobKind.FINE_TUNE).id
        tried = training.begin_run(session, RunTrigger.LABELS).id
    for number in range(3, 6):
        add_label(catalog, proposals[number], number)
    with catalog.database.write() as session:
        training.end_run(session, tried, RunState.FAILED)
        open_job = session.get_one(Job, job)
        open_job.state, open_job.finished_at = ended, now()
    assert due(catalog) == then


def test_rounds_that_follow_one_another_wait_for_what_the_last_one_taught(
    catalog: Catalog, proposals: list[Proposal]
) -> None:
    add_label(catalog, proposals[0], 0)
    assert due(catalog, auto_rounds=True) is None  # five proposals of the round still wait for annotators
    with catalog.database.write() as session:
        for proposal in session.get_one(Round, proposals[0].round_id).proposals[1:]:
            labels.refresh_states(session, proposal, skipped=True)
    assert due(catalog) is None
    assert due(catalog, auto_rounds=True) == "round complete"


def with_priors(catalog: Catalog, *, judged: bool = True, others: SceneState = SceneState.READY) -> None:
    """A pool scene with prior outlines, perhaps a validation scene, and another pool scene in some state."""
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
        scene.prior_outlines = {"layers": []}
        add_scene(session, "other", state=others, offset_px=400)
        if judged:
            add_scene(session, "validation", SceneRole.VALIDATION, offset_px=800)


def test_prior_outlines_start_the_first_fine_tune_once(catalog: Catalog) -> None:
    with_priors(catalog)
    assert due(catalog) == "prior outlines"
    assert due(catalog) is None


def test_prior_outlines_start_nothing_after_the_first_run(catalog: Catalog) -> None:
    with_priors(catalog)
    run(catalog, RunState.FINISHED)
    assert due(catalog) is None


@pytest.mark.parametrize("lacking", [{"judged": False}, {"others": SceneState.REGISTERED}])
def test_prior_outlines_wait_for_all_scenes(catalog: Catalog, lacking: dict[str, Any]) -> None:
    with_priors(catalog, **lacking)
    assert due(catalog) is None


def test_a_person_may_train_on_prior_outlines_alone(catalog: Catalog) -> None:
    refused = pytest.raises(ConflictError, match="or register a scene of the pool with prior outlines")
    with refused, catalog.database.write() as session:
        training.enqueue_by_hand(session)
    with_priors(catalog)
    with catalog.database.write() as session:
        training.enqueue_by_hand(session)
        begun = training.begin_run(session, RunTrigger.PRIORS)
        assert (begun.label_ids, training.labels_of_run(session, begun)) == ([], [])
