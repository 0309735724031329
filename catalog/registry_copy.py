"""The local copy of MLflow's registry: versions, and the aliases that are in force.

Requests are answered from it, so that they neither wait for MLflow nor fail with it. `services.registry_watch` keeps it
fresh; `services.promotion` writes our own decisions into it, in the transaction that records them.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from catalog.context import Catalog
from catalog.errors import NotFoundError
from catalog.paging import Cut, cut_out
from catalog.records import now
from catalog.registry import CHAMPION, LEARNER, ModelVersion, Track
from catalog.registry_records import RegistryState, RegistryVersion


class RegistryCopy:
    """Reads the copy, with the reading methods of `catalog.registry.ModelRegistry`."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def champion(self) -> ModelVersion | None:
        """Return the version that is served; None before the first."""
        with self._catalog.read() as session:
            return served(session)

    def learner(self) -> ModelVersion | None:
        """Return the version from which training goes on; the champion if no version has the alias ``learner``."""
        with self._catalog.read() as session:
            aliases = aliases_of(session)
            number = aliases.get(LEARNER, aliases.get(CHAMPION))
            return None if number is None else find(session, number)

    def scoring(self, track: Track) -> ModelVersion | None:
        """Return the version of a track, which scores the pool and draws pre-annotations; None before the first."""
        return self.learner() if track == LEARNER else self.champion()

    def get(self, version: int) -> ModelVersion:
        """Return a version.

        Raises:
            NotFoundError: there is no such version.
        """
        with self._catalog.read() as session:
            found = find(session, version)
        if found is None:
            raise NotFoundError(
                f"there is no version {version} of the model {self._catalog.settings.registered_model!r}"
            )
        return found

    def versions(self, limit: int, before: int | None = None) -> list[ModelVersion]:
        """Return the newest versions, newest first: at most `limit`, with smaller numbers than `before`."""
        return self.page(Cut(limit, before))

    def page(self, cut: Cut) -> list[ModelVersion]:
        """Return a page of the versions, newest first."""
        statement = cut_out(select(RegistryVersion), RegistryVersion.version, cut, newest_first=True)
        with self._catalog.read() as session:
            return [_version(row) for row in session.scalars(statement)]

    def aliases(self) -> dict[str, int]:
        """Return the version of each alias that is in force."""
        with self._catalog.read() as session:
            return aliases_of(session)


def state(session: Session) -> RegistryState:
    """Return the row of the copy, which is made if a writing session lacks it."""
    found = session.get(RegistryState, 1)
    if found is None:
        found = RegistryState(id=1, aliases={}, revision=0)
        session.add(found)
    return found


def lock(session: Session) -> None:
    """Lock the row of the copy until the transaction ends, so that one transaction after the other decides.

    For PostgreSQL; SQLite has one writer anyway. Before the clock first looked there is no row.
    """
    session.get(RegistryState, 1, with_for_update=True, populate_existing=True)


def aliases_of(session: Session) -> dict[str, int]:
    """Return the version of each alias that is in force."""
    found = session.get(RegistryState, 1)
    return {} if found is None else dict(found.aliases)


def revision(session: Session) -> int:
    """Return the number of changes that the aliases of the copy have seen."""
    found = session.get(RegistryState, 1)
    return 0 if found is None else found.revision


def was_seen(session: Session) -> bool:
    """Return whether the copy was ever compared with MLflow."""
    found = session.get(RegistryState, 1)
    return found is not None and found.seen_at is not None


def newest(session: Session) -> int:
    """Return the number of the newest version in the copy; 0 before the first."""
    return session.scalar(select(func.max(RegistryVersion.version))) or 0


def served(session: Session) -> ModelVersion | None:
    """Return the version that is served; None before the first."""
    number = aliases_of(session).get(CHAMPION)
    return None if number is None else find(session, number)


def set_aliases(session: Session, moved: Mapping[str, int | None]) -> None:
    """Move aliases of the copy; None removes one."""
    row = state(session)
    changed = {**row.aliases, **moved}
    row.aliases = {alias: number for alias, number in changed.items() if number is not None}
    row.revision += 1


def note_seen(session: Session) -> None:
    """Note that MLflow answered just now."""
    row = state(session)
    row.seen_at, row.fault = now(), None


def note_fault(session: Session, fault: str) -> None:
    """Note why MLflow does not answer."""
    state(session).fault = fault


def trouble(session: Session, stale_s: float) -> str | None:
    """Return why the copy may be out of date; None if MLflow answered lately.

    Args:
        session: any session.
        stale_s: age in seconds from which it is not lately.
    """
    found = session.get(RegistryState, 1)
    if found is None or (found.seen_at is None and found.fault is None):
        return "MLflow has not been asked yet: the clock does that"
    since = "" if found.seen_at is None else f" What is known of it is {age_s(found.seen_at):.0f} s old."
    if found.fault is not None:
        return f"{found.fault}{since}"
    return (
        f"the clock has not asked MLflow lately.{since}" if found.seen_at and age_s(found.seen_at) > stale_s else None
    )


def age_s(moment: datetime) -> float:
    """Return how many seconds ago a moment was."""
    return (now() - moment).total_seconds()


def store(session: Session, versions: Iterable[ModelVersion]) -> None:
    """Add versions to the copy, or replace them."""
    for version in versions:
        session.merge(
            RegistryVersion(
                version=version.version, run_id=version.run_id, created_at=version.created_at, tags=version.tags
            )
        )


def forget_missing(session: Session, listed: Iterable[ModelVersion], *, down_to: int, up_to: int) -> None:
    """Remove versions that MLflow does not list any more: somebody deleted them there.

    Args:
        session: A writing session.
        listed: The versions that MLflow listed.
        down_to: The oldest version that the list could hold.
        up_to: The newest version that was known before the list was asked for: a newer one may have come meanwhile.
    """
    kept = [version.version for version in listed]
    lost = RegistryVersion.version.between(down_to, up_to) & RegistryVersion.version.not_in(kept)
    session.execute(delete(RegistryVersion).where(lost))


def find(session: Session, number: int) -> ModelVersion | None:
    """Return a version; None if the copy has none of this number."""
    row = session.get(RegistryVersion, number)
    return None if row is None else _version(row)


def _version(row: RegistryVersion) -> ModelVersion:
    return ModelVersion(version=row.version, run_id=row.run_id, created_at=row.created_at, tags=dict(row.tags))
