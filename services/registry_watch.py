"""Keep the local copy of MLflow's registry fresh, notice what somebody moves in MLflow's own page, and decide as asked.

One process does this, the clock; all others read the copy (`catalog.registry_copy`). A move of ``champion`` or
``learner`` that no decision of ours explains is checked (`services.version_check`). Then it is followed, or undone if
the version must not be served or the setting ``mlflow_moves`` says so; either is recorded as a decision.
"""

import logging
import time
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import registry_copy
from catalog.bundle_cache import CARD, FILES, CorruptBundleError
from catalog.context import Catalog
from catalog.decision_records import PromotionIntent
from catalog.errors import DecisionUnderwayError, NotFoundError, ServiceDownError
from catalog.records import now
from catalog.registry import CHALLENGER, CHAMPION, LEARNER, ModelVersion, Overview, registry_of
from services import promotion
from services.decision_requests import carry_out_requests
from services.places import bundle_cache
from services.version_check import fault_of
from services.withdrawals import tag_versions

log = logging.getLogger(__name__)

WATCH_INTERVAL_S: Final = 1.5
"""How often MLflow is asked. Its answer may take as long as `CALL_TIMEOUT_S`; together they stay below five seconds."""
CALL_TIMEOUT_S: Final = 3.0
REFRESH_S: Final = 60.0
"""How often the newest versions are read again, whose tags somebody may have edited."""
NEWEST: Final = 50
"""Number of versions that are read again; MLflow takes seconds to list a thousand."""
ALL: Final = 100_000
STALE_S: Final = 15.0
"""Age of the copy from which readiness and pages say that it is old."""


class RegistryWatcher:
    """Looks at MLflow again and again; one per installation."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._registry = registry_of(catalog.settings, CALL_TIMEOUT_S)
        self._bundles = bundle_cache(catalog.settings, self._registry)
        self._listed_at: float | None = None
        self._lacking_card: list[ModelVersion] = []  # the newest last
        self._without_card: set[int] = set()  # MLflow has none for them, or a false one
        self._said = ""

    def look(self) -> None:
        """Bring the copy up to date, and follow or undo moves.

        Before that, settle what killed processes left behind, and carry out what people asked for.
        If MLflow does not answer, the copy stays as it is, with the reason.
        """
        try:
            promotion.settle_intents(self._catalog, self._registry)
            carry_out_requests(self._catalog, self._registry)
            tag_versions(self._catalog, self._registry)
            with self._catalog.read() as session:
                revision, known = registry_copy.revision(session), registry_copy.aliases_of(session)
            found = self._overview(expected=bool(known))
            self._list_versions(found)
            for alias in (CHAMPION, LEARNER):
                if found.aliases.get(alias) != known.get(alias):
                    self._follow(alias, found.aliases.get(alias), revision)
            self._keep_champion_at_hand()
            self._fetch_card()
            with self._catalog.database.write() as session:
                if _is_undisturbed(session, revision):
                    _copy_challenger(session, found)
                registry_copy.note_seen(session)
        except ServiceDownError as error:
            with self._catalog.database.write() as session:
                registry_copy.note_fault(session, str(error))

    def _overview(self, *, expected: bool) -> Overview:
        """Ask for the aliases; a model that has vanished, aliases and all, is a fault of MLflow and no move."""
        found = self._registry.overview()
        if found is None and expected:
            raise ServiceDownError(
                "MLflow", self._registry.url, f"it has no model {self._registry.model_name!r} any more"
            )
        return found or Overview({}, 0)

    def _list_versions(self, found: Overview) -> None:
        """Copy the versions: all of them at first, then the newest ones when there is a new one, and now and then."""
        with self._catalog.read() as session:
            newest = registry_copy.newest(session)
        first = self._listed_at is None
        if not first and found.newest == newest and time.monotonic() - (self._listed_at or 0.0) < REFRESH_S:
            return
        limit = ALL if first else max(NEWEST, found.newest - newest)
        listed = self._registry.versions(limit)
        with self._catalog.database.write() as session:
            registry_copy.store(session, listed)
            complete = len(listed) < limit
            down_to = 0 if complete else listed[-1].version
            registry_copy.forget_missing(session, listed, down_to=down_to, up_to=newest)
        self._listed_at = time.monotonic()
        known = self._without_card | {version.version for version in self._lacking_card}
        new = [
            version for version in listed if version.version not in known and self._bundles.held(version, CARD) is None
        ]
        self._lacking_card = sorted([*self._lacking_card, *new], key=lambda version: version.version)

    def _follow(self, alias: str, number: int | None, revision: int) -> None:
        """Obey or undo the move of an alias that the copy has elsewhere, if nothing of ours explains it."""
        with self._catalog.read() as session:
            if not _is_undisturbed(session, revision):
                return
            serving = registry_copy.served(session)
            is_first = not registry_copy.was_seen(session)
            is_known = is_first and _is_known(session, alias, number)
        version = None if number is None else self._version(number)
        if number is not None and version is None:
            return  # deleted between two calls, and its aliases with it: the next look sees that
        fault = None if version is None else fault_of(self._catalog, self._bundles, version, serving)
        to = "was removed" if number is None else f"was moved to version {number}"
        moved = f"the alias {alias} {to} in MLflow, seen at {now():%Y-%m-%d %H:%M:%S} UTC"
        if fault is not None:
            self._undo(alias, number, f"{moved}; it must not be used: {fault}")
        elif self._catalog.settings.mlflow_moves == "undo" and not is_first:
            self._undo(alias, number, f"{moved}; the setting mlflow_moves is undo")
        else:
            with self._catalog.write() as session:
                registry_copy.lock(session)
                if not _is_undisturbed(session, revision):
                    return
                if is_known and version is not None:
                    registry_copy.store(session, [version])
                    registry_copy.set_aliases(session, {alias: number})
                    return
                promotion.record_move(session, self._catalog, alias, version, moved)
            log.warning("%s", moved)

    def _version(self, number: int) -> ModelVersion | None:
        try:
            return self._registry.get(number)
        except NotFoundError:
            return None

    def _keep_champion_at_hand(self) -> None:
        """Download what the local cache lacks of the version that is served, so that requests need not."""
        with self._catalog.read() as session:
            serving = registry_copy.served(session)
        if serving is None or all(self._bundles.held(serving, name) for name in FILES):
            return
        try:
            self._bundles.directory(serving)
        except (NotFoundError, CorruptBundleError) as error:
            self._say(f"version {serving.version}, which is served, is not complete: {error}")

    def _fetch_card(self) -> None:
        """Download one card that the local cache lacks, so that lineages need not: the newest one."""
        if not self._lacking_card:
            return
        version = self._lacking_card[-1]
        try:
            self._bundles.file(version, CARD)
        except (NotFoundError, CorruptBundleError) as error:
            self._without_card.add(version.version)
            log.warning("the lineage of version %d has no card: %s", version.version, error)
        self._lacking_card.pop()  # not if MLflow does not answer: then the next look tries again

    def _say(self, fault: str) -> None:
        """Log a fault that every look finds, once."""
        if fault != self._said:
            log.error("%s", fault)
        self._said = fault

    def _undo(self, alias: str, moved_to: int | None, reason: str) -> None:
        try:
            promotion.undo_move(self._catalog, self._registry, alias, moved_to, reason)
        except DecisionUnderwayError:
            log.info("a move of %s in MLflow is looked at again once another decision is carried out", alias)
        except NotFoundError as error:
            self._say(f"a move of {alias} in MLflow is not followed, and cannot be undone: {error}")
        else:
            log.error("undone: %s", reason)


def _is_undisturbed(session: Session, revision: int) -> bool:
    """Return whether no decision of ours was made since the copy had this revision, and none is being carried out."""
    return registry_copy.revision(session) == revision and session.scalar(select(PromotionIntent.id).limit(1)) is None


def _is_known(session: Session, alias: str, number: int | None) -> bool:
    """Return whether an alias that a new copy lacks is no move: the record of decisions agrees with MLflow."""
    last = promotion.champion_at(session)
    return alias == LEARNER or (last is not None and last.model_version == number)


def _copy_challenger(session: Session, found: Overview) -> None:
    number = found.aliases.get(CHALLENGER)
    if registry_copy.aliases_of(session).get(CHALLENGER) != number:
        registry_copy.set_aliases(session, {CHALLENGER: number})
