"""Exit codes of ``glacier-al``. docs/operations.md lists them for users."""

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended. 2 is click's own."""

    DONE = 0
    FAILED = 1
    """It could not be done, or was declined or interrupted; the message on standard error says what to do."""
    USAGE = 2
    """Unknown command, option or value."""
    FOUND = 3
    """What was examined is not as it should be: `doctor`, `status`, `reproduce`, `export check`."""
    NOT_RUNNING = 4
    """No system runs, or it does not answer."""
    NOT_ALLOWED = 5
    """The token is missing, wrong or of too low a role."""
    TIMED_OUT = 6
    """What was waited for has not ended in time; it goes on."""
