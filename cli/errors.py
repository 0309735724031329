"""Errors that commands show as one message instead of a traceback."""

import click


class StartError(click.ClickException):
    """The system cannot start, or its supervisor was killed; ends the program with exit code 1."""


class NotRunningError(click.ClickException):
    """A command needs a running system, and none runs; ends the program with exit code 1."""


class ForeignServerError(Exception):
    """Another program answers at the address of one of our servers; the text says which, and is for people."""
