"""Promotions and roll-backs that a request asks for, and the clock carries out.

Moving aliases means asking MLflow, and checking a version may mean downloading its files: no request waits for that.
What a person asks for is checked against the local copy of the registry and stored; the clock, which looks after MLflow
anyway (`services.registry_watch`), carries it out within about a second. If MLflow does not answer, it tries again.
"""

import logging
from datetime import timedelta
from typing import Final

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from catalog import registry_copy
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.decision_records import DecisionRequest, Promotion, PromotionIntent
from catalog.errors import (
    AccessRefusedError,
    CatalogError,
    ConflictError,
    DecisionUnderwayError,
    NotFoundError,
    ServiceDownError,
)
from catalog.records import now
from catalog.registry import CHAMPION, LEARNER, ModelRegistry
from catalog.registry_copy import RegistryCopy
from services import promotion, tokens
from services.users import Identity

log = logging.getLogger(__name__)

GIVE_UP_AFTER: Final = timedelta(hours=1)
"""Age from which a request is given up: what was right then need not be right any more."""
NEEDED: Final = Role.OPERATOR
"""The role that asking needs (`al_server.auth.EXCEPTIONS`), and that the asker must still have."""


def ask_for_promotion(
    catalog: Catalog, version: int, reason: str, asker: Identity, from_version: int | None = None
) -> DecisionRequest:
    """Store that a person wants a version to be served, for the clock to carry out.

    Args:
        catalog: Stores the request.
        version: The version.
        reason: Why.
        asker: Who asks.
        from_version: The version that the person sees served; None replaces whichever is served.

    Raises:
        NotFoundError: There is no such version.
        ConflictError: It is served already, and the learner; another version is served than `from_version`; or another
            request waits.
    """
    RegistryCopy(catalog).get(version)
    with catalog.database.write() as session:
        registry_copy.lock(session)
        aliases = registry_copy.aliases_of(session)
        promotion.check_replaces(aliases.get(CHAMPION), from_version)
        if aliases.get(CHAMPION) == version == aliases.get(LEARNER, version):
            raise ConflictError(f"version {version} is served already")
        return _add(session, _request(version, reason, asker, from_version))


def ask_for_roll_back(
    catalog: Catalog, reason: str, asker: Identity, from_version: int | None = None
) -> DecisionRequest:
    """Store that a person wants the version before the champion to be served, for the clock to carry out.

    Args:
        catalog: Stores the request.
        reason: Why.
        asker: Who asks.
        from_version: The version that the person sees served; None goes back from whichever is served.

    Raises:
        ConflictError: No earlier champion is known; another version is served than `from_version`; or another request
            waits.
    """
    with catalog.database.write() as session:
        registry_copy.lock(session)
        serving = registry_copy.aliases_of(session).get(CHAMPION)
        promotion.check_replaces(serving, from_version)
        promotion.version_before(session, serving)
        return _add(session, _request(None, reason, asker, from_version))


def find_request(session: Session, number: int) -> DecisionRequest:
    """Return a request.

    Raises:
        NotFoundError: There is none with this number.
    """
    found = session.get(DecisionRequest, number)
    if found is None:
        raise NotFoundError(f"there is no request {number} for a promotion or roll-back")
    return found


def carry_out_requests(catalog: Catalog, registry: ModelRegistry) -> None:
    """Carry out the requests that wait, oldest first; note the decision that came of each, or why there is none.

    Only one process may do this at a time: the clock. A request waits while another decision is being carried out.

    Raises:
        ServiceDownError: MLflow does not answer; what waits is tried again at the next call.
    """
    with catalog.read() as session:
        waiting = session.scalars(_waiting()).all()
    for request in waiting:
        try:
            decision = _carry_out(catalog, registry, request)
        except ServiceDownError as error:
            _note(catalog, request, fault=str(error), ended=False)
            raise
        except DecisionUnderwayError as error:
            _note(catalog, request, fault=str(error), ended=False)
        except CatalogError as error:
            log.warning("request %d of %s is refused: %s", request.id, request.actor, error)
            _note(catalog, request, fault=str(error), ended=True)
        else:
            if decision is not None:
                _note(catalog, request, decision=decision, ended=True)


def _carry_out(catalog: Catalog, registry: ModelRegistry, request: DecisionRequest) -> Promotion | None:
    """Return the decision that came of a request; None while it is not known whether an earlier try took effect."""
    with catalog.read() as session:
        recorded = session.scalar(select(Promotion).where(Promotion.uid == request.uid))
        begun = session.scalar(select(PromotionIntent).where(PromotionIntent.uid == request.uid))
    if recorded is not None:
        return recorded
    if begun is not None:
        return None  # `promotion.settle_intents` records or drops it
    if request.requested_at < now() - GIVE_UP_AFTER:
        raise ConflictError(
            f"it could not be carried out in time: {request.fault or 'the clock did not run'}; ask again"
        )
    _check_role(catalog, request)
    of_request = (request.reason, request.actor, request.uid, request.from_version)
    if request.model_version is None:
        return promotion.roll_back(catalog, registry, *of_request)
    return promotion.promote(catalog, registry, request.model_version, *of_request)


def _check_role(catalog: Catalog, request: DecisionRequest) -> None:
    """Refuse a request of somebody who might not make it any more: a request may wait for an hour.

    Raises:
        AccessRefusedError: The user is disabled or has a lower role by now, or the token is revoked or has expired.
    """
    with catalog.read() as session:
        asker = tokens.identify_again(session, request.actor, request.token)
    if asker.role < NEEDED:
        raise AccessRefusedError(f"{asker.name} has the role {asker.role.title} by now, this needs {NEEDED.title}")


def _request(version: int | None, reason: str, asker: Identity, from_version: int | None) -> DecisionRequest:
    return DecisionRequest(
        model_version=version, from_version=from_version, reason=reason, actor=asker.name, token=asker.token
    )


def _waiting() -> Select[DecisionRequest]:
    return select(DecisionRequest).where(DecisionRequest.ended_at.is_(None)).order_by(DecisionRequest.id)


def _add(session: Session, request: DecisionRequest) -> DecisionRequest:
    other = session.scalar(_waiting().limit(1))
    if other is not None:
        raise ConflictError(
            f"request {other.id} of {other.actor} is being carried out; look what it did, then try again"
        )
    session.add(request)
    session.flush()
    return request


def _note(
    catalog: Catalog,
    request: DecisionRequest,
    *,
    ended: bool,
    fault: str | None = None,
    decision: Promotion | None = None,
) -> None:
    with catalog.database.write() as session:
        row = session.get_one(DecisionRequest, request.id)
        row.fault, row.decision_id = fault, decision.id if decision else None
        row.ended_at = now() if ended else None
