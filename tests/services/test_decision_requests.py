"""Requests for promotions and roll-backs, where nothing of MLflow is needed."""

from collections.abc import Callable

import pytest
from sqlalchemy.orm import Session

from catalog import registry_copy
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.errors import ServiceDownError
from catalog.records import now
from catalog.registry import CHAMPION, ModelVersion, registry_of
from services import tokens, users
from services.decision_requests import ask_for_promotion, carry_out_requests, find_request
from services.users import Identity
from tests.catalog_fixtures import NOBODY

BY_LOG_IN = Identity("anna", Role.OPERATOR)
BY_HER_TOKEN = Identity("anna", Role.OPERATOR, "annas-script")
BY_TOKEN = Identity("robot", Role.OPERATOR, "robot")


@pytest.fixture(autouse=True)
def world(catalog: Catalog) -> None:
    """Two versions, an operator with a token, a token of no person, and an MLflow that does not answer."""
    catalog.settings = catalog.settings.model_copy(update={"mlflow_url": NOBODY})
    with catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(number, "run", now(), {}) for number in (1, 2)])
        registry_copy.set_aliases(session, {CHAMPION: 1})
        users.add(session, "anna", Role.OPERATOR, "correct horse battery")
        tokens.add(session, "annas-script", Role.OPERATOR, user="anna")
        tokens.add(session, "robot", Role.OPERATOR)


@pytest.mark.parametrize(
    ("asker", "change", "fault"),
    [
        (BY_LOG_IN, lambda session: users.disable(session, "anna"), "the user 'anna' is disabled"),
        (
            BY_LOG_IN,
            lambda session: users.set_role(session, "anna", Role.ANNOTATOR),
            "anna has the role annotator by now, this needs operator",
        ),
        (
            BY_HER_TOKEN,
            lambda session: users.set_role(session, "anna", Role.READER),
            "anna has the role reader by now, this needs operator",
        ),
        (
            BY_HER_TOKEN,
            lambda session: tokens.revoke(session, "annas-script"),
            "the token 'annas-script' is revoked",
        ),
        (BY_TOKEN, lambda session: tokens.revoke(session, "robot"), "the token 'robot' is revoked"),
    ],
    ids=["disabled", "role", "role, by token", "her token", "token of nobody"],
)
def test_a_request_is_refused_once_who_asked_might_not_ask_any_more(
    catalog: Catalog, asker: Identity, change: Callable[[Session], object], fault: str
) -> None:
    registry = registry_of(catalog.settings)
    request = ask_for_promotion(catalog, 2, "better on Khumbu", asker)
    with pytest.raises(ServiceDownError):
        carry_out_requests(catalog, registry)
    with catalog.database.write() as session:
        change(session)
    carry_out_requests(catalog, registry)
    with catalog.read() as session:
        ended = find_request(session, request.id)
        assert (ended.fault, ended.ended_at is None, ended.decision) == (fault, False, None)
