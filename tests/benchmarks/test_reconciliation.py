import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks.reconciliation import PATCH_PX, TABLES, change, delete_unstamped, drawing, fill
from labeling.regions import decode_result


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Tables with the columns of Label Studio's that are filled."""
    path = tmp_path / "label_studio.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        for table, columns in TABLES.items():
            connection.execute(f"CREATE TABLE {table} ({columns})")
    return path


def rows(database: Path, statement: str) -> list[tuple]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def test_the_first_tasks_are_annotated_and_changed(database: Path) -> None:
    fill(database, 7, ["a", "b", "c"], annotated=2)
    tasks = rows(database, "SELECT id, data, total_annotations, project_id FROM task")
    assert [(task, json.loads(data)["proposal"], count, project) for task, data, count, project in tasks] == [
        (1, "a", 1, 7),
        (2, "b", 1, 7),
        (3, "c", 0, 7),
    ]
    assert rows(database, "SELECT count(*) FROM prediction") == [(3,)]
    change(database, range(1, 2))
    changed = "SELECT task.id FROM task JOIN task_completion ON task_id = task.id WHERE task.updated_at > '2026-02'"
    assert rows(database, changed) == [(1,)]
    delete_unstamped(database, 2)
    assert rows(database, "SELECT task_id FROM task_completion") == [(1,)]


def test_the_drawing_can_be_read() -> None:
    (region,) = decode_result(json.loads(drawing()), height=PATCH_PX, width=PATCH_PX, labels=["clean ice"])
    assert 0 < region.mask.sum() < PATCH_PX**2
