"""The few calls that we make to Label Studio.

Nothing is ever retried here: Label Studio has no idempotent call, so a POST that worked but was badly answered would
be done twice. Callers retry whole jobs, and every method that creates something looks first whether it exists.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import httpx

from labeling.accounts import access_token, sign_up
from labeling.calls import calling
from labeling.config import label_config
from labeling.errors import LabelStudioError
from labeling.events import SUBSCRIBED
from labeling.health import check_health
from labeling.queries import changed_since, of_ids, of_proposals
from labeling.tasks import PRIORITY, PROPOSAL

if TYPE_CHECKING:
    from label_studio_sdk import LabelStudio as Sdk

T = TypeVar("T")

SAMPLING = "Uncertainty sampling"
"""Label Studio's name for: lowest prediction score first (see `labeling.predictions.score_of`)."""
VIEW_TITLE = "Most useful first"
INSTRUCTION = (
    "Outline the ice in the <b>true-colour</b> view; the other two views are there to be read. "
    "Correct the coloured proposal with brush and eraser, or draw polygons. Where regions overlap, the one drawn last "
    "counts. Everything you leave unpainted is taken as <b>no glacier</b>, so paint what you cannot tell as "
    "<b>masked/unknown</b>. No ice at all? Delete all regions and submit. Skip a patch only if it cannot be judged."
)
"""Shown to annotators before their first task (HTML)."""

_ALL = -1  # a page size; pages would shift while annotators work
_BATCH = 50  # tasks per request: keeps URLs and answers small, and one import under a few seconds
# `include` filters the annotations inside a task by the same list as the task itself.
_CHANGED_FIELDS = "id,project,data,updated_at,annotations,result,was_cancelled,completed_by,lead_time,created_at"


class ChangedTask(TypedDict):
    """A task that changed, as JSON gave it, but for its time.

    Its annotations (skipped ones too) are for `labeling.events.saved_from_api`.
    """

    id: int
    project: int
    data: dict[str, Any]
    updated_at: datetime
    annotations: list[dict[str, Any]]


class LabelStudio:
    """Label Studio as one of its users.

    Every method raises `labeling.errors.LabelStudioError` if Label Studio cannot be reached, refuses, or answers
    otherwise than expected. The SDK is loaded at the first call that needs it (1.5 s).

    Args:
        url: Label Studio's address, with or without a slash at the end.
        token: The user's API token, legacy or personal.
        timeout_s: Longest wait for an answer, in seconds.
    """

    def __init__(self, url: str, token: str, timeout_s: float = 30.0) -> None:
        self._url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    @cached_property
    def _sdk(self) -> "Sdk":
        from label_studio_sdk import LabelStudio as Sdk

        # No connection is kept open: the server may close an idle one at any time, and a write that meets that
        # moment could not be retried.
        client = httpx.Client(timeout=self._timeout_s, limits=httpx.Limits(max_keepalive_connections=0))
        return Sdk(  # type: ignore[no-untyped-call]
            base_url=self._url, api_key=self._token, timeout=self._timeout_s, max_retries=0, httpx_client=client
        )

    def check(self) -> None:
        """Check that Label Studio is up and the token is good."""
        check_health(self._url, self._timeout_s)
        with calling(self._url, "accept the token"):
            self._sdk.users.whoami()

    # The project and what hangs on it

    def ensure_project(self, title: str, colours: Mapping[str, str], description: str) -> int:
        """Find or create the project, and bring its settings up to date.

        Args:
            title: Its exact title, 3 to 50 characters; of several, the oldest is taken.
            colours: Label to colour (``#rrggbb``), see `labeling.config.label_config`.
            description: For the project's card.

        Returns:
            The project's id.
        """
        wanted: dict[str, Any] = {
            "description": description,
            "label_config": label_config(colours),
            "sampling": SAMPLING,
            "maximum_annotations": 1,
            "show_collab_predictions": True,
            "expert_instruction": INSTRUCTION,
            "show_instruction": True,
        }
        with calling(self._url, f"set up the project {title!r}"):
            projects: list[Any] = list(self._sdk.projects.list())
            found = [_id(project.id, self._url) for project in projects if project.title == title]
            if not found:
                return _id(self._sdk.projects.create(title=title, **wanted).id, self._url)
            project_id = min(found)
            project = self._sdk.projects.get(project_id)
            stale = {key: value for key, value in wanted.items() if getattr(project, key) != value}
            if stale:
                self._sdk.projects.update(project_id, **stale)
        return project_id

    def ensure_webhook(self, project_id: int, url: str, secret_header: str, secret: str) -> None:
        """See to it that exactly one webhook of ours tells us of label events.

        Ours are those that send the secret header or go to this address.

        Args:
            project_id: The project.
            url: Where events go; its host must be an IP address, localhost or a name with a dot.
            secret_header: Name of the header that carries the secret.
            secret: What proves to us that Label Studio is calling.
        """
        wanted: dict[str, Any] = {
            "url": url,
            "headers": {secret_header: secret},
            "actions": list(SUBSCRIBED),  # always all fields: an update without actions would empty the list
            "is_active": True,
            "send_payload": True,
            "send_for_all_actions": False,
        }
        with calling(self._url, f"set up the webhook to {url}"):
            hooks = self._sdk.webhooks.list(project=str(project_id))
            ours = [hook for hook in hooks if hook.url == url or secret_header in (hook.headers or {})]
            if not ours:
                self._sdk.webhooks.create(project=project_id, **wanted)
                return
            kept, *surplus = ours
            for hook in surplus:
                self._sdk.webhooks.delete(_id(hook.id, self._url))
            found = {**kept.model_dump(), "actions": sorted(kept.actions or [])}
            if any(found[key] != value for key, value in {**wanted, "actions": sorted(SUBSCRIBED)}.items()):
                self._sdk.webhooks.update(_id(kept.id, self._url), **wanted)

    def ensure_view(self, project_id: int) -> None:
        """See to it that the Data Manager has a tab with the highest priority on top, shared by all."""
        data: Any = {
            "title": VIEW_TITLE,
            "type": "list",
            "target": "tasks",
            "ordering": [f"-tasks:data.{PRIORITY}"],
            "filters": {"conjunction": "and", "items": []},
        }
        with calling(self._url, f"set up the tab {VIEW_TITLE!r}"):
            views = self._sdk.views.list(project=project_id)
            if not any((view.data or {}).get("title") == VIEW_TITLE for view in views):
                self._sdk.views.create(project=project_id, data=data)

    def set_model_version(self, project_id: int, version: str) -> None:
        """Name the model version whose predictions annotators are served.

        Tasks that only have predictions of another version are then served last, and without them.
        """
        with calling(self._url, f"serve the predictions of {version}"):
            self._sdk.projects.update(project_id, model_version=version)

    # Tasks

    def find_tasks(self, project_id: int, proposals: Sequence[str]) -> dict[str, int]:
        """Look up Label Studio's task ids.

        Args:
            project_id: The project.
            proposals: Our names of the proposals.

        Returns:
            Proposal to task id, for those that exist; of several tasks of one proposal, the oldest.
        """
        found: dict[str, int] = {}
        for batch in _batches(proposals):
            for task in self._list(project_id, "task_only", "id,data", of_proposals(batch)):
                name, task_id = task.data[PROPOSAL], _id(task.id, self._url)
                found[name] = min(task_id, found.get(name, task_id))
        return found

    def publish(self, project_id: int, tasks: Sequence[Mapping[str, Any]]) -> dict[str, int]:
        """Import tasks, except those that are there already.

        One publisher at a time: Label Studio keeps no key that would stop a second one.

        Args:
            project_id: The project.
            tasks: From `labeling.tasks.to_task`.

        Returns:
            Proposal to task id, for all of them.

        Raises:
            LabelStudioError: Also if a task is missing after the import.
        """
        proposals = [str(task["data"][PROPOSAL]) for task in tasks]
        present = self.find_tasks(project_id, proposals)
        missing = [task for task in tasks if task["data"][PROPOSAL] not in present]
        for batch in _batches(missing):
            request: Any = [dict(task) for task in batch]
            with calling(self._url, f"import {len(batch)} tasks"):
                self._sdk.projects.import_tasks(project_id, request=request)
        published = self.find_tasks(project_id, proposals)
        lost = sorted(set(proposals) - set(published))
        if lost:
            raise LabelStudioError(
                f"Label Studio at {self._url} took the import, but has no task of {len(lost)} proposals, "
                f"e.g. {lost[0]!r}, in project {project_id}.",
                url=self._url,
            )
        return published

    def add_prediction(self, task_id: int, prediction: Mapping[str, Any]) -> None:
        """Give a task a further prediction, for instance by a newer model version; it keeps its earlier ones.

        Args:
            task_id: Label Studio's id of the task.
            prediction: From `labeling.predictions.build_prediction`.
        """
        with calling(self._url, f"add a prediction to task {task_id}"):
            self._sdk.predictions.create(task=task_id, **prediction)

    def update_task_data(self, task_id: int, changes: Mapping[str, Any]) -> None:
        """Change members of a task's data, such as its priority or image addresses; the others stay.

        Args:
            task_id: Label Studio's id of the task.
            changes: Members to set.
        """
        with calling(self._url, f"update task {task_id}"):
            task = self._sdk.tasks.get(str(task_id))
            # A PATCH replaces all of `data`.
            self._sdk.tasks.update(str(task_id), data={**task.data, **changes})

    def delete_unanswered(self, project_id: int, proposals: Sequence[str]) -> int:
        """Delete the tasks of proposals, but those that have an annotation or a draft.

        Args:
            project_id: The project.
            proposals: Our names of the proposals.

        Returns:
            How many tasks were deleted.
        """
        deleted = 0
        for batch in _batches(proposals):
            for task in self._list(project_id, "all", "id,data,annotations,drafts", of_proposals(batch)):
                if not task.annotations and not task.drafts:
                    with calling(self._url, f"delete task {task.id}"):
                        self._sdk.tasks.delete(str(_id(task.id, self._url)))
                    deleted += 1
        return deleted

    def task_ids(self, project_id: int) -> set[int]:
        """List the ids of all tasks; deleted ones show only by their absence."""
        return {_id(task.id, self._url) for task in self._list(project_id, "task_only", "id", None)}

    def changed_tasks(self, project_id: int, since: datetime | None) -> Iterator[ChangedTask]:
        """List the tasks that changed after a time, to find label events that never reached us.

        A task changes when one of its annotations is created, changed, skipped or deleted. Label Studio stamps a
        change before it commits it, so ask for some minutes more than seem necessary.

        Args:
            project_id: The project.
            since: Aware time, exclusive; None for all tasks.

        Yields:
            The tasks, oldest change first. Their ids and times are one snapshot taken at the start, so that the
            last time is a safe `since` for the next call; their content may be newer.
        """
        snapshot = {
            _id(task.id, self._url): task.updated_at
            for task in self._list(project_id, "task_only", "id,updated_at", changed_since(since))
        }
        for batch in _batches(list(snapshot)):
            tasks = {task.id: task for task in self._list(project_id, "all", _CHANGED_FIELDS, of_ids(batch))}
            for task_id in batch:
                if task_id in tasks:  # else it was deleted a moment ago; `task_ids` will tell
                    yield ChangedTask(
                        id=task_id,
                        project=project_id,
                        data=tasks[task_id].data,
                        updated_at=snapshot[task_id],
                        annotations=tasks[task_id].annotations,
                    )

    def _list(self, project_id: int, fields: str, include: str, query: str | None) -> list[Any]:
        with calling(self._url, f"list tasks of project {project_id}"):
            page: Any = self._sdk.tasks.list(
                project=project_id, fields=fields, include=include, query=query, page_size=_ALL
            )
        return list(page.items or [])

    # People

    def user_emails(self) -> dict[int, str]:
        """List the users: id to address."""
        with calling(self._url, "list its users"):
            return {_id(user.id, self._url): str(user.email) for user in self._sdk.users.list()}

    def invite_user(self, email: str, password: str) -> int:
        """Give a person an account in our organization, unless they have one.

        Args:
            email: Their address; the domain needs a top level of two letters or more.
            password: At least 8 characters; not changed if the account exists.

        Returns:
            The user's id.
        """
        address = email.lower()  # as Label Studio stores it
        if address not in self.user_emails().values():
            with calling(self._url, "issue an invitation"):
                invitation = self._sdk.organizations.invites.get_invite_link().token
            sign_up(self._url, str(invitation), address, password, self._timeout_s)
        return {found: user_id for user_id, found in self.user_emails().items()}[address]

    def user_token(self, email: str, password: str) -> str:
        """Log in as another user and return their API token, with which to make a client of theirs."""
        return access_token(self._url, email, password, self._timeout_s)

    def annotate(
        self, task_id: int, result: Sequence[Mapping[str, Any]], *, lead_time_s: float, skip: bool = False
    ) -> int:
        """Submit an annotation as this client's user.

        Args:
            task_id: Label Studio's id of the task.
            result: The regions, see `labeling.regions`.
            lead_time_s: Seconds spent on it.
            skip: True to skip the task, as the page does: with the untouched regions as result.

        Returns:
            The annotation's id.
        """
        with calling(self._url, f"save the annotation of task {task_id}"):
            annotation = self._sdk.annotations.create(
                task_id,
                result=[dict(region) for region in result],
                lead_time=lead_time_s,
                was_cancelled=skip,
            )
        return _id(annotation.id, self._url)


def _batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def _id(found: object, url: str) -> int:
    """Return an id of an answer; the SDK promises none."""
    if not isinstance(found, int):
        raise LabelStudioError(f"Label Studio at {url} answered with the id {found!r}; expected an integer.", url=url)
    return found
