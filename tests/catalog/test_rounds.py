import threading

import pytest

import services.rounds
from catalog import jobs, rounds, scorings
from catalog.context import Catalog
from catalog.errors import ConflictError, NotFoundError
from catalog.records import (
    Job,
    JobKind,
    JobState,
    PatchState,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    Score,
)
from catalog.rounds import Choice
from catalog.settings import Settings, Strategy
from tests.catalog_fixtures import add_round, add_scene, add_scoring


def open_round(catalog: Catalog, strategy: Strategy = Strategy.RECIPE, **options: int) -> Round:
    with catalog.database.write() as session:
        return services.rounds.open_round(session, catalog.settings, strategy, options.pop("size", 4), **options)


def complete_all(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        for item in session.query(Round):
            item.state = RoundState.COMPLETE


def test_the_recipe_is_random_twice_and_then_ranks_by_entropy(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
    chosen = []
    for number in range(4):
        chosen.append(open_round(catalog))
        complete_all(catalog)
        if number == 1:
            with catalog.database.write() as session:
                scoring = add_scoring(session, 1, {patch.id: 0.5 for patch in patches})
    assert [item.strategy for item in chosen] == [Strategy.RANDOM, Strategy.RANDOM, *[Strategy.ENTROPY_TOP10] * 2]
    assert [item.scoring_id for item in chosen] == [None, None, scoring.id, scoring.id]


def test_after_old_outlines_the_recipe_ranks_as_soon_as_the_pool_is_scored(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        scene.prior_outlines = {"layers": []}
    first = open_round(catalog)
    with catalog.database.write() as session:
        session.delete(session.get_one(Round, first.id))
        scoring = add_scoring(session, 1, {patch.id: 0.5 for patch in patches})
    second = open_round(catalog)
    assert (first.strategy, first.scoring_id) == (Strategy.RANDOM, None)
    assert (second.strategy, second.scoring_id) == (Strategy.ENTROPY_TOP10, scoring.id)


def test_a_failed_round_does_not_count_for_the_recipe(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    failed = open_round(catalog)
    with catalog.database.write() as session:
        rounds.mark_failed(session, failed.id, "boom")
    for _ in range(2):
        assert open_round(catalog).strategy == Strategy.RANDOM
        complete_all(catalog)
        with catalog.database.write() as session:
            session.get_one(Round, failed.id).state = RoundState.FAILED
    with pytest.raises(ConflictError, match="no version has scored the pool yet"):
        open_round(catalog)


def test_opening_stores_a_seed_and_enqueues_the_choice(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    first = open_round(catalog)
    assert first.seed == first.id
    with catalog.read() as session:
        (job,) = jobs.due(session)
    assert (job.kind, job.subject) == (JobKind.PROPOSE_ROUND, {"round_id": first.id})
    complete_all(catalog)
    assert open_round(catalog, seed=99).seed == 99


@pytest.mark.parametrize("state", [RoundState.CHOOSING, RoundState.PUBLISHING])
def test_one_round_is_made_at_a_time(catalog: Catalog, state: RoundState) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    first = open_round(catalog)
    with catalog.database.write() as session:
        session.get_one(Round, first.id).state = state
    with pytest.raises(ConflictError, match=rf"round {first.id} is still {state.value}; wait until it is open, or"):
        open_round(catalog)


def test_rounds_opened_at_the_same_moment_become_one(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    barrier, outcomes = threading.Barrier(4), []

    def contend() -> None:
        barrier.wait()
        try:
            open_round(catalog)
        except ConflictError as error:
            outcomes.append(type(error).__name__)
        else:
            outcomes.append("opened")

    threads = [threading.Thread(target=contend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["ConflictError", "ConflictError", "ConflictError", "opened"]


def test_an_empty_pool_is_told(catalog: Catalog) -> None:
    with pytest.raises(ConflictError, match="register a scene with the role 'pool'"):
        open_round(catalog)


def test_a_strategy_that_needs_all_passes_on_every_patch_is_refused_after_a_screening(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        scoring = add_scoring(session, 3, {patch.id: 0.5 for patch in patches})
        session.get_one(Score, (scoring.id, patches[0].id, "entropy_top10")).screening = True
    with pytest.raises(ConflictError, match="version 3 has scored some by one pass only; set mc_shortlist_share to 1"):
        open_round(catalog, Strategy.MUTUAL_INFORMATION)
    assert open_round(catalog, Strategy.ENTROPY_TOP10).scoring_id == scoring.id


def test_a_ranking_needs_scores_of_patches_that_are_left(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, scored = add_scene(session, "scored")
        add_scene(session, "later", offset_px=200)
    with pytest.raises(ConflictError, match="'mutual_information' needs the pool to be scored, but no version"):
        open_round(catalog, Strategy.MUTUAL_INFORMATION)
    with catalog.database.write() as session:
        add_scoring(session, 4, {patch.id: 0.5 for patch in scored})
        for patch in scored:
            session.merge(patch).state = PatchState.LABELLED
    with pytest.raises(ConflictError, match="every patch that version 4 gave such a score has been proposed"):
        open_round(catalog, Strategy.ENTROPY_TOP10)
    assert open_round(catalog, Strategy.RANDOM).state is RoundState.CHOOSING


def test_choices_become_proposals_once(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
    opened = open_round(catalog)
    choices = [
        Choice(patches[7].id, ProposalReason.UNCERTAIN, 0.6),
        Choice(patches[2].id, ProposalReason.CONTROL, 0.1),
    ]
    for _ in range(2):
        with catalog.database.write() as session:
            rounds.store_choices(session, opened.id, choices)
    with catalog.read() as session:
        stored = rounds.get(session, opened.id)
        assert stored.state is RoundState.PUBLISHING
        assert [(item.patch_id, item.rank, item.reason, item.score) for item in stored.proposals] == [
            (patches[7].id, 0, ProposalReason.UNCERTAIN, 0.6),
            (patches[2].id, 1, ProposalReason.CONTROL, 0.1),
        ]
        assert len({item.uid for item in stored.proposals}) == 2
        assert {item.patch.state for item in stored.proposals} == {PatchState.PROPOSED}
        assert JobKind.PUBLISH_ROUND in {job.kind for job in jobs.due(session)}


def test_a_round_opens_when_published_completes_when_answered_and_reopens(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
    opened = open_round(catalog)
    with catalog.database.write() as session:
        rounds.store_choices(session, opened.id, [Choice(patches[0].id, ProposalReason.RANDOM_START, None)])
        (proposal,) = rounds.get(session, opened.id).proposals
        rounds.mark_published(session, proposal.id, 15, 3, "http://al.example")
        rounds.mark_open(session, opened.id)
    with catalog.database.write() as session:
        published = rounds.get(session, opened.id)
        (proposal,) = published.proposals
        assert (published.state, proposal.state) == (RoundState.OPEN, ProposalState.PUBLISHED)
        assert (proposal.project_id, proposal.task_id, proposal.images_base_url) == (15, 3, "http://al.example")
        assert published.published_at is not None
        proposal.state = ProposalState.SKIPPED
        rounds.complete_if_answered(session, opened.id)
        assert published.state is RoundState.COMPLETE
        assert published.completed_at is not None
        proposal.state = ProposalState.PUBLISHED
        rounds.complete_if_answered(session, opened.id)
        assert (published.state, published.completed_at) == (RoundState.OPEN, None)


def test_publishing_again_does_not_undo_an_answer(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        _, (proposal,) = add_round(session, patches[:1])
        proposal.state = ProposalState.LABELLED
        rounds.mark_published(session, proposal.id, 15, 3, "http://al.example")
        assert proposal.state is ProposalState.LABELLED


def test_progress_counts_every_state(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, proposals = add_round(session, patches[:4])
        proposals[0].state = proposals[1].state = ProposalState.LABELLED
        proposals[2].state = ProposalState.WITHDRAWN
        session.flush()
        assert rounds.progress(session, [opened.id])[opened.id].states == {
            ProposalState.CHOSEN: 0,
            ProposalState.PUBLISHED: 1,
            ProposalState.LABELLED: 2,
            ProposalState.SKIPPED: 0,
            ProposalState.WITHDRAWN: 1,
            ProposalState.ABANDONED: 0,
        }


def test_a_round_with_proposals_survives_a_failure(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, _ = add_round(session, patches[:1])
        opened.state = RoundState.PUBLISHING
        rounds.mark_failed(session, opened.id, "Label Studio refuses")
        assert (opened.state, opened.error) == (RoundState.PUBLISHING, "Label Studio refuses")


def test_an_unknown_round_is_told(catalog: Catalog) -> None:
    with catalog.read() as session, pytest.raises(NotFoundError, match="no round 7"):
        rounds.get(session, 7)


def test_a_scoring_completed_anew_is_the_newest(catalog: Catalog) -> None:
    """After a roll-back the older version's scoring counts again."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        older = add_scoring(session, 1, {patches[0].id: 0.1})
        newer = add_scoring(session, 2, {patches[0].id: 0.2})
        newest = scorings.newest(session)
        assert newest is newer
        older.completed_at, newer.completed_at = newer.completed_at, older.completed_at
        session.flush()
        assert scorings.newest(session) is older


def automatic(catalog: Catalog, **changes: object) -> Round | None:
    settings = Settings(var_dir=catalog.settings.var_dir, **{"auto_rounds": True, "patch_size_px": 32, **changes})
    with catalog.database.write() as session:
        return services.rounds.open_next_automatically(session, settings)


def test_rounds_follow_of_themselves_once_a_person_began_and_nothing_is_under_way(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    assert automatic(catalog) is None  # nobody has begun
    open_round(catalog)
    assert automatic(catalog) is None  # the first is unfinished
    complete_all(catalog)
    assert automatic(catalog, auto_rounds=False) is None
    with catalog.database.write() as session:
        training = jobs.enqueue(session, JobKind.FINE_TUNE)
    assert automatic(catalog) is None  # what follows is still being learnt
    with catalog.database.write() as session:
        session.get_one(Job, training.id).state = JobState.FINISHED
    following = automatic(catalog, round_size=7)
    assert following is not None
    assert (following.size, following.strategy) == (7, Strategy.RANDOM)


def test_an_automatic_round_that_cannot_rank_says_so_and_leaves_no_row(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_round(session, patches[:2])
    complete_all(catalog)
    with pytest.raises(ConflictError, match="needs the pool to be scored"):
        automatic(catalog, round_strategy=Strategy.ENTROPY_TOP10)
    with catalog.read() as session:
        assert session.query(Round).count() == 1
