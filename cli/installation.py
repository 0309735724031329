"""The catalog of this installation, for one command."""

from collections.abc import Iterator
from contextlib import contextmanager

from catalog.context import Catalog
from cli.running import running_settings


@contextmanager
def installed_catalog() -> Iterator[Catalog]:
    """Open the catalog of the system that runs here, its schema up to date; close it at the end."""
    catalog = Catalog(running_settings())
    catalog.database.migrate()
    try:
        yield catalog
    finally:
        catalog.close()
