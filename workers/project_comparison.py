"""Compare a project in Label Studio with what stands here, cheaply, and record what differs.

What Label Studio had when it was last looked at is kept, one row a task (`catalog.reconciliation_records.SeenTask`):
when it changed last, and how many annotations it has. These are compared for equality only, since Label Studio's clock
may be set and its database may be restored. A task that differs is read, and its annotations are compared with the
ledger (`services.label_comparison`).

An ordinary comparison lists what Label Studio stamped since the last one, then counts tasks and annotations; where the
counts differ, it halves the range of ids until it finds the place. Last it reads the tasks whose counters say that
nobody has drawn on them, although somebody has. A full comparison lists all tasks. It follows now and then
(``full_reconcile_interval_s``), and when something looks like a restored database or a clock that was set.
"""

import heapq
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog import event_order, labels
from catalog.reconciliation_records import Reconciliation, SeenProject, SeenTask
from catalog.records import Label, LabelEvent, Proposal, ProposalState, now
from labeling.client import LabelStudio
from labeling.connection import batches
from labeling.events import TaskDeleted, proposal_of
from labeling.queries import LAST_ID
from labeling.task_calls import ReadTask, TaskTag
from services import label_events
from services.label_comparison import newest_event_id, record_differences
from workers.jobs import JobContext

log = logging.getLogger(__name__)

# Label Studio stamps a change before it commits it, so list again from before the last look.
OVERLAP = timedelta(minutes=5)
# Label Studio stamps a task before it stores a changed drawing, and once more afterwards. A stamp that was this young
# when it was seen may be the first of the two: its task is read again, since the second may never have been made.
STORED_WITHIN = timedelta(seconds=30)
# How much the clocks of Label Studio and of this machine may drift apart between two comparisons: less than OVERLAP.
CLOCK_TOLERANCE = timedelta(minutes=1)
# A restoration takes back the newest changes first: these tasks are looked at in every comparison.
_NEWEST = 20
# Where counts differ, a range of at most this many tasks is listed.
_RANGE = 200


def compare_project(context: JobContext, studio: LabelStudio, project_id: int) -> dict[str, list[int]]:
    """Record the label events that were lost, and note what Label Studio has now.

    Returns:
        Ids of the existing tasks by the uid of their proposal.

    Raises:
        LabelStudioError: Label Studio does not answer.
    """
    comparison = _Comparison(context, studio, project_id)
    comparison.run()
    comparison.note()
    return comparison.present()


class _Comparison:
    """One comparison of a project."""

    def __init__(self, context: JobContext, studio: LabelStudio, project_id: int) -> None:
        self._context = context
        self._catalog = context.catalog
        self._studio = studio
        self._project_id = project_id
        self._started_s = time.monotonic()
        with self._catalog.read() as session:
            self._last = session.get(SeenProject, project_id)
            rows = session.scalars(select(SeenTask).where(SeenTask.project_id == project_id)).all()
            self._expected = _expected_tasks(session, project_id)
        self._seen = {row.task_id: TaskTag(row.task_id, row.updated_at, row.annotations, row.skips) for row in rows}
        self._uids = {row.task_id: row.proposal_uid for row in rows}
        self._tasks = studio.count_tasks(project_id).tasks
        self._started = now()  # noted right after Label Studio's time, with which it is compared
        self._clock = studio.clock or self._started
        self._full_because: str | None = None
        self._recorded: list[LabelEvent] = []
        self._read = 0

    def run(self) -> None:
        """Compare, and compare everything if there is a reason to."""
        reason = self._why_full()
        if reason is None and self._last is not None:
            self._settle(self._studio.list_tags(self._project_id, since=self._last.studio_clock - OVERLAP))
            self._settle_range(1, LAST_ID, sorted(self._seen))
            self._settle(self._studio.list_tags(self._project_id, uncounted_only=True))
            self._record_deleted_tasks()
            reason = self._why_full_after_all()
        if reason is not None:
            log.info("all tasks of project %d are compared with Label Studio: %s", self._project_id, reason)
            self._full_because = reason
            self._list_range(1, LAST_ID, list(self._seen))
            self._record_deleted_tasks()

    def present(self) -> dict[str, list[int]]:
        """Return the ids of the existing tasks by the uid of their proposal."""
        found: dict[str, list[int]] = defaultdict(list)
        for task_id, uid in sorted(self._uids.items()):
            if uid is not None:
                found[uid].append(task_id)
        return found

    def note(self) -> None:
        """Store when the project was compared, and what was mended."""
        mended = Counter(event.action for event in self._recorded)
        if mended:
            what = ", ".join(f"{count} x {action}" for action, count in sorted(mended.items()))
            log.warning("project %d of Label Studio had what no webhook has told: %s", self._project_id, what)
        was_full = self._started if self._last is None or self._full_because else self._last.compared_fully_at
        with self._catalog.write() as session:
            seen = SeenProject(project_id=self._project_id, studio_clock=self._clock, compared_at=self._started)
            seen.compared_fully_at = was_full
            session.merge(seen)
            if self._full_because or mended:
                row = Reconciliation(
                    project_id=self._project_id,
                    full_because=self._full_because,
                    tasks=self._tasks,
                    read=self._read,
                    mended=dict(mended),
                    event_ids=[event.id for event in self._recorded],
                    started_at=self._started,
                    seconds=time.monotonic() - self._started_s,
                )
                session.add(row)

    def _why_full(self) -> str | None:
        """Return why all tasks have to be compared, as far as can be told beforehand."""
        if self._last is None:
            return "it was never compared"
        interval = timedelta(seconds=self._catalog.settings.full_reconcile_interval_s)
        if not timedelta(0) <= self._started - self._last.compared_fully_at < interval:
            return "it is due"
        drift = (self._clock - self._last.studio_clock) - (self._started - self._last.compared_at)
        if abs(drift) > CLOCK_TOLERANCE:
            return (
                f"a clock was set: Label Studio's moved by {drift.total_seconds():+.0f} s against that of this server"
            )
        newest = heapq.nlargest(_NEWEST, self._seen.values(), key=lambda tag: tag.updated_at)
        for tag in self._studio.tags_of(self._project_id, [tag.id for tag in newest]):
            if tag.updated_at < self._seen[tag.id].updated_at:
                return f"task {tag.id} went back to an earlier state: Label Studio's database was restored"
        return None

    def _why_full_after_all(self) -> str | None:
        """Return why all tasks have to be compared, judging by what was found in those that were."""
        deletions = (event_order.ANNOTATION_DELETED, event_order.TASK_DELETED)
        lost = sum(event.action in deletions for event in self._recorded)
        if lost:
            return f"{lost} deletions that no webhook had told, as after a restoration of Label Studio's database"
        return None

    def _settle(self, tags: Iterable[TaskTag]) -> None:
        """Read the tasks that differ from what was seen, and compare their annotations with the ledger."""
        changed = {tag.id: tag for tag in tags if self._seen.get(tag.id) != tag or self._was_young(tag)}
        done = 0
        for batch in batches(list(changed)):
            self._context.progress(done, len(changed), "reading the tasks that have changed")
            done += len(batch)
            with self._catalog.read() as session:
                known_until = newest_event_id(session)
            tasks = list(self._studio.read_tasks(self._project_id, batch))
            self._read += len(tasks)
            untouched = [task for task in tasks if not task["annotations"]]
            # Comparing drawings takes some milliseconds each, during which others wait for the database.
            for group in ([task] for task in tasks if task["annotations"]):
                self._compare(group, changed, known_until)
            self._compare(untouched, changed, known_until)

    def _was_young(self, tag: TaskTag) -> bool:
        is_young = self._last is not None and tag.updated_at > self._last.studio_clock - STORED_WITHIN
        return is_young and tag.annotations + tag.skips > 0

    def _compare(self, tasks: Sequence[ReadTask], tags: dict[int, TaskTag], known_until: int) -> None:
        with self._catalog.write() as session:
            for task in tasks:
                recorded = record_differences(session, task, known_until)
                if recorded is None:  # an event came meanwhile: what was seen stays, so that it is read again
                    continue
                self._recorded += recorded
                tag, uid = tags[task["id"]], proposal_of(task["data"])
                self._seen[tag.id], self._uids[tag.id] = tag, uid
                session.merge(
                    SeenTask(
                        project_id=self._project_id,
                        task_id=tag.id,
                        proposal_uid=uid,
                        updated_at=tag.updated_at,
                        annotations=tag.annotations,
                        skips=tag.skips,
                    )
                )

    def _settle_range(self, first: int, last: int, known: Sequence[int]) -> None:
        """Find the tasks with ids from `first` to `last` that are missing, new or otherwise annotated, by counting."""
        found = self._studio.count_tasks(self._project_id, first, last)
        if (found.tasks, found.annotations) == (len(known), sum(self._seen[task].annotations for task in known)):
            return
        if len(known) <= _RANGE:
            self._list_range(first, last, known)
            return
        middle = len(known) // 2
        self._settle_range(first, known[middle] - 1, known[:middle])
        self._settle_range(known[middle], last, known[middle:])

    def _list_range(self, first: int, last: int, known: Sequence[int]) -> None:
        """Compare all tasks with ids from `first` to `last`, and forget those that are gone."""
        tags = list(self._studio.list_tags(self._project_id, first=first, last=last))
        self._settle(tags)
        gone = sorted(set(known) - {tag.id for tag in tags})
        for batch in batches(gone):
            with self._catalog.write() as session:
                of_batch = (SeenTask.project_id == self._project_id) & SeenTask.task_id.in_(batch)
                session.execute(delete(SeenTask).where(of_batch))
        for task_id in gone:
            del self._seen[task_id], self._uids[task_id]

    def _record_deleted_tasks(self) -> None:
        """Record the deletion of every task that was published or annotated and no longer exists.

        Tasks are looked up by the uid of their proposal, because Label Studio reuses task ids. If a proposal's own task
        was deleted and a copy exists, the proposal refers to the copy from then on.
        """
        missing = sorted((uid, task_id) for uid, task_id in self._expected if self._uids.get(task_id) != uid)
        if not missing:
            return
        # Looked up once more: a withdrawn proposal stays withdrawn.
        present = self._studio.find_tasks(self._project_id, sorted({uid for uid, _ in missing}))
        with self._catalog.write() as session:
            for uid, task_id in missing:
                if task_id in present.get(uid, []):
                    continue
                proposal = labels.find_proposal(session, uid)
                if proposal is not None and proposal.task_id == task_id and present.get(uid):
                    proposal.task_id = present[uid][0]
                deletion = {"tasks": [{"id": task_id, "proposal": uid}], "project": {"id": self._project_id}}
                self._recorded += label_events.record_found(session, {"action": TaskDeleted.action, **deletion})


def _expected_tasks(session: Session, project_id: int) -> set[tuple[str, int]]:
    """Return the tasks that should exist, as pairs of a proposal's uid and a task's id."""
    published = select(Proposal.uid, Proposal.task_id).where(
        Proposal.project_id == project_id, Proposal.task_id.is_not(None), Proposal.state != ProposalState.WITHDRAWN
    )
    drawn_on = (
        select(Proposal.uid, LabelEvent.task_id)
        .join(Label, Label.proposal_id == Proposal.id)
        .join(LabelEvent, Label.event_id == LabelEvent.id)
        .where(Label.project_id == project_id, Label.superseded_at.is_(None))
    )
    return {(uid, task_id) for uid, task_id in (*session.execute(published), *session.execute(drawn_on))}
