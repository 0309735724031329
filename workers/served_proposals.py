"""Make Label Studio show annotators our proposals."""

import logging

from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import Proposal
from labeling.client import LabelStudio
from labeling.errors import LabelStudioError
from labeling.predictions import MODEL_VERSION

log = logging.getLogger(__name__)


def serve_proposals(catalog: Catalog, studio: LabelStudio, project_id: int) -> None:
    """Make sure that annotators are shown our predictions.

    Label Studio shows those of the first import, but not if it lost them; a person can choose others on its page, and
    projects of an earlier release show the predictions of one model version.

    An error is only logged, for reconciliation tries again: without predictions, annotators see tasks without
    pre-annotation and unordered.
    """
    try:
        if studio.model_version(project_id) == MODEL_VERSION:
            return
        with catalog.read() as session:
            with_task = (Proposal.project_id == project_id) & Proposal.task_id.is_not(None)
            published = session.execute(select(Proposal.uid, Proposal.shown_version).where(with_task))
            noted = {uid: shown or "" for uid, shown in published}
        if noted:  # Label Studio refuses a version that no prediction of the project names
            studio.show_predictions(project_id, noted)
            studio.set_model_version(project_id, MODEL_VERSION)
    except LabelStudioError as error:
        log.warning("the proposals of project %d cannot be shown: %s", project_id, error)
