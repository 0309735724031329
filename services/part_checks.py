"""Check the parts around the API, and store what was found: requests for readiness read that, and wait for nobody.

The clock does this. MLflow is not among the parts: the copy of its registry tells whether it answers.
"""

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.job_queue import QUEUES
from catalog.records import now
from catalog.registry_copy import age_s, trouble
from catalog.registry_records import PartState
from labeling.errors import LabelStudioError
from labeling.health import check_health

CHECK_INTERVAL_S: Final = 5.0
CHECK_TIMEOUT_S: Final = 3.0
STALE_S: Final = 15.0
"""Age of what was found from which the clock counts as stopped."""
CLOCK: Final = "clock"


def check_parts(catalog: Catalog) -> None:
    """Check each part, and store whether it is ready."""
    found = {name: _fault(check) for name, check in _checks(catalog).items()}
    with catalog.database.write() as session:
        for name, fault in {**found, CLOCK: None}.items():
            session.merge(PartState(name=name, fault=fault, checked_at=now()))


def part_faults(session: Session) -> dict[str, str | None]:
    """Return what was last found wrong with each part; None where nothing is."""
    rows = {row.name: row for row in session.scalars(select(PartState))}
    ticked = rows.get(CLOCK)
    if ticked is None or age_s(ticked.checked_at) > STALE_S:
        since = "since its start" if ticked is None else f"for {age_s(ticked.checked_at):.0f} s"
        unknown = f"not checked {since}: the clock does that, and it does not run"
        return dict.fromkeys((CLOCK, "redis", "mlflow", "label-studio"), unknown)
    return {**{name: row.fault for name, row in rows.items()}, "mlflow": trouble(session, STALE_S)}


def _checks(catalog: Catalog) -> Mapping[str, Callable[[], None]]:
    return {
        "redis": lambda: _check_workers(catalog),
        "label-studio": lambda: check_health(catalog.settings.label_studio_url, CHECK_TIMEOUT_S),
    }


def _fault(check: Callable[[], None]) -> str | None:
    try:
        check()
    except (ServiceDownError, LabelStudioError) as error:
        return str(error)
    return None


def _check_workers(catalog: Catalog) -> None:
    idle = [name for name, count in catalog.queue.workers().items() if count == 0]
    if idle:
        raise ServiceDownError(
            "Redis queue", catalog.queue.address, f"no worker listens to {', '.join(idle)} (of {', '.join(QUEUES)})"
        )
