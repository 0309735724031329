"""What one annotator has done: labels and working time by round, and the newest labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, joinedload

from catalog.context import Catalog
from catalog.records import Label, Patch, Proposal
from services.pseudonyms import SIMULATED, of_account


@dataclass(frozen=True)
class Annotator:
    """Somebody who drew labels.

    Attributes:
        account: The account; None for all simulated annotators together.
        pseudonym: The name by which others know them.
    """

    account: str | None
    pseudonym: str

    @property
    def drew(self) -> ColumnElement[bool]:
        """The condition that selects their labels; addresses are compared without their case."""
        if self.account is None:
            return Label.simulated.is_(True)
        return func.lower(Label.annotator) == self.account.lower()


def annotator_of(catalog: Catalog, account: str) -> Annotator:
    """Return the annotator of an account."""
    return Annotator(account, of_account(catalog, account))


def find_annotator(session: Session, catalog: Catalog, name: str) -> Annotator | None:
    """Find who drew labels under an account or a pseudonym.

    Returns:
        The annotator; None if nobody of this name has drawn a label.
    """
    for account, simulated in session.execute(select(Label.annotator, Label.simulated).distinct()):
        found = annotator_of(catalog, account)
        if account.lower() == name.lower() or (not simulated and found.pseudonym == name):
            return found
        if simulated and name == SIMULATED:
            return Annotator(None, SIMULATED)
    return None


@dataclass(frozen=True)
class RoundWork:
    """What an annotator did in a round.

    Attributes:
        round_id: The round; None for corrections on the map.
        labels: Their standing labels.
        edited_px: Pixels changed in these.
        seconds: Sum of the lead times that Label Studio, or the map, reports; None without any.
        timed: Number of the labels that have a lead time.
        newest: When the newest was saved.
    """

    round_id: int | None
    labels: int
    edited_px: int
    seconds: float | None
    timed: int
    newest: datetime


def work_by_round(session: Session, annotator: Annotator) -> list[RoundWork]:
    """Return the standing labels of an annotator by round, the newest round first and corrections last."""
    columns = (
        Proposal.round_id,
        func.count(),
        func.sum(Label.edited_px),
        func.sum(Label.lead_time_s),
        func.count(Label.lead_time_s),
        func.max(Label.annotated_at),
    )
    grouped = select(*columns).join(Proposal, Label.proposal_id == Proposal.id).group_by(Proposal.round_id)
    rows = session.execute(grouped.where(annotator.drew, Label.superseded_at.is_(None)))
    return sorted((RoundWork(*row) for row in rows), key=lambda work: -(work.round_id or 0))


def count_superseded(session: Session, annotator: Annotator) -> int:
    """Return how many of an annotator's labels were updated, deleted or withdrawn since."""
    counted = select(func.count(Label.id)).where(annotator.drew, Label.superseded_at.is_not(None))
    return session.scalar(counted) or 0


def newest_labels(
    session: Session, annotator: Annotator, limit: int, *conditions: ColumnElement[bool]
) -> Sequence[Label]:
    """Return an annotator's newest labels, superseded ones included, each with its patch, scene and proposal.

    Args:
        session: A session.
        annotator: Who drew them.
        limit: How many at most.
        conditions: On labels joined with their patches.
    """
    found = select(Label).join(Patch, Label.patch_id == Patch.id).where(annotator.drew, *conditions)
    found = found.order_by(Label.annotated_at.desc(), Label.id.desc()).limit(limit)
    loaded = found.options(joinedload(Label.patch).joinedload(Patch.scene), joinedload(Label.proposal))
    return session.scalars(loaded).all()
