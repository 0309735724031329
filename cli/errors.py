"""What the commands report instead of a traceback."""

import click


class StartError(click.ClickException):
    """The system cannot start, or its supervisor was killed; ends the program with exit code 1."""


class NotRunningError(click.ClickException):
    """A command needs the running system, and there is none; ends the program with exit code 1."""
