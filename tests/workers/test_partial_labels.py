"""A proposal that asks for a part of its patch: from the drawing to what a fine-tune reads, and the next proposal."""

from pathlib import Path

import numpy as np

from catalog import training
from catalog.context import Catalog
from catalog.pixel_regions import encode_region
from catalog.records import Patch, Proposal, RunTrigger
from imagery.classes import GLACIER_SCHEME
from services import rounds
from services.places import raster_store
from tests.catalog_fixtures import add_round
from tests.imagery.forge import BAND_NAMES
from tests.workers.desk import SIDE, box, brush, saved, sit_down
from workers.labelled_patches import LabelledPatchDataset

TOP, BOTTOM = box(0, 0, SIDE // 2, SIDE), box(SIDE // 2, 0, SIDE, SIDE)
UNKNOWN = 255


def ask_for(catalog: Catalog, proposal: Proposal, region: np.ndarray) -> None:
    with catalog.database.write() as session:
        session.get_one(Proposal, proposal.id).region = encode_region(region)


def test_what_was_not_asked_for_is_unjudged_and_no_edit(catalog: Catalog, tmp_path: Path) -> None:
    desk = sit_down(catalog, tmp_path / "a.tif")
    ask_for(catalog, desk.first, TOP)
    desk.deliver(saved(desk.first, [brush(box(0, 0, SIDE, 4))]))  # 4 columns over the whole height
    mask = desk.mask()
    assert (mask[: SIDE // 2, :4] == 1).all()
    assert (mask[: SIDE // 2, 4:] == 0).all()
    assert (mask[SIDE // 2 :] == UNKNOWN).all()
    (label,) = desk.standing()
    assert label.edited_px == SIDE // 2 * 4
    assert desk.states()[:2] == ("labelled", "partly labelled")


def test_the_other_part_is_proposed_later_and_both_are_learnt_as_one_patch(catalog: Catalog, tmp_path: Path) -> None:
    desk = sit_down(catalog, tmp_path / "a.tif")
    ask_for(catalog, desk.first, TOP)
    desk.deliver(saved(desk.first, [brush(TOP)]))
    with catalog.database.write() as session:
        patch = session.get_one(Patch, desk.first.patch_id)
        _, (later,) = add_round(session, [patch], first_task=77)
        later.region = encode_region(BOTTOM)
    desk.deliver(saved(later, [brush(BOTTOM, "debris-covered ice")], minutes=5, id=901))
    assert desk.states()[1] == "labelled"
    with catalog.database.write() as session:
        learnt = training.labels_of_run(session, training.begin_run(session, RunTrigger.MANUAL))
    assert len(learnt) == 2
    dataset = LabelledPatchDataset(learnt, BAND_NAMES, raster_store(catalog), GLACIER_SCHEME)
    assert len(dataset) == 1
    mask = dataset[0][1].numpy()
    assert (mask[: SIDE // 2] == 1).all()
    assert (mask[SIDE // 2 :] == 2).all()


def test_a_whole_patch_drawn_later_covers_the_part_drawn_before(catalog: Catalog, tmp_path: Path) -> None:
    desk = sit_down(catalog, tmp_path / "a.tif")
    ask_for(catalog, desk.first, TOP)
    desk.deliver(saved(desk.first, [brush(TOP)]))
    with catalog.database.write() as session:
        _, (whole,) = add_round(session, [session.get_one(Patch, desk.first.patch_id)], first_task=77)
    desk.deliver(saved(whole, [], minutes=5, id=901))
    with catalog.read() as session:
        assert [label.annotation_id for label in training.training_labels(session)] == [901]


def test_an_answer_to_an_abandoned_round_is_not_lost(catalog: Catalog, tmp_path: Path) -> None:
    desk = sit_down(catalog, tmp_path / "a.tif")
    with catalog.database.write() as session:
        rounds.abandon(session, desk.first.round_id)
    assert desk.states() == ("abandoned", "unlabelled", "abandoned")
    event = desk.deliver(saved(desk.first, [brush(TOP)]))
    assert event.state.value == "applied"
    assert desk.states() == ("labelled", "labelled", "abandoned")
