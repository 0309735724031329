"""Bulk loading of a catalog with a large pool and fifty rounds, on which ``benchmarks.catalog_scale`` measures."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from math import log
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, func, insert, select, text, update

from catalog.database import Database
from catalog.records import (
    Base,
    EventState,
    Job,
    JobKind,
    JobState,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    SceneState,
    Score,
    Scoring,
    Shard,
    ShardKind,
    TrainingRun,
)
from catalog.settings import Strategy
from imagery.grid import Grid, tile
from imagery.scene_source import BandSource, SceneSource

SCENES: Final = (
    40  # at a million patches each is 120 x 192 km, like a Landsat scene; 1 is for validation, 2 for the test
)
PATCH_PX: Final = 32
PATCHES_ACROSS: Final = 125
ROUNDS: Final = 50
ROUND_SIZE: Final = 100
PROPOSALS: Final = ROUNDS * ROUND_SIZE
PROPOSED_OF_TOP: Final = 0.9  # share of the top of the ranking that was proposed
JOBS: Final = 5000
MEASURES: Final = (Strategy.ENTROPY_TOP10, Strategy.ENTROPY_MEAN, Strategy.MUTUAL_INFORMATION)
SCORINGS: Final = 3
NATS: Final = log(3)
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
EVENT_BODY: Final = bytes(4096)
STATE_AFTER: Final = {
    ProposalState.PUBLISHED: PatchState.PROPOSED,
    ProposalState.LABELLED: PatchState.LABELLED,
    ProposalState.SKIPPED: PatchState.SKIPPED,
}


def fill(database: Database, patches: int, seed: int) -> None:
    """Fill an empty database with scenes, scorings of the pool, rounds, labels and jobs.

    Args:
        database: Empty, with the newest schema.
        patches: Number of patches of all scenes; a multiple of 5,000, at least 10,000.
        seed: Seed of all random values.
    """
    generator = np.random.default_rng(seed)
    per_scene = patches // SCENES
    with database.engine.execution_options(writes=True).connect() as connection:
        _skip_foreign_keys(connection)
        with connection.begin():
            indices = [index for table in ("patches", "scores") for index in Base.metadata.tables[table].indexes]
            for index in indices:
                index.drop(connection)
            _add_scenes(connection, per_scene)
            _add_patches(connection, generator, per_scene)
            ranking = np.array([])
            for number in range(1, SCORINGS + 1):
                ranking = _add_scoring(connection, generator, number, per_scene)
            _add_rounds(connection, generator.permutation(ranking[: round(PROPOSALS / PROPOSED_OF_TOP)])[:PROPOSALS])
            _add_jobs(connection)
            for index in indices:
                index.create(connection)
            _continue_sequences(connection)
    refresh_statistics(database)


def label_top(database: Database, share: float) -> None:
    """Label the patches of the upper ``share`` of the newest ranking, as after many more rounds."""
    ranked = select(Score.patch_id).where(Score.scoring_id == SCORINGS, Score.measure == MEASURES[0].value)
    with database.engine.execution_options(writes=True).begin() as connection:
        top = round(share * (connection.scalar(select(func.count()).select_from(ranked.subquery())) or 0))
        of_top = Patch.id.in_(ranked.order_by(Score.value.desc()).limit(top))
        untouched = Patch.state == PatchState.UNLABELLED
        connection.execute(update(Patch).where(of_top, untouched).values(state=PatchState.LABELLED))
    refresh_statistics(database)


def refresh_statistics(database: Database) -> None:
    """Update PostgreSQL's statistics and visibility maps, as its autovacuum daemon would soon."""
    if not database.is_sqlite:
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _skip_foreign_keys(connection: Connection) -> None:
    """Switch foreign key checks off in this connection: the millions of rows are valid by construction."""
    driver: Any = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        driver.execute("PRAGMA foreign_keys = OFF")
    else:
        driver.execute("SET session_replication_role = replica")
        driver.commit()


def _load(connection: Connection, table: type[Base], names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Insert rows by the fastest way that the driver offers."""
    driver: Any = connection.connection.driver_connection
    columns = f"{table.__tablename__} ({', '.join(names)})"
    if connection.dialect.name == "sqlite":
        driver.executemany(f"INSERT INTO {columns} VALUES ({', '.join('?' for _ in names)})", rows)  # noqa: S608
        return
    with driver.cursor().copy(f"COPY {columns} FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def _add_scenes(connection: Connection, per_scene: int) -> None:
    width, height = PATCHES_ACROSS * PATCH_PX, per_scene // PATCHES_ACROSS * PATCH_PX
    grid = Grid("EPSG:32645", (30.0, 0.0, 480_000.0, 0.0, -30.0, 3_100_000.0), width, height)
    roles = [SceneRole.VALIDATION, SceneRole.TEST, *repeat(SceneRole.POOL, SCENES - 2)]
    scenes = [
        {
            "id": number,
            "name": f"scene-{number}",
            "role": role,
            "state": SceneState.READY,
            "source": SceneSource((BandSource("red", f"/scenes/{number}.tif", 1),), grid, (0, 0)).to_json(),
            "footprint": grid.footprint_wgs84().__geo_interface__,
            "outlines": [],
            "patch_size_px": PATCH_PX,
            "patch_overlap_px": 0,
            "patch_count": per_scene,
        }
        for number, role in enumerate(roles, start=1)
    ]
    connection.execute(insert(Scene), scenes)


def _add_patches(connection: Connection, generator: np.random.Generator, per_scene: int) -> None:
    names = ("id", "scene_id", "row_off", "col_off", "size_px", "valid_share", "state")
    windows = tile(PATCHES_ACROSS * PATCH_PX, per_scene // PATCHES_ACROSS * PATCH_PX, PATCH_PX)
    rows, cols = [window.row_off for window in windows], [window.col_off for window in windows]
    for scene in range(1, SCENES + 1):
        valid = np.where(
            generator.random(per_scene) < 0.7, 1.0, generator.random(per_scene)
        )  # some at the image's edge
        ids = range((scene - 1) * per_scene + 1, scene * per_scene + 1)
        fixed = repeat(PATCH_PX), valid.tolist(), repeat(PatchState.UNLABELLED.value)
        _load(connection, Patch, names, zip(ids, repeat(scene), rows, cols, *fixed, strict=False))


def _add_scoring(
    connection: Connection, generator: np.random.Generator, number: int, per_scene: int
) -> NDArray[np.int64]:
    """Add a complete scoring of the pool; return the ids of its patches, most uncertain first."""
    completed = START + timedelta(days=number)
    scoring = {"id": number, "model_version": number, "passes": 20, "seed": 0, "seconds": 3600.0}
    connection.execute(insert(Scoring), {**scoring, "started_at": START, "completed_at": completed})
    connection.execute(insert(Shard), list(_shards(number, per_scene, completed)))
    of_pool = np.arange(2 * per_scene + 1, SCENES * per_scene + 1)
    values = (_smooth(generator, per_scene) * NATS).ravel()
    _load(connection, Score, ("scoring_id", "patch_id", "measure", "value"), _scores(number, of_pool, values))
    order: NDArray[np.int64] = of_pool[np.argsort(-values)]
    return order


def _shards(scoring: int, per_scene: int, done_at: datetime) -> Iterator[dict[str, object]]:
    """Yield shards of two rows of patches each, about the size of a shard on a GPU."""
    for scene in range(3, SCENES + 1):
        for row in range(0, per_scene // PATCHES_ACROSS, 2):
            rows = {"first_row": row * PATCH_PX, "last_row": (row + 1) * PATCH_PX, "patch_count": 2 * PATCHES_ACROSS}
            done = {"kind": ShardKind.MONTE_CARLO, "seconds": 1.0, "done_at": done_at}
            yield {"scoring_id": scoring, "scene_id": scene, **done, **rows}


def _smooth(generator: np.random.Generator, per_scene: int) -> NDArray[np.float64]:
    """Return values in [0, 1], (scenes of the pool, patches), that are similar within blocks of 8 x 8 patches."""
    rows, scenes = per_scene // PATCHES_ACROSS, SCENES - 2
    blocks = generator.random((scenes, rows // 8 + 1, PATCHES_ACROSS // 8 + 1))
    smooth = blocks.repeat(8, axis=1).repeat(8, axis=2)[:, :rows, :PATCHES_ACROSS].reshape(scenes, per_scene)
    mixed: NDArray[np.float64] = 0.8 * smooth + 0.2 * generator.random((scenes, per_scene))
    return mixed


def _scores(
    scoring: int, patches: NDArray[np.int64], values: NDArray[np.float64]
) -> Iterator[tuple[int, int, str, float]]:
    """Yield the scores of every patch by three measures, in the order of the primary key."""
    factors = sorted((measure.value, 1 / (1 + number)) for number, measure in enumerate(MEASURES))
    for patch_id, value in zip(patches.tolist(), values.tolist(), strict=True):
        for measure, factor in factors:
            yield scoring, patch_id, measure, value * factor


def _add_rounds(connection: Connection, proposed: NDArray[np.int64]) -> None:
    """Add rounds, all complete but the last, with their proposals, label events, labels and training runs."""
    connection.execute(insert(Round), [_round(number) for number in range(1, ROUNDS + 1)])
    connection.execute(insert(Proposal), [_proposal(index, patch) for index, patch in enumerate(proposed.tolist())])
    labelled = [(index, patch) for index, patch in enumerate(proposed.tolist()) if _proposal_state(index) is _LABELLED]
    connection.execute(insert(LabelEvent), [_event(index) for index, _ in labelled])
    connection.execute(insert(Label), [_label(index, patch) for index, patch in labelled])
    ids = [index + 1 for index, _ in labelled]
    runs = [_run(number, [label for label in ids if label <= (number - 1) * ROUND_SIZE]) for number in range(1, ROUNDS)]
    connection.execute(insert(TrainingRun), runs)
    for of_proposal, state in STATE_AFTER.items():
        answered = [patch for index, patch in enumerate(proposed.tolist()) if _proposal_state(index) is of_proposal]
        connection.execute(update(Patch).where(Patch.id.in_(answered)).values(state=state))


_LABELLED: Final = ProposalState.LABELLED


def _proposal_state(index: int) -> ProposalState:
    """Return the state of a proposal: half of the last round waits, every twentieth of the others was skipped."""
    if index >= PROPOSALS - ROUND_SIZE // 2:
        return ProposalState.PUBLISHED
    return ProposalState.SKIPPED if index % 20 == 0 else _LABELLED


def _moment(index: int) -> datetime:
    return START + timedelta(days=index // ROUND_SIZE, minutes=index % ROUND_SIZE)


def _round(number: int) -> dict[str, object]:
    moment, is_last = _moment((number - 1) * ROUND_SIZE), number == ROUNDS
    return {
        "id": number,
        "strategy": MEASURES[0].value,
        "measure": MEASURES[0].value,
        "size": ROUND_SIZE,
        "seed": number,
        "state": RoundState.OPEN if is_last else RoundState.COMPLETE,
        "scoring_id": 1 + number % SCORINGS,
        "created_at": moment,
        "published_at": moment,
        "completed_at": None if is_last else moment,
    }


def _proposal(index: int, patch: int) -> dict[str, object]:
    number, rank = divmod(index, ROUND_SIZE)
    return {
        "id": index + 1,
        "uid": f"{index:032x}",
        "round_id": number + 1,
        "patch_id": patch,
        "rank": rank,
        "reason": ProposalReason.CONTROL if rank % 10 == 9 else ProposalReason.UNCERTAIN,
        "score": 1.0,
        "state": _proposal_state(index),
        "project_id": 1,
        "task_id": index + 1,
    }


def _event(index: int) -> dict[str, object]:
    return {
        "id": index + 1,
        "dedupe_key": f"event-{index}",
        "action": "ANNOTATION_CREATED",
        "origin": "webhook",
        "project_id": 1,
        "task_id": index + 1,
        "annotation_id": index + 1,
        "annotation_updated_at": _moment(index),
        "state": EventState.APPLIED,
        "received_at": _moment(index),
        "applied_at": _moment(index),
        "body": EVENT_BODY,
    }


def _label(index: int, patch: int) -> dict[str, object]:
    return {
        "id": index + 1,
        "patch_id": patch,
        "proposal_id": index + 1,
        "event_id": index + 1,
        "project_id": 1,
        "annotation_id": index + 1,
        "annotated_at": _moment(index),
        "mask_key": f"labels/{index}.tif",
        "mask_sha256": f"{index:064x}",
        "annotator": "glaciologist@glacier.local",
        "simulated": False,
        "edited_px": 7,
        "created_at": _moment(index),
    }


def _run(number: int, labels: list[int]) -> dict[str, object]:
    return {
        "id": number,
        "state": RunState.FINISHED,
        "trigger": RunTrigger.ROUND,
        "label_ids": labels,
        "labels_sha256": "0" * 64,
        "seed": number,
    }


def _add_jobs(connection: Connection) -> None:
    moments = [START + timedelta(minutes=index) for index in range(JOBS)]
    jobs = [
        {
            "id": f"{index:032x}",
            "kind": JobKind.INGEST_LABEL,
            "key": f"ingest_label:{index}",
            "subject": {"event_id": index},
            "state": JobState.FINISHED,
            "attempt": 1,
            "created_at": moment,
            "run_after": moment,
            "finished_at": moment,
        }
        for index, moment in enumerate(moments)
    ]
    connection.execute(insert(Job), jobs)


def _continue_sequences(connection: Connection) -> None:
    """Set PostgreSQL's sequences behind the inserted ids; SQLite needs no such step."""
    if connection.dialect.name == "sqlite":
        return
    for table in (Scene, Patch, Scoring, Round, Proposal, LabelEvent, Label, TrainingRun):
        name = table.__tablename__
        connection.execute(text(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), max(id)) FROM {name}"))  # noqa: S608
