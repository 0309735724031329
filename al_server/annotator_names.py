"""By which name a caller may know an annotator, and who labelled what: operators read accounts, others pseudonyms."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from al_server.auth import has_role
from al_server.context import current_catalog
from catalog.access_records import Role
from catalog.records import Label, Proposal, Round
from services.pseudonyms import SIMULATED, of_account


def shown_name(account: str, *, simulated: bool) -> str:
    """Return the name of an account that drew labels, as the caller may read it."""
    if has_role(Role.OPERATOR):
        return account
    return SIMULATED if simulated else of_account(current_catalog(), account)


def annotator_of(label: Label) -> str:
    """Return who drew a label, as the caller may read it."""
    return shown_name(label.annotator, simulated=label.simulated)


def labelled_by(session: Session, rounds: Sequence[int]) -> dict[int, dict[str, int]]:
    """Return for each of these rounds how many of its standing labels each annotator drew."""
    counted = (
        select(Round.id, Label.annotator, Label.simulated, func.count())
        .join(Proposal, Proposal.round_id == Round.id)
        .join(Label, Label.proposal_id == Proposal.id)
        .where(Label.superseded_at.is_(None), Round.id.in_(rounds))
        .group_by(Round.id, Label.annotator, Label.simulated)
        .order_by(func.count().desc(), Label.annotator)
    )
    people: dict[int, dict[str, int]] = {}
    for round_id, account, simulated, count in session.execute(counted):
        of_round, name = people.setdefault(round_id, {}), shown_name(account, simulated=simulated)
        of_round[name] = of_round.get(name, 0) + count  # all simulated annotators have one name
    return people
