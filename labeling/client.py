"""The client of Label Studio: the few calls that we make, grouped by what they are about."""

from labeling.backend_calls import BackendCalls
from labeling.project_calls import ProjectCalls
from labeling.task_calls import TaskCalls
from labeling.user_calls import UserCalls


class LabelStudio(ProjectCalls, TaskCalls, UserCalls, BackendCalls):
    """Label Studio as one of its users, see `labeling.connection.Connection`."""
