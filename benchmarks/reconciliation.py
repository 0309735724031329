"""How long does the comparison with Label Studio take?

``python -m benchmarks.reconciliation [--tasks N] [--annotated N] [--changed N] [--repeats N]``

Starts a real Label Studio on SQLite, whose database is filled directly, as is ours: a project of N tasks, each with a
prediction, the first of them with an annotation, as the last comparison left them. Brush masks of 256 px. Measured are
ordinary comparisons (nothing changed; some annotations changed whose webhooks were lost; an annotation that its task
does not count; an annotation deleted from the table without a stamp, which only counting finds) and a full one. Writes
``var/bench/reconciliation.json``.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import numpy as np
from sqlalchemy import insert, select

from benchmarks.report import Result, markdown, publish
from benchmarks.scored_scene import services, wait
from catalog import jobs
from catalog.context import Catalog
from catalog.reconciliation_records import Reconciliation, SeenProject, SeenTask
from catalog.records import (
    JobKind,
    Patch,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    Scene,
    SceneRole,
    now,
)
from cli.plan import HOST
from labeling.client import LabelStudio
from labeling.predictions import MODEL_VERSION
from labeling.regions import encode_brush
from labeling.server import executable, start_command
from workers.jobs import JobContext
from workers.project_comparison import compare_project

PATCH_PX: Final = 256
FIRST_CHANGE: Final = datetime(2026, 1, 1, tzinfo=UTC)
TABLES: Final = {
    "task": "id, data, meta, created_at, updated_at, is_labeled, overlap, project_id, inner_id, total_annotations, "
    "cancelled_annotations, total_predictions, comment_count, unresolved_comment_count",
    "task_completion": "id, result, was_cancelled, ground_truth, created_at, updated_at, lead_time, prediction, "
    "result_count, completed_by_id, task_id, project_id, unique_id, bulk_created",
    "prediction": "id, result, score, model_version, created_at, updated_at, task_id, project_id, mislabeling",
}


@contextmanager
def label_studio(catalog: Catalog, folder: Path) -> Iterator[LabelStudio]:
    """Run a Label Studio with its data in a folder while the block lasts."""
    url, secrets = catalog.settings.label_studio_url, catalog.secrets
    arguments, environment = start_command(
        executable(),
        folder,
        host=HOST,
        port=urlsplit(url).port or 0,
        email=secrets.label_studio_email,
        password=secrets.label_studio_password,
        token=secrets.label_studio_token,
    )
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(arguments, env={**os.environ, **environment}, stdout=log, stderr=log)
        try:
            wait(lambda: _answers(url), "Label Studio")
            yield LabelStudio(url, secrets.label_studio_token, timeout_s=120)
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.TransportError:
        return False


def drawing() -> str:
    """Return the result of an annotation: a brush mask of a disc with a wavy edge, as JSON."""
    rows, columns = np.mgrid[:PATCH_PX, :PATCH_PX] - PATCH_PX // 2
    mask = rows**2 + columns**2 + 2000 * np.sin(rows / 7) * np.cos(columns / 9) < (PATCH_PX // 3) ** 2
    return json.dumps([encode_brush(mask, "clean ice", "b1")])


def fill(database: Path, project_id: int, uids: list[str], annotated: int) -> None:
    """Fill the database of Label Studio: a task for each uid, with a prediction; the first ones annotated."""
    result, url = drawing(), f"http://{HOST}:8000/api/v1/patches/1/composites/true-colour.png?signature={'s' * 80}"
    views = {"true_colour": url, "false_colour": url, "uncertainty": url, "reason": "uncertain", "priority": 0.5}
    ids = range(1, len(uids) + 1)
    rows: dict[str, Iterator[tuple[object, ...]]] = {
        "task": (
            (
                *(i, json.dumps({"proposal": uid, **views}), "{}", stamp(i), stamp(i), i <= annotated, 1),
                *(project_id, i, int(i <= annotated), 0, 1, 0, 0),
            )
            for i, uid in zip(ids, uids, strict=True)
        ),
        "task_completion": (
            (i, result, 0, 0, stamp(i), stamp(i), 30.0, "{}", 1, 1, i, project_id, uuid4().hex, 0)
            for i in ids[:annotated]
        ),
        "prediction": ((i, result, 0.5, MODEL_VERSION, stamp(i), stamp(i), i, project_id, 0) for i in ids),
    }
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        for table, columns in TABLES.items():
            marks = ", ".join("?" * len(columns.split(",")))
            connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", rows[table])  # noqa: S608


def stamp(task_id: int) -> str:
    """Return when a task changed last, as Label Studio stores it on SQLite."""
    return f"{FIRST_CHANGE + timedelta(seconds=10 * task_id):%Y-%m-%d %H:%M:%S.%f}"


def fill_ours(catalog: Catalog, project_id: int, uids: list[str], annotated: int) -> None:
    """Fill our database with the published proposals, and with the tasks as a comparison would have seen them."""
    ids = range(1, len(uids) + 1)
    with catalog.write() as session:
        scene = Scene(
            name="pool",
            role=SceneRole.POOL,
            source={},
            footprint={},
            outlines=[],
            patch_size_px=PATCH_PX,
            patch_overlap_px=0,
        )
        opened = Round(strategy="random", size=len(uids), seed=0, state=RoundState.OPEN)
        session.add_all([scene, opened])
        session.flush()
        window = {"scene_id": scene.id, "col_off": 0, "size_px": PATCH_PX, "valid_share": 1.0}
        session.execute(insert(Patch), [{"id": i, "row_off": i * PATCH_PX, **window} for i in ids])
        told = {
            "round_id": opened.id,
            "reason": ProposalReason.UNCERTAIN,
            "state": ProposalState.PUBLISHED,
            "project_id": project_id,
        }
        session.execute(
            insert(Proposal),
            [{"uid": uids[i - 1], "patch_id": i, "rank": i, "task_id": i, **told} for i in ids],
        )
        session.execute(
            insert(SeenTask),
            [
                {
                    "project_id": project_id,
                    "task_id": i,
                    "proposal_uid": uids[i - 1],
                    "updated_at": FIRST_CHANGE + timedelta(seconds=10 * i),
                    "annotations": int(i <= annotated),
                    "skips": 0,
                }
                for i in ids
            ],
        )


def change(database: Path, task_ids: range) -> None:
    """Change the annotations of tasks, as annotators do just now; no webhook is sent."""
    moment = f"{now():%Y-%m-%d %H:%M:%S.%f}"
    changed = [(moment, i) for i in task_ids]
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.executemany("UPDATE task SET updated_at = ? WHERE id = ?", changed)
        connection.executemany("UPDATE task_completion SET updated_at = ? WHERE task_id = ?", changed)


def delete_unstamped(database: Path, task_id: int) -> None:
    """Delete an annotation, and leave the time of its task as it was."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute("DELETE FROM task_completion WHERE task_id = ?", [task_id])
        connection.execute("UPDATE task SET total_annotations = 0 WHERE id = ?", [task_id])


def forget_annotation(catalog: Catalog, database: Path, project_id: int, task_id: int) -> None:
    """Make an annotation one that its task does not count, and that was never seen."""
    with closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        connection.execute("UPDATE task SET total_annotations = 0, is_labeled = 0 WHERE id = ?", [task_id])
    with catalog.write() as session:
        session.get_one(SeenTask, (project_id, task_id)).annotations = 0


def measure(catalog: Catalog, studio: LabelStudio, project_id: int) -> dict[str, object]:
    """Compare once; return how long it took, how many tasks were read, and what was mended."""
    with catalog.write() as session:
        before = session.scalar(select(Reconciliation.id).order_by(Reconciliation.id.desc()).limit(1)) or 0
        job = jobs.enqueue(session, JobKind.SYNC_LABEL_STUDIO)
        claimed = jobs.claim(session, job.id)
        if claimed is None:
            raise RuntimeError(f"job {job.id} is not queued")
        context = JobContext(catalog, claimed)
    started = time.perf_counter()
    compare_project(context, studio, project_id)
    seconds = time.perf_counter() - started
    with catalog.write() as session:
        jobs.finish(session, claimed.id, claimed.attempt)
        row = session.scalar(select(Reconciliation).where(Reconciliation.id > before))
    read, mended, full = (row.read, sum(row.mended.values()), row.full_because) if row else (0, 0, None)
    return {"s": seconds, "tasks read": read, "mended": mended, "full, because": full or ""}


def make_due(catalog: Catalog, project_id: int) -> None:
    """Let the next comparison be full."""
    with catalog.write() as session:
        session.get_one(SeenProject, project_id).compared_fully_at = FIRST_CHANGE


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--tasks", type=int, default=50_000)
    made.add_argument("--annotated", type=int, default=20_000)
    made.add_argument("--changed", type=int, default=100)
    made.add_argument("--repeats", type=int, default=5)
    return made


def main() -> None:
    """Measure, print and publish."""
    given = parser().parse_args()
    rows: list[Mapping[str, object]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        services(Path(folder) / "ours", "redis") as running,
        label_studio(running.catalog, Path(folder) / "studio") as studio,
    ):
        catalog = running.catalog
        project_id = studio.create_project("reconciliation", {"clean ice": "#38bdf8"}, "a benchmark", "draw")
        database = Path(folder) / "studio" / "label_studio.sqlite3"
        uids = [uuid4().hex for _ in range(given.tasks)]
        fill(database, project_id, uids, given.annotated)
        fill_ours(catalog, project_id, uids, given.annotated)
        studio.count_tasks(project_id)  # Label Studio tells its time with every answer
        with catalog.database.write() as session:
            clocks = {"studio_clock": studio.clock or now(), "compared_at": now(), "compared_fully_at": now()}
            session.add(SeenProject(project_id=project_id, **clocks))
        for _ in range(given.repeats):
            rows.append({"comparison": "nothing changed", **measure(catalog, studio, project_id)})
        for number in range(given.repeats):
            change(database, range(1 + number * given.changed, 1 + (number + 1) * given.changed))
            name = f"{given.changed} annotations changed, webhooks lost"
            rows.append({"comparison": name, **measure(catalog, studio, project_id)})
        forget_annotation(catalog, database, project_id, given.annotated)
        name = "an annotation that its task does not count"
        rows.append({"comparison": name, **measure(catalog, studio, project_id)})
        make_due(catalog, project_id)
        rows.append({"comparison": "full", **measure(catalog, studio, project_id)})
        delete_unstamped(database, 1)
        name = "an annotation deleted without a trace but the count"
        rows.append({"comparison": name, **measure(catalog, studio, project_id)})
    print(markdown(rows))
    conditions = {"tasks": given.tasks, "annotated": given.annotated, "bytes of a drawing": len(drawing())}
    publish(Result("reconciliation", rows, conditions=conditions))


if __name__ == "__main__":
    main()
