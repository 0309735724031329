"""The checks of an installation in their order, for ``glacier-al doctor`` and for the job."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from catalog.context import Catalog
from catalog.errors import CatalogError, JobCancelledError, JobInterruptedError, JobLostError
from catalog.told_texts import described
from labeling.errors import LabelStudioError
from services.installation_findings import Finding, fault, mended
from workers.database_checks import check_rows, check_schema
from workers.machine_checks import check_machine
from workers.service_checks import check_label_studio, check_mlflow, check_parts
from workers.stored_file_checks import check_bundles, check_files, check_scene_files

log = logging.getLogger(__name__)

_LOG: Final = "see its log in the folder `logs`"


@dataclass(frozen=True)
class Check:
    """A check of one part of an installation.

    Attributes:
        name: The part.
        find: Yields what it finds.
    """

    name: str
    find: Callable[[Catalog], Iterable[Finding]]

    def results(self, catalog: Catalog, *, fix: bool) -> Iterator[Finding]:
        """Yield what is found, mended if that is asked for; a check that fails is a fault of its part.

        Raises:
            JobLostError: The job that checks was given to another worker.
            JobCancelledError: It was cancelled.
            JobInterruptedError: Its worker is shutting down.
        """
        found = self._found(catalog)
        return mended(found) if fix else found

    def _found(self, catalog: Catalog) -> Iterator[Finding]:
        try:
            yield from self.find(catalog)
        except (JobLostError, JobCancelledError, JobInterruptedError):
            raise
        except (CatalogError, LabelStudioError) as error:
            yield fault(self.name, str(error), "an answer", _LOG)
        except Exception as error:
            log.exception("the check of %s failed", self.name)
            found = f"an error of the check ({described(error)})"
            yield fault(self.name, found, "a result", "see the log of whoever checked; the other checks were made")


MACHINE: Final = Check("machine", check_machine)
SCHEMA: Final = Check("database", check_schema)
"""If it finds a fault, rows cannot be read, and the checks after it make no sense."""
MIGRATING: Final = Check("database", partial(check_schema, may_migrate=True))
SERVICES: Final = (
    Check("parts", check_parts),
    Check("MLflow", check_mlflow),
    Check("model versions", check_bundles),
    Check("Label Studio", check_label_studio),
)
"""Checks of a system that runs."""


def of_contents(told: Callable[[int, int], object] = lambda done, total: None) -> tuple[Check, ...]:
    """Return the checks of rows and files.

    Args:
        told: Is told how many files of the raster store have been read, and of how many.
    """
    return (
        Check("rows", check_rows),
        Check("scenes", check_scene_files),
        Check("raster store", partial(check_files, told=told)),
    )
