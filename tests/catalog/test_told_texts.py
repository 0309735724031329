"""Texts for readers: short, without accounts and keys, and made in time that grows with the text and no faster."""

import time

import pytest

from catalog import jobs, told_texts
from catalog.context import Catalog
from catalog.records import Base, JobKind
from catalog.set_aside import Kind, find, set_aside
from catalog.told_texts import MOST_CHARACTERS, ToldText, told, without_keys


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'anna.glacier+1@example.org' may not", "'(an address)' may not"),
        ("3 @ 4 m, a@b, found 5", "3 @ 4 m, a@b, found 5"),
        ("http://host/b4.tif?sig=KEY: found nothing", "http://host/b4.tif?…: found nothing"),
        ("see (s3://key:secret@bucket/a.tif), then", "see (s3://bucket/a.tif), then"),
        ("/vsicurl/http://a:b@c/d?e=f@g.org/h: no", "/vsicurl/http://c/d?…: no"),
        ("/vsicurl?empty_dir=yes&url=http%3A%2F%2Fhost%2Fa%3Fsig%3DKEY", "/vsicurl?…"),
        ("http://one/http://me:word@two/x", "http://one/http://two/x"),
        ("is this it? http://host/a.json", "is this it? http://host/a.json"),
    ],
)
def test_accounts_and_keys_are_left_out(text: str, shown: str) -> None:
    assert told(text) == shown
    assert told(shown) == shown


def test_accounts_stay_where_whoever_asks_named_them() -> None:
    assert without_keys("anna@example.org: http://host/a?key=1") == "anna@example.org: http://host/a?…"


def test_a_text_is_cut_where_it_is_too_long() -> None:
    assert told("a" * MOST_CHARACTERS) == "a" * MOST_CHARACTERS
    assert told("b" * 10**7) == "b" * (MOST_CHARACTERS - 1) + "…"


ERROR = "/vsicurl/http://host/b4.tif?sig=KEY: anna@example.org may not; " + "a" * 10**6


def test_the_errors_of_jobs_are_stored_as_readers_may_see_them(catalog: Catalog) -> None:
    with catalog.write() as session:
        job_id = jobs.enqueue(session, JobKind.FINE_TUNE).id
        assert jobs.claim(session, job_id) is not None
        jobs.fail(session, job_id, 1, ERROR)
        session.expire_all()
        assert jobs.get(session, job_id).error == told(ERROR)


def test_the_reason_for_setting_aside_is_stored_as_readers_may_see_it(catalog: Catalog) -> None:
    with catalog.write() as session:
        for _ in range(2):  # new, and known
            set_aside(session, Kind.SCENE, "a", ERROR)
            session.flush()
            session.expire_all()
            row = find(session, Kind.SCENE, "a")
            assert row is not None
            assert row.reason == told(ERROR)


def test_columns_named_like_those_of_errors_are_of_this_type(catalog: Catalog) -> None:
    names = {"error", "last_error", "fault", "detail", "message"}
    columns = [column for table in Base.metadata.tables.values() for column in table.columns if column.name in names]
    assert len(columns) >= 10
    assert [str(column) for column in columns if not isinstance(column.type, ToldText)] == []


PIECES = ["a", "a.", "@", "a@", "a@b", "a@b.", "a@b.c", ".", "-", "a@b.-@", "://", "://a@", "://?", "/vsi", "/vsia?"]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", "a@", "a@b.", "://", "/vsia"])
def test_the_time_grows_with_the_text_and_no_faster(monkeypatch: pytest.MonkeyPatch, start: str, piece: str) -> None:
    monkeypatch.setattr(told_texts, "_MOST_READ", 200_000)
    text, started = start + piece * (200_000 // len(piece)), time.perf_counter()
    told(text)
    assert time.perf_counter() - started < 2  # in the square of the length it would take a minute
