"""Open the catalog of this installation for one command."""

from collections.abc import Iterator
from contextlib import contextmanager

from catalog.context import Catalog
from catalog.settings import Settings
from cli.running import check_folder, local_settings, running_settings


@contextmanager
def running_catalog() -> Iterator[Catalog]:
    """Open the catalog of the system that runs on the data folder; close it at the end.

    Raises:
        NotRunningError: No system runs there. Nothing was written.
    """
    with _opened(running_settings()) as catalog:
        yield catalog


@contextmanager
def installed_catalog() -> Iterator[Catalog]:
    """Open the catalog, whether the system runs or not, and migrate its schema; close it at the end.

    Raises:
        StartError: The data folder does not exist. Nothing was written.
    """
    settings = local_settings()
    check_folder(settings)
    with _opened(settings) as catalog:
        yield catalog


@contextmanager
def _opened(settings: Settings) -> Iterator[Catalog]:
    catalog = Catalog(settings)
    try:
        catalog.database.migrate()
        catalog.refresh_settings()
        yield catalog
    finally:
        catalog.close()
