import shutil
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import event, select

from catalog import candidates
from catalog.context import Catalog
from catalog.database import Database
from catalog.records import Patch, PatchState, Round, SceneRole, SceneState, Score, Scoring
from catalog.settings import Strategy
from tests.catalog_fixtures import add_scene, add_scoring

RANDOM = Round(strategy=Strategy.RANDOM, size=4, seed=0, scoring_id=None)


def ranking(scoring: Scoring) -> Round:
    return Round(strategy=Strategy.ENTROPY_TOP10, measure="entropy_top10", size=4, seed=0, scoring_id=scoring.id)


def shuffled(catalog: Catalog, of_round: Round = RANDOM, seed: int = 0) -> list[int]:
    with catalog.read() as session:
        found = candidates.shuffled(session, of_round, 0.1, np.random.default_rng(seed))
        return [candidate.patch_id for candidate in found]


def ranked(catalog: Catalog, of_round: Round) -> list[candidates.Candidate]:
    with catalog.read() as session:
        return list(candidates.ranked(session, of_round, 0.1))


def add_all_sorts(catalog: Catalog) -> tuple[list[int], list[int]]:
    """Add patches of every kind; return the ids of those that may be proposed, and of all."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scene(session, "validation", SceneRole.VALIDATION, offset_px=200)
        add_scene(session, "test", SceneRole.TEST, offset_px=400)
        add_scene(session, "new", state=SceneState.REGISTERED, offset_px=600)
        add_scene(session, "bad", state=SceneState.REJECTED, offset_px=800)
        patches[0].valid_share = 0.09
        patches[1].valid_share = 0.1
        patches[2].state = PatchState.PARTLY_LABELLED
        for patch, state in zip(
            patches[3:6], (PatchState.PROPOSED, PatchState.LABELLED, PatchState.SKIPPED), strict=True
        ):
            patch.state = state
        expected = [patches[1].id, patches[2].id, *(patch.id for patch in patches[6:])]
        return expected, list(session.scalars(select(Patch.id)))


def test_only_untouched_valid_patches_of_ready_pool_scenes_are_candidates(catalog: Catalog) -> None:
    expected, everything = add_all_sorts(catalog)
    with catalog.database.write() as session:
        of_round = ranking(add_scoring(session, 1, dict.fromkeys(everything, 0.5)))
    assert sorted(shuffled(catalog)) == expected
    assert [candidate.patch_id for candidate in ranked(catalog, of_round)] == expected[::-1]
    with catalog.read() as session:
        assert candidates.count(session, 0.1, at_most=1000) == len(expected)
        assert candidates.count(session, 0.1, at_most=7) == 7


def test_nothing_is_a_candidate_in_an_empty_catalog(catalog: Catalog) -> None:
    assert shuffled(catalog) == []
    assert ranked(catalog, ranking(Scoring(id=1))) == []
    with catalog.read() as session:
        assert candidates.count(session, 0.1, at_most=1) == 0


def test_a_ranking_goes_by_the_scores_of_the_rounds_scoring_and_measure(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scoring(session, 1, {patch.id: 0.1 for patch in patches})
        scores = {patch.id: 0.01 * (index * 7 % 17) for index, patch in enumerate(patches[3:])}
        scoring = add_scoring(session, 2, scores)
        session.add_all(
            Score(scoring_id=scoring.id, patch_id=patch.id, measure="mutual_information", value=9.0)
            for patch in patches
        )
        of_round = ranking(scoring)
    found = ranked(catalog, of_round)
    assert [candidate.patch_id for candidate in found] == sorted(scores, key=scores.__getitem__, reverse=True)
    assert {candidate.patch_id: candidate.score for candidate in found} == scores
    (third,) = (candidate for candidate in found if candidate.patch_id == patches[5].id)
    place = third.scene_id, third.row_off, third.col_off, third.size_px
    assert place == (patches[5].scene_id, patches[5].row_off, patches[5].col_off, 32)
    assert set(shuffled(catalog, of_round)) == set(scores)
    with catalog.read() as session:
        assert candidates.count(session, 0.1, 1000, scoring.id, "entropy_top10") == len(scores)
        assert candidates.count(session, 0.1, 1000, scoring.id, "mutual_information") == len(patches)
        assert candidates.count(session, 0.1, 1000, scoring.id, "entropy_mean") == 0


def test_patches_that_were_only_screened_rank_behind_all_others(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scoring = add_scoring(session, 1, {patch.id: 0.1 + 0.01 * index for index, patch in enumerate(patches)})
        left_out = [patch.id for patch in patches[::3]]
        for patch_id in left_out:
            session.get_one(Score, (scoring.id, patch_id, "entropy_top10")).screening = True
    met = [patch.id for patch in patches if patch.id not in left_out]
    assert [candidate.patch_id for candidate in ranked(catalog, ranking(scoring))] == [*met[::-1], *left_out[::-1]]


def test_the_order_is_the_generators_and_every_patch_is_equally_likely_to_be_first(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session, width=160, height=32)
    assert shuffled(catalog, seed=3) == shuffled(catalog, seed=3) != shuffled(catalog, seed=4)
    first = Counter(shuffled(catalog, seed=seed)[0] for seed in range(200))
    assert set(first) == {patch.id for patch in patches}
    assert min(first.values()) > 20  # 40 are expected of each of the five, give or take 6


def test_random_patches_carry_their_scores_where_the_round_ranks(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scores = {patch.id: 0.01 * index for index, patch in enumerate(patches)}
        of_round = ranking(add_scoring(session, 1, scores))
    with catalog.read() as session:
        found = candidates.shuffled(session, of_round, 0.1, np.random.default_rng(0))
        assert {candidate.patch_id: candidate.score for candidate in found} == scores
        unscored = candidates.shuffled(session, RANDOM, 0.1, np.random.default_rng(0))
        assert {candidate.score for candidate in unscored} == {None}


@pytest.fixture
def three_pages(catalog: Catalog) -> Round:
    """A scored pool of three pages, and the round that ranks it; the ranking is that of the ids, falling."""
    with catalog.database.write() as session:
        _, patches = add_scene(session, width=32 * 60, height=32 * 50)
        assert len(patches) == 3 * candidates.PAGE
        return ranking(add_scoring(session, 1, {patch.id: 1.0 / patch.id for patch in patches}))


def test_pages_follow_one_another(catalog: Catalog, three_pages: Round) -> None:
    everything = list(range(1, 3 * candidates.PAGE + 1))
    assert [candidate.patch_id for candidate in ranked(catalog, three_pages)] == everything
    assert sorted(shuffled(catalog, three_pages)) == everything


def test_no_more_is_read_than_is_asked_for(catalog: Catalog, three_pages: Round) -> None:
    read: list[str] = []
    event.listen(catalog.database.engine, "before_cursor_execute", lambda *given: read.append(given[2]))
    with catalog.read() as session:
        ranking_head = [item.patch_id for item in islice(candidates.ranked(session, three_pages, 0.1), 10)]
        random_head = list(islice(candidates.shuffled(session, RANDOM, 0.1, np.random.default_rng(0)), 10))
    assert ranking_head == list(range(1, 11))
    assert len(random_head) == 10
    assert len([statement for statement in read if "valid_share >=" in statement]) == 2  # one page each


def test_sqlite_finds_the_patches_by_indices_alone(migrated_database: Path, tmp_path: Path) -> None:
    shutil.copy(migrated_database, tmp_path / "catalog.sqlite")
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite'}")
    with database.write() as session:
        _, patches = add_scene(session)
        of_round = ranking(add_scoring(session, 1, {patch.id: 0.5 for patch in patches}))
    asked: list[tuple[str, Any]] = []
    event.listen(database.engine, "before_cursor_execute", lambda *given: asked.append((given[2], given[3])))
    with database.read() as session:
        assert len(list(candidates.ranked(session, of_round, 0.1))) == len(patches)
        assert len(list(candidates.shuffled(session, of_round, 0.1, np.random.default_rng(0)))) == len(patches)
    queries = [statement for statement in asked if statement[0] != "BEGIN"]
    first, next_page, screened, _, random_page = [_plan(database, *query) for query in queries]
    page = "SEARCH scores USING COVERING INDEX ix_scores_ranking (scoring_id=? AND measure=? AND screening=?"
    assert f"{page})" in first
    assert f"{page})" in screened
    assert f"{page} AND (value,patch_id)<(?,?))" in next_page
    for steps in (first, next_page, random_page):
        assert any(step.startswith("SEARCH patches USING INTEGER PRIMARY KEY (rowid=?)") for step in steps)
        assert not any(step.startswith(("SCAN patches", "SCAN scores")) for step in steps)
    database.dispose()


def _plan(database: Database, statement: str, parameters: Any) -> list[str]:
    with database.engine.connect() as connection:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)]
