"""Tasks that nobody needs any more, doubles above all: several tasks of one proposal.

Label Studio can make doubles of one import while its database is busy, and so can a network that delivers an import
twice, or only when its sender has long repeated it.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from catalog import labels, rounds
from catalog.context import Catalog
from catalog.records import Proposal
from labeling.client import LabelStudio
from labeling.events import TaskDeleted
from labeling.task_calls import PresentTask
from labeling.tasks import PROPOSAL
from services import label_events
from services.label_comparison import newest_event_id, record_differences

log = logging.getLogger(__name__)


def remove_doubles(
    catalog: Catalog,
    studio: LabelStudio,
    project_id: int,
    proposals: Iterable[Proposal],
    found: Mapping[str, Sequence[PresentTask]],
) -> dict[str, PresentTask]:
    """Delete all tasks of each proposal but one; one that somebody has begun or uploaded is never deleted.

    Whatever order several workers do this in, the same task is left: one that is begun, else the oldest. Doubles are
    looked at once more before they are deleted, and Label Studio leaves those that somebody begins even then. What is
    sent in the very moment of the deletion is carried over to the task that stays (`workers.carried_drawings`).

    Args:
        catalog: where the deletions are noted, before Label Studio tells of them.
        studio: Label Studio.
        project_id: the project of the tasks.
        proposals: published as these tasks.
        found: by uid, from `labeling.task_calls.TaskCalls.present_tasks`, a while ago perhaps.

    Returns:
        The task that each proposal is published as, by its uid, of those that are in `found`.
    """
    of_uid = {proposal.uid: proposal for proposal in proposals if proposal.uid in found}
    doubled = [uid for uid in of_uid if len(found[uid]) > 1]
    tasks = {**found, **studio.present_tasks(project_id, doubled)}
    kept = {uid: tasks[uid][0] for uid in of_uid}
    doubles = {
        uid: [task.id for task in tasks[uid][1:] if not task.is_begun and not task.is_uploaded] for uid in doubled
    }
    doomed = {uid: task_ids for uid, task_ids in doubles.items() if task_ids}
    for uid, task_ids in doomed.items():
        log.warning("proposal %s has %d tasks; removing %s", uid, len(tasks[uid]), task_ids)
        with catalog.write() as session:
            rounds.move_task(labels.lock(session, of_uid[uid]), project_id, kept[uid].id)
    _delete(catalog, studio, project_id, doomed, {uid: kept[uid].id for uid in doomed})
    return kept


def remove_unbegun(catalog: Catalog, studio: LabelStudio, project_id: int, uids: Sequence[str]) -> None:
    """Delete the tasks of proposals that nobody has begun; arguments as for `remove_doubles`, `uids` of proposals."""
    found = studio.present_tasks(project_id, uids)
    unbegun = {uid: [task.id for task in tasks if not task.is_begun] for uid, tasks in found.items()}
    _delete(catalog, studio, project_id, {uid: task_ids for uid, task_ids in unbegun.items() if task_ids}, {})


def _delete(
    catalog: Catalog,
    studio: LabelStudio,
    project_id: int,
    doomed: Mapping[str, Sequence[int]],
    kept: Mapping[str, int],
) -> None:
    """Delete tasks, given by the uid of their proposal, but those that somebody begins even now.

    `kept` are, by the same uids, the tasks that stay of proposals whose doubles are deleted.
    """
    if not doomed:
        return
    for uid, task_ids in doomed.items():
        stays = kept.get(uid)
        payload = {
            "action": TaskDeleted.action,
            "tasks": [{"id": task_id, PROPOSAL: uid, "kept": stays} for task_id in task_ids],
            "project": {"id": project_id},
        }
        with catalog.write() as session:
            label_events.record_found(session, payload)
    deleted = list(chain(*doomed.values()))
    studio.delete_untouched(project_id, deleted)
    _record_left(catalog, studio, project_id, deleted)


def _record_left(catalog: Catalog, studio: LabelStudio, project_id: int, task_ids: Sequence[int]) -> None:
    """Record that tasks stayed whose deletion was noted, because somebody has begun them, and what is drawn there."""
    with catalog.read() as session:
        known_until = newest_event_id(session)
    for task in studio.read_tasks(project_id, task_ids):
        log.warning("task %d stays: somebody has begun it meanwhile", task["id"])
        with catalog.write() as session:
            record_differences(session, task, known_until)  # if an event comes meanwhile, reconciliation records it
