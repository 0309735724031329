"""The stages of ``benchmarks.catalog_scale``, each run in a process of its own; prints its result as JSON.

``python -m benchmarks.catalog_stages fill|deplete|propose|ask URL [...]``. Torch is not imported here: the worker that
proposes rounds does not have it either, and it would count in the measured peak of memory.
"""

import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import null, select, text, update
from sqlalchemy.orm import Session

import services.rounds
from benchmarks.catalog_rows import fill, label_top
from benchmarks.memory import peak_mib
from catalog import jobs, rounds
from catalog.candidates import Candidate
from catalog.context import Catalog
from catalog.database import Database
from catalog.jobs import enqueued
from catalog.records import Job, JobState, Patch, PatchState, Round, RoundState, Scene, SceneRole, SceneState, Score
from catalog.settings import Settings, Strategy
from services import strategies
from services.acquisition import Pool
from workers.jobs import JobContext
from workers.propose_round import propose_round

SEED: Final = 0
ROUND_SIZE: Final = 20
DEPLETED_SHARE: Final = 0.1
CALLS: Final = 5
NOBODY: Final = "127.0.0.1:9"  # the discard port refuses at once: Redis, MLflow and Label Studio are not measured


def fill_database(url: str, patches: str) -> dict[str, object]:
    """Migrate and fill a database; return the seconds, and its size."""
    database, started = Database(url), time.perf_counter()
    database.migrate()
    fill(database, int(patches), SEED)
    seconds = time.perf_counter() - started
    with database.read() as session:
        bytes_used = session.scalar(text(_SIZE[database.is_sqlite]))
    database.dispose()
    return {"seconds": seconds, "gib": bytes_used / 2**30}


def deplete(url: str) -> dict[str, object]:
    """Label the whole top of the ranking, so that the next round has to read far down."""
    database = Database(url)
    label_top(database, DEPLETED_SHARE)
    database.dispose()
    return {}


def propose(url: str, strategy: str, method: str) -> dict[str, object]:
    """Time a round, from opening it to its stored proposals, in a database that was not open; then complete it."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = _catalog_of(url, Path(folder))
        started = time.perf_counter()
        with catalog.write() as session:
            opened = services.rounds.open_round(session, catalog.settings, Strategy(strategy), ROUND_SIZE)
            (job,) = enqueued(session)
        METHODS[method](catalog, opened, job)
        seconds = time.perf_counter() - started
        peak = peak_mib()
        with catalog.write() as session:
            made = rounds.get(session, opened.id)
            if len(made.proposals) != ROUND_SIZE:
                raise RuntimeError(f"found {len(made.proposals)} proposals, expected {ROUND_SIZE}")
            made.state = RoundState.COMPLETE
            session.execute(update(Job).where(Job.state.in_(jobs.OPEN)).values(state=JobState.FINISHED))
        catalog.close()
    return {"seconds": seconds, "peak_mib": peak}


def ask(url: str, patches: str) -> dict[str, list[float]]:
    """Time each call several times, after one to warm up; return the seconds by its name."""
    from benchmarks.catalog_calls import calls  # with the API, which a worker that proposes does not load

    with tempfile.TemporaryDirectory() as folder:
        catalog = _catalog_of(url, Path(folder))
        found = {name: _times(call) for name, call in calls(catalog, int(patches)).items()}
        catalog.close()
    return found


def _catalog_of(url: str, folder: Path) -> Catalog:
    """Return the catalog of a database; the other services are down, and errors about that are not logged."""
    logging.disable()
    settings = Settings(
        var_dir=folder,
        database_url=url,
        redis_url=f"redis://{NOBODY}/0",
        mlflow_url=f"http://{NOBODY}",
        label_studio_url=f"http://{NOBODY}",
        auto_rounds=True,
    )
    return Catalog(settings)


def _times(call: Callable[[], object]) -> list[float]:
    seconds = []
    for _ in range(1 + CALLS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def _by_index(catalog: Catalog, opened: Round, job: Job) -> None:
    with catalog.write() as session:
        claimed = jobs.claim(session, job.id)
    if claimed is None:
        raise RuntimeError(f"the job {job.id} cannot be claimed")
    propose_round(JobContext(catalog, claimed), opened.id)


def _by_sorting_all(catalog: Catalog, opened: Round, _: Job) -> None:
    """Choose as the first releases did: the baseline of the index."""
    settings = catalog.settings
    with catalog.read() as session:
        candidates = _all_candidates(session, opened, settings.min_valid_share)
    pool = Pool.of(candidates, opened.size, settings.control_share, opened.seed)
    choices = strategies.get(opened.strategy).choose(pool)
    with catalog.write() as session:
        rounds.store_choices(session, opened.id, choices)


def _all_candidates(session: Session, of_round: Round, min_valid_share: float) -> list[Candidate]:
    score = null() if of_round.scoring_id is None else Score.value
    statement = (
        select(Patch.id, Patch.scene_id, Patch.row_off, Patch.col_off, Patch.size_px, score)
        .join(Scene, Scene.id == Patch.scene_id)
        .where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY)
        .where(Patch.state == PatchState.UNLABELLED, Patch.valid_share >= min_valid_share)
        .order_by(Patch.id)
    )
    if of_round.scoring_id is not None:
        of_patch = (Score.patch_id == Patch.id) & (Score.scoring_id == of_round.scoring_id)
        statement = statement.join(Score, of_patch & (Score.measure == of_round.measure))
    return [Candidate(*row) for row in session.execute(statement)]


METHODS: Final[dict[str, Callable[[Catalog, Round, Job], None]]] = {
    "by index": _by_index,
    "by sorting all": _by_sorting_all,
}
_SIZE: Final = {
    True: "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    False: "SELECT pg_database_size(current_database())",
}
STAGES: Final[dict[str, Callable[..., dict[str, Any]]]] = {
    "fill": fill_database,
    "deplete": deplete,
    "propose": propose,
    "ask": ask,
}


if __name__ == "__main__":
    print(json.dumps(STAGES[sys.argv[1]](*sys.argv[2:])))
