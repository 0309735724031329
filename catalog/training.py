"""Training runs: the labels that a fine-tune learns from, when one is due, and its row."""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session, joinedload

from catalog import jobs, rounds, scorings, set_aside, withdrawals
from catalog.errors import ConflictError, JobLostError, SetAsideError
from catalog.installation import lock_installation
from catalog.label_layers import in_layers, place
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    LabelEvent,
    Patch,
    Proposal,
    ProposalReason,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    SceneState,
    TrainingRun,
    now,
)
from catalog.references import TEACHES
from catalog.set_aside import Kind, SetAside
from catalog.settings import Settings
from catalog.withdrawal_records import WithdrawnLabel

ENDED = (RunState.FINISHED, RunState.FAILED, RunState.KILLED)
MOST_PARAMETERS = 10_000
"""Most ids in one query: SQLite takes 32,766 parameters, PostgreSQL 65,535."""


def training_labels(session: Session) -> list[Label]:
    """Return the labels to learn from, ordered by id: neither superseded, covered by another label nor set aside.

    A label of a whole patch covers those below it (`catalog.label_layers`), unless it is a second label: then both
    count.
    `services.composed_labels` composes the labels of a patch. Labels of honeypots do not teach (`catalog.references`).
    """
    ids = _uncovered(session)
    standing = session.scalars(select(Label).where(Label.superseded_at.is_(None)).order_by(Label.id))
    return [label for label in standing if label.id in ids]


def count_teaching(session: Session, label_ids: Collection[int]) -> int:
    """Count how many of some labels teach, or were saved anew under the same annotation, which teaches.

    Others teach no more: they were deleted, withdrawn, discarded with their scene or covered by a newer label, or their
    patch is a reference now. Labels that are set aside count: they teach again once they can be read.
    """
    teaching, withdrawn = _uncovered_or_set_aside(session), set(session.scalars(select(WithdrawnLabel.label_id)))
    statement = select(Label.id, Label.project_id, Label.annotation_id, LabelEvent.annotation_created_at)
    annotation_of = {
        label_id: tuple(annotation) for label_id, *annotation in session.execute(statement.join(LabelEvent))
    }
    annotations = {annotation_of[label_id] for label_id in teaching}
    return sum(
        label_id in teaching
        or (
            label_id not in withdrawn
            and label_id in annotation_of
            and annotation_of[label_id][1] is not None  # a correction on the map
            and annotation_of[label_id] in annotations
        )
        for label_id in set(label_ids)
    )


def _uncovered(session: Session) -> set[int]:
    """Return the ids of the standing labels that no other label covers, without loading the labels.

    Labels that are set aside, or whose scene is, are left out. What they cover stays covered: it was drawn anew.
    """
    return _uncovered_or_set_aside(session) - left_out(session).keys()


def _uncovered_or_set_aside(session: Session) -> set[int]:
    statement = (
        select(Label.patch_id, Label.id, Label.event_id, Label.proposal_id, Proposal.region, Proposal.reason)
        .join(Proposal, Label.proposal_id == Proposal.id)
        .where(Label.superseded_at.is_(None), TEACHES)
        .order_by(Label.patch_id)
    )
    uncovered: set[int] = set()
    for _, of_patch in groupby(session.execute(statement), key=lambda row: row.patch_id):
        layers = in_layers(of_patch, lambda row: place(row.event_id, row.proposal_id, row.reason))
        for row in reversed(layers):
            uncovered.add(row.id)
            if row.region is None and row.reason is not ProposalReason.SECOND_LABEL:
                break
    return uncovered


def left_out(session: Session) -> dict[int, str]:
    """Return the standing labels that are not learnt because they, or their scenes, are set aside: id -> reason."""
    standing = select(Label.id, SetAside.reason).where(Label.superseded_at.is_(None), SetAside.ended_at.is_(None))
    by_label = standing.join(SetAside, (SetAside.kind == Kind.LABEL) & (SetAside.number == Label.id))
    of_scenes = standing.join(Patch, Label.patch_id == Patch.id).join(
        SetAside, (SetAside.kind == Kind.SCENE) & (SetAside.number == Patch.scene_id)
    )
    return {label_id: reason for query in (of_scenes, by_label) for label_id, reason in session.execute(query)}


def all_aside(reasons: Mapping[int, str]) -> SetAsideError:
    """Return the error for a training that has nothing to learn from while labels are set aside: id -> reason."""
    why = "; ".join(dict.fromkeys(reasons.values()))
    return SetAsideError(
        "found every label set aside, so that there is nothing to learn from: this job goes on by itself when one is "
        f"back; cancel it to have the next fine-tune begin with what is labelled then ({why})"
    )


def checksum(labels: list[Label]) -> str:
    """Return the SHA-256 of the ids and mask checksums of the labels, which identifies a training set."""
    text = "\n".join(f"{label.id} {label.mask_sha256}" for label in labels)
    return hashlib.sha256(text.encode()).hexdigest()


def new_labels(session: Session) -> set[int]:
    """Return the ids of the training labels that the last finished run did not use.

    Failed, killed and interrupted runs are ignored: their labels were not learnt. `enqueue_if_due` prevents a failed
    fine-tune from being repeated on the same labels.
    """
    finished = select(TrainingRun).where(TrainingRun.state == RunState.FINISHED)
    last = session.scalar(finished.order_by(TrainingRun.id.desc()).limit(1))
    return _uncovered(session) - (set(last.label_ids) if last else set())


def enqueue_if_due(session: Session, settings: Settings) -> Job | None:
    """Enqueue a fine-tune if there are enough new labels, or if the oldest has waited for ``fine_tune_after_s``.

    With ``auto_rounds``, any new label is enough once the last round has ended, until that is learnt; then labels wait
    for the scoring after which the next round opens. The first version needs no label if a scene of the pool has prior
    outlines. Versions that learnt from labels withdrawn since call for one, too.

    Returns:
        The job; None if none is due (`why_due`).
    """
    trigger = why_due(session, settings)
    return None if trigger is None else _enqueue(session, trigger)


def why_due(session: Session, settings: Settings) -> RunTrigger | None:
    """Return why a fine-tune is due; None if none is, one is open, or the last one failed on these labels.

    All standing labels are read for it: no other writer should wait meanwhile.
    """
    if jobs.is_open(session, JobKind.FINE_TUNE):
        return None
    if _priors_are_due(session):
        return RunTrigger.PRIORS
    if withdrawals.retraining_due(session) and can_learn(session):
        return RunTrigger.WITHDRAWAL
    return _due_by_labels(session, settings)


def _due_by_labels(session: Session, settings: Settings) -> RunTrigger | None:
    """Return why a fine-tune is due on new labels; None if none is."""
    new = new_labels(session)
    if not new or failed_on(session, new):
        return None
    is_between_rounds = settings.auto_rounds and not rounds.is_unfinished(session)
    if is_between_rounds and rounds.are_learnt(session) and scorings.is_under_way(session):
        return (
            None  # a newer version would end this scoring, and corrections that go on would never let one be complete
        )
    if len(new) >= settings.fine_tune_after_labels:
        return RunTrigger.LABELS
    if is_between_rounds and not rounds.are_learnt(session):
        return RunTrigger.ROUND  # the next round waits for it
    if _any_label(session, new, Label.created_at <= now() - timedelta(seconds=settings.fine_tune_after_s)):
        return RunTrigger.TIME_LIMIT
    return None


def must_learn_first(session: Session) -> bool:
    """Return whether a fine-tune has to finish before the next round opens by itself.

    It has to if a round has ended that no finished run has learnt, and there are new labels; or if labels were
    withdrawn that versions learnt from. Labels that are changed afterwards do not count: whoever goes on correcting
    would keep the next round from ever being opened. A fine-tune that fails for good does hold it up: its choice would
    rest on a version that knows nothing of what the last round taught.
    """
    if withdrawals.retraining_due(session) and can_learn(session):
        return True
    return not rounds.are_learnt(session) and bool(new_labels(session))


def has_priors(session: Session) -> bool:
    """Return whether a ready scene of the pool has prior outlines, from which versions learn without any label."""
    pool = select(Scene).where(
        Scene.role == SceneRole.POOL, Scene.state == SceneState.READY, Scene.id.not_in(set_aside.numbers(Kind.SCENE))
    )
    return any(scene.prior_outlines is not None for scene in session.scalars(pool))


def can_learn(session: Session) -> bool:
    """Return whether there is anything to learn from: a label, or a prior outline."""
    return has_priors(session) or bool(_uncovered(session))


def awaits_priors(session: Session) -> bool:
    """Return whether a first version is to learn from prior outlines by itself: none was tried yet."""
    if session.scalar(select(TrainingRun.id).limit(1)) is not None or jobs.last_of(session, JobKind.FINE_TUNE):
        return False
    return has_priors(session)


def _priors_are_due(session: Session) -> bool:
    """Return whether the first version can learn from prior outlines now: its scenes are ready."""
    waiting = select(Scene.id).where(Scene.state == SceneState.REGISTERED)  # its statistics are of the whole pool
    judging = select(Scene.id).where(Scene.role == SceneRole.VALIDATION, Scene.state == SceneState.READY)
    if session.scalar(waiting.limit(1)) is not None or session.scalar(judging.limit(1)) is None:
        return False
    return awaits_priors(session)


def failed_on(session: Session, new: set[int]) -> bool:
    """Return whether the last fine-tune failed on these labels or was cancelled; it is not repeated automatically.

    A run that failed tells which labels it tried. Without one, a job tried those that were there when it ended.
    """
    run = session.scalar(select(TrainingRun).order_by(TrainingRun.id.desc()).limit(1))
    job = jobs.last_of(session, JobKind.FINE_TUNE)
    if run is not None and run.state is RunState.FAILED:
        if new <= set(run.label_ids):
            return True
        if job is not None and job.state is JobState.FAILED and run.created_at >= job.created_at:
            return False
    return (
        job is not None
        and job.state in jobs.UNSUCCESSFUL
        and job.finished_at is not None
        and not _any_label(session, new, Label.created_at > job.finished_at)
    )


def oldest(session: Session, label_ids: set[int]) -> datetime:
    """Return when the first of these labels was stored; there is at least one. Its age alone may start a fine-tune."""
    stored = session.execute(select(Label.id, Label.created_at).where(Label.superseded_at.is_(None)))
    return min(created_at for label_id, created_at in stored if label_id in label_ids)


def _any_label(session: Session, label_ids: set[int], condition: ColumnElement[bool]) -> bool:
    """Return whether any of these labels fulfils a condition. Ids may be too many for a query parameter."""
    return not label_ids.isdisjoint(session.scalars(select(Label.id).where(condition)))


def enqueue_by_hand(session: Session) -> Job:
    """Enqueue a fine-tune at the request of a person.

    Raises:
        ConflictError: there is neither a label nor a prior outline to learn from.
    """
    if not can_learn(session):
        raise ConflictError(
            "found no label to learn from; label a round in Label Studio first, or register a scene of the pool with "
            "prior outlines"
        )
    return _enqueue(session, RunTrigger.MANUAL)


def _enqueue(session: Session, trigger: RunTrigger) -> Job:
    return jobs.enqueue(session, JobKind.FINE_TUNE, trigger=trigger.value)


def unfinished_run(session: Session) -> TrainingRun | None:
    """Return the open or interrupted run of an earlier attempt; None if there is none.

    Only call this in the running fine-tune job, or while none runs: a run in progress looks like one left behind.
    """
    left = select(TrainingRun).where(TrainingRun.state.in_((RunState.OPEN, RunState.INTERRUPTED)))
    return session.scalar(left.order_by(TrainingRun.id.desc()).limit(1))


def labels_of_run(session: Session, run: TrainingRun) -> Sequence[Label]:
    """Return the labels of a run, ordered by id, each with its proposal, patch and scene loaded."""
    return load_labels(session, run.label_ids)


def load_labels(session: Session, label_ids: Iterable[int]) -> list[Label]:
    """Return labels ordered by id, each with its proposal, patch and scene loaded."""
    loaded = joinedload(Label.proposal), joinedload(Label.patch).joinedload(Patch.scene)
    of_run = select(Label).order_by(Label.id).options(*loaded)
    ids = sorted(label_ids)
    slices = (ids[start : start + MOST_PARAMETERS] for start in range(0, len(ids), MOST_PARAMETERS))
    return [label for some in slices for label in session.scalars(of_run.where(Label.id.in_(some)))]


def learnt_first(session: Session, run: TrainingRun) -> list[Label]:
    """Return the labels of a run that no earlier finished run learnt, ordered by id, with their proposals."""
    earlier = select(TrainingRun.label_ids).where(TrainingRun.id < run.id, TrainingRun.state == RunState.FINISHED)
    return load_labels(session, set(run.label_ids).difference(*session.scalars(earlier)))


def traced(session: Session, run: TrainingRun) -> dict[str, object]:
    """Return the fields of log lines about a run, by which the labels are found that it was the first to learn."""
    first = learnt_first(session, run)
    return {"run": run.id, "labels": [label.id for label in first], "proposals": [of.proposal.uid for of in first]}


def begin_run(session: Session, trigger: RunTrigger, training_seed: int = 0) -> TrainingRun:
    """Add a run with the labels to learn from. The seed of its random numbers is its id plus ``training_seed``.

    Raises:
        ConflictError: there is neither a label nor a prior outline to learn from.
        SetAsideError: the same, and labels are set aside.
    """
    lock_installation(session)  # a scene that is replaced at this moment takes its labels with it
    run = TrainingRun(trigger=trigger, label_ids=[], labels_sha256="", seed=0)
    session.add(run)
    session.flush()
    rounds.note_run(session, run.id)
    labels = training_labels(session)
    if not labels and not has_priors(session):
        if aside := left_out(session):
            raise all_aside(aside)
        raise ConflictError("found no label to learn from; every one has been withdrawn")
    run.label_ids, run.labels_sha256 = [label.id for label in labels], checksum(labels)
    run.seed = run.id + training_seed
    return run


def _lock_run(session: Session, run_id: int) -> TrainingRun:
    """Lock a run until the session ends, and return it freshly loaded: another process may be ending it."""
    session.flush()
    return session.get_one(TrainingRun, run_id, with_for_update=True, populate_existing=True)


def end_run(session: Session, run_id: int, state: RunState, error: str | None = None) -> TrainingRun:
    """Close a run as finished, failed or killed; one that has ended stays as it is."""
    run = _lock_run(session, run_id)
    if run.state in {RunState.OPEN, RunState.INTERRUPTED}:
        run.state, run.error, run.finished_at = state, error, now()
    return run


def interrupt_run(session: Session, run_id: int) -> None:
    """Mark an open run as interrupted; it resumes from its checkpoint."""
    run = _lock_run(session, run_id)
    if run.state is RunState.OPEN:
        run.state = RunState.INTERRUPTED


def discard_unfinished_run(session: Session, reason: str) -> None:
    """Close the unfinished run as killed, if there is one, since its job has ended; the next fine-tune begins anew.

    A run whose version is registered stays open: the next fine-tune concludes it. What MLflow has of a closed run, and
    its checkpoint, are left to `workers.run_recovery.recover`.
    """
    left = unfinished_run(session)
    if left is not None and _lock_run(session, left.id).model_version is None:
        left.checkpoint_step = None
        end_run(session, left.id, RunState.KILLED, reason)


def resume_run(session: Session, run_id: int) -> None:
    """Mark an interrupted run as open again.

    Raises:
        JobLostError: it has ended meanwhile, since its job was cancelled or given up.
    """
    run = _lock_run(session, run_id)
    if run.state in ENDED:
        raise JobLostError(
            f"training run {run_id} is {run.state.value}, and only an interrupted one can be resumed: its job was "
            "cancelled or given up meanwhile; the next fine-tune begins another run"
        )
    run.state, run.error = RunState.OPEN, None
