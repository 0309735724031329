"""Scenes that are removed or replaced while somebody draws on them, chooses among them, or judges by them."""

from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import select

from catalog import labels, rounds, training
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import (
    EventState,
    JobKind,
    Label,
    Patch,
    Proposal,
    ProposalState,
    RoundState,
    Scene,
    Scoring,
)
from catalog.settings import Strategy
from labeling.errors import EventError
from services import corrections, raster_keys
from services.corrections import Correction
from services.places import raster_store
from services.rounds import abandon, open_round
from services.scene_removal import remove_scene
from services.scene_replacement import LabelFate, Replacement, replace_scene
from tests.catalog_fixtures import PROJECT_ID
from tests.workers.desk import ANNOTATION, Desk, box, brush, deleted, moment, saved, sit_down, task_deleted, updated
from tests.workers.rows import context_of, described_anew, tiled
from workers import ingest_label as ingestion
from workers import propose_round as proposing
from workers.propose_round import propose_round
from workers.tile_scene import tile_scene

ICE = brush(box(2, 2, 20, 20))


@pytest.fixture
def desk(catalog: Catalog, tmp_path: Path) -> Desk:
    """A desk at which nobody is waited for: the round was abandoned."""
    desk = sit_down(catalog, tmp_path / "a.tif")
    with catalog.write() as session:
        abandon(session, desk.first.round_id)
    return desk


def replace(desk: Desk, fate: LabelFate | None) -> Replacement:
    with desk.catalog.write() as session:
        new = described_anew(desk.scene)
        return replace_scene(session, desk.catalog.settings, desk.scene.id, new, fate, has_champion=False)


def correct(desk: Desk) -> int:
    """Submit a correction of one patch that was never proposed; return its event, which waits."""
    said = Correction(
        id=uuid4(), row_off=0, col_off=64, height=32, width=32, shown=None, seconds=30.0, annotator="anna"
    )
    ones = np.ones((32, 32), np.uint8)
    with desk.catalog.read() as session:
        scene = session.get_one(Scene, desk.scene.id)
    (event,), _ = corrections.record(desk.catalog, scene, said, ones, np.zeros_like(ones))
    return event.id


def learnt(catalog: Catalog) -> list[int]:
    with catalog.read() as session:
        return [label.id for label in training.training_labels(session)]


def test_a_scene_is_neither_removed_nor_discarded_while_an_answer_waits(desk: Desk) -> None:
    desk.deliver(saved(desk.first, [ICE]))
    (waiting,) = desk.receive(updated(desk.first, [], 5))
    with pytest.raises(ConflictError, match="labels that were drawn on scene 'a-pool' wait to be ingested"):
        replace(desk, LabelFate.DISCARD)
    desk.ingest(waiting)
    assert replace(desk, LabelFate.DISCARD).superseded == 1


def test_labels_may_be_kept_while_an_answer_waits_which_is_then_applied(desk: Desk) -> None:
    desk.deliver(saved(desk.first, [ICE]))
    (waiting,) = desk.receive(updated(desk.first, [], 5))
    assert replace(desk, LabelFate.KEEP).kept == 1
    desk.ingest(waiting)
    assert desk.event(waiting).state is EventState.APPLIED


def test_maps_of_the_pixels_before_are_gone_once_the_new_ones_are_tiled(desk: Desk, tmp_path: Path) -> None:
    """Patches of a replaced scene may be proposed before it is scored again: none begins with a map of other pixels."""
    desk.deliver(saved(desk.first, [ICE]))
    other, _ = tiled(desk.catalog, tmp_path / "b.tif", offset_px=300)
    with desk.catalog.write() as session:
        scorings = [Scoring(model_version=version, passes=20, seed=0) for version in (1, 2)]
        session.add_all(scorings)
    store = raster_store(desk.catalog)
    of_each = {
        scene.id: [raster_keys.scored(scoring.id, scene.id, "classes") for scoring in scorings]
        for scene in (desk.scene, other)
    }
    for key in (*of_each[desk.scene.id], *of_each[other.id]):
        store.put(key, b"a map")
    replace(desk, LabelFate.KEEP)
    tile_scene(context_of(desk.catalog, JobKind.TILE_SCENE, str(desk.scene.id)), desk.scene.id)
    left = [key for key in store.all_keys() if key.startswith("scorings/")]
    assert left == of_each[other.id]


def test_nobody_loses_a_correction_that_waits_unasked(desk: Desk) -> None:
    waiting = correct(desk)
    for fate in (None, LabelFate.DISCARD):
        with pytest.raises(ConflictError, match="wait to be ingested"):
            replace(desk, fate)
    desk.ingest(waiting)
    with pytest.raises(ConflictError, match="1 labels stand on scene 'a-pool'"):
        replace(desk, None)


def test_what_is_drawn_on_another_scene_does_not_keep_this_one(desk: Desk, tmp_path: Path) -> None:
    other, _ = tiled(desk.catalog, tmp_path / "b.tif", offset_px=300)
    correct(desk)
    with desk.catalog.write() as session:
        remove_scene(session, other.id)


def test_a_correction_whose_patch_went_with_its_scene_says_so(desk: Desk) -> None:
    event_id = correct(desk)
    with desk.catalog.write() as session:
        labels.mark_failed(session, event_id, "its worker died")
    replace(desk, None)
    with desk.catalog.write() as session:
        labels.reopen(labels.lock_event(session, event_id))
    with pytest.raises(EventError, match="is gone: the scene was removed or replaced before it was applied"):
        desk.ingest(event_id)
    assert desk.event(event_id).state is EventState.FAILED


def test_a_correction_is_refused_if_its_scene_was_replaced_while_it_was_read(desk: Desk) -> None:
    replace(desk, None)
    with pytest.raises(ConflictError, match=r"scene 'a-pool \(removed 1\)' is removed; only a ready scene"):
        correct(desk)


def test_a_drawing_that_is_made_while_its_scene_is_replaced_becomes_no_label(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an attempt that seemed dead, so that its event was given up, and did not keep the scene."""
    desk.deliver(saved(desk.first, [ICE]))
    (event_id,) = desk.receive(updated(desk.first, [], 5))
    draw = ingestion._make_label

    def draw_slowly(*arguments: object) -> Label:
        drawn = draw(*arguments)
        with desk.catalog.write() as session:
            labels.mark_failed(session, event_id, "its worker died")
        replace(desk, LabelFate.DISCARD)
        return drawn

    monkeypatch.setattr(ingestion, "_make_label", draw_slowly)
    with pytest.raises(EventError, match="was removed"):
        desk.ingest(event_id)
    assert (desk.standing(), learnt(desk.catalog)) == ([], [])


def test_a_label_that_stands_on_a_removed_scene_is_not_learnt(desk: Desk) -> None:
    desk.deliver(saved(desk.first, [ICE]))
    assert len(learnt(desk.catalog)) == 1
    replace(desk, LabelFate.DISCARD)
    with desk.catalog.write() as session:  # as an earlier release left it
        session.get_one(Label, 1).superseded_at = None
    assert learnt(desk.catalog) == []


def test_a_round_does_not_ask_about_a_scene_that_is_removed_while_it_is_chosen(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = desk.catalog
    other, _ = tiled(catalog, tmp_path / "b.tif", offset_px=300)
    with catalog.write() as session:
        of_other = select(Patch.id).where(Patch.scene_id == other.id)
        size = len(session.scalars(of_other).all())
        opened = open_round(session, catalog.settings, Strategy.RANDOM, 2 * size, seed=1)
    insert, times = proposing.insert, []

    def choose_slowly(*arguments: object) -> object:
        chosen = insert(*arguments)
        times.append(len(chosen))
        if len(times) == 1:
            with catalog.write() as session:
                remove_scene(session, desk.scene.id)
        return chosen

    monkeypatch.setattr(proposing, "insert", choose_slowly)
    propose_round(context_of(catalog, JobKind.PROPOSE_ROUND, "r"), opened.id)
    with catalog.read() as session:
        made = rounds.get(session, opened.id)
        assert made.state is RoundState.PUBLISHING
        proposed = {proposal.patch_id for proposal in made.proposals}
        assert proposed == set(session.scalars(of_other))
    assert times == [2 * size, size]


def test_what_is_deleted_of_a_discarded_scene_is_not_asked_for_again(catalog: Catalog, tmp_path: Path) -> None:
    desk = sit_down(catalog, tmp_path / "a.tif")
    desk.deliver(saved(desk.first, [ICE]))
    desk.deliver(saved(desk.second, [ICE], id=ANNOTATION + 1, created_at=moment(1)))
    replace(desk, LabelFate.DISCARD)
    assert desk.states() == ("labelled", "labelled", "complete")
    desk.deliver(deleted())
    assert desk.states() == ("abandoned", "unlabelled", "complete")
    desk.deliver(task_deleted(desk.second.task_id))
    with catalog.write() as session:
        second = session.get_one(Proposal, desk.second.id)
        assert second.state is ProposalState.WITHDRAWN
        labels.return_task(session, second, PROJECT_ID, desk.second.task_id)
        assert second.state is ProposalState.ABANDONED
    assert desk.states() == ("abandoned", "unlabelled", "complete")
