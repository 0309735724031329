"""Canary: does what is served now map the pool very differently from what was served before?

The gate judges a version on validation ground, which is small. A version that passes it may still map the pool, where
nobody knows the truth, quite differently. After each decision that changes what is served, `workers.compare_served`
predicts the same unlabelled patches by both versions. Two limits are compared with the result:

- ``canary_change_limit``: the share of the pixels whose class changed. It is ruled by the common classes.
- ``canary_area_limit``: the change of the area of a class, as a share of the larger of both areas, so that a class that
  halves counts as much as one that doubles. It shows what happens to a rare class.

An alert undoes nothing: the version may be right. It stands until somebody acknowledges it.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, joinedload

from catalog import registry_copy
from catalog.canary_records import CanaryComparison
from catalog.decision_records import Promotion
from catalog.errors import ConflictError, NotFoundError
from catalog.paging import Cut, cut_out
from catalog.records import now
from catalog.registry import CHAMPION
from catalog.settings import Settings
from services import outgoing_events
from services.promotion import served_before

log = logging.getLogger(__name__)

LEAST_SHARE: Final = 0.001
"""A class below this share of the pixels in both maps has no limit: a few pixels more or less may double it."""


@dataclass(frozen=True)
class AreaChange:
    """The area of a class in both maps, in pixels of the patches compared."""

    name: str
    before_px: int
    after_px: int

    @property
    def share(self) -> float:
        """The change as a share of the larger area, -1 (vanished) to 1 (new); 0 if neither has any."""
        larger = max(self.before_px, self.after_px)
        return (self.after_px - self.before_px) / larger if larger else 0.0


@dataclass(frozen=True)
class Change:
    """How far two class maps differ.

    Attributes:
        pixels: Number of pixels that both maps know.
        changed_share: Share of them whose class differs, 0 to 1.
        areas: By class, in the order of the classes.
    """

    pixels: int
    changed_share: float
    areas: tuple[AreaChange, ...]

    def alerts(self, change_limit: float, area_limit: float) -> list[str]:
        """Return which limits are exceeded and by what; empty if none is."""
        found = []
        if self.changed_share > change_limit:
            found.append(f"{self.changed_share:.1%} of the pixels have another class (limit {change_limit:.1%})")
        for area in self.areas:
            if max(area.before_px, area.after_px) >= LEAST_SHARE * self.pixels and abs(area.share) > area_limit:
                found.append(
                    f"the area of {area.name} went from {area.before_px / self.pixels:.2%} to "
                    f"{area.after_px / self.pixels:.2%} of the pixels, a change of {area.share:+.0%} "
                    f"(limit {area_limit:.0%})"
                )
        return found


def change_of(counts: Sequence[Sequence[int]] | NDArray[np.int64], classes: Sequence[str]) -> Change:
    """Return the change that a table of pairs tells.

    Args:
        counts: K x K pixels by class before (rows) and class now (columns); at least one.
        classes: names of the K classes.
    """
    table = np.asarray(counts)
    pixels = int(table.sum())
    sums = zip(classes, table.sum(axis=1).tolist(), table.sum(axis=0).tolist(), strict=True)
    areas = tuple(AreaChange(*item) for item in sums)
    return Change(pixels, (pixels - int(np.trace(table))) / pixels, areas)


def record(
    session: Session,
    decision: Promotion,
    patches: int,
    classes: Sequence[str],
    counts: NDArray[np.int64],
    settings: Settings,
) -> CanaryComparison:
    """Store a comparison; if it exceeds a limit, log a warning and tell subscribers.

    Args:
        session: a writing session.
        decision: by which one version replaced the other; it has no comparison yet.
        patches: number of patches compared.
        classes: names of the K classes.
        counts: (K, K) pixels by class before (rows) and class now (columns); at least one.
        settings: the limits.
    """
    change, limits = change_of(counts, classes), (settings.canary_change_limit, settings.canary_area_limit)
    compared = CanaryComparison(
        decision=decision,
        patches=patches,
        classes=list(classes),
        counts=counts.tolist(),
        change_limit=limits[0],
        area_limit=limits[1],
        alerts=change.alerts(*limits),
    )
    session.add(compared)
    session.flush()
    if compared.alerts:
        log.warning("%s", describe(session, compared), extra={"version": decision.model_version})
        outgoing_events.announce_canary_alert(session, compared.compared_at, _event_data(session, compared, change))
    return compared


def describe(session: Session, compared: CanaryComparison) -> str:
    """Return what an alert says, with the command that goes back."""
    decision = compared.decision
    return (
        f"version {decision.model_version}, {decision.verdict}, maps {compared.patches} patches of the pool otherwise "
        f"than version {decision.previous_version}: {'; '.join(compared.alerts)}. Look at its maps; to go back: "
        f"{command_to_go_back(session, decision)}"
    )


def command_to_go_back(session: Session, decision: Promotion) -> str:
    """Return the command that serves the version before a decision again, whatever was decided since.

    That is a roll-back only while the version of the decision is served, and the one before it is next to go back to:
    not after a roll-back, which would go further back, nor once another version is served.
    """
    serving = registry_copy.aliases_of(session).get(CHAMPION)
    if serving == decision.model_version and served_before(session, serving) == decision.previous_version:
        return f'glacier-al models rollback --from-version {serving} --reason "..."'
    return f'glacier-al models promote {decision.previous_version} --reason "..."'


def comparisons(session: Session, cut: Cut, *, standing: bool = False) -> Sequence[CanaryComparison]:
    """Return a page of the comparisons, newest first; if `standing`, only of alerts that nobody has acknowledged."""
    statement = _standing() if standing else select(CanaryComparison)
    with_decisions = statement.options(joinedload(CanaryComparison.decision))
    return session.scalars(cut_out(with_decisions, CanaryComparison.id, cut, newest_first=True)).all()


def count_standing(session: Session) -> int:
    """Count the alerts that nobody has acknowledged."""
    return session.scalar(select(func.count()).select_from(_standing().subquery())) or 0


def acknowledge(session: Session, number: int, who: str, note: str) -> CanaryComparison:
    """Note that a person has looked at an alert, and what was found.

    Raises:
        NotFoundError: there is no such comparison.
        ConflictError: it exceeds no limit, or is acknowledged already.
    """
    found = session.get(CanaryComparison, number, with_for_update=True)
    if found is None:
        raise NotFoundError(f"there is no canary comparison {number}")
    if not found.alerts:
        raise ConflictError(f"canary comparison {number} exceeds no limit; there is nothing to acknowledge")
    if found.acknowledged_at is not None:
        raise ConflictError(f"{found.acknowledged_by} has acknowledged canary comparison {number} already")
    found.acknowledged_at, found.acknowledged_by, found.note = now(), who, note
    session.flush()
    return found


def _standing() -> Select[CanaryComparison]:
    exceeds = func.json_array_length(CanaryComparison.alerts) > 0  # so named by SQLite and PostgreSQL
    return select(CanaryComparison).where(exceeds, CanaryComparison.acknowledged_at.is_(None))


def _event_data(session: Session, compared: CanaryComparison, change: Change) -> dict[str, Any]:
    return {
        "version": compared.decision.model_version,
        "previous_version": compared.decision.previous_version,
        "verdict": compared.decision.verdict,
        "comparison": compared.id,
        "patches": compared.patches,
        "changed_share": change.changed_share,
        "area_change": {area.name: area.share for area in change.areas},
        "alerts": list(compared.alerts),
        "to_go_back": command_to_go_back(session, compared.decision),
    }
