"""Rounds that ask for parts of patches: from the map of uncertainty to the region, and on to what is left."""

import io

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

import services.rounds
from catalog import rounds
from catalog.candidates import Candidate
from catalog.context import Catalog
from catalog.pixel_regions import decode_region, encode_region
from catalog.records import JobKind, Label, Patch, PatchState, Proposal, Round, RoundState
from catalog.settings import PatchPart, Settings
from imagery.composites import mark_region
from services import raster_keys
from services.places import raster_store
from services.score_table import read_table
from tests.workers.desk import Desk, brush, saved
from tests.workers.rows import champion, context_of, finish, patches, score_pool, tiled
from tests.workers.test_publish_round import publication
from workers.asked_regions import AskedRegions, reorder
from workers.propose_round import propose_round
from workers.publication import offer

SIDE = 32


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"mc_passes": 2, "mc_shortlist_share": 1.0, "control_share": 0.0})


@pytest.fixture
def desk(catalog: Catalog, tmp_path) -> Desk:
    """A scored scene whose last columns have no data, and nothing proposed yet."""
    scene, _ = tiled(catalog, tmp_path / "a.tif", nodata_columns=40)
    score_pool(catalog, champion())
    nothing = Proposal()
    return Desk(catalog, scene, nothing, nothing)


def propose(catalog: Catalog, part: PatchPart, size: int, strategy: str = "entropy_top10") -> Round:
    """Choose and open a round, without Label Studio: its tasks are numbered from 1000 times its number."""
    with catalog.database.write() as session:
        opened = services.rounds.open_round(session, catalog.settings, strategy, size, part=part)
    context = context_of(catalog, JobKind.PROPOSE_ROUND, str(opened.id))
    propose_round(context, opened.id)
    finish(context)
    with catalog.database.write() as session:
        made = rounds.get(session, opened.id)
        for proposal in made.proposals:
            rounds.mark_published(session, proposal.id, 7, 1000 * made.id + proposal.rank, "http://here")
        rounds.mark_open(session, made.id)
    with catalog.read() as session:
        made = rounds.get(session, opened.id)
        assert [proposal.patch.scene.id for proposal in made.proposals]
    return made


def asked(proposal: Proposal) -> np.ndarray:
    return decode_region(proposal.region, SIDE, SIDE)


def answer(desk: Desk, made: Round) -> None:
    """Draw ice everywhere; the rest of the patch must not become a label."""
    for number, proposal in enumerate(made.proposals):
        whole = brush(np.ones((SIDE, SIDE), bool))
        desk.deliver(saved(proposal, [whole], minutes=made.id, id=100 * made.id + number))


def test_a_patch_is_asked_for_part_by_part_and_the_last_round_for_the_rest(desk: Desk) -> None:
    catalog = desk.catalog
    everything = len(patches(catalog, desk.scene.id))
    first = propose(catalog, PatchPart.AREAS, everything)
    assert len(first.proposals) > 5
    for proposal in first.proposals:
        assert 0 < asked(proposal).mean() <= 0.25
    answer(desk, first)
    with catalog.read() as session:
        states = {session.get_one(Patch, proposal.patch_id).state for proposal in first.proposals}
    assert states == {PatchState.PARTLY_LABELLED}

    second = propose(catalog, PatchPart.QUARTER, everything)
    before = {proposal.patch_id: asked(proposal) for proposal in first.proposals}
    for proposal in second.proposals:
        assert not (asked(proposal) & before[proposal.patch_id]).any()
        before[proposal.patch_id] |= asked(proposal)
    answer(desk, second)

    last = propose(catalog, PatchPart.WHOLE, everything)
    for proposal in last.proposals:
        np.testing.assert_array_equal(asked(proposal), ~before[proposal.patch_id])
    answer(desk, last)
    with catalog.read() as session:
        assert {session.get_one(Patch, proposal.patch_id).state for proposal in last.proposals} == {PatchState.LABELLED}
        labels = session.scalars(select(Label)).all()
    # Every pixel was edited once, whatever was drawn outside of the parts: the network's mask was never shown.
    assert sum(label.edited_px for label in labels) == len(last.proposals) * SIDE**2
    assert last.state is RoundState.OPEN


def test_strategies_of_the_table_rank_a_partly_labelled_patch_by_what_is_left(desk: Desk) -> None:
    """All but four pixels of a patch are judged: of the top tenth, 103 pixels, at most four are uncertain."""
    catalog = desk.catalog
    first = propose(catalog, PatchPart.AREAS, 1, strategy="class_entropy")
    with catalog.database.write() as session:
        region = np.ones((SIDE, SIDE), np.bool_)
        region[0, :4] = False
        session.get_one(Proposal, first.proposals[0].id).region = encode_region(region)
    answer(desk, first)
    (best,) = first.proposals
    with catalog.read() as session:
        regions = AskedRegions(session, raster_store(catalog), session.get_one(Round, first.id), 0.25)
        whole = read_table(raster_store(catalog), first.scoring_id)
        table, lowered = regions.lowered(whole)
    assert list(lowered) == [best.patch_id]
    at = table.patch_ids == best.patch_id
    assert table.entropy[at] == pytest.approx(lowered[best.patch_id])
    assert 0 < table.entropy[at] < 0.1 * whole.entropy[at]
    np.testing.assert_array_equal(table.entropy[~at], whole.entropy[~at])

    again = propose(catalog, PatchPart.WHOLE, len(patches(catalog, desk.scene.id)), strategy="class_entropy")
    scores = {proposal.patch_id: proposal.score for proposal in again.proposals}
    assert scores[best.patch_id] == lowered[best.patch_id]
    np.testing.assert_array_equal(asked(next(p for p in again.proposals if p.patch_id == best.patch_id)), ~region)


def test_rounds_without_scores_ask_for_whole_patches(desk: Desk) -> None:
    made = propose(desk.catalog, PatchPart.AREAS, 3, strategy="random")
    assert made.part == "whole"
    assert {proposal.region for proposal in made.proposals} == {None}


def test_the_page_outlines_the_part_and_says_so(desk: Desk) -> None:
    made = propose(desk.catalog, PatchPart.QUARTER, 1)
    with desk.catalog.read() as session:
        made = session.get_one(Round, made.id)
        (proposal,) = made.proposals
        assert proposal.patch.scene.name
        assert made.scoring is not None
    offered = offer(publication(desk.catalog), made, proposal)
    assert offered.views["true_colour"] == f"true-colour-part-{proposal.id}"
    assert "; judge only the outlined part, 25% of the patch" in offered.task["data"]["reason"]
    png = raster_store(desk.catalog).get(raster_keys.view(proposal.patch_id, offered.views["true_colour"]))
    shown = np.asarray(Image.open(io.BytesIO(png)))
    outline = (shown == (250, 204, 21)).all(axis=-1)
    assert outline.sum() == 16 + 16 + 1  # along two sides of a quarter of 32 x 32 pixels, and its corner
    assert not (outline & asked(proposal)).any()


def test_the_rest_of_the_picture_is_darkened() -> None:
    picture = np.full((3, 5, 3), 100, np.uint8)
    region = np.zeros((3, 5), np.bool_)
    region[:, 0] = True
    marked = mark_region(picture, region)
    assert marked[0].tolist() == [[100] * 3, [250, 204, 21], [45] * 3, [45] * 3, [45] * 3]


def test_what_was_judged_lowers_the_rank_of_a_patch() -> None:
    ranked = [Candidate(number, 1, 0, 0, SIDE, score) for number, score in ((1, 0.9), (2, 0.8), (3, 0.5), (4, 0.1))]
    computed = {1: 0.6, 3: 0.5, 4: None}
    read = []

    def reading():
        for candidate in ranked:
            read.append(candidate.patch_id)
            yield candidate

    order = reorder(reading(), {1, 3, 4}, lambda candidate: computed[candidate.patch_id])
    assert next(order).patch_id == 2
    assert read == [1, 2]
    assert [(candidate.patch_id, candidate.score) for candidate in order] == [(1, 0.6), (3, 0.5), (4, 0.1)]
