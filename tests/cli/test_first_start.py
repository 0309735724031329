"""A database is kept if it is whole or anybody's, and moved aside only if neither."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.first_start import FirstStart


def made(path: Path, *statements: str) -> FirstStart:
    with closing(sqlite3.connect(path)) as connection:
        for statement in ["CREATE TABLE experiments (id)", "INSERT INTO experiments VALUES (0)", *statements]:
            connection.execute(statement)
        connection.commit()
    return FirstStart(path, {"experiments": 2, "runs": 1})


def test_a_half_made_database_is_moved_aside_with_its_journal(tmp_path: Path):
    first_start = made(tmp_path / "a.db")
    (tmp_path / "a.db-wal").touch()
    assert first_start.move_aside_if_half_made() == tmp_path / "a.db.half-made-1"
    assert {path.name for path in tmp_path.iterdir()} == {"a.db.half-made-1", "a.db.half-made-1-wal"}


def test_the_second_half_made_one_takes_another_name(tmp_path: Path):
    for number in (1, 2):
        assert made(tmp_path / "a.db").move_aside_if_half_made() == tmp_path / f"a.db.half-made-{number}"


def test_an_empty_file_is_half_made(tmp_path: Path):
    (tmp_path / "a.db").touch()
    assert FirstStart(tmp_path / "a.db", {"runs": 1}).move_aside_if_half_made() is not None


def test_a_complete_one_stays_for_ever(tmp_path: Path):
    first_start = made(tmp_path / "a.db")
    first_start.note_complete()
    assert first_start.move_aside_if_half_made() is None
    (tmp_path / "a.db").write_text("what a later accident has made of it")
    assert first_start.move_aside_if_half_made() is None
    assert (tmp_path / "a.db").exists()


@pytest.mark.parametrize(
    "use",
    [
        ("INSERT INTO experiments VALUES (1)",),
        ("CREATE TABLE runs (id)", "INSERT INTO runs VALUES (1)"),
    ],
)
def test_one_that_somebody_has_used_stays_although_it_has_no_mark(tmp_path: Path, use: tuple[str, ...]):
    assert made(tmp_path / "a.db", *use).move_aside_if_half_made() is None
    assert FirstStart(tmp_path / "a.db", {}).move_aside_if_half_made() is None  # it has the mark now


def test_an_unreadable_one_stays_and_is_told(tmp_path: Path):
    (tmp_path / "a.db").write_text("no database, but perhaps somebody's " * 100)
    with pytest.raises(sqlite3.DatabaseError):
        FirstStart(tmp_path / "a.db", {"runs": 1}).move_aside_if_half_made()
    assert (tmp_path / "a.db").exists()


def test_the_mark_goes_with_its_database(tmp_path: Path):
    made(tmp_path / "a.db").note_complete()
    (tmp_path / "a.db").unlink()
    FirstStart(tmp_path / "a.db", {}).move_aside_if_half_made()  # the next start, which makes a new database ...
    assert made(tmp_path / "a.db").move_aside_if_half_made() is not None  # ... and is stopped on the way
