"""Withdraw the labels of an annotator: what follows for labels, patches, versions and training.

A withdrawal is one transaction in our database, and asks no other service. MLflow is told afterwards which versions
learnt from withdrawn labels (`tag_versions`). The served version stays until the gate or a person replaces it.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import registry_copy, training, withdrawals
from catalog.context import Catalog
from catalog.errors import ConflictError, NotFoundError
from catalog.installation import lock_installation
from catalog.paging import Cut, cut_out
from catalog.records import Label, now
from catalog.registry import CHAMPION, LEARNER, ModelRegistry, ModelVersion
from catalog.withdrawal_records import AffectedVersion, Withdrawal, WithdrawnLabel
from services.request_types import Body, Time
from services.version_figures import WITHDRAWN, withdrawals_tag


class WithdrawalRequest(Body):
    """Which labels to withdraw, and why."""

    annotator: str = Field(min_length=1, max_length=320, description="the account's address")
    since: Annotated[Time | None, Field(description="labels saved earlier stand; null withdraws all")] = None
    reason: str = Field(min_length=3, max_length=500)
    dry_run: bool = Field(False, description="tell what would happen, and change nothing")


class AffectedBy(BaseModel):
    """A withdrawal that affects a version."""

    withdrawal: int
    withdrawn_at: datetime
    directly: bool = Field(description="whether the version itself learnt from the labels, or only those before it")


class VersionAffected(BaseModel):
    """A version that learnt from withdrawn labels."""

    version: int
    directly: bool = Field(description="whether it learnt from the labels itself, or only through its parents")


class WithdrawalAnswer(BaseModel):
    """A withdrawal, and the versions that it affects."""

    id: int
    annotator: str
    since: datetime | None
    reason: str
    actor: str = Field(description="who withdrew them")
    withdrawn_at: datetime
    labels: int
    versions: list[VersionAffected]


class WithdrawalEffect(BaseModel):
    """What a withdrawal did or, as a dry run, would do."""

    withdrawal: int | None = Field(description="its number; null for a dry run")
    annotator: str
    since: datetime | None
    labels: int = Field(description="labels withdrawn, those included that had been superseded before")
    standing: int = Field(description="how many of them stood until now")
    patches: int = Field(description="patches that may be proposed again")
    labels_left: int = Field(description="labels that training learns from afterwards")
    versions: list[VersionAffected]
    champion: int | None = Field(description="the served version if it learnt from them; it stays until it is replaced")
    retraining: bool = Field(description="whether a fine-tune follows")
    retrained_from: int | None = Field(description="the version that it starts from; null for a fresh network")
    note: str = Field(description="what follows, in words")


def withdraw(catalog: Catalog, request: WithdrawalRequest, actor: str) -> WithdrawalEffect:
    """Withdraw the labels of an annotator, or tell what that would do; enqueue a fine-tune without them if one is due.

    A dry run does all of it in the database, and rolls it back.

    Raises:
        NotFoundError: there is no label by this annotator.
        ConflictError: none of them was saved since, or all are withdrawn already.
    """
    with catalog.database.write() if request.dry_run else catalog.write() as session:
        effect = _withdraw(session, catalog, request, actor)
        if request.dry_run:
            session.rollback()
            return effect.model_copy(update={"withdrawal": None})
    return effect


def _withdraw(session: Session, catalog: Catalog, request: WithdrawalRequest, actor: str) -> WithdrawalEffect:
    lock_installation(session)  # no label is stored, no run begins and no version is registered meanwhile
    withdrawal = Withdrawal(annotator=request.annotator, since=request.since, reason=request.reason, actor=actor)
    withdrawal.withdrawn_at = now()
    found = _labels_to_withdraw(session, request)
    freed = withdrawals.withdraw(session, withdrawal, found)
    note_affected(session)
    of_this = select(AffectedVersion).where(AffectedVersion.withdrawal_id == withdrawal.id)
    affected = session.scalars(of_this.order_by(AffectedVersion.model_version)).all()
    numbers = {item.model_version for item in affected}
    running = withdrawals.learning_now(session)
    aliases = registry_copy.aliases_of(session)  # read after the runs: one that has ended has moved them
    champion, learner = aliases.get(CHAMPION), aliases.get(LEARNER)
    needed = running is not None or not numbers.isdisjoint({champion, learner})
    if needed:
        withdrawal.retrain_after_run = withdrawals.newest_run(session)
    session.flush()
    retraining = needed and training.can_learn(session)
    if retraining:
        training.enqueue_if_due(session, catalog.settings)
    start = next(iter(withdrawals.unaffected_line(session, learner or champion)), None)
    return WithdrawalEffect(
        withdrawal=withdrawal.id,
        annotator=request.annotator,
        since=request.since,
        labels=len(found),
        standing=freed.standing,
        patches=freed.patches,
        labels_left=len(training.training_labels(session)),
        versions=[VersionAffected(version=item.model_version, directly=item.directly) for item in affected],
        champion=champion if champion in numbers else None,
        retraining=retraining,
        retrained_from=start if retraining else None,
        note=_note(champion if champion in numbers else None, start, needed=needed, retraining=retraining),
    )


def _labels_to_withdraw(session: Session, request: WithdrawalRequest) -> Sequence[Label]:
    names = withdrawals.spellings(session, request.annotator)
    if not names:
        known = withdrawals.annotators(session)
        raise NotFoundError(
            f"found no label by {request.annotator!r}; expected one of the {len(known)} annotators with labels: "
            f"{', '.join(known[:20])}"
        )
    found = withdrawals.labels_by(session, names, request.since)
    if not found:
        since = f" saved since {request.since:%Y-%m-%d %H:%M:%S %Z}" if request.since else ""
        raise ConflictError(f"found no label by {request.annotator!r}{since} that is not withdrawn already")
    return found


def _note(champion: int | None, start: int | None, *, needed: bool, retraining: bool) -> str:
    served = f"version {champion} learnt from these labels and is served until it is replaced; " if champion else ""
    if not needed:
        return f"{served}neither the served version nor the one that training goes on from learnt from these labels"
    if not retraining:
        return f"{served}no label and no prior outline is left to learn from: label a round, and a new version follows"
    return f"{served}a version is trained without them, from {f'version {start}' if start else 'a fresh network'}"


def note_affected(session: Session) -> None:
    """Store which versions learnt from withdrawn labels, and mark them in the local copy of the registry."""
    withdrawals.note_affected(session)
    for version, rows in withdrawals.affected_versions(session).items():
        copied = registry_copy.find(session, version)
        if copied is not None:
            registry_copy.store(session, [replace(copied, tags={**copied.tags, WITHDRAWN: _tag(rows)})])


def tag_versions(catalog: Catalog, registry: ModelRegistry) -> None:
    """Tell MLflow which versions learnt from withdrawn labels, as far as it has not been told.

    Raises:
        ServiceDownError: MLflow does not answer; the next call goes on.
    """
    with catalog.read() as session:
        affected = withdrawals.affected_versions(session)
    for version, rows in affected.items():
        if all(row.tagged_at for row in rows):
            continue
        registry.set_tag(version, WITHDRAWN, _tag(rows))
        with catalog.write() as session:
            for row in rows:
                session.merge(row).tagged_at = row.tagged_at or now()


def _tag(rows: Sequence[AffectedVersion]) -> str:
    return withdrawals_tag({row.withdrawal_id: row.directly for row in rows})


def note_trained_version(catalog: Catalog) -> None:
    """Mark a version that was registered while labels that it learnt from, or its parent did, were withdrawn."""
    with catalog.write() as session:
        lock_installation(session)
        note_affected(session)


def unaffected_parent(catalog: Catalog, registry: ModelRegistry, learner: ModelVersion) -> int | None:
    """Return the version to train from: the learner, or the newest before it that learnt from no withdrawn label.

    Before it means in its line of parents: versions beside this line were set back or rolled back, as worse.

    Returns:
        The version; None for a fresh network, because all of them learnt from withdrawn labels or were deleted.

    Raises:
        ServiceDownError: MLflow does not answer.
    """
    with catalog.read() as session:
        line = withdrawals.unaffected_line(session, learner.version)
    for version in line:
        try:
            return registry.get(version).version
        except NotFoundError:
            continue
    return None


def is_affected(catalog: Catalog, version: int | None) -> bool:
    """Return whether a version learnt from labels that were withdrawn since."""
    with catalog.read() as session:
        return withdrawals.is_affected(session, version)


def withdrawals_of_versions(session: Session) -> dict[int, list[AffectedBy]]:
    """Return the withdrawals that affect each version, by its number; versions that none affects are left out."""
    return {
        version: [
            AffectedBy(withdrawal=row.withdrawal_id, withdrawn_at=row.withdrawal.withdrawn_at, directly=row.directly)
            for row in rows
        ]
        for version, rows in withdrawals.affected_versions(session).items()
    }


def list_withdrawals(session: Session, cut: Cut | None = None) -> list[WithdrawalAnswer]:
    """Return the withdrawals, newest first; all of them, or a page."""
    found = session.scalars(cut_out(select(Withdrawal), Withdrawal.id, cut, newest_first=True)).all()
    shown = [item.id for item in found]
    counts = select(WithdrawnLabel.withdrawal_id, func.count()).where(WithdrawnLabel.withdrawal_id.in_(shown))
    labels = {row[0]: row[1] for row in session.execute(counts.group_by(WithdrawnLabel.withdrawal_id))}
    versions: dict[int, list[VersionAffected]] = {}
    affected = select(AffectedVersion).where(AffectedVersion.withdrawal_id.in_(shown))
    for row in session.scalars(affected.order_by(AffectedVersion.model_version)):
        answer = VersionAffected(version=row.model_version, directly=row.directly)
        versions.setdefault(row.withdrawal_id, []).append(answer)
    return [
        WithdrawalAnswer(
            id=item.id,
            annotator=item.annotator,
            since=item.since,
            reason=item.reason,
            actor=item.actor,
            withdrawn_at=item.withdrawn_at,
            labels=labels.get(item.id, 0),
            versions=versions.get(item.id, []),
        )
        for item in found
    ]
