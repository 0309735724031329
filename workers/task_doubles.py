"""Doubles: several tasks of one proposal, which Label Studio can make of one import while its database is busy."""

import logging
from collections.abc import Sequence

from catalog import labels, rounds
from catalog.context import Catalog
from catalog.records import Proposal
from labeling.client import LabelStudio
from labeling.events import TaskDeleted
from labeling.task_calls import PresentTask
from labeling.tasks import PROPOSAL
from services import label_events

log = logging.getLogger(__name__)


def remove_doubles(
    catalog: Catalog, studio: LabelStudio, project_id: int, proposal: Proposal, tasks: Sequence[PresentTask]
) -> PresentTask:
    """Delete all tasks of a proposal but one; one that somebody has begun or uploaded is never deleted.

    Whatever order several workers do this in, the same task is left: one that is begun, else the oldest. Doubles are
    looked at once more right before they are deleted: somebody may have begun one since they were listed.

    Args:
        catalog: where the deletions are noted, before Label Studio tells of them.
        studio: Label Studio.
        project_id: the project of the tasks.
        proposal: published as one of the tasks.
        tasks: from `labeling.task_calls.TaskCalls.present_tasks`, a while ago perhaps.

    Returns:
        The task that the proposal is published as.
    """
    if len(tasks) > 1:
        tasks = studio.present_tasks(project_id, [proposal.uid]).get(proposal.uid, tasks)
    kept, *others = tasks
    doubles = [task.id for task in others if not task.is_begun and not task.is_uploaded]
    if not doubles:
        return kept
    log.warning("proposal %s has %d tasks; removing %s", proposal.uid, len(tasks), doubles)
    payload = {
        "action": TaskDeleted.action,
        "tasks": [{"id": task_id, PROPOSAL: proposal.uid} for task_id in doubles],
        "project": {"id": project_id},
    }
    with catalog.write() as session:
        rounds.move_task(labels.lock(session, proposal), project_id, kept.id)
        label_events.record_found(session, payload)
    for task_id in doubles:
        studio.delete_task(task_id)
    return kept
