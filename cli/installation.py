"""The catalog of this installation, for one command."""

from collections.abc import Iterator
from contextlib import contextmanager

from catalog.context import Catalog
from catalog.settings import Settings


@contextmanager
def installed_catalog() -> Iterator[Catalog]:
    """Open the catalog that the environment names, its schema up to date; close it afterwards."""
    catalog = Catalog(Settings())
    catalog.database.migrate()
    try:
        yield catalog
    finally:
        catalog.close()
