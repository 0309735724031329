"""Job: remove from Label Studio the tasks of an abandoned round that nobody has begun."""

from sqlalchemy import select

from catalog.records import Proposal, ProposalState
from services.label_studio import connect, label_studio
from workers.jobs import JobContext
from workers.task_removal import remove_unbegun


def remove_tasks(context: JobContext, round_id: int) -> None:
    """Delete the tasks of a round's abandoned proposals, except those with an annotation or a draft.

    They are looked up by the proposals' uids: a publication that was cut off may have made tasks without noting them.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    with context.catalog.read() as session:
        statement = select(Proposal.uid).where(Proposal.round_id == round_id, Proposal.state == ProposalState.ABANDONED)
        uids = list(session.scalars(statement.order_by(Proposal.id)))
    if uids:
        studio = label_studio(context.catalog)
        remove_unbegun(context.catalog, studio, connect(context.catalog, studio), uids)
