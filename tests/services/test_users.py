"""People, on PostgreSQL too, where only locks keep two requests apart."""

import threading

import pytest
from sqlalchemy.orm import Session

from catalog.access_records import Role, User
from catalog.context import Catalog
from catalog.errors import ConflictError
from services import users
from tests.catalog.conftest import database_url
from tests.workers.threads import together

__all__ = ["database_url"]


def test_two_administrators_who_demote_each_other_at_once_leave_one(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    with catalog.database.write() as session:
        for name in ("anna", "ben"):
            users.add(session, name, Role.ADMINISTRATOR, "correct horse battery")
    both, find, refused = threading.Barrier(2), users.find, []

    def find_together(session: Session, name: str) -> User:
        user = find(session, name)
        if not catalog.database.is_sqlite:  # which has one writer, so that the other one could not come so far
            both.wait(10)
        return user

    def demote(name: str) -> None:
        try:
            with catalog.database.write() as session:
                users.set_role(session, name, Role.READER)
        except ConflictError as error:
            refused.append(str(error))

    monkeypatch.setattr(users, "find", find_together)
    together(lambda: demote("anna"), lambda: demote("ben"))
    with catalog.read() as session:
        (left,) = [user.name for user in users.listed(session) if user.role is Role.ADMINISTRATOR]
    assert refused == [f"{left} is the only administrator; make another user one first"]
