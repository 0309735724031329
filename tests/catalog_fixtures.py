"""A catalog on a fresh database and a real Redis, an app on it, and rows as the workers would have written them."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import create_engine, delete, text
from sqlalchemy.orm import Session

from al_server.app import create_app
from benchmarks.postgresql import is_installed, postgresql_server
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.database import Database
from catalog.decision_records import Promotion
from catalog.job_queue import LISTS
from catalog.records import (
    Base,
    EventState,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    Scene,
    SceneRole,
    SceneState,
    Score,
    Scoring,
    now,
)
from catalog.settings import Settings, Strategy
from imagery.grid import Grid, tile
from imagery.scene_source import BandSource, SceneSource
from services import passwords, tokens
from tests.declared_headers import collect_undeclared
from tests.imagery.forge import BAND_NAMES, NORTH_UP, UTM_45N
from tests.leaks import StrictClient

DATABASE = "TEST_DATABASE"
NOBODY = "http://127.0.0.1:9"  # the discard port: refuses at once
NO_REDIS = "redis://127.0.0.1:9/0"
PROJECT_ID = 15
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(scope="session", autouse=True)
def cheap_passwords() -> Iterator[None]:
    """Hash passwords with little work: the first request to an app adds a user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passwords, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
        yield


@pytest.fixture(scope="session")
def migrated_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema and no rows, to be copied: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("database") / "catalog.sqlite"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.dispose()
    return path


@pytest.fixture
def database_url(tmp_path: Path, migrated_database: Path, request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database: on SQLite, or on PostgreSQL if the environment asks for it."""
    if os.environ.get(DATABASE) == "postgresql":
        url: str = request.getfixturevalue("postgresql_url")
        return url
    copy = tmp_path / "catalog.sqlite"
    shutil.copy(migrated_database, copy)
    return f"sqlite:///{copy}"


@pytest.fixture(scope="session")
def postgresql_server_url() -> Iterator[str]:
    """The URL of a migrated PostgreSQL database on a fresh server that keeps nothing."""
    if not is_installed():
        pytest.skip("no PostgreSQL server programs (apt-get install postgresql): these tests run on SQLite only")
    with postgresql_server() as url:
        database = Database(url)
        database.migrate()
        database.dispose()
        yield url


@pytest.fixture
def postgresql_url(postgresql_server_url: str) -> str:
    """The URL of a migrated, empty PostgreSQL database."""
    engine = create_engine(postgresql_server_url)
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    with engine.begin() as connection:
        connection.execute(text("SET session_replication_role = replica"))  # without the trigger of decisions
        connection.execute(text(f"TRUNCATE {tables} RESTART IDENTITY CASCADE"))
    engine.dispose()
    return postgresql_server_url


@pytest.fixture
def redis_url(redis_server: str) -> str:
    """The URL of an empty Redis."""
    with redis.Redis.from_url(redis_server) as client:
        client.flushall()
    return redis_server


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings for a test; MLflow and Label Studio are down."""
    return Settings(
        var_dir=tmp_path,
        database_url=database_url,
        redis_url=redis_url,
        mlflow_url=NOBODY,
        label_studio_url=NOBODY,
        patch_size_px=32,
        webhook_max_bytes=8 * 2**20,
    )


@pytest.fixture
def catalog(settings: Settings) -> Iterator[Catalog]:
    """A catalog of nothing."""
    opened = Catalog(settings)
    yield opened
    opened.close()


@pytest.fixture
def app(catalog: Catalog) -> Iterator[Flask]:
    """The application on `catalog`; its test clients look for leaks, and all headers must be in its document."""
    app = create_app(catalog)
    app.test_client_class = StrictClient
    undeclared = collect_undeclared(app)
    yield app
    assert not undeclared, f"headers that the OpenAPI document does not declare: {'; '.join(sorted(set(undeclared)))}"


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A test client of `app`; see `as_role`."""
    return app.test_client()


def as_role(catalog: Catalog, role: str) -> dict[str, str]:
    """Return the header that gives a request a role; that of an administrator by a new token."""
    if role == Role.ADMINISTRATOR.title:
        with catalog.database.write() as session:
            _, token = tokens.add(session, f"administrator-{uuid4().hex}", Role.ADMINISTRATOR)
    else:
        token = getattr(catalog.secrets, f"{role}_token")
    return {"Authorization": f"Bearer {token}"}


def pushed(catalog: Catalog) -> list[str]:
    """Return what Redis holds: the ids of the RQ jobs on all queues, sorted."""
    with redis.Redis.from_url(catalog.settings.redis_url) as client:
        return sorted(
            item.decode()
            for lists in LISTS.values()
            for name in lists
            for item in client.lrange(f"rq:queue:{name}", 0, -1)
        )


def forget_decisions(session: Session, version: int) -> None:
    """Make the database as if the decisions about a version were never recorded, which its trigger prevents."""
    session.execute(text("DROP TRIGGER promotions_no_delete"))
    session.execute(delete(Promotion).where(Promotion.model_version == version))


def add_scene(
    session: Session,
    name: str = "pool",
    role: SceneRole = SceneRole.POOL,
    *,
    state: SceneState = SceneState.READY,
    width: int = 160,
    height: int = 100,
    offset_px: int = 0,
    valid_share: float = 1.0,
) -> tuple[Scene, list[Patch]]:
    """Add a tiled scene of 30 m pixels in UTM 45N, `offset_px` columns to the east, and its patches of 32 px."""
    a, b, c, d, e, f = NORTH_UP
    grid = Grid(UTM_45N, (a, b, c + a * offset_px, d, e, f), width=width, height=height)
    bands = tuple(BandSource(band, f"/scenes/{name}.tif", index) for index, band in enumerate(BAND_NAMES, start=1))
    scene = Scene(
        name=name,
        role=role,
        state=state,
        source=SceneSource(bands, grid, (0, 0)).to_json(),
        footprint=grid.footprint_wgs84().__geo_interface__,
        outlines=[],
        patch_size_px=32,
        patch_overlap_px=0,
    )
    session.add(scene)
    session.flush()
    patches = [
        Patch(scene_id=scene.id, row_off=window.row_off, col_off=window.col_off, size_px=32, valid_share=valid_share)
        for window in tile(width, height, 32)
    ]
    session.add_all(patches)
    scene.patch_count = len(patches)
    session.flush()
    return scene, patches


def add_scoring(session: Session, version: int, scores: Mapping[int, float]) -> Scoring:
    """Add a complete scoring with one score by the recipe's measure for each patch id."""
    scoring = Scoring(model_version=version, passes=20, seed=0, completed_at=now(), seconds=1.0)
    session.add(scoring)
    session.flush()
    session.add_all(
        Score(scoring_id=scoring.id, patch_id=patch_id, measure=Strategy.ENTROPY_TOP10.value, value=value)
        for patch_id, value in scores.items()
    )
    session.flush()
    return scoring


def add_round(session: Session, patches: Sequence[Patch], *, first_task: int = 1) -> tuple[Round, list[Proposal]]:
    """Add an open round whose proposals are published as the tasks `first_task` and following."""
    opened = Round(
        strategy=Strategy.RANDOM, size=len(patches), seed=0, state=RoundState.OPEN, published_at=now(), scoring_id=None
    )
    session.add(opened)
    session.flush()
    proposals = []
    for rank, patch in enumerate(patches):
        patch.state = PatchState.PROPOSED
        proposal = Proposal(
            round_id=opened.id,
            patch_id=patch.id,
            rank=rank,
            reason=ProposalReason.RANDOM_START,
            state=ProposalState.PUBLISHED,
            project_id=PROJECT_ID,
            task_id=first_task + rank,
        )
        proposals.append(proposal)
    session.add_all(proposals)
    session.flush()
    return opened, proposals


def deletion_of(session: Session, proposal: Proposal, task_id: int, action: str = "TASKS_DELETED") -> LabelEvent:
    """Add the event that a task of a proposal was deleted, or returned."""
    event = LabelEvent(
        dedupe_key=uuid4().hex,
        action=action,
        origin="webhook",
        project_id=PROJECT_ID,
        task_id=task_id,
        proposal_id=proposal.id,
        body=b"{}",
    )
    session.add(event)
    session.flush()
    return event


def label_of(session: Session, proposal: Proposal, annotation_id: int, minutes: float = 0, **changes: Any) -> Label:
    """Make a label that answers a proposal, saved `minutes` after noon, and its applied event; not yet stored."""
    annotated_at = NOON + timedelta(minutes=minutes)
    event = LabelEvent(
        dedupe_key=uuid4().hex,
        action="ANNOTATION_CREATED",
        origin="webhook",
        project_id=proposal.project_id,
        task_id=proposal.task_id,
        annotation_id=annotation_id,
        annotation_updated_at=annotated_at,
        state=EventState.APPLIED,
        body=b"{}",
    )
    session.add(event)
    session.flush()
    values: dict[str, Any] = {
        "patch_id": proposal.patch_id,
        "proposal_id": proposal.id,
        "event_id": event.id,
        "project_id": proposal.project_id,
        "annotation_id": annotation_id,
        "annotated_at": annotated_at,
        "mask_key": f"labels/{event.id}.tif",
        "mask_sha256": f"{event.id:064x}",
        "annotator": "glaciologist@glacier.local",
        "simulated": False,
        "edited_px": 7,
    }
    return Label(**{**values, **changes})
