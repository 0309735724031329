"""Calls about tasks: import, look, change, delete."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, TypedDict

import httpx

from labeling.calls import calling, unless_gone
from labeling.connection import Connection, batches
from labeling.errors import LabelStudioError
from labeling.predictions import MODEL_VERSION, is_ours
from labeling.queries import (
    LAST_ID,
    Filter,
    all_of,
    changed_since,
    compose,
    of_proposals,
    of_range,
    only,
    uncounted,
    untouched,
    with_annotation_ids,
)
from labeling.tasks import PROPOSAL

log = logging.getLogger(__name__)

# Label Studio loads all annotations and predictions of a page, even those that it does not return: some 200 kB a task.
_PAGE = 200
# `include` filters the annotations inside a task by the same list as the task itself.
_READ_FIELDS = (
    "id,project,data,annotations,result,was_cancelled,completed_by,updated_by,lead_time,created_at,updated_at"
)
# `drafts` are those of whoever asks, `draft_exists` tells of anybody's.
_PRESENT_FIELDS = "id,data,file_upload,annotations,draft_exists,predictions_model_versions"
_WHOLE_FIELDS = "id,data,annotations,draft_exists,predictions"
_TAG_FIELDS = "id,updated_at,total_annotations,cancelled_annotations,annotations_ids"


class ReadTask(TypedDict):
    """A task with its annotations (skipped ones too), as JSON gave them, for `labeling.events.saved_payload`."""

    id: int
    project: int
    data: dict[str, Any]
    annotations: list[dict[str, Any]]


@dataclass(frozen=True)
class TaskTag:
    """What tells whether a task has changed: it differs after every change of its annotations or data.

    Attributes:
        id: Label Studio's id of the task.
        updated_at: When it changed last, by Label Studio's clock.
        annotations: How many annotations it has that are no skips.
        skips: How many skips it has.
        is_miscounted: Whether it has another number of annotations than these two. Label Studio stores an annotation
            first, then the counters and the time of its task; if it is killed in between, or its disk is full, only the
            annotation itself tells that it is there.
    """

    id: int
    updated_at: datetime
    annotations: int
    skips: int
    is_miscounted: bool = False


@dataclass(frozen=True)
class TaskCount:
    """How many tasks there are, and how many annotations on them that are no skips."""

    tasks: int
    annotations: int


@dataclass(frozen=True)
class PresentTask:
    """A task of a proposal that Label Studio has now.

    Attributes:
        id: Label Studio's id of it.
        is_begun: Whether it has an annotation (or a skip) or a draft.
        is_uploaded: Whether a person uploaded it as a file, through the page.
        is_predicted: Whether it has a prediction of ours that annotators are shown.
    """

    id: int
    is_begun: bool
    is_uploaded: bool
    is_predicted: bool


class TaskCalls(Connection):
    """Calls about the tasks of a project."""

    def find_tasks(self, project_id: int, proposals: Sequence[str]) -> dict[str, list[int]]:
        """Look up Label Studio's task ids.

        Args:
            project_id: The project.
            proposals: Our names of the proposals.

        Returns:
            Proposal to the ids of its tasks, oldest first, for those that have any. More than one: a person copied
            the task, or Label Studio imported it twice.
        """
        found: dict[str, list[int]] = {}
        for batch in batches(proposals):
            for task in self._list(project_id, "task_only", "id,data", [of_proposals(batch)]):
                found.setdefault(task.data[PROPOSAL], []).append(self._id(task.id))
        return {proposal: sorted(ids) for proposal, ids in found.items()}

    def present_tasks(self, project_id: int, proposals: Sequence[str]) -> dict[str, list[PresentTask]]:
        """Look at the tasks of proposals.

        Args:
            project_id: The project.
            proposals: Our names of the proposals.

        Returns:
            Proposal to its tasks, those that are begun first, then the oldest first, for those that have any.
        """
        found: dict[str, list[PresentTask]] = {}
        for batch in batches(proposals):
            for task in self._list(project_id, "all", _PRESENT_FIELDS, [of_proposals(batch)]):
                present = PresentTask(
                    id=self._id(task.id),
                    is_begun=_is_begun(task),
                    is_uploaded=bool(task.file_upload),
                    is_predicted=MODEL_VERSION in _separate(task.predictions_model_versions),
                )
                found.setdefault(task.data[PROPOSAL], []).append(present)
        return {
            proposal: sorted(tasks, key=lambda task: (not task.is_begun, task.id)) for proposal, tasks in found.items()
        }

    def import_missing(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> dict[str, list[PresentTask]]:
        """Import tasks, except those of proposals that have one already.

        Two importers at the same time, and an import that Label Studio repeats by itself while its database is locked,
        make tasks twice or without their predictions; the answer tells.

        Args:
            project_id: The project.
            tasks: From `labeling.tasks.to_task`.

        Returns:
            As `present_tasks`, looked at after the import, for all of the proposals.

        Raises:
            LabelStudioError: Also if a task is missing after the import.
        """
        proposals = [str(task["data"][PROPOSAL]) for task in tasks]
        present = self.find_tasks(project_id, proposals)
        for batch in batches([task for task in tasks if task["data"][PROPOSAL] not in present]):
            self._import(project_id, batch)
        found = self.present_tasks(project_id, proposals)
        lost = sorted(set(proposals) - set(found))
        if lost:
            raise LabelStudioError(
                f"Label Studio at {self._url} took the import, but has no task of {len(lost)} proposals, "
                f"e.g. {lost[0]!r}, in project {project_id}.",
                url=self._url,
            )
        return found

    def _import(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> None:
        """Import tasks; if Label Studio refuses, leave out the predictions that it refuses, and nothing else.

        A refused import has stored nothing.
        """
        request: Any = [dict(task) for task in tasks]
        try:
            with calling(self._url, f"import {len(tasks)} tasks"):
                self._sdk.projects.import_tasks(project_id, request=request)
        except LabelStudioError as error:
            if not error.refused or (len(tasks) == 1 and "predictions" not in tasks[0]):
                raise
            if len(tasks) == 1:
                log.warning("the task of %s is imported without prediction: %s", tasks[0]["data"][PROPOSAL], error)
                self._import(project_id, [{"data": tasks[0]["data"]}])
                return
            half = len(tasks) // 2
            self._import(project_id, tasks[:half])
            self._import(project_id, tasks[half:])

    def renew_task(
        self, project_id: int, task_id: int, changes: Mapping[str, Any], prediction: Mapping[str, Any]
    ) -> bool:
        """Change members of a task's data, and replace its prediction, unless somebody has begun it.

        Label Studio has no call that looks at a task and changes it, and none that changes data and predictions. If
        somebody has begun meanwhile, the earlier data and prediction are put back, on which was drawn.

        Args:
            project_id: The project.
            task_id: Label Studio's id of the task.
            changes: Members to set; the others stay.
            prediction: From `labeling.predictions.build_prediction`.

        Returns:
            False if the task stays as it is, or is gone.

        Raises:
            LabelStudioError: Also if Label Studio refuses the prediction, before anything has changed.
        """
        before = self._look(project_id, task_id)
        if before is None or _is_begun(before):
            return False
        self._show(before, prediction, {**before.data, **changes})
        after = self._look(project_id, task_id)
        if after is None or not _is_begun(after):
            return after is not None
        log.info("task %d was begun while it was renewed: it shows again what was drawn on", task_id)
        self._show(after, _prediction_of(before), before.data)
        return False

    def _look(self, project_id: int, task_id: int) -> Any | None:
        return next(self._list(project_id, "all", _WHOLE_FIELDS, [], ids=[task_id]), None)

    def _show(self, task: Any, prediction: Mapping[str, Any] | None, data: dict[str, Any]) -> None:
        """Give a task this prediction, or none, and these data, in place of what it has."""
        ours = [self._id(item.id) for item in _our_predictions(task)]
        if prediction is not None:
            with calling(self._url, f"change the prediction of task {task.id}"):
                if ours:
                    self._sdk.predictions.update(ours.pop(0), **prediction)
                else:
                    self._sdk.predictions.create(task=task.id, **prediction)
        self._delete_predictions(ours)
        with calling(self._url, f"update task {task.id}"):
            self._sdk.tasks.update(str(task.id), data=data)  # this replaces all of them

    def _delete_predictions(self, ids: Iterable[int]) -> None:
        for surplus in ids:
            with unless_gone(), calling(self._url, f"delete the prediction {surplus}"):
                self._sdk.predictions.delete(surplus)

    def show_predictions(self, project_id: int, noted: Mapping[str, str]) -> None:
        """Give predictions of an earlier release, which named them by what drew them, the name that is shown.

        The others of their tasks are deleted; a task without the one that is noted stays as it is.

        Args:
            project_id: The project.
            noted: Our name of a proposal to the earlier name of the prediction that is to be shown.
        """
        for batch in batches(list(noted)):
            for task in self._list(project_id, "all", _WHOLE_FIELDS, [of_proposals(batch)]):
                ours, wanted = _our_predictions(task), noted[task.data[PROPOSAL]]
                shown = next((item for item in ours if item.model_version in {MODEL_VERSION, wanted}), None)
                if shown is None:
                    continue
                if shown.model_version != MODEL_VERSION:
                    with calling(self._url, f"show the prediction of task {task.id}"):
                        self._sdk.predictions.update(self._id(shown.id), model_version=MODEL_VERSION)
                self._delete_predictions(self._id(item.id) for item in ours if item is not shown)

    def update_task_data(self, task_id: int, changes: Mapping[str, Any]) -> bool:
        """Change members of a task's data, such as its priority or image addresses; the others stay.

        Args:
            task_id: Label Studio's id of the task.
            changes: Members to set.

        Returns:
            False if there is no such task any more.
        """
        try:
            with calling(self._url, f"update task {task_id}"):
                task = self._sdk.tasks.get(str(task_id))
                # A PATCH replaces all of `data`.
                self._sdk.tasks.update(str(task_id), data={**task.data, **changes})
        except LabelStudioError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def delete_untouched(self, project_id: int, task_ids: Sequence[int]) -> None:
        """Delete tasks, but those that have an annotation, a skip or a draft.

        Label Studio itself looks and deletes, within one call: between a look of ours and a deletion of ours somebody
        could begin a task, whose drawing would be gone with it.

        Args:
            project_id: The project.
            task_ids: Label Studio's ids of the tasks; those that do not exist are left out.
        """
        for batch in batches(task_ids):
            filters: Any = all_of([of_range(min(batch), max(batch)), *untouched()])
            with calling(self._url, f"delete {len(batch)} tasks of project {project_id}"):
                self._sdk.actions.create(
                    id="delete_tasks", project=project_id, filters=filters, selected_items=only(batch)
                )

    def delete_unanswered(self, project_id: int, proposals: Sequence[str]) -> int:
        """Delete the tasks of proposals, but those that have an annotation, a skip or a draft.

        Args:
            project_id: The project.
            proposals: Our names of the proposals.

        Returns:
            How many tasks are gone.
        """
        task_ids = list(chain(*self.find_tasks(project_id, proposals).values()))
        self.delete_untouched(project_id, task_ids)
        return len(task_ids) - sum(map(len, self.find_tasks(project_id, proposals).values()))

    def proposals_of_tasks(self, project_id: int) -> dict[int, str | None]:
        """Return the proposal that each task of a project carries; None if it carries none."""
        tasks = self._list(project_id, "task_only", "id,data", [])
        return {self._id(task.id): task.data.get(PROPOSAL) for task in tasks}

    def count_tasks(self, project_id: int, first: int = 1, last: int = LAST_ID) -> TaskCount:
        """Count the tasks with ids from `first` to `last`, both included; takes 0.1 s among 50,000."""
        query = compose([of_range(first, last)])
        with calling(self._url, f"count tasks of project {project_id}"):
            page: Any = self._sdk.tasks.list(
                project=project_id, fields="task_only", include="id", query=query, page_size=1
            )
        return TaskCount(page.response.total, page.response.total_annotations)

    def list_tags(
        self,
        project_id: int,
        *,
        since: datetime | None = None,
        first: int = 1,
        last: int = LAST_ID,
        uncounted_only: bool = False,
    ) -> Iterator[TaskTag]:
        """List what tells whether tasks have changed, in the order of their ids.

        A task changes when one of its annotations is created, changed, skipped or deleted, or its data. Label Studio
        stamps a change before it commits it, so ask for some minutes more than seem necessary.

        Args:
            project_id: The project.
            since: Only tasks with a later time of change; aware.
            first: Lowest id.
            last: Highest id.
            uncounted_only: Only tasks whose counters say that nobody has drawn on them, although somebody has.
        """
        filters = [with_annotation_ids()]
        if since is not None:
            filters.append(changed_since(since))
        if uncounted_only:
            filters += uncounted()
        for task in self._list(project_id, "task_only", _TAG_FIELDS, filters, first=first, last=last):
            yield self._tag(task)

    def tags_of(self, project_id: int, task_ids: Sequence[int]) -> list[TaskTag]:
        """Return what tells whether these tasks have changed, of those that exist."""
        return [
            self._tag(task)
            for batch in batches(task_ids)
            for task in self._list(project_id, "task_only", _TAG_FIELDS, [with_annotation_ids()], ids=batch)
        ]

    def read_tasks(self, project_id: int, task_ids: Sequence[int]) -> Iterator[ReadTask]:
        """Read tasks with their annotations; those that do not exist are left out."""
        for batch in batches(task_ids):
            for task in self._list(project_id, "all", _READ_FIELDS, [], ids=batch):
                yield ReadTask(id=self._id(task.id), project=project_id, data=task.data, annotations=task.annotations)

    def changed_tasks(self, project_id: int, since: datetime | None) -> Iterator[ReadTask]:
        """Read the tasks that changed after an aware time, or all for None, see `list_tags`."""
        for batch in batches([tag.id for tag in self.list_tags(project_id, since=since)]):
            yield from self.read_tasks(project_id, batch)

    def _list(
        self,
        project_id: int,
        fields: str,
        include: str,
        filters: Sequence[Filter],
        *,
        ids: Sequence[int] | None = None,
        first: int = 1,
        last: int = LAST_ID,
    ) -> Iterator[Any]:
        """List tasks by pages, in the order of their ids.

        Each page begins behind the last id of the one before: numbered pages shift while annotators work, and a page
        without a size has 100 tasks.
        """
        while True:
            query = compose([*filters, of_range(first, last)], ids)
            with calling(self._url, f"list tasks of project {project_id}"):
                page: Any = self._sdk.tasks.list(
                    project=project_id, fields=fields, include=include, query=query, page_size=_PAGE
                )
            found = list(page.items or [])
            yield from found
            if len(found) < _PAGE:
                return
            first = self._id(found[-1].id) + 1

    def _tag(self, task: Any) -> TaskTag:
        annotations, skips = task.total_annotations or 0, task.cancelled_annotations or 0
        is_miscounted = len(_separate(task.annotations_ids)) != annotations + skips
        return TaskTag(self._id(task.id), task.updated_at, annotations, skips, is_miscounted)


def _separate(values: str | list[Any] | None) -> list[Any]:
    """Return what Label Studio has joined by commas, on PostgreSQL with blanks behind them."""
    return [value.strip() for value in values.split(",")] if isinstance(values, str) and values else list(values or [])


def _is_begun(task: Any) -> bool:
    return bool(task.annotations or task.draft_exists)


def _our_predictions(task: Any) -> list[Any]:
    """Return our predictions of a task; the first is the one that is shown."""
    ours = [item for item in task.predictions or [] if is_ours(item.model_version or "")]
    return sorted(ours, key=lambda item: (item.model_version != MODEL_VERSION, item.id))


def _prediction_of(task: Any) -> dict[str, Any] | None:
    for item in _our_predictions(task):
        return {"model_version": MODEL_VERSION, "score": item.score, "result": item.result}
    return None
