import json
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, inspect, select, text
from sqlalchemy.exc import IntegrityError, StatementError

from catalog import migrations, scorings, sharding
from catalog.context import Catalog
from catalog.database import Database
from catalog.records import (
    Base,
    Job,
    JobKind,
    JobState,
    LabelEvent,
    Proposal,
    RunState,
    RunTrigger,
    Scene,
    Score,
    Shard,
    TrainingRun,
    Watermark,
)
from catalog.settings import Settings
from tests.catalog_fixtures import PROJECT_ID, add_round, add_scene, add_scoring


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
        assert (shard.passes, shard.stage, shard.evaluated) == (scoring.passes, 0, True)
        known = scorings.find_or_open(session, 1, catalog.settings)
        assert known.id == scoring.id
        sharding.plan(session, known, 2**21, 1.0)
        assert {item.scene_id: item.done_at is not None for item in session.query(Shard)} == {1: True, 2: False}
        assert np.isnan(scorings.halves_of(session, known, "entropy_top10")).all()


def test_what_was_surveyed_is_scored_anew_by_an_older_release(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        whole = add_scoring(session, 1, {patch.id: 0.5 for patch in patches})
        surveyed = add_scoring(session, 2, {patch.id: 0.5 for patch in patches})
        place = {"scene_id": 1, "first_row": 0, "last_row": 68, "patch_count": 20}
        session.add_all(
            [
                Shard(scoring_id=whole.id, passes=20, **place),
                Shard(scoring_id=surveyed.id, passes=0, **place),
                Shard(scoring_id=surveyed.id, passes=20, stage=1, contested_from={"entropy_top10": 0.4}, **place),
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


def test_processes_that_start_together_migrate_once(tmp_path: Path) -> None:
    settings = Settings(var_dir=tmp_path / "new")
    command = [sys.executable, "-m", "catalog.migrate"]
    environment = {**os.environ, **settings.as_environment()}
    starting = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [process.wait(60) for process in starting] == [0, 0, 0, 0]
    database = Database(settings.database_url)
    with database.read() as session:
        assert session.scalars(text("SELECT version_num FROM alembic_version")).all() == ["0006"]
    database.dispose()


def test_writers_wait_for_one_another(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        session.add(Watermark(name="count", reached=datetime(2026, 1, 1, tzinfo=UTC)))

    def add_days() -> None:
        for _ in range(10):
            with catalog.database.write() as session:
                # Reads before it writes: what fails on SQLite unless the write lock is taken first.
                mark = session.get_one(Watermark, "count", with_for_update=True)
                mark.reached += timedelta(days=1)

    threads = [threading.Thread(target=add_days) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with catalog.read() as session:
        assert session.get_one(Watermark, "count").reached == datetime(2026, 2, 10, tzinfo=UTC)


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
        session.add(Watermark(name="mark", reached=moment))
    with catalog.read() as session:
        reached = session.get_one(Watermark, "mark").reached
    assert reached == moment
    assert reached.utcoffset() == timedelta(0)


def test_moments_without_a_time_zone_are_refused(catalog: Catalog) -> None:
    with pytest.raises(StatementError, match="without a time zone"), catalog.database.write() as session:
        session.add(Watermark(name="mark", reached=datetime(2026, 11, 21)))


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
    with pytest.raises(IntegrityError), catalog.database.write() as session:
        session.add(run(RunState.OPEN))


def test_a_database_that_does_not_answer_is_noticed(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}")  # a folder
    with pytest.raises(Exception, match="unable to open"):
        database.check()
    database.dispose()
