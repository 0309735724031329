"""The page of a round."""

from collections import Counter
from typing import Final

from flask import Blueprint, Response
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from al_server.annotator_names import annotator_of
from al_server.auth import has_role
from al_server.blindness import are_labels_withheld
from al_server.context import current_catalog
from al_server.page_frame import render_page
from al_server.round_schemas import serialize_round
from catalog import rounds
from catalog.access_records import Role
from catalog.records import Label, Patch, Proposal, Round
from catalog.rounds import UNANSWERED
from services.effort import check_of_round, expected_px
from services.strategies import disguised

page = Blueprint("round_page", __name__)
PROPOSALS_SHOWN: Final = 500


@page.get("/rounds/<int:round_id>")
def show_round(round_id: int) -> Response:
    """Return the page of a round: its progress, who has labelled what, its patches, and what became of each.

    Nobody but operators is told which of its patches wait for an annotator again, in a later round.
    """
    catalog = current_catalog()
    with catalog.read() as session:
        found = rounds.get(session, round_id)
        proposals = session.scalars(
            select(Proposal)
            .where(Proposal.round_id == round_id)
            .order_by(Proposal.rank)
            .limit(PROPOSALS_SHOWN)
            .options(joinedload(Proposal.patch).joinedload(Patch.scene))
        ).all()
        standing = select(Label).where(
            Label.proposal_id.in_([proposal.id for proposal in proposals]), Label.superseded_at.is_(None)
        )
        labels = {label.proposal_id: (label, annotator_of(label)) for label in session.scalars(standing)}
        shown = serialize_round(session, found)
        check = check_of_round(session, round_id)
        listed = [item for item in proposals if item.state in UNANSWERED or not are_labels_withheld(item.patch)]
    return render_page(
        "round.html",
        round=shown,
        proposals=listed,
        again=len(proposals) - len(listed),
        reasons={proposal.id: reason_for(proposal, found) for proposal in listed},
        expected={proposal.id: expected_px(proposal.expected_edits, proposal.preannotated_by) for proposal in listed},
        labels=labels,
        people=Counter(name for _, name in labels.values()).most_common(),
        check=check,
        studio=catalog.settings.label_studio_page,
    )


def reason_for(proposal: Proposal, of_round: Round) -> str:
    """Return why a patch was proposed, as the caller may know: only operators may tell honeypots from other patches."""
    if has_role(Role.OPERATOR):
        return proposal.reason.value
    return disguised(proposal.reason, of_round, scored=proposal.score is not None).value
