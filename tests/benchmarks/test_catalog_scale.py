from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from benchmarks.catalog_rows import NATS, PROPOSALS, ROUNDS, SCENES, fill, label_top
from benchmarks.catalog_stages import METHODS, ROUND_SIZE
from benchmarks.report import run_stage
from catalog import candidates, scorings, training
from catalog.database import Database
from catalog.records import Job, Label, Patch, PatchState, Proposal, Round, Scene, SceneRole, Score, Shard

PATCHES = 10_000
POOL = PATCHES * (SCENES - 2) // SCENES
WAITING = 50  # half of the last round
ANSWERED = PROPOSALS - WAITING


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('scale') / 'catalog.sqlite'}")
    database.migrate()
    fill(database, PATCHES, seed=0)
    yield database
    database.dispose()


def test_the_pool_is_scored_and_partly_labelled(filled: Database) -> None:
    with filled.read() as session:
        states = dict(session.execute(select(Patch.state, func.count()).group_by(Patch.state)).all())
        per_scene = session.execute(
            select(Scene.patch_count, func.count(Patch.id)).join(Patch).group_by(Scene.id)
        ).all()
        scores = (
            select(func.count(), func.max(Score.value), func.count(Score.patch_id.distinct())).join(Patch).join(Scene)
        )
        assert session.execute(scores.where(Scene.role == SceneRole.POOL)).one()[::2] == (9 * POOL, POOL)
        assert session.execute(scores.where(Scene.role != SceneRole.POOL)).one()[0] == 0
        assert 0.9 * NATS < session.execute(scores).one()[1] <= NATS
        assert session.scalar(select(func.sum(Shard.patch_count))) >= 3 * POOL
        assert [session.scalar(select(func.count()).select_from(item)) for item in (Round, Proposal)] == [
            ROUNDS,
            PROPOSALS,
        ]
        newest = scorings.newest(session)
        assert newest is not None
        assert newest.model_version == 3
    assert states[PatchState.PROPOSED] == WAITING
    assert states[PatchState.LABELLED] + states[PatchState.SKIPPED] == ANSWERED
    assert sum(states.values()) == PATCHES
    assert per_scene == [(PATCHES // SCENES, PATCHES // SCENES)] * SCENES


def test_labels_of_the_last_round_are_new(filled: Database) -> None:
    with filled.read() as session:
        labels = session.scalars(select(Label.id)).all()
        assert training.new_labels(session) == {label for label in labels if label > PROPOSALS - 200}
        assert session.scalar(select(func.count(Job.id))) == 5000


def test_the_top_of_the_ranking_can_be_labelled_completely(filled: Database, tmp_path: Path) -> None:
    with filled.read() as session:
        of_round = Round(strategy="entropy_top10", measure="entropy_top10", size=1, seed=0, scoring_id=3)
        before = [item.patch_id for item in candidates.ranked(session, of_round, 0.0)]
    label_top(filled, share=0.6)
    with filled.read() as session:
        after = list(candidates.ranked(session, of_round, 0.0))
        head = select(Score.patch_id).where(Score.scoring_id == 3, Score.measure == "entropy_top10")
        top = set(session.scalars(head.order_by(Score.value.desc()).limit(round(0.6 * POOL))))
    assert {item.patch_id for item in after} == set(before) - top
    scores = [item.score for item in after]
    assert None not in scores
    assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_each_method_proposes_a_whole_round(filled: Database, method: str) -> None:
    found = run_stage("catalog_stages", "propose", str(filled.engine.url), "entropy_top10", method)
    assert found["seconds"] > 0
    assert 50 < found["peak_mib"] < 500
    with filled.read() as session:
        last = session.scalar(select(func.max(Round.id)))
        assert session.scalar(select(func.count()).where(Proposal.round_id == last)) == ROUND_SIZE
