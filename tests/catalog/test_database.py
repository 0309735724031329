import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, func, inspect, select, text
from sqlalchemy.exc import IntegrityError, OperationalError, StatementError
from sqlalchemy.orm import Session

from catalog import database as catalog_database
from catalog import migrations, scorings, sharding
from catalog.context import Catalog
from catalog.database import Database
from catalog.records import (
    Base,
    Installation,
    Job,
    JobKind,
    JobState,
    LabelEvent,
    Proposal,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    SceneState,
    Score,
    Shard,
    ShardKind,
    TrainingRun,
    now,
)
from catalog.settings import Settings
from imagery.border import BorderSource
from imagery.scene_source import BandSource, ElevationSource, QualityBand, SceneSource
from imagery.units import DIGITAL_NUMBER, METRE, REFLECTANCE
from tests.catalog_fixtures import PROJECT_ID, add_round, add_scene, add_scoring, label_of

UNIQUE = r"(?i)unique"  # as both databases say


def test_migrations_from_nothing_lead_to_the_schema_of_the_records(catalog: Catalog) -> None:
    with catalog.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        inspector = inspect(connection)
        indexes = {index["name"] for table in inspector.get_table_names() for index in inspector.get_indexes(table)}
    # What keeps jobs, rounds and runs single must not be lost on the way.
    assert {"ix_jobs_one_open", "ix_rounds_one_choosing", "ix_training_runs_one_open"} <= indexes


def test_migrating_again_changes_nothing(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        session.add(Job(kind=JobKind.SCORE_POOL, key="score_pool", subject={}))
    catalog.database.migrate()
    with catalog.read() as session:
        assert session.scalar(select(func.count(Job.id))) == 1


def newest_revision() -> str | None:
    return ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head()


def downgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.attributes["connection"] = connection
    command.downgrade(config, revision)


def test_scenes_of_an_older_database_are_kept_without_a_time_of_acquisition(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0001")
        assert "acquired" not in {column["name"] for column in inspect(connection).get_columns("scenes")}
    catalog.database.migrate()
    with catalog.read() as session:
        kept = session.get_one(Scene, scene.id)
        assert (kept.name, kept.acquired, kept.patch_count) == (scene.name, None, len(patches))


def test_scorings_of_an_older_database_need_not_be_done_again(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scene(session, "tiled later", offset_px=200)
        scoring = add_scoring(session, 1, {patch.id: 0.5 for patch in patches})
        scoring.passes, scoring.seed = catalog.settings.mc_passes, catalog.settings.mc_seed
        half_done = add_scoring(session, 2, {})
        half_done.completed_at = None
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0002")
        assert not inspect(connection).has_table("shards")
    catalog.database.migrate()
    with catalog.database.write() as session:
        (shard,) = session.query(Shard)
        assert (shard.scoring_id, shard.scene_id, shard.patch_count) == (scoring.id, 1, len(patches))
        assert (shard.first_row, shard.last_row, shard.seconds) == (0, 68, None)
        assert (shard.kind, shard.stage, shard.shortlist_planned) == (ShardKind.MONTE_CARLO, 0, True)
        known = scorings.find_or_open(session, 1, catalog.settings)
        assert known.id == scoring.id
        sharding.plan(session, known, 2**21, 1.0)
        assert {item.scene_id: item.done_at is not None for item in session.query(Shard)} == {1: True, 2: False}


# A scene as release 0006 stored it, with bands of flags, a nodata value and a DEM.
SOURCE_0006 = """
{"bands": [{"name": "red", "path": "/scenes/rgb.tif", "index": 1}, {"name": "BQA", "path": "/scenes/qa.tif", "index":
1}, {"name": "slope", "path": "/scenes/rgb.tif", "index": 2}], "grid": {"crs": "EPSG:32645", "transform": [30.0, 0.0,
478000.1, 0.0, -30.0, 3108140.3], "width": 160, "height": 100}, "offset": [5, 7], "nodata": -9999.0, "resampled": [],
"dem": {"name": "elevation", "path": "/scenes/dem.tif", "index": 1}, "border": {"path": "/scenes/border.gpkg", "layer":
null}}
"""


def stored_source(connection: Connection, scene_id: int) -> dict[str, object]:
    scenes = sa.Table("scenes", sa.MetaData(), autoload_with=connection)
    found: dict[str, object] = connection.execute(select(scenes.c.source).where(scenes.c.id == scene_id)).scalar_one()
    return found


def test_scenes_of_an_older_database_keep_their_numbers_and_their_nodata(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, _ = add_scene(session)
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0006")
        table = sa.Table("scenes", sa.MetaData(), autoload_with=connection)
        assert "product" not in table.c
        connection.execute(table.update().values(source=json.loads(SOURCE_0006)))
    catalog.database.migrate()
    with catalog.read() as session:
        kept = session.get_one(Scene, scene.id)
        source = SceneSource.from_json(kept.source)
        assert (kept.product, kept.state) == (None, SceneState.READY)
    assert source.bands == (
        BandSource("red", "/scenes/rgb.tif", 1, nodata=-9999.0),
        BandSource("slope", "/scenes/rgb.tif", 2, nodata=-9999.0),
    )
    assert {band.unit for band in source.bands} == {DIGITAL_NUMBER}
    assert source.quality == (QualityBand("BQA", "/scenes/qa.tif", 1, table=None, masked=()),)
    assert source.dem == ElevationSource((BandSource("elevation", "/scenes/dem.tif", 1, unit=METRE),))
    assert (source.level, source.extras, source.offset) == (None, (), (5, 7))
    assert source.border == BorderSource("/scenes/border.gpkg")
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0006")
        found = stored_source(connection, scene.id)
    before = json.loads(SOURCE_0006)
    assert {**found, "bands": sorted(found["bands"], key=str)} == {**before, "bands": sorted(before["bands"], key=str)}
    catalog.database.migrate()


@pytest.mark.parametrize(
    "change",
    [
        {"bands": (BandSource("red", "/a.tif", 1, 2.75e-5, -0.2, 0.0, REFLECTANCE),)},
        {"bands": (BandSource("red", "/a.tif", 1, nodata=0.0), BandSource("nir", "/a.tif", 2))},
        {"quality": (QualityBand("quality", "/qa.tif", 1, "landsat-c2-qa-pixel", ("cloud",)),)},
        {"extras": (BandSource("coherence", "/coherence.tif", 1),)},
        {"dem": ElevationSource((BandSource("elevation", "/n.tif", 1), BandSource("elevation", "/s.tif", 1)))},
    ],
    ids=["scale", "nodata of one band", "decoded flags", "extra channel", "two tiles"],
)
def test_an_older_release_does_not_use_a_scene_that_it_would_read_wrongly(
    catalog: Catalog, change: dict[str, object]
) -> None:
    with catalog.database.write() as session:
        plain, _ = add_scene(session)
        scene, _ = add_scene(session, "new", offset_px=200)
        scene.source = replace(SceneSource.from_json(scene.source), **change).to_json()
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0006")
        states = {row.id: row.state for row in connection.execute(text("SELECT id, state FROM scenes"))}
        error = connection.execute(text("SELECT error FROM scenes WHERE name = 'new'")).scalar_one()
    assert states == {plain.id: "ready", scene.id: "rejected"}
    assert "this release cannot read" in error
    catalog.database.migrate()


def test_a_screened_pool_is_scored_anew_by_a_release_without_screening(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        whole = add_scoring(session, 1, {patch.id: 0.5 for patch in patches})
        screened = add_scoring(session, 2, {patch.id: 0.5 for patch in patches})
        place = {"scene_id": 1, "first_row": 0, "last_row": 68, "patch_count": 20}
        session.add_all(
            [
                Shard(scoring_id=whole.id, kind=ShardKind.MONTE_CARLO, **place),
                Shard(scoring_id=screened.id, kind=ShardKind.SCREENING, **place),
                Shard(scoring_id=screened.id, kind=ShardKind.MONTE_CARLO, stage=1, shortlist_from={"m": 0.4}, **place),
            ]
        )
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0004")
    catalog.database.migrate()
    with catalog.read() as session:
        assert [shard.scoring_id for shard in session.query(Shard)] == [whole.id]
        assert {score.scoring_id for score in session.query(Score)} == {whole.id}
        newest = scorings.newest(session)
        assert newest is not None
        assert newest.id == whole.id


def test_a_scoring_under_way_during_the_upgrade_goes_on(catalog: Catalog) -> None:
    """Release 0005 wrote it: a survey of one scene is done, one shard of what it left contested, not the other."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
    ids = [patch.id for patch in patches]
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0005")
        passes, seed = catalog.settings.mc_passes, catalog.settings.mc_seed
        started = datetime(2026, 11, 21, 12, tzinfo=UTC)
        scoring = {"id": 7, "model_version": 1, "passes": passes, "seed": seed, "share": 0.2, "started_at": started}
        insert_row(connection, "scorings", scoring)
        place = {"scoring_id": 7, "scene_id": 1, "last_row": 68, "patch_count": 2, "evaluated": True}
        contested = {"stage": 1, "passes": passes, "contested_from": {"entropy_top10": 0.5}}
        insert_row(
            connection, "shards", {"id": 1, "stage": 0, "passes": 0, "first_row": 0, "done_at": started, **place}
        )
        insert_row(connection, "shards", {"id": 2, "first_row": 0, "done_at": started, **contested, **place})
        insert_row(connection, "shards", {"id": 3, "first_row": 64, "done_at": None, **contested, **place})
        for patch_id in ids:
            score = {"scoring_id": 7, "patch_id": patch_id, "measure": "entropy_top10", "value": 0.5}
            halves = {"first_half": 0.25, "second_half": 0.75} if patch_id in ids[:2] else {}
            insert_row(connection, "scores", {"surveyed": patch_id not in ids[:2], **score, **halves})
    catalog.database.migrate()
    with catalog.database.write() as session:
        scoring = scorings.find_or_open(session, 1, catalog.settings)
        assert (scoring.id, scoring.shortlist_share, scoring.removed_at) == (7, 0.2, None)
        screening, done, left = scorings.shards_of(session, scoring)
        assert [shard.kind for shard in (screening, done, left)] == ["screening", "monte_carlo", "monte_carlo"]
        assert screening.shortlist_planned
        assert left.shortlist_from == {"entropy_top10": 0.5}
        assert len(sharding.patches_of(session, left)) == 10  # the two lower rows of patches, only screened
        assert scorings.monte_carlo_patches(session, scoring, "entropy_top10").tolist() == ids[:2]
        assert scorings.enqueue_undone(session, scoring)
        assert [job.subject for job in session.scalars(select(Job))] == [{"shard_id": 3}]
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0005")
        columns = "passes, evaluated, contested_from IS NULL"
        rows = connection.execute(text(f"SELECT {columns} FROM shards ORDER BY id")).all()  # noqa: S608
        assert [tuple(row) for row in rows] == [(0, True, True), (passes, True, False), (passes, True, False)]
        halves = "first_half IS NULL AND second_half IS NULL"
        counted = connection.execute(text(f"SELECT surveyed, COUNT(*) FROM scores WHERE {halves} GROUP BY surveyed"))  # noqa: S608
        assert {bool(surveyed): count for surveyed, count in counted} == {False: 2, True: len(ids) - 2}
        assert connection.execute(text("SELECT share FROM scorings")).scalar() == 0.2
    catalog.database.migrate()


def insert_row(connection: Connection, table: str, values: dict[str, object]) -> None:
    """Insert a row into a table as it is now, whatever the records say."""
    columns = sa.Table(table, sa.MetaData(), autoload_with=connection)
    connection.execute(columns.insert().values(values))


def test_scorings_by_the_same_version_are_one_for_an_older_release(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        removed = add_scoring(session, 1, {patches[0].id: 0.5})  # its removal was interrupted
        removed.removed_at = now()
        anew = add_scoring(session, 1, {patch.id: 0.5 for patch in patches})
        other = add_scoring(session, 2, {patch.id: 0.5 for patch in patches})
        alone = add_scoring(session, 3, {})
        alone.removed_at = now()
        for scoring in (removed, anew, other, alone):
            ranked = Round(strategy="entropy_top10", size=1, seed=0, state=RoundState.COMPLETE, scoring_id=scoring.id)
            session.add(ranked)
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0005")
        of_rounds = connection.execute(text("SELECT scoring_id FROM rounds ORDER BY id")).scalars().all()
        assert of_rounds == [anew.id, anew.id, other.id, alone.id]
        complete = connection.execute(text("SELECT id FROM scorings WHERE completed_at IS NOT NULL ORDER BY id"))
        assert complete.scalars().all() == [anew.id, other.id]
    with (
        pytest.raises(IntegrityError, match=UNIQUE),
        catalog.database.engine.execution_options(writes=True).begin() as connection,
    ):
        connection.execute(
            text(
                "INSERT INTO scorings (model_version, passes, seed, started_at) "
                "SELECT model_version, passes, seed, started_at FROM scorings WHERE model_version = 2"
            )
        )
    catalog.database.migrate()
    with catalog.database.write() as session:
        assert session.scalar(select(func.count()).select_from(Score)) == 2 * len(patches)
        session.execute(delete(Score).where(Score.scoring_id == anew.id))  # rows that refer to it are still checked
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"), catalog.database.write() as session:
        session.add(Score(scoring_id=99, patch_id=patches[0].id, measure="m", value=1.0))


def test_one_scoring_is_kept_of_each_kind(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scoring(session, 1, {}).removed_at = now()
        add_scoring(session, 1, {})
    with pytest.raises(IntegrityError, match=UNIQUE), catalog.database.write() as session:
        add_scoring(session, 1, {})


def test_scenes_of_an_older_database_learn_how_many_patches_they_have(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        new, _ = add_scene(session, "new", width=32, height=32, offset_px=200)
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0003")
    catalog.database.migrate()
    with catalog.read() as session:
        assert session.get_one(Scene, scene.id).patch_count == len(patches) == 20
        assert session.get_one(Scene, new.id).patch_count == 1


def test_events_of_an_older_database_learn_what_they_are_about(catalog: Catalog) -> None:
    """The bodies tell; a deletion is about what had its id before it."""
    created = ["2026-11-21T12:00:00.000001Z", "2026-11-21T13:00:00.000002+01:00"]
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, (first, second) = add_round(session, patches[:2])

    def body(proposal: Proposal, created_at: str) -> bytes:
        return json.dumps(
            {"annotation": {"created_at": created_at}, "task": {"data": {"proposal": proposal.uid}}}
        ).encode()

    told = [
        (1, 7, body(first, created[0])),
        (None, 7, b"{}"),
        (2, 7, body(second, created[1])),
        (None, 7, b"{}"),
        (2, None, b"{}"),
        (3, 8, b"not JSON"),
        (3, 9, json.dumps({"annotation": {"created_at": 5}, "task": []}).encode()),
    ]
    with catalog.database.write() as session:
        for number, (task_id, annotation_id, content) in enumerate(told):
            place = {"project_id": PROJECT_ID, "task_id": task_id, "annotation_id": annotation_id}
            session.add(LabelEvent(dedupe_key=str(number), action="any", origin="webhook", body=content, **place))
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0005")
        assert "proposal_id" not in {column["name"] for column in inspect(connection).get_columns("label_events")}
    catalog.database.migrate()
    times = [datetime(2026, 11, 21, 12, 0, 0, 1, UTC), datetime(2026, 11, 21, 12, 0, 0, 2, UTC)]
    with catalog.read() as session:
        found = session.query(LabelEvent).order_by(LabelEvent.id).all()
        assert [(event.proposal_id, event.annotation_created_at) for event in found] == [
            (first.id, times[0]),
            (first.id, times[0]),
            (second.id, times[1]),
            (second.id, times[1]),
            (second.id, None),
            (None, None),
            (None, None),
        ]
        assert [event.body for event in found] == [content for _, _, content in told]


def test_labels_of_an_older_database_keep_their_events_and_their_rules(catalog: Catalog) -> None:
    """SQLite makes the table anew, which would drop the triggers that keep held-out ground from being learnt."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, held_out = add_scene(session, "judge", SceneRole.VALIDATION, offset_px=200)
        _, (proposal,) = add_round(session, patches[:1])
        first, again = (label_of(session, proposal, 1) for _ in range(2))  # the same state, before and after
        first.superseded_at = now()
        session.add_all([first, again])
    with catalog.database.engine.execution_options(writes=True).begin() as connection:
        downgrade(connection, "0011")
        assert connection.execute(text("SELECT event_id FROM labels")).scalars().all() == [again.event_id]
    catalog.database.migrate()
    with pytest.raises(IntegrityError, match="cannot be labelled"), catalog.database.write() as session:
        session.add(label_of(session, proposal, 2, patch_id=held_out[0].id))
    with pytest.raises(IntegrityError, match=UNIQUE), catalog.database.write() as session:
        session.add(label_of(session, proposal, 3, event_id=again.event_id))


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    settings = Settings(var_dir=tmp_path / "new")
    command = [sys.executable, "-m", "catalog.migrate"]
    environment = {**os.environ, **settings.as_environment()}
    starting = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait(60) for process in starting] == [0, 0, 0, 0]
    database = Database(settings.database_url)
    with database.read() as session:
        assert session.scalars(text("SELECT version_num FROM alembic_version")).all() == [newest_revision()]
    database.dispose()


def test_writers_wait_for_one_another(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        session.add(Installation(created_at=datetime(2026, 1, 1, tzinfo=UTC)))

    def add_days() -> None:
        for _ in range(10):
            with catalog.database.write() as session:
                # Reads before it writes: what fails on SQLite unless the write lock is taken first.
                row = session.get_one(Installation, 1, with_for_update=True)
                row.created_at += timedelta(days=1)

    threads = [threading.Thread(target=add_days) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with catalog.read() as session:
        assert session.get_one(Installation, 1).created_at == datetime(2026, 2, 10, tzinfo=UTC)


def test_readers_go_on_while_one_writes(catalog: Catalog) -> None:
    with catalog.database.write() as writer:
        writer.add(Job(kind=JobKind.SCORE_POOL, key="score_pool", subject={}))
        writer.flush()
        with catalog.read() as reader:
            assert reader.scalar(select(func.count(Job.id))) == 0
    with catalog.read() as reader:
        assert reader.scalar(select(func.count(Job.id))) == 1


def test_what_a_reader_changes_is_thrown_away(catalog: Catalog) -> None:
    with catalog.read() as session:
        session.add(Job(kind=JobKind.SCORE_POOL, key="score_pool", subject={}))
        session.flush()
    with catalog.read() as session:
        assert session.scalar(select(func.count(Job.id))) == 0


def test_an_exception_undoes_the_whole_transaction(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError), catalog.database.write() as session:
        session.add(Job(kind=JobKind.SCORE_POOL, key="score_pool", subject={}))
        session.flush()
        raise RuntimeError
    with catalog.read() as session:
        assert session.scalar(select(func.count(Job.id))) == 0


def test_moments_keep_their_place_in_time(catalog: Catalog) -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    moment = datetime(2026, 11, 21, 17, 45, 1, 2345, tzinfo=kathmandu)
    with catalog.database.write() as session:
        session.add(Installation(created_at=moment))
    with catalog.read() as session:
        created_at = session.get_one(Installation, 1).created_at
    assert created_at == moment
    assert created_at.utcoffset() == timedelta(0)


def test_moments_without_a_time_zone_are_refused(catalog: Catalog) -> None:
    with pytest.raises(StatementError, match="without a time zone"), catalog.database.write() as session:
        session.add(Installation(created_at=datetime(2026, 11, 21)))


def test_states_are_stored_by_their_value(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        session.add(Job(kind=JobKind.SCORE_POOL, key="score_pool", subject={}, state=JobState.RUNNING))
    with catalog.read() as session:
        assert session.execute(text("SELECT kind, state FROM jobs")).one() == ("score_pool", "running")


def test_one_training_run_is_open_at_most(catalog: Catalog) -> None:
    def run(state: RunState) -> TrainingRun:
        return TrainingRun(trigger=RunTrigger.MANUAL, label_ids=[], labels_sha256="0" * 64, seed=1, state=state)

    with catalog.database.write() as session:
        session.add_all([run(RunState.OPEN), run(RunState.FINISHED), run(RunState.FINISHED)])
    with pytest.raises(IntegrityError, match=UNIQUE), catalog.database.write() as session:
        session.add(run(RunState.OPEN))


def test_a_database_that_does_not_answer_is_noticed(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}")  # a folder
    with pytest.raises(OperationalError, match="unable to open"):
        database.check()
    database.dispose()


def enter(session: Session) -> None:
    """Take the write lock, which a session does with its first statement."""
    session.execute(text("SELECT 1"))


def hold(database: Database, entered: threading.Event, left: list[float], seconds: float) -> None:
    with database.write() as session:
        enter(session)
        entered.set()
        time.sleep(seconds)
    left.append(time.perf_counter())


def test_a_writer_enters_soon_after_another_has_left(tmp_path: Path) -> None:
    """SQLite's own wait looks each 100 ms in the end: 50 ms too late in the middle."""
    database, late_s = Database(f"sqlite:///{tmp_path}/catalog.db"), []
    for _ in range(7):
        entered, left = threading.Event(), list[float]()
        holder = threading.Thread(target=hold, args=(database, entered, left, 0.4))
        holder.start()
        entered.wait()
        with database.write() as session:
            enter(session)
            in_at = time.perf_counter()
        holder.join()
        late_s.append(in_at - left[0])
    assert sorted(late_s)[3] < 0.02


def test_a_writer_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog_database, "LOCK_TIMEOUT_S", 0.1)
    database = Database(f"sqlite:///{tmp_path}/catalog.db")
    with database.write() as first:
        enter(first)
        with pytest.raises(OperationalError, match="locked"), database.write() as second:
            enter(second)
    with database.write() as again:  # the connection that was refused is as good as before
        enter(again)


@pytest.mark.parametrize(("leaves", "copied"), [(True, False), (False, True)])
def test_a_catalog_for_requests_leaves_checkpoints_to_other_processes(
    tmp_path: Path, leaves: bool, copied: bool
) -> None:
    path = tmp_path / "catalog.sqlite"
    database = Database(f"sqlite:///{path}", leaves_checkpoints=leaves)
    with database.write() as session:
        session.execute(text("CREATE TABLE drawings (body BLOB)"))
    before = path.stat().st_size
    for _ in range(2):  # 1,200 pages of 4 KiB each: more than the 1,000 after which SQLite copies the log by default
        with database.write() as session:
            session.execute(text("INSERT INTO drawings VALUES (zeroblob(:size))"), {"size": 1200 * 4096})
    assert (path.stat().st_size > before + 1000 * 4096) is copied
    other = Database(f"sqlite:///{path}")
    with other.write() as session:
        session.execute(text("INSERT INTO drawings VALUES (zeroblob(1))"))
    assert path.stat().st_size > before + 2400 * 4096
    database.dispose()
    other.dispose()
