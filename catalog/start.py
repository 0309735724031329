"""Report faulty settings or secrets at the start of a process as one message."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from catalog.secrets import SecretsError
from catalog.settings_sources import SettingsError


@contextmanager
def readable_faults() -> Iterator[None]:
    """Exit with code 1 and one message, instead of a traceback, if settings or secrets are faulty.

    Used as a decorator of the ``main`` function of each process.
    """
    try:
        yield
    except (SettingsError, SecretsError) as error:
        sys.exit(f"Error: {error}")
