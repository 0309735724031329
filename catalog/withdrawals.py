"""Withdraw the labels of an annotator, and find the versions that learnt from them.

A withdrawn label is superseded, so that nothing learns from it or shows it any more, and has a row that says by which
withdrawal. Its proposal becomes abandoned: the patch may be proposed again, and what the annotator submits anew on the
old task still counts.

A version is affected if its training run had a withdrawn label, or if the version that it was trained from is affected.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload

from catalog import jobs, labels, proposal_locks
from catalog.candidates import MAY_BE_PROPOSED
from catalog.errors import LabelsWithdrawnError
from catalog.records import JobKind, Label, LabelEvent, Patch, Proposal, RunState, TrainingRun
from catalog.withdrawal_records import AffectedVersion, Withdrawal, WithdrawnLabel


class TrainedVersion(NamedTuple):
    """What a version learnt from: its number, the version that it was trained from, and the ids of its labels."""

    version: int
    parent: int | None
    label_ids: Collection[int]


class Freed(NamedTuple):
    """What a withdrawal took: labels that stood, labels superseded before, and patches that may be proposed again."""

    standing: int
    superseded: int
    patches: int


def annotators(session: Session) -> list[str]:
    """Return the accounts that labels were drawn with, as they are stored, withdrawn and superseded ones included."""
    return sorted(session.scalars(select(Label.annotator).distinct()))


def spellings(session: Session, annotator: str) -> list[str]:
    """Return the annotators of labels with this name, which differ in case at most, as Label Studio compares them."""
    return [name for name in session.scalars(select(Label.annotator).distinct()) if name.lower() == annotator.lower()]


def labels_by(session: Session, annotators: Collection[str], since: datetime | None) -> Sequence[Label]:
    """Return the labels of annotators that are not withdrawn yet, superseded ones too, ordered by id.

    Their proposals and patches stay locked until the session ends.

    Args:
        session: a session.
        annotators: their names as stored.
        since: leave out labels that were saved earlier, by Label Studio's clock; None: none.
    """
    theirs = select(Label).where(Label.annotator.in_(annotators), Label.id.not_in(select(WithdrawnLabel.label_id)))
    if since is not None:
        theirs = theirs.where(Label.annotated_at >= since)
    proposal_locks.lock_all(session, Proposal.id.in_(theirs.with_only_columns(Label.proposal_id)))
    return session.scalars(theirs.order_by(Label.id).options(joinedload(Label.proposal))).all()


def withdraw(session: Session, withdrawal: Withdrawal, withdrawn: Sequence[Label]) -> Freed:
    """Store a withdrawal, mark its labels, and update the states of their proposals, patches and rounds.

    Args:
        session: the session in which `labels_by` found the labels.
        withdrawal: not stored yet.
        withdrawn: its labels.
    """
    session.add(withdrawal)
    session.flush()
    standing = [label for label in withdrawn if label.superseded_at is None]
    for label in withdrawn:
        _mark(session, label, withdrawal)
    session.flush()
    for _, proposal in sorted({label.proposal_id: label.proposal for label in standing}.items()):
        labels.refresh_states(session, proposal, skipped=labels.is_skipped(session, proposal))
    session.flush()
    patch_ids = {label.patch_id for label in standing}
    patches = sum(session.get_one(Patch, patch_id).state in MAY_BE_PROPOSED for patch_id in patch_ids)
    return Freed(len(standing), len(withdrawn) - len(standing), patches)


def _mark(session: Session, label: Label, withdrawal: Withdrawal) -> None:
    session.add(WithdrawnLabel(label_id=label.id, withdrawal_id=withdrawal.id))
    label.superseded_at = label.superseded_at or withdrawal.withdrawn_at


def withdraw_if_late(session: Session, label: Label) -> bool:
    """Withdraw a label that has just been stored, if its annotator had saved it before a withdrawal that covers it.

    Its event says so.

    A webhook is sent as soon as a drawing is saved, so the time counts at which it was received here; its ingestion may
    wait. What reconciliation finds may have been saved long before: only Label Studio's clock tells.

    Returns:
        Whether it was.
    """
    event = session.get_one(LabelEvent, label.event_id)
    saved_at = event.received_at if event.origin == "webhook" else label.annotated_at
    for withdrawal in session.scalars(select(Withdrawal).where(Withdrawal.withdrawn_at >= saved_at)):
        same = withdrawal.annotator.lower() == label.annotator.lower()
        if same and (withdrawal.since is None or label.annotated_at >= withdrawal.since):
            _mark(session, label, withdrawal)
            session.flush()
            labels.refresh_states(session, session.get_one(Proposal, label.proposal_id), skipped=False)
            event.detail = f"saved before withdrawal {withdrawal.id} of this annotator's labels, so withdrawn, too"
            return True
    return False


def affected_by(trained: Iterable[TrainedVersion], label_ids: Collection[int]) -> dict[int, bool]:
    """Return the versions that learnt from some labels; whether directly, or only through their parents.

    Args:
        trained: the versions, in any order; a parent has a smaller number than its children.
        label_ids: the labels.
    """
    withdrawn = set(label_ids)
    found: dict[int, bool] = {}
    for item in sorted(trained):
        directly = not withdrawn.isdisjoint(item.label_ids)
        if directly or item.parent in found:
            found[item.version] = directly
    return found


def note_affected(session: Session) -> None:
    """Store which versions each withdrawal affects, as far as that is not stored yet."""
    label_ids: dict[int, list[int]] = {}
    for withdrawal_id, label_id in session.execute(select(WithdrawnLabel.withdrawal_id, WithdrawnLabel.label_id)):
        label_ids.setdefault(withdrawal_id, []).append(label_id)
    if not label_ids:
        return
    columns = TrainingRun.model_version, TrainingRun.parent_version, TrainingRun.label_ids
    rows = session.execute(select(*columns).where(TrainingRun.model_version.is_not(None)))
    trained = [TrainedVersion(version, parent, ids) for version, parent, ids in rows if version is not None]
    keys = session.execute(select(AffectedVersion.withdrawal_id, AffectedVersion.model_version))
    known = {(withdrawal_id, version) for withdrawal_id, version in keys}
    for withdrawal_id, ids in label_ids.items():
        for version, directly in affected_by(trained, ids).items():
            if (withdrawal_id, version) not in known:
                session.add(AffectedVersion(withdrawal_id=withdrawal_id, model_version=version, directly=directly))
    session.flush()


def affected_versions(session: Session) -> Mapping[int, Sequence[AffectedVersion]]:
    """Return the withdrawals that affect each version, by its number; versions that none affects are left out."""
    found: dict[int, list[AffectedVersion]] = {}
    rows = select(AffectedVersion).order_by(AffectedVersion.model_version, AffectedVersion.withdrawal_id)
    for row in session.scalars(rows.options(joinedload(AffectedVersion.withdrawal))):
        found.setdefault(row.model_version, []).append(row)
    return found


def unaffected_line(session: Session, version: int | None) -> list[int]:
    """Return a version, its parent, its parent's parent, ..., without those that learnt from withdrawn labels."""
    rows = session.execute(select(TrainingRun.model_version, TrainingRun.parent_version))
    parents = {number: parent for number, parent in rows if number is not None}
    affected, line = set(session.scalars(select(AffectedVersion.model_version))), []
    while version is not None:
        if version not in affected:
            line.append(version)
        version = parents.get(version)
    return line


def count_withdrawn(session: Session, label_ids: Collection[int]) -> int:
    """Return how many of some labels are withdrawn. Ids may be too many for a query parameter."""
    return len(set(label_ids).intersection(session.scalars(select(WithdrawnLabel.label_id))))


def is_affected(session: Session, version: int | None) -> bool:
    """Return whether a version learnt from labels that were withdrawn since."""
    rows = select(AffectedVersion.model_version).where(AffectedVersion.model_version == version)
    return session.scalar(rows.limit(1)) is not None


def check_standing(session: Session, run: TrainingRun) -> None:
    """Refuse to go on with a run whose version would have learnt from withdrawn labels.

    Raises:
        LabelsWithdrawnError: labels of the run were withdrawn, or labels that its parent learnt from.
    """
    withdrawn = count_withdrawn(session, run.label_ids)
    if withdrawn or is_affected(session, run.parent_version):
        raise LabelsWithdrawnError(
            f"training run {run.id} ends without a version: labels that it or its parent learnt from were withdrawn "
            f"meanwhile ({withdrawn} of its own); another begins without them"
        )


def learning_now(session: Session) -> TrainingRun | None:
    """Return the open or interrupted training run if it learns from withdrawn labels; None otherwise."""
    unfinished = select(TrainingRun).where(TrainingRun.state.in_((RunState.OPEN, RunState.INTERRUPTED)))
    for run in session.scalars(unfinished):
        if count_withdrawn(session, run.label_ids):
            return run
    return None


def newest_run(session: Session) -> int:
    """Return the id of the newest training run; 0 if there is none."""
    return session.scalar(select(func.max(TrainingRun.id))) or 0


def retraining_due(session: Session) -> bool:
    """Return whether a withdrawal calls for a fine-tune that has not begun.

    One that was enqueued since, and failed or was cancelled before it could begin, is not repeated by itself.
    """
    calling = select(Withdrawal).where(Withdrawal.retrain_after_run.is_not(None))
    last = session.scalar(calling.order_by(Withdrawal.id.desc()).limit(1))
    if last is None or newest_run(session) > (last.retrain_after_run or 0):
        return False
    job = jobs.last_of(session, JobKind.FINE_TUNE)
    return job is None or job.state not in jobs.UNSUCCESSFUL or job.created_at <= last.withdrawn_at
