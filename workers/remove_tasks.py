"""Job: remove from Label Studio the tasks of an abandoned round that nobody has begun."""

from sqlalchemy import select

from catalog.records import Proposal, ProposalState
from services.label_studio import connect, label_studio
from workers.jobs import Work


def remove_tasks(work: Work, round_id: int) -> None:
    """Delete the tasks of a round's abandoned proposals, except those with an annotation or a draft.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    with work.catalog.read() as session:
        statement = select(Proposal.uid).where(
            Proposal.round_id == round_id, Proposal.state == ProposalState.ABANDONED, Proposal.task_id.is_not(None)
        )
        uids = list(session.scalars(statement.order_by(Proposal.id)))
    if uids:
        studio = label_studio(work.catalog)
        studio.delete_unanswered(connect(work.catalog, studio), uids)
