"""Errors that commands show as one message instead of a traceback."""

import click
from pydantic import ValidationError

from cli.exit_codes import ExitCode


class StartError(click.ClickException):
    """The system cannot start, or its supervisor was killed; or a command cannot do what was asked for."""

    exit_code = ExitCode.FAILED


class FoundError(click.ClickException):
    """What was examined is not as it should be."""

    exit_code = ExitCode.FOUND


class NotRunningError(click.ClickException):
    """A command needs a running system, and none runs or answers."""

    exit_code = ExitCode.NOT_RUNNING


class NotAllowedError(click.ClickException):
    """The system refuses the token."""

    exit_code = ExitCode.NOT_ALLOWED


class StillWorkingError(click.ClickException):
    """What was waited for has not ended in time."""

    exit_code = ExitCode.TIMED_OUT


class ForeignServerError(Exception):
    """Another program answers at the address of one of our servers; the text says which, and is for people."""


def usage_error(error: ValidationError, whole: str) -> click.UsageError:
    """Return the error of a command whose arguments do not fit a schema; `whole` names what has no name of its own."""
    faults = (
        f"{'.'.join(map(str, fault['loc'])) or whole}: {fault['msg'].removeprefix('Value error, ')}"
        for fault in error.errors()
    )
    return click.UsageError("; ".join(faults))
