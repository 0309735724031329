import zlib

import pytest
import zstandard
from sqlalchemy import text

from catalog.context import Catalog
from catalog.records import BytesToStore, LabelEvent


def test_a_body_stored_by_an_earlier_release_is_read_and_a_new_one_is_stored_as_zstd(catalog: Catalog) -> None:
    with catalog.write() as session:
        session.add_all(LabelEvent(dedupe_key=key, action="A", origin="webhook", body=b"drawn") for key in "ab")
        session.flush()
        session.execute(
            text("UPDATE label_events SET body = :old WHERE dedupe_key = 'a'"), {"old": zlib.compress(b"drawn")}
        )
    with catalog.read() as session:
        assert [event.body for event in session.query(LabelEvent)] == [b"drawn", b"drawn"]
        stored = session.execute(text("SELECT body FROM label_events WHERE dedupe_key = 'b'")).scalar_one()
    assert bytes(stored).startswith(bytes.fromhex("28b52ffd"))


def test_bytes_that_were_compressed_before_the_transaction_are_stored_as_they_are(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = BytesToStore(b"drawn")
    assert body == b"drawn"
    monkeypatch.setattr(zstandard, "compress", lambda *_: pytest.fail("compressed in the transaction"))
    with catalog.write() as session:
        session.add(LabelEvent(dedupe_key="a", action="A", origin="webhook", body=body))
    with catalog.read() as session:
        assert session.query(LabelEvent).one().body == b"drawn"
