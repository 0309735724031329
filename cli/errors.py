"""What the commands report instead of a traceback."""

import click


class StartError(click.ClickException):
    """The system cannot start, or did not keep running; ends the program with exit code 1."""
