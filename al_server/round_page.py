"""The page of a round."""

from collections.abc import Sequence
from typing import Final

from flask import Blueprint, Response
from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from al_server.annotator_names import annotator_of, labelled_by
from al_server.auth import has_role
from al_server.blindness import are_labels_withheld
from al_server.context import current_catalog
from al_server.page_frame import render_page
from al_server.paging import show_page
from al_server.round_schemas import serialize_round
from catalog import rounds
from catalog.access_records import Role
from catalog.paging import Cut, cut_out
from catalog.records import Label, Patch, Proposal, Round
from catalog.rounds import UNANSWERED
from services.effort import check_of_round, expected_px
from services.strategies import disguised

page = Blueprint("round_page", __name__)
PROPOSALS_SHOWN: Final = 200


@page.get("/rounds/<int:round_id>")
def show_round(round_id: int) -> Response:
    """Return the page of a round: its progress, who has labelled what, its patches, and what became of each.

    Nobody but operators is told which of its patches wait for an annotator again, in a later round, nor the scores:
    which patches have one tells second labels from other patches.
    """
    catalog = current_catalog()
    with catalog.read() as session:
        found = rounds.get(session, round_id)
        proposals, pager = show_page(
            "patches",
            PROPOSALS_SHOWN,
            lambda cut: _proposals(session, round_id, cut),
            lambda proposal: proposal.id,
            newest_first=False,
        )
        standing = select(Label).where(
            Label.proposal_id.in_([proposal.id for proposal in proposals]), Label.superseded_at.is_(None)
        )
        labels = {label.proposal_id: (label, annotator_of(label)) for label in session.scalars(standing)}
        shown = serialize_round(session, found)
        check = check_of_round(session, round_id)
        controls = bool(rounds.with_controls(session, [round_id]))
        people = labelled_by(session, [round_id]).get(round_id, {})
        listed = [item for item in proposals if item.state in UNANSWERED or not are_labels_withheld(item.patch)]
    return render_page(
        "round.html",
        round=shown,
        proposals=listed,
        again=len(proposals) - len(listed),
        reasons={proposal.id: _reason(proposal, found, controls) for proposal in listed},
        expected={proposal.id: expected_px(proposal.expected_edits, proposal.preannotated_by) for proposal in listed},
        labels=labels,
        people=people,
        sees_scores=has_role(Role.OPERATOR),
        pager=pager,
        check=check,
        studio=catalog.settings.label_studio_page,
    )


def _proposals(session: Session, round_id: int, cut: Cut) -> Sequence[Proposal]:
    """Return a page of the proposals of a round, by rank, each with its patch and scene."""
    of_round = select(Proposal).where(Proposal.round_id == round_id)
    by_rank = cut_out(of_round, Proposal.id, cut, newest_first=False, moment=Proposal.rank)
    return session.scalars(by_rank.options(joinedload(Proposal.patch).joinedload(Patch.scene))).all()


def _reason(proposal: Proposal, of_round: Round, controls: bool) -> str:
    """Return why a patch was proposed, as the caller may know: only operators may tell honeypots from other patches."""
    if has_role(Role.OPERATOR):
        return proposal.reason.value
    return disguised(proposal.reason, of_round, scored=proposal.score is not None, controls=controls).value
