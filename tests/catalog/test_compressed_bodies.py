import zlib

from sqlalchemy import text

from catalog.context import Catalog
from catalog.records import LabelEvent


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
