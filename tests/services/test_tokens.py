"""Tokens: what is stored of them, how they are replaced, and what comes from the file of secrets."""

from dataclasses import replace
from datetime import timedelta

import pytest

from catalog.access_records import AccessToken, Role
from catalog.context import Catalog
from catalog.errors import AccessRefusedError, ConflictError, InvalidInputError, NotFoundError
from catalog.records import now
from services import first_access, tokens, users
from services.users import Identity


def who(catalog: Catalog, token: str) -> Identity:
    with catalog.read() as session:
        return tokens.identify(session, token)[1]


def test_only_a_checksum_is_stored(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        row, token = tokens.add(session, "web-tool", Role.READER)
    assert token.startswith("gal_") and len(token) >= 47
    assert row.sha256 == tokens.checksum(token)
    assert who(catalog, token) == Identity("web-tool", Role.READER)


def test_an_old_value_stays_good_as_long_as_asked(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, first = tokens.add(session, "web-tool", Role.READER)
        _, second = tokens.rotate(session, "web-tool", timedelta(hours=1))
    assert who(catalog, first) == who(catalog, second)
    with catalog.database.write() as session:
        session.query(AccessToken).one().previous_until = now()
    with pytest.raises(AccessRefusedError, match="was replaced by a new one"):
        who(catalog, first)
    assert who(catalog, second).name == "web-tool"


def test_a_users_token_stands_for_the_user_and_may_do_no_more(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        users.add(session, "anna", Role.ANNOTATOR, "correct horse battery")
        _, token = tokens.add(session, "annas-laptop", Role.OPERATOR, user="anna")
    assert who(catalog, token) == Identity("anna", Role.ANNOTATOR)
    with catalog.database.write() as session:
        users.set_role(session, "anna", Role.ADMINISTRATOR)
    assert who(catalog, token) == Identity("anna", Role.OPERATOR)


def test_a_name_is_given_once(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        users.add(session, "anna", Role.READER, "correct horse battery")
        tokens.add(session, "web-tool", Role.READER)
        tokens.revoke(session, "web-tool")
        for name in ("anna", "web-tool"):
            with pytest.raises(ConflictError, match=f"with the name '{name}'"):
                tokens.add(session, name, Role.READER)
            with pytest.raises(ConflictError, match=f"with the name '{name}'"):
                users.add(session, name, Role.READER, "correct horse battery")
        for name in ("", "Anna", "an na", "a" * 65, "-a", "a\n"):
            with pytest.raises(InvalidInputError, match="expected 1 to 64 characters"):
                tokens.add(session, name, Role.READER)
        with pytest.raises(InvalidInputError, match="has passed"):
            tokens.add(session, "late", Role.READER, expires_at=now())
        with pytest.raises(NotFoundError, match="no user with the name 'ben'"):
            tokens.add(session, "bens", Role.READER, user="ben")
        with pytest.raises(ConflictError, match="is revoked; add another one"):
            tokens.rotate(session, "web-tool")


def test_a_value_that_is_replaced_in_the_file_of_secrets_takes_effect(catalog: Catalog) -> None:
    first_access.prepare(catalog.database, catalog.secrets)
    before = catalog.secrets.operator_token
    assert who(catalog, before) == Identity("operator", Role.OPERATOR)
    with catalog.database.write() as session:
        with pytest.raises(ConflictError, match="put a new value there as operator_token and restart"):
            tokens.rotate(session, "operator")
        tokens.revoke(session, "operator")
    first_access.prepare(catalog.database, catalog.secrets)
    with pytest.raises(AccessRefusedError, match="is revoked"):
        who(catalog, before)
    after = replace(catalog.secrets, operator_token="f" * 40)
    first_access.prepare(catalog.database, after)
    assert who(catalog, after.operator_token) == Identity("operator", Role.OPERATOR)
    with pytest.raises(AccessRefusedError, match="not a token of this server"):
        who(catalog, before)


def test_the_last_administrator_stays(catalog: Catalog) -> None:
    first_access.prepare(catalog.database, catalog.secrets)
    with catalog.database.write() as session:
        for change in (lambda: users.disable(session, "admin"), lambda: users.set_role(session, "admin", Role.READER)):
            with pytest.raises(ConflictError, match="admin is the only administrator"):
                change()
        users.add(session, "anna", Role.ADMINISTRATOR, "correct horse battery")
        assert users.disable(session, "admin").disabled_at is not None
        assert users.set_role(session, "admin", Role.READER).role is Role.READER
