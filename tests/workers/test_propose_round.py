from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import select

import services.rounds
from catalog import rounds
from catalog.candidates import Candidate
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import JobKind, Patch, PatchState, ProposalReason, Round, RoundState, Score
from services import raster_keys, strategies
from services.acquisition import Pool
from services.patch_features import ROW, PatchFeatures, features_of
from services.places import raster_store
from services.score_table import ScoreTable, row_type, table_of
from tests.catalog_fixtures import add_scene, add_scoring
from tests.workers.rows import context_of
from workers.propose_round import propose_round
from workers.shard_arrays import save

SIZE = 12


@pytest.fixture
def pool(catalog: Catalog) -> list[Candidate]:
    """Two scored scenes of several pages of patches, most of the best already labelled; what may be proposed."""
    with catalog.database.write() as session:
        scenes = [add_scene(session, f"scene-{n}", width=32 * 30, height=32 * 30, offset_px=1000 * n) for n in range(2)]
        patches = [patch for _, of_scene in scenes for patch in of_scene]
        order = np.random.default_rng(1).permutation(len(patches)).tolist()
        scores = {patch.id: place / 1000 for patch, place in zip(patches, order, strict=True)}
        add_scoring(session, 1, scores)
        for patch in patches:
            if scores[patch.id] > 1 and patch.id % 10:
                patch.state = PatchState.LABELLED
        return [_candidate(patch, scores) for patch in patches if patch.state is PatchState.UNLABELLED]


def _candidate(patch: Patch, scores: dict[int, float]) -> Candidate:
    return Candidate(patch.id, patch.scene_id, patch.row_off, patch.col_off, patch.size_px, scores[patch.id])


def propose(catalog: Catalog, strategy: str, size: int = SIZE, seed: int = 5) -> Round:
    with catalog.database.write() as session:
        opened = services.rounds.open_round(session, catalog.settings, strategy, size, seed)
    propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, str(opened.id)), opened.id)
    with catalog.read() as session:
        made = rounds.get(session, opened.id)
        assert [proposal.rank for proposal in made.proposals] == list(range(len(made.proposals)))
    return made


def test_the_index_ranks_as_sorting_everything_does(catalog: Catalog, pool: list[Candidate]) -> None:
    catalog.settings = catalog.settings.model_copy(update={"control_share": 0.0})
    expected = strategies.get("entropy_top10").choose(Pool.of(pool, SIZE, 0.0, seed=0))
    made = propose(catalog, "entropy_top10")
    assert [(item.patch_id, item.reason, item.score) for item in made.proposals] == [
        (choice.patch_id, ProposalReason.UNCERTAIN, choice.score) for choice in expected
    ]
    with catalog.read() as session:
        assert {session.get_one(Patch, item.patch_id).state for item in made.proposals} == {PatchState.PROPOSED}


@pytest.mark.parametrize("strategy", ["random", "entropy_top10"])
def test_the_seed_decides(catalog: Catalog, pool: list[Candidate], strategy: str) -> None:
    def patches(seed: int) -> list[int]:
        made = propose(catalog, strategy, seed=seed)
        with catalog.database.write() as session:
            for proposal in rounds.get(session, made.id).proposals:
                session.get_one(Patch, proposal.patch_id).state = PatchState.UNLABELLED
            rounds.get(session, made.id).state = RoundState.COMPLETE
        return [proposal.patch_id for proposal in made.proposals]

    first = patches(seed=3)
    assert patches(seed=3) == first
    assert patches(seed=4) != first
    assert set(first) <= {candidate.patch_id for candidate in pool}


def test_controls_are_drawn_from_what_is_scored(catalog: Catalog, pool: list[Candidate]) -> None:
    with catalog.database.write() as session:
        add_scene(session, "not scored yet", width=32 * 30, height=32 * 30, offset_px=9000)
    catalog.settings = catalog.settings.model_copy(update={"control_share": 0.5})
    made = propose(catalog, "entropy_top10")
    reasons = [proposal.reason for proposal in made.proposals]
    assert reasons.count(ProposalReason.CONTROL) == reasons.count(ProposalReason.UNCERTAIN) == SIZE // 2
    scores = {candidate.patch_id: candidate.score for candidate in pool}
    assert all(scores[proposal.patch_id] == proposal.score for proposal in made.proposals)


def test_a_pool_smaller_than_the_round_is_proposed_whole(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scoring(session, 1, {patch.id: 0.5 for patch in patches[:8]})
    catalog.settings = catalog.settings.model_copy(update={"control_share": 0.25})
    made = propose(catalog, "entropy_top10", size=100)
    assert sorted(proposal.patch_id for proposal in made.proposals) == [patch.id for patch in patches[:8]]
    reasons = [proposal.reason for proposal in made.proposals]
    assert reasons.count(ProposalReason.CONTROL) == 2  # a quarter of the eight there are, not of the hundred wanted


def test_a_round_that_is_already_made_is_left_alone(catalog: Catalog, pool: list[Candidate]) -> None:
    made = propose(catalog, "random")
    propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, "again"), made.id)
    with catalog.read() as session:
        again = rounds.get(session, made.id)
        assert [item.id for item in again.proposals] == [item.id for item in made.proposals]


@pytest.fixture
def table(catalog: Catalog, pool: list[Candidate]) -> ScoreTable:
    """The table of the scoring, in the store: a tenth of the patches, labelled ones among them, has foreground."""
    with catalog.read() as session:
        scored = session.execute(select(Score.patch_id, Score.value)).all()
    rows = np.zeros(len(scored), dtype=row_type(3))
    rows["patch_id"], rows["entropy"] = zip(*scored, strict=True)
    rows["foreground_share"] = rows["patch_id"] % 10 == 1
    rows["class_entropy"] = rows["entropy"][:, None] * np.array([0.9, 0.1])
    save(raster_store(catalog), raster_keys.score_table(1), rows)
    return table_of(rows)


@pytest.fixture
def features(catalog: Catalog, table: ScoreTable) -> PatchFeatures:
    """The features of all scored patches, in the store."""
    rows = np.zeros(len(table.patch_ids), dtype=ROW)
    rows["patch_id"], rows["features"] = table.patch_ids, np.random.default_rng(2).normal(size=(len(rows), 64))
    save(raster_store(catalog), raster_keys.patch_features(1), rows)
    return features_of(rows)


@pytest.mark.parametrize("strategy", [name for name, item in strategies.STRATEGIES.items() if item.needs.table])
def test_strategies_choose_from_the_table_as_if_all_were_in_memory(
    catalog: Catalog, pool: list[Candidate], table: ScoreTable, features: PatchFeatures, strategy: str
) -> None:
    catalog.settings = catalog.settings.model_copy(update={"control_share": 0.0})
    proposable = {candidate.patch_id for candidate in pool}
    labelled = [patch for patch in table.patch_ids.tolist() if patch not in proposable]
    in_memory = replace(
        Pool.of(pool, SIZE, 0.0, seed=0, table=table, features=features, labelled=labelled),
        generator=np.random.default_rng(5),
    )
    expected = strategies.get(strategy).choose(in_memory)
    made = propose(catalog, strategy, seed=5)
    scored = strategies.get(strategy).needs.measure is not None  # the database adds no score to others
    assert [(item.patch_id, item.reason, item.score) for item in made.proposals] == [
        (choice.patch_id, choice.reason, choice.score if scored else None) for choice in expected
    ]


def test_both_kinds_of_control_are_drawn(catalog: Catalog, pool: list[Candidate], table: ScoreTable) -> None:
    catalog.settings = catalog.settings.model_copy(update={"control_share": 0.5, "pool_control_share": 1 / 3})
    made = propose(catalog, "entropy_top10")
    of = {reason: [item.patch_id for item in made.proposals if item.reason is reason] for reason in ProposalReason}
    assert (len(of[ProposalReason.SHORTLIST_CONTROL]), len(of[ProposalReason.CONTROL])) == (4, 2)
    assert set(of[ProposalReason.SHORTLIST_CONTROL]) <= set(table.foreground(0.01).tolist())


def test_a_scoring_without_a_table_is_refused_by_strategies_that_need_it(
    catalog: Catalog, pool: list[Candidate]
) -> None:
    with pytest.raises(ConflictError, match="'power_entropy' looks at all scored patches together"):
        propose(catalog, "power_entropy")


def test_a_scoring_without_features_is_refused_by_strategies_that_need_them(
    catalog: Catalog, pool: list[Candidate], table: ScoreTable
) -> None:
    with pytest.raises(ConflictError, match="'k_center_entropy' compares the features of patches"):
        propose(catalog, "k_center_entropy")


def test_only_rounds_by_scores_that_were_not_given_up_cool_the_noise(catalog: Catalog, pool: list[Candidate]) -> None:
    with catalog.database.write() as session:
        for state, scoring_id in [("complete", None), ("complete", 1), ("abandoned", 1), ("open", 1)]:
            session.add(Round(strategy="random", size=1, seed=0, state=RoundState(state), scoring_id=scoring_id))
            session.flush()
        assert [rounds.count_scored(session, before=round_id) for round_id in (2, 3, 5)] == [0, 1, 2]
