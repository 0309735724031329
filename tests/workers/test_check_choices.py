"""Which labelled patches a round asks for again, and what their annotators are told."""

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select, update

import services.rounds
from catalog import candidates, check_candidates, labels, references, rounds, scorings, training
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    now,
)
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.cog import class_map_to_cog
from imagery.geotiff import encode
from imagery.masks import mask_to_geotiff
from services import raster_keys
from services.expected_edits import ERROR, FOREGROUND, encode_probability
from services.places import raster_store
from services.scenes import source_of, window_of
from services.score_table import row_type
from services.strategies import Evidence, disguised, reason_of
from tests.catalog_fixtures import PROJECT_ID, add_round, add_scene, add_scoring, label_of
from tests.workers.rows import context_of, patches, tiled
from workers.check_choices import contradicted_shares
from workers.propose_round import propose_round
from workers.shard_arrays import save

SIZE = 10


def propose(catalog: Catalog, strategy: str = "random", size: int = SIZE, second_looks: int | None = None) -> Round:
    """Open a round and choose its patches, as API and worker do."""
    with catalog.database.write() as session:
        opened = services.rounds.open_round(session, catalog.settings, strategy, size, 5, second_looks=second_looks)
    return choose(catalog, opened)


def choose(catalog: Catalog, opened: Round) -> Round:
    """Choose the patches of an opened round, as the worker does."""
    with catalog.read() as session:
        job = session.scalar(select(Job).where(Job.kind == JobKind.PROPOSE_ROUND).order_by(Job.created_at.desc()))
    assert job is not None
    propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, f"test-{opened.id}"), **job.subject)
    with catalog.read() as session:
        made = rounds.get(session, opened.id)
        assert [proposal.rank for proposal in made.proposals] == list(range(len(made.proposals)))
    return made


def of(made: Round, reason: ProposalReason) -> list[int]:
    return [proposal.patch_id for proposal in made.proposals if proposal.reason is reason]


def change(catalog: Catalog, **settings: object) -> None:
    catalog.settings = catalog.settings.model_copy(update=settings)


def candidate_ids(catalog: Catalog) -> set[int]:
    """The patches that a round may propose."""
    everything = Round(strategy="random", size=1000, seed=0)
    with catalog.read() as session:
        found = candidates.shuffled(session, everything, 0.0, np.random.default_rng(0))
        return {candidate.patch_id for candidate in found}


def answer(catalog: Catalog, made: Round, start: int = 100) -> None:
    """Label every patch of a round."""
    with catalog.database.write() as session:
        for number, proposal in enumerate(rounds.get(session, made.id).proposals):
            labels.store(session, label_of(session, proposal, start + number, start + number, project_id=PROJECT_ID))
        rounds.get(session, made.id).state = RoundState.COMPLETE


@pytest.fixture
def scenes(catalog: Catalog) -> list[Scene]:
    """A scene with known truth and one without, scored; of the latter, twelve patches are labelled."""
    with catalog.database.write() as session:
        known, of_known = add_scene(session, "known", width=320, height=320)
        known.outlines = [{"path": "/truth.gpkg", "layer": None, "class_name": "clean ice"}]
        plain, of_plain = add_scene(session, "plain", width=320, height=320, offset_px=1000)
        add_scoring(session, 1, {patch.id: patch.id / 1000 for patch in (*of_known, *of_plain)})
        opened, proposals = add_round(session, of_plain[:12])
        for number, proposal in enumerate(proposals):
            proposal.region = None  # as the worker stores it: JSON's null, not the database's
            labels.store(session, label_of(session, proposal, number, number))
        opened.state = RoundState.COMPLETE
        return [known, plain]


def test_without_the_settings_a_round_asks_for_new_patches_only(catalog: Catalog, scenes: list[Scene]) -> None:
    made = propose(catalog)
    assert {proposal.reason for proposal in made.proposals} == {ProposalReason.RANDOM_START}


def test_shares_of_a_round_are_second_labels_and_honeypots(catalog: Catalog, scenes: list[Scene]) -> None:
    change(catalog, double_label_share=0.2, honeypot_share=0.3)
    made = propose(catalog)
    twice, honeypots = of(made, ProposalReason.SECOND_LABEL), of(made, ProposalReason.KNOWN_TRUTH)
    assert (len(twice), len(honeypots), len(made.proposals)) == (2, 3, SIZE)
    assert len({proposal.patch_id for proposal in made.proposals}) == SIZE
    with catalog.read() as session:
        assert {session.get_one(Patch, patch_id).scene.name for patch_id in twice} == {"plain"}
        assert {session.get_one(Patch, patch_id).scene.name for patch_id in honeypots} == {"known"}
        assert {session.get_one(Patch, patch_id).state for patch_id in twice} == {PatchState.PROPOSED}
    answer(catalog, made)
    again = propose(catalog)
    assert not set(of(again, ProposalReason.SECOND_LABEL)) & {*twice, *honeypots}
    assert not set(of(again, ProposalReason.KNOWN_TRUTH)) & set(honeypots)  # fresh ones come first


def test_small_rounds_have_their_share_over_several_of_them(catalog: Catalog, scenes: list[Scene]) -> None:
    change(catalog, double_label_share=0.1)
    counts = []
    for number in range(6):
        with catalog.database.write() as session:
            opened = services.rounds.open_round(session, catalog.settings, "random", 4, seed=number)
        propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, str(opened.id)), opened.id)
        with catalog.database.write() as session:
            counts.append(len(of(rounds.get(session, opened.id), ProposalReason.SECOND_LABEL)))
            services.rounds.abandon(session, opened.id)
    assert set(counts) == {0, 1}  # 0.4 of a patch


@pytest.mark.parametrize("strategy", ["random", "entropy_top10"])
def test_a_round_of_checks_only_is_not_larger_than_asked_for(
    catalog: Catalog, scenes: list[Scene], strategy: str
) -> None:
    change(catalog, double_label_share=0.5, honeypot_share=0.5)
    counts = []
    for number in range(6):
        with catalog.database.write() as session:
            opened = services.rounds.open_round(session, catalog.settings, strategy, 3, seed=number)
        propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, str(opened.id)), opened.id)
        with catalog.database.write() as session:
            counts.append(len(rounds.get(session, opened.id).proposals))
            services.rounds.abandon(session, opened.id)
    assert counts == [3] * 6  # 1.5 second labels and 1.5 honeypots, each rounded at random


def test_honeypots_are_chosen_and_told_of_as_the_round_chooses(catalog: Catalog, scenes: list[Scene]) -> None:
    change(catalog, honeypot_share=0.2, double_label_share=0.1, control_share=0.0)
    made = propose(catalog, "entropy_top10")
    honeypots = [item for item in made.proposals if item.reason is ProposalReason.KNOWN_TRUTH]
    with catalog.read() as session:
        known = session.scalars(select(Patch.id).where(Patch.scene_id == scenes[0].id)).all()
    assert sorted(item.patch_id for item in honeypots) == sorted(known)[-2:]  # the highest scores of their scene
    assert [item.score for item in honeypots] == [item.patch_id / 1000 for item in honeypots]
    told = {
        reason: reason_of(reason, made, Evidence(1, score), controls=False)
        for reason, score in ((ProposalReason.UNCERTAIN, 0.1), (ProposalReason.KNOWN_TRUTH, 0.1))
    }
    assert told[ProposalReason.KNOWN_TRUTH] == told[ProposalReason.UNCERTAIN]
    assert reason_of(ProposalReason.SECOND_LABEL, made, Evidence(1, None), controls=True) == reason_of(
        ProposalReason.CONTROL, made, Evidence(1, None), controls=True
    )


@pytest.mark.parametrize("strategy", ["entropy_top10", "foreground_random"])
@pytest.mark.parametrize("control_share", [0.0, 0.1])
def test_second_labels_are_told_of_as_patches_that_the_round_has(
    catalog: Catalog, scenes: list[Scene], strategy: str, control_share: float
) -> None:
    """Also in a round without controls, or with a single one, which comes from the shortlist."""
    change(catalog, double_label_share=0.2, honeypot_share=0.2, control_share=control_share)
    with catalog.read() as session:
        scoring = scorings.newest(session)
        ids = session.scalars(select(Patch.id)).all()
    assert scoring is not None
    rows = np.zeros(len(ids), row_type(classes=3))
    rows["patch_id"], rows["foreground_share"] = ids, 0.5
    save(raster_store(catalog), raster_keys.score_table(scoring.id), rows)
    made = propose(catalog, strategy)
    told: dict[bool, set[ProposalReason]] = {True: set(), False: set()}
    with catalog.read() as session:
        controls = rounds.with_controls(session, [made.id]) == {made.id}
    assert controls == (control_share > 0)
    for item in made.proposals:
        is_check = item.reason in (ProposalReason.SECOND_LABEL, ProposalReason.KNOWN_TRUTH)
        told[is_check].add(disguised(item.reason, made, scored=item.score is not None, controls=controls))
    assert len(of(made, ProposalReason.SECOND_LABEL)) == 2
    assert told[True] <= told[False]
    assert len(told[False]) == (1 if control_share == 0 else 2)


def test_honeypots_and_second_labels_of_a_random_round_are_told_of_as_the_others(
    catalog: Catalog, scenes: list[Scene]
) -> None:
    made, nothing = propose(catalog), Evidence(None, None)
    reasons = (ProposalReason.RANDOM_START, ProposalReason.SECOND_LABEL, ProposalReason.KNOWN_TRUTH)
    assert len({reason_of(reason, made, nothing, controls=False) for reason in reasons}) == 1


@pytest.mark.parametrize("role", [SceneRole.VALIDATION, SceneRole.TEST])
def test_validation_and_test_ground_is_never_a_honeypot(catalog: Catalog, role: SceneRole) -> None:
    change(catalog, honeypot_share=0.3)
    with catalog.database.write() as session:
        judging, _ = add_scene(session, "judging", role)
        judging.outlines = [{"path": "/truth.gpkg", "layer": None, "class_name": "clean ice"}]
        add_scene(session, "plain", width=320, height=320, offset_px=1000)
    assert of(propose(catalog), ProposalReason.KNOWN_TRUTH) == []


def test_an_accepted_label_makes_a_honeypot_that_is_asked_again(catalog: Catalog, scenes: list[Scene]) -> None:
    change(catalog, honeypot_share=0.1, double_label_share=0.5)
    with catalog.database.write() as session:
        session.get_one(Scene, scenes[0].id).outlines = []
        accepted = references.accept(session, 3).patch_id
    for start in (100, 200):
        made = propose(catalog)
        assert of(made, ProposalReason.KNOWN_TRUTH) == [accepted]
        assert accepted not in of(made, ProposalReason.SECOND_LABEL)
        answer(catalog, made, start)


def test_a_reference_is_not_proposed_to_be_learnt_while_its_label_stands(catalog: Catalog, scenes: list[Scene]) -> None:
    with catalog.database.write() as session:
        accepted = references.accept(session, 3)
        session.get_one(Patch, accepted.patch_id).state = PatchState.PARTLY_LABELLED
    assert accepted.patch_id not in candidate_ids(catalog)
    with catalog.database.write() as session:
        session.get_one(Label, accepted.label_id).superseded_at = now()
    assert accepted.patch_id in candidate_ids(catalog)


def test_outlines_do_not_measure_where_an_accepted_label_fell(catalog: Catalog, scenes: list[Scene]) -> None:
    """Nothing is compared there until the operator accepts another label or releases it."""
    change(catalog, honeypot_share=0.5)
    with catalog.database.write() as session:
        known = session.scalars(select(Patch).where(Patch.scene_id == scenes[0].id).order_by(Patch.id)).all()
        _, (proposal,) = add_round(session, known[:1])
        label = label_of(session, proposal, 99)
        labels.store(session, label)
        references.accept(session, label.id)
        label.superseded_at = now()
        labels.refresh_states(session, proposal, skipped=False)
        labels.withdraw(session, proposal)
        assert known[0].state is PatchState.UNLABELLED
    honeypots = of(propose(catalog, size=1000), ProposalReason.KNOWN_TRUTH)
    assert sorted(honeypots) == [patch.id for patch in known[1:]]


# Second looks


@pytest.fixture
def scored(catalog: Catalog, tmp_path: Path) -> list[Patch]:
    """Three labelled patches of a scene; its maps are sure that half of one and a quarter of the next is ice."""
    scene, _ = tiled(catalog, tmp_path / "a.tif")
    store, grid = raster_store(catalog), source_of(scene).grid
    labelled = patches(catalog, scene.id)[:3]
    classes = np.zeros((grid.height, grid.width), np.uint8)
    classes[0:16, 0:32], classes[0:8, 32:64] = 1, 1
    with catalog.database.write() as session:
        scoring = add_scoring(session, 7, {patch.id: 0.5 for patch in labelled})
        opened, proposals = add_round(session, labelled)
        for number, proposal in enumerate(proposals):
            label = label_of(session, proposal, number, number)
            empty = mask_to_geotiff(np.zeros((32, 32), np.uint8), grid, GLACIER_SCHEME, window_of(labelled[number]))
            label.mask_sha256 = store.put(label.mask_key, empty)
            labels.store(session, label)
        opened.state = RoundState.COMPLETE
    store.put(raster_keys.scored(scoring.id, scene.id, "classes"), class_map_to_cog(classes, grid, GLACIER_SCHEME))
    for what in (ERROR, FOREGROUND):
        levels = encode_probability(np.full(classes.shape, 0.05))
        store.put(raster_keys.scored(scoring.id, scene.id, what), encode(levels, grid, nodata=UNKNOWN))
    nats = np.zeros(classes.shape, np.float32)
    store.put(raster_keys.scored(scoring.id, scene.id, "entropy"), encode(nats, grid, nodata=np.nan))
    return labelled


def test_the_newest_scoring_says_how_far_it_contradicts_each_label(catalog: Catalog, scored: list[Patch]) -> None:
    with catalog.read() as session:
        newest = scorings.newest(session)
        assert newest is not None
        shares = contradicted_shares(session, catalog, newest)
    assert shares == {scored[0].id: 0.5, scored[1].id: 0.25, scored[2].id: 0.0}


def test_a_mask_that_is_not_the_one_of_its_label_stops_no_other(catalog: Catalog, scored: list[Patch]) -> None:
    with catalog.read() as session:
        first, second = (labels.current(session, patch.id)[0] for patch in scored[:2])
        newest = scorings.newest(session)
    assert newest is not None
    store = raster_store(catalog)
    store.put(first.mask_key, store.get(second.mask_key))  # as whole as any
    with catalog.read() as session:
        shares = contradicted_shares(session, catalog, newest)
    assert shares == {scored[1].id: 0.25, scored[2].id: 0.0}


def test_contradicted_labels_come_back_once_with_the_reason(catalog: Catalog, scored: list[Patch]) -> None:
    with catalog.read() as session:
        first = labels.current(session, scored[0].id)[0]
    mask = {"mask_key": first.mask_key, "mask_sha256": first.mask_sha256}
    made = propose(catalog, size=4, second_looks=1)
    (look,) = [item for item in made.proposals if item.reason is ProposalReason.SECOND_LOOK]
    assert (look.patch_id, look.score, len(made.proposals)) == (scored[0].id, 0.5, 4)
    assert reason_of(look.reason, made, Evidence(None, look.score), controls=False) == (
        f"Round {made.id}: the model contradicts the earlier label of this patch with confidence on 50% of it; "
        "draw what you see, it replaces that label"
    )
    with catalog.database.write() as session:
        for proposal in rounds.get(session, made.id).proposals:
            labels.store(session, label_of(session, proposal, 50 + proposal.rank, 50, project_id=PROJECT_ID, **mask))
        rounds.get(session, made.id).state = RoundState.COMPLETE
    again = propose(catalog, size=2, second_looks=2)
    assert of(again, ProposalReason.SECOND_LOOK) == [scored[1].id]  # the third is not contradicted
    assert len(again.proposals) == 1


@pytest.mark.parametrize(
    ("reason", "second_looks", "changes"),
    [
        (ProposalReason.SECOND_LOOK, 1, {"honeypot_share": 1 / 3}),
        (ProposalReason.SECOND_LABEL, 0, {"honeypot_share": 0.25, "double_label_share": 0.75}),
    ],
)
def test_a_patch_that_a_round_asks_for_again_is_no_honeypot_of_it(
    catalog: Catalog, scored: list[Patch], reason: ProposalReason, second_looks: int, changes: dict[str, float]
) -> None:
    """The first patch has a label that teaches and one drawn on it as a honeypot; no other could be a honeypot."""
    change(catalog, **changes)
    with catalog.database.write() as session:
        scene = session.get_one(Scene, scored[0].scene_id)
        scene.outlines = [{"path": "/truth.gpkg", "layer": None, "class_name": "clean ice"}]
        first = session.get_one(Patch, scored[0].id)
        opened, (honeypot,) = add_round(session, [first], first_task=90)
        honeypot.reason = ProposalReason.KNOWN_TRUTH
        labels.store(session, label_of(session, honeypot, 90, 90))
        opened.state = RoundState.COMPLETE
        assert check_candidates.to_ask_again(session) == {first.id: 1}
        for patch in session.scalars(select(Patch).where(Patch.state == PatchState.UNLABELLED)):
            patch.state = PatchState.SKIPPED
        add_scene(session, "plain", width=320, height=320, offset_px=1000)
    made = propose(catalog, size=4, second_looks=second_looks)
    assert first.id in of(made, reason)
    assert of(made, ProposalReason.KNOWN_TRUTH) == []
    assert len({proposal.patch_id for proposal in made.proposals}) == 4


@pytest.mark.parametrize(("share", "looks"), [(0.0, 0), (0.5, 1)])
def test_rounds_that_open_by_themselves_have_their_share_of_second_looks(
    catalog: Catalog, scored: list[Patch], share: float, looks: int
) -> None:
    change(catalog, second_look_share=share, auto_rounds=True, round_size=2, round_strategy="random")
    with catalog.database.write() as session:
        training.begin_run(session, RunTrigger.MANUAL).state = RunState.FINISHED
        session.execute(update(Job).values(state=JobState.FINISHED))  # of the scoring that tiling called for
        opened = services.rounds.open_next_automatically(session, catalog.settings)
    assert opened is not None
    made = choose(catalog, opened)
    assert (of(made, ProposalReason.SECOND_LOOK), len(made.proposals)) == ([scored[0].id][:looks], 2)


def test_a_number_of_second_looks_counts_over_the_share(catalog: Catalog, scored: list[Patch]) -> None:
    change(catalog, second_look_share=0.5)
    assert of(propose(catalog, size=4, second_looks=0), ProposalReason.SECOND_LOOK) == []


@pytest.mark.parametrize("size", [1, 4])
def test_a_share_of_second_looks_that_cannot_be_had_is_left_to_the_strategy(catalog: Catalog, size: int) -> None:
    """Nothing has scored the pool; with one patch the share may be all of the round."""
    change(catalog, second_look_share=0.5)
    with catalog.database.write() as session:
        add_scene(session)
    made = propose(catalog, size=size)
    assert [proposal.reason for proposal in made.proposals] == [ProposalReason.RANDOM_START] * size


def test_a_round_of_second_looks_alone_that_finds_none_says_so(catalog: Catalog, scored: list[Patch]) -> None:
    with catalog.database.write() as session:
        for proposal in session.scalars(select(Proposal)):
            proposal.reason = ProposalReason.SECOND_LOOK
    with pytest.raises(ConflictError, match="found no label that the newest scoring contradicts"):
        propose(catalog, size=2, second_looks=2)


def test_second_looks_that_a_round_cannot_hold_or_nothing_can_rank_are_refused(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
        with pytest.raises(ConflictError, match="3 second looks in a round of 2 patches"):
            services.rounds.open_round(session, catalog.settings, "random", 2, second_looks=3)
        with pytest.raises(ConflictError, match="no scoring that could contradict a label"):
            services.rounds.open_round(session, catalog.settings, "random", 2, second_looks=1)
