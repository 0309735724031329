"""How a process ends that cannot start because of its settings or secrets."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from catalog.secrets import SecretsError
from catalog.settings_sources import SettingsError


@contextmanager
def readable_faults() -> Iterator[None]:
    """End the process with exit code 1 and one message, instead of a traceback, if settings or secrets are at fault.

    Used as a decorator of the ``main`` function of each process.
    """
    try:
        yield
    except (SettingsError, SecretsError) as error:
        sys.exit(f"Error: {error}")
