"""Calls about people: their accounts, and what one of them submits."""

from collections.abc import Mapping, Sequence
from typing import Any

from labeling.accounts import access_token, sign_up
from labeling.calls import calling
from labeling.connection import Connection


class UserCalls(Connection):
    """Calls about users and in their name."""

    def user_emails(self) -> dict[int, str]:
        """List the users: id to address."""
        with calling(self._url, "list its users"):
            return {self._id(user.id): str(user.email) for user in self._sdk.users.list()}

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
        self,
        task_id: int,
        result: Sequence[Mapping[str, Any]],
        *,
        lead_time_s: float | None,
        skip: bool = False,
        completed_by: int | None = None,
    ) -> int:
        """Submit an annotation.

        Args:
            task_id: Label Studio's id of the task.
            result: The regions, see `labeling.regions`.
            lead_time_s: Seconds spent on it; None if that is not known.
            skip: True to skip the task, as the page does: with the untouched regions as result.
            completed_by: Label Studio's id of the user who drew it; None for this client's.

        Returns:
            The annotation's id.
        """
        drawn_by = {} if completed_by is None else {"completed_by": completed_by}
        with calling(self._url, f"save the annotation of task {task_id}"):
            annotation = self._sdk.annotations.create(
                task_id,
                result=[dict(region) for region in result],
                lead_time=lead_time_s,
                was_cancelled=skip,
                **drawn_by,
            )
        return self._id(annotation.id)
