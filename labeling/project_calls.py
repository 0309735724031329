"""Calls about the project: its settings, our webhook, and the tab that shows the most useful tasks."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import httpx

from labeling.calls import calling, unless_gone
from labeling.config import label_config
from labeling.connection import Connection
from labeling.errors import LabelStudioError
from labeling.events import SUBSCRIBED
from labeling.tasks import PRIORITY, PROPOSAL

SAMPLING = "Uncertainty sampling"
"""Label Studio's name for: lowest prediction score first (see `labeling.predictions.score_of`)."""
VIEW_TITLE = "Most useful first"
_HIDDEN: Final = [f"tasks:data.{field}" for field in ("panel", PROPOSAL, "patch_id")]
"""Columns of the tab that say nothing to a person."""
LATE: Final = timedelta(minutes=15)
"""How far from a project its double may be created, by a call that the network held back."""


class ProjectCalls(Connection):
    """Calls about projects."""

    def find_project(self, title: str) -> int | None:
        """Return the id of the oldest project with exactly this title; None if there is none."""
        with calling(self._url, f"look for the project {title!r}"):
            projects: list[Any] = list(self._sdk.projects.list())
        return min((self._id(project.id) for project in projects if project.title == title), default=None)

    def doubles(self, project_id: int) -> list[int]:
        """Return the ids of the projects that a repeated creation of a project left behind, oldest first.

        They have its title and no task, and were created soon before or after it (`LATE`): two workers may have created
        one each, Label Studio repeats a creation by itself while its database is locked, and a call may be done when
        its client has long given up and made it again.
        """
        with calling(self._url, f"look for doubles of project {project_id}"):
            projects: list[Any] = list(self._sdk.projects.list())
        ours = next((item for item in projects if item.id == project_id), None)
        return sorted(
            self._id(item.id)
            for item in projects
            if ours is not None and item.id != project_id and item.title == ours.title and not item.task_number
            if abs(item.created_at - ours.created_at) <= LATE
        )

    def create_project(
        self,
        title: str,
        colours: Mapping[str, str],
        description: str,
        instruction: str,
        clicked: Mapping[str, str] | None = None,
    ) -> int:
        """Create a project.

        While its database is locked, Label Studio repeats this by itself and leaves a second project behind.

        Args:
            title: Its title, 3 to 50 characters.
            colours: Label to colour (``#rrggbb``), see `labeling.config.label_config`.
            description: For the project's card.
            instruction: Shown to annotators before their first task (HTML), see `labeling.instruction`.
            clicked: The labels of the clicks, see `labeling.config.label_config`; None leaves them out.

        Returns:
            The project's id.
        """
        with calling(self._url, f"create the project {title!r}"):
            created = self._sdk.projects.create(title=title, **_settings(colours, description, instruction, clicked))
        return self._id(created.id)

    def update_project(
        self,
        project_id: int,
        colours: Mapping[str, str],
        description: str,
        instruction: str,
        clicked: Mapping[str, str] | None = None,
    ) -> None:
        """Bring the settings of a project up to date; its title stays, for people may rename it.

        Args:
            project_id: The project.
            colours: Label to colour (``#rrggbb``), see `labeling.config.label_config`.
            description: For the project's card.
            instruction: Shown to annotators before their first task (HTML), see `labeling.instruction`.
            clicked: The labels of the clicks, see `labeling.config.label_config`; None leaves them out.
        """
        with calling(self._url, f"set up the project {project_id}"):
            project = self._sdk.projects.get(project_id)
            stale = {
                key: value
                for key, value in _settings(colours, description, instruction, clicked).items()
                if getattr(project, key) != value
            }
            if stale:
                self._sdk.projects.update(project_id, **stale)

    def project_title(self, project_id: int) -> str:
        """Return the title of a project."""
        with calling(self._url, f"show the project {project_id}"):
            return self._sdk.projects.get(project_id).title or ""

    def delete_project(self, project_id: int) -> None:
        """Delete a project with everything in it, if it is there."""
        with unless_gone(), calling(self._url, f"delete the project {project_id}"):
            self._sdk.projects.delete(project_id)

    def project_exists(self, project_id: int) -> bool:
        """Return whether a project exists.

        False is certain: the same Label Studio accepts our token and lists its projects, and this one is not among
        them.

        Raises:
            LabelStudioError: If that cannot be told, e.g. because something else answers 404 to everything.
        """
        try:
            with calling(self._url, f"show the project {project_id}"):
                self._sdk.projects.get(project_id)
        except LabelStudioError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
        else:
            return True
        try:
            with calling(self._url, "list its projects"):
                self._sdk.users.whoami()
                projects: list[Any] = list(self._sdk.projects.list())
        except LabelStudioError as error:
            raise LabelStudioError(
                f"Whether the project {project_id} was deleted cannot be told. {error}", url=self._url
            ) from error
        if any(project.id == project_id for project in projects):
            raise LabelStudioError(
                f"Label Studio at {self._url} lists the project {project_id} but does not show it.", url=self._url
            )
        return False

    def ensure_webhook(self, project_id: int, url: str, secret_header: str, secret: str) -> None:
        """Make sure that exactly one webhook of ours tells us of label events.

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
                with unless_gone(), calling(self._url, f"delete the surplus webhook to {hook.url}"):
                    self._sdk.webhooks.delete(self._id(hook.id))
            found = {**kept.model_dump(), "actions": sorted(kept.actions or [])}
            if any(found[key] != value for key, value in {**wanted, "actions": sorted(SUBSCRIBED)}.items()):
                self._sdk.webhooks.update(self._id(kept.id), **wanted)

    def has_webhook(self, project_id: int, url: str, secret_header: str) -> bool:
        """Return whether a project has a webhook of ours, see `ensure_webhook`."""
        with calling(self._url, f"list the webhooks of project {project_id}"):
            hooks = self._sdk.webhooks.list(project=str(project_id))
        return any(hook.url == url or secret_header in (hook.headers or {}) for hook in hooks)

    def ensure_view(self, project_id: int) -> None:
        """Make sure that the Data Manager has one tab with the highest priority on top, shared by all."""
        data: Any = {
            "title": VIEW_TITLE,
            "type": "list",
            "target": "tasks",
            "ordering": [f"-tasks:data.{PRIORITY}"],
            "filters": {"conjunction": "and", "items": []},
            "hiddenColumns": {"explore": _HIDDEN, "labeling": _HIDDEN},
        }
        with calling(self._url, f"set up the tab {VIEW_TITLE!r}"):
            views = self._sdk.views.list(project=project_id)
            ours = [view for view in views if (view.data or {}).get("title") == VIEW_TITLE]
            if not ours:
                self._sdk.views.create(project=project_id, data=data)
            elif "hiddenColumns" not in (ours[0].data or {}):  # made by an earlier release
                self._sdk.views.update(str(self._id(ours[0].id)), project=project_id, data={**ours[0].data, **data})
            for surplus in ours[1:]:  # of a creation that was done twice
                with unless_gone(), calling(self._url, f"delete the surplus tab {VIEW_TITLE!r}"):
                    self._sdk.views.delete(str(self._id(surplus.id)))

    def model_version(self, project_id: int) -> str:
        """Return the model version whose predictions annotators are served; empty if there is none."""
        with calling(self._url, f"show the project {project_id}"):
            return self._sdk.projects.get(project_id).model_version or ""

    def set_model_version(self, project_id: int, version: str) -> None:
        """Choose the model version whose predictions annotators are served.

        Tasks that only have predictions of another version are then served last, and without them. Label Studio
        refuses a version that no prediction of the project names.
        """
        with calling(self._url, f"serve the predictions of {version}"):
            self._sdk.projects.update(project_id, model_version=version)


def _settings(
    colours: Mapping[str, str], description: str, instruction: str, clicked: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        "description": description,
        "label_config": label_config(colours, clicked),
        "sampling": SAMPLING,
        "maximum_annotations": 1,
        "show_collab_predictions": True,
        "expert_instruction": instruction,
        "show_instruction": True,
    }
