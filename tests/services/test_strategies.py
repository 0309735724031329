"""The registry of strategies: it agrees with the names, and one registered function is all that a new one needs."""

import inspect
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import services.rounds
from catalog import rounds
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import JobKind, Patch, ProposalReason, Round, RoundState, Score
from catalog.rounds import Choice
from catalog.settings import Settings, Strategy
from catalog.settings_sources import SettingsError
from catalog.sharding import SCREENED_MEASURES
from models.measures import MEASURES
from services import acquisition, choices, raster_keys, strategies
from services.acquisition import Pool, draw
from services.places import raster_store
from services.prior_disagreement import PRIOR_DISAGREEMENT
from services.score_table import row_type
from services.strategies import Evidence, Needs, reason_of
from tests.catalog_fixtures import add_scene, add_scoring
from tests.workers.rows import context_of
from workers.propose_round import propose_round
from workers.shard_arrays import save


def test_settings_and_registry_have_the_same_names() -> None:
    assert set(strategies.names()) == {item.value for item in Strategy}


def test_what_strategies_need_exists() -> None:
    for strategy in strategies.STRATEGIES.values():
        assert strategy.needs.measure in {None, PRIOR_DISAGREEMENT, *MEASURES}
        # One deterministic pass gives some measures only.
        assert strategy.needs.monte_carlo or strategy.needs.measure in {None, PRIOR_DISAGREEMENT, *SCREENED_MEASURES}
        assert (strategy.unit is None) == (strategy.needs.measure is None)


@pytest.mark.parametrize("reason", [ProposalReason.SHORTLIST_CONTROL, ProposalReason.CONTROL])
def test_controls_are_told_that_they_were_drawn_at_random(reason: ProposalReason) -> None:
    told = reason_of(reason, Round(id=3, strategy="entropy_top10"), Evidence(4, 0.5), controls=True)
    assert told == "Round 3: drawn at random, to measure what choosing gains"


def test_reasons_need_no_measure_to_be_understood() -> None:
    evidence = Evidence(model_version=4, score=0.5)
    told = {name: strategy.explain(evidence) for name, strategy in strategies.STRATEGIES.items()}
    unsure = "model version 4 is unsure here"
    assert told.pop("k_center_entropy") == f"{unsure}, and the patch is unlike those labelled or chosen before it"
    assert [name for name, sentence in told.items() if sentence == unsure] == [
        name for name in told if "entropy" in name
    ]
    told = {name: sentence for name, sentence in told.items() if sentence != unsure}
    assert told["mutual_information"] == told["variance_top10"]
    assert told["mutual_information"].endswith("disagree here")
    assert "can hardly decide between two classes" in told["margin_top10"]
    assert told["random"] == "drawn at random, to start from"
    assert told["prior_disagreement"].startswith("model version 4 contradicts the prior outlines here")


def test_no_reason_tells_the_score() -> None:
    """Checks are told of as other patches are, and theirs may be far from those that were chosen."""
    for strategy in strategies.STRATEGIES.values():
        assert strategy.explain(Evidence(4, 0.01)) == strategy.explain(Evidence(4, 0.9))


@pytest.mark.parametrize(("past", "name"), [(0, "random"), (1, "random"), (2, "entropy_top10"), (9, "entropy_top10")])
def test_the_recipe_begins_at_random(past: int, name: str) -> None:
    assert strategies.resolve("recipe", past, Settings(random_start_rounds=2)).name == name


def test_old_outlines_stand_for_the_random_rounds_of_the_recipe() -> None:
    assert strategies.resolve("recipe", 0, Settings(random_start_rounds=2), by_outlines=True).name == "entropy_top10"


def test_the_recipe_must_be_resolved_first() -> None:
    with pytest.raises(ValueError, match="depends on the round; resolve it first"):
        strategies.get("recipe")


def test_an_unknown_strategy_is_refused_with_the_names_of_the_others() -> None:
    with pytest.raises(ValueError, match="found the strategy 'margin', expected one of recipe, random, entropy_top10"):
        strategies.get("margin")


def test_automatic_rounds_that_need_all_passes_ask_for_them() -> None:
    with pytest.raises(SettingsError, match=r"needs all passes .* set mc_shortlist_share to 1"):
        strategies.check_settings(Settings(round_strategy="mutual_information"))
    strategies.check_settings(Settings(round_strategy="mutual_information", mc_shortlist_share=1.0))
    strategies.check_settings(Settings())


@pytest.mark.parametrize("module", [acquisition, choices, strategies])
def test_choosing_asks_neither_database_nor_clock(module: object) -> None:
    source = inspect.getsource(module)
    assert not [name for name in ("sqlalchemy", "time", "random.seed") if f"import {name}" in source]


@pytest.fixture
def ice_first() -> Iterator[str]:
    """A strategy as a person would add one: at random, but patches where ice is predicted come first."""

    def choose(pool: Pool) -> Sequence[Choice]:
        icy = set(pool.scored.foreground(0.01).tolist())
        return draw(sorted(pool.shuffled, key=lambda item: item.patch_id not in icy), pool.size)

    told = "has ice, as far as the model can tell"
    strategies.register("ice_first", lambda _: told, Needs(table=True))(choose)
    yield "ice_first"
    del strategies.STRATEGIES["ice_first"]


def propose(catalog: Catalog, strategy: str, size: int) -> Round:
    with catalog.database.write() as session:
        opened = services.rounds.open_round(session, catalog.settings, strategy, size)
    propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, str(opened.id)), opened.id)
    with catalog.read() as session:
        made = rounds.get(session, opened.id)
        assert len(made.proposals) == size
    return made


def reason(made: Round) -> str:
    """What the annotator of the first proposal reads."""
    first = made.proposals[0]
    return reason_of(first.reason, made, Evidence(5, first.score), controls=False)


def test_one_registered_function_is_a_strategy(catalog: Catalog, ice_first: str) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scene(session, "not scored yet", offset_px=400)
    with pytest.raises(ConflictError, match="'ice_first' needs the pool to be scored"):
        propose(catalog, ice_first, 2)
    with catalog.database.write() as session:
        scoring = add_scoring(session, 5, {})
    icy = [patches[3], patches[5]]
    rows = np.zeros(len(patches), dtype=row_type(3))
    rows["patch_id"] = [patch.id for patch in patches]
    rows["foreground_share"] = np.isin(rows["patch_id"], [patch.id for patch in icy])
    save(raster_store(catalog), raster_keys.score_table(scoring.id), rows)
    made = propose(catalog, ice_first, 2)
    assert {proposal.patch_id for proposal in made.proposals} == {patch.id for patch in icy}
    assert (made.strategy, made.measure, made.scoring_id) == ("ice_first", None, scoring.id)
    assert {(item.reason, item.score) for item in made.proposals} == {(ProposalReason.RANDOM_START, None)}
    assert reason(made) == f"Round {made.id}: has ice, as far as the model can tell"


@pytest.fixture
def low_first() -> Iterator[str]:
    """A strategy by a measure that exists already, which needs all passes on every patch: the most certain first."""

    def choose(pool: Pool) -> Sequence[Choice]:
        lowest = list(pool.ranked)[::-1][: pool.size]
        return [Choice(patch.patch_id, ProposalReason.UNCERTAIN, patch.score) for patch in lowest]

    needs = Needs("mutual_information", monte_carlo=True)
    strategies.register("low_first", lambda evidence: f"{evidence.score:.2f} nats", needs, strategies.NATS)(choose)
    yield "low_first"
    del strategies.STRATEGIES["low_first"]


def test_a_new_ranking_is_refused_until_all_that_it_needs_exists(catalog: Catalog, low_first: str) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scoring = add_scoring(session, 5, {patch.id: 0.5 for patch in patches})
        for patch in patches:
            session.get_one(Score, (scoring.id, patch.id, "entropy_top10")).screening = patch.id == patches[0].id
            value = patch.id / 100
            session.add(Score(scoring_id=scoring.id, patch_id=patch.id, measure="mutual_information", value=value))
    with pytest.raises(ConflictError, match="'low_first' needs all passes of Monte Carlo dropout on every patch"):
        propose(catalog, low_first, 2)
    with catalog.database.write() as session:
        session.get_one(Score, (scoring.id, patches[0].id, "entropy_top10")).screening = False
    made = propose(catalog, low_first, 2)
    assert [proposal.patch_id for proposal in made.proposals] == [patches[0].id, patches[1].id]
    assert (made.strategy, made.measure) == ("low_first", "mutual_information")
    assert reason(made) == f"Round {made.id}: 0.01 nats"


def test_a_round_whose_scores_were_removed_says_so(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scoring = add_scoring(session, 5, {patch.id: 0.5 for patch in patches})
        opened = services.rounds.open_round(session, catalog.settings, "entropy_top10", 2)
        opened.state = RoundState.FAILED
    with catalog.database.write() as session:
        session.merge(scoring).removed_at = scoring.completed_at
        rounds.reopen(session, opened.id)
    with pytest.raises(ConflictError, match="scores by version 5, which round 1 ranks by, have been removed"):
        propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, "1"), opened.id)
    with catalog.read() as session:
        assert session.get_one(Patch, patches[0].id).state == "unlabelled"
