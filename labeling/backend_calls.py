"""Calls about the interactive machine learning backend of a project, which is this server."""

from typing import Any

from labeling.calls import calling, unless_gone
from labeling.connection import Connection
from labeling.interactive import USER

BACKEND_TITLE = "Clicks that mend the proposal"
_CONNECTED = "CO"


class BackendCalls(Connection):
    """Calls about interactive backends."""

    def ensure_backend(self, project_id: int, url: str, password: str) -> None:
        """Make sure that exactly one backend of ours is connected to a project. Label Studio calls it meanwhile.

        Label Studio also adds a webhook of its own to ``<url>/webhook``, for all actions and without credentials; it is
        removed.

        Args:
            project_id: The project.
            url: Address of the backend, without a slash at the end.
            password: What proves to the backend that Label Studio is calling, see `labeling.interactive.USER`.

        Raises:
            LabelStudioError: Also if Label Studio cannot reach the backend.
        """
        wanted: dict[str, Any] = {
            "url": url,
            "title": BACKEND_TITLE,
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": USER,
        }
        with calling(self._url, f"connect the backend {url}"):
            ours = self._our_backends(project_id)
            if not ours:
                self._sdk.ml.create(project=project_id, basic_auth_pass=password, **wanted)
            for surplus in ours[1:]:
                self._delete_backend(surplus)
            if ours and (
                ours[0].state != _CONNECTED  # the password may be an old one: it cannot be read
                or any(getattr(ours[0], key) != value for key, value in wanted.items())
            ):
                self._sdk.ml.update(self._id(ours[0].id), project=project_id, basic_auth_pass=password, **wanted)
            self._remove_webhooks(project_id, url)

    def remove_backend(self, project_id: int) -> None:
        """Make sure that no backend of ours is connected to a project."""
        with calling(self._url, "disconnect our backend"):
            for backend in self._our_backends(project_id):
                self._delete_backend(backend)
                self._remove_webhooks(project_id, backend.url)

    def _our_backends(self, project_id: int) -> list[Any]:
        """Return the backends with our title, oldest first."""
        found: list[Any] = list(self._sdk.ml.list(project=project_id))
        return sorted((item for item in found if item.title == BACKEND_TITLE), key=lambda item: self._id(item.id))

    def _delete_backend(self, backend: Any) -> None:
        with unless_gone(), calling(self._url, f"disconnect the backend {backend.url}"):
            self._sdk.ml.delete(self._id(backend.id))

    def _remove_webhooks(self, project_id: int, backend_url: str) -> None:
        for hook in self._sdk.webhooks.list(project=str(project_id)):
            if hook.url == f"{backend_url}/webhook":
                with unless_gone(), calling(self._url, f"delete the webhook to {hook.url}"):
                    self._sdk.webhooks.delete(self._id(hook.id))
