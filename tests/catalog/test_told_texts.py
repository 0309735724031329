"""Texts for readers: short, without accounts and keys, and made in time that grows with the text and no faster."""

import time

import pytest

from catalog import told_texts
from catalog.told_texts import MOST_CHARACTERS, told, without_keys


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


PIECES = ["a", "a.", "@", "a@", "a@b", "a@b.", "a@b.c", ".", "-", "a@b.-@", "://", "://a@", "://?", "/vsi", "/vsia?"]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["", "a@", "a@b.", "://", "/vsia"])
def test_the_time_grows_with_the_text_and_no_faster(monkeypatch: pytest.MonkeyPatch, start: str, piece: str) -> None:
    monkeypatch.setattr(told_texts, "_MOST_READ", 200_000)
    text, started = start + piece * (200_000 // len(piece)), time.perf_counter()
    told(text)
    assert time.perf_counter() - started < 2  # in the square of the length it would take a minute
