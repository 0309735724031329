"""Corrections on the map: from what was submitted to labels that compose, are learnt, withdrawn and redrawn."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import select

from catalog import training, withdrawals
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.event_order import CORRECTED
from catalog.logs import JsonFormatter
from catalog.records import (
    EventState,
    Label,
    LabelEvent,
    Patch,
    Proposal,
    ProposalReason,
    RunTrigger,
    Scene,
    SceneRole,
)
from catalog.withdrawal_records import Withdrawal
from imagery.classes import GLACIER_SCHEME
from imagery.grid import Window
from services import corrections, lineage
from services.corrections import Correction
from services.places import raster_store
from tests.imagery.forge import BAND_NAMES
from tests.workers.desk import Desk, box, brush, saved, sit_down, task_deleted
from tests.workers.rows import tiled
from workers import correction_drawing
from workers.label_repair import make_whole
from workers.labelled_patches import LabelledPatchDataset

UNKNOWN = 255


@dataclass
class Pen:
    """A person who corrects a scene on the map."""

    desk: Desk

    def submit(self, classes: np.ndarray, row_off: int, col_off: int, annotator: str = "anna") -> list[LabelEvent]:
        """Submit a window and ingest its events; return what became of them."""
        height, width = classes.shape
        said = Correction(
            id=uuid4(),
            row_off=row_off,
            col_off=col_off,
            height=height,
            width=width,
            shown=None,
            seconds=30.0,
            annotator=annotator,
        )
        catalog = self.desk.catalog
        with catalog.read() as session:
            scene = session.get_one(Scene, self.desk.scene.id)
        events, _ = corrections.record(catalog, scene, said, classes.astype(np.uint8), np.zeros_like(classes))
        numbers = [event.id for event in events]
        for number in numbers:
            self.desk.ingest(number)
        return [self.desk.event(number) for number in numbers]


@pytest.fixture
def pen(catalog: Catalog, tmp_path: Path) -> Pen:
    """A scene of patches of 32 px; two of them, from row 32 and column 32, are proposed."""
    return Pen(sit_down(catalog, tmp_path / "a.tif"))


def learnt(catalog: Catalog) -> tuple[list[Label], LabelledPatchDataset]:
    """What a fine-tune that begins now reads."""
    with catalog.write() as session:
        run = training.begin_run(session, RunTrigger.MANUAL)
        labels = list(training.labels_of_run(session, run))
    return labels, LabelledPatchDataset(labels, BAND_NAMES, raster_store(catalog), GLACIER_SCHEME)


def test_each_patch_that_the_window_touches_gets_a_label_that_a_fine_tune_learns(catalog: Catalog, pen: Pen):
    classes = np.ones((32, 32), np.uint8)
    classes[:, 16:] = 2
    classes[:4] = UNKNOWN
    events = pen.submit(classes, 0, 16)  # the right half of the first patch and the left half of the second
    assert [(event.action, event.origin, event.state) for event in events] == [
        (CORRECTED, "map", EventState.APPLIED)
    ] * 2
    labels, dataset = learnt(catalog)
    assert [(label.annotator, label.lead_time_s, label.edited_px) for label in labels] == [("anna", 15.0, 28 * 16)] * 2
    assert {label.proposal.reason for label in labels} == {ProposalReason.CORRECTION}
    first, second = (dataset[index][1].numpy() for index in range(2))
    assert (first[4:, 16:] == 1).all()
    assert (second[4:, :16] == 2).all()
    # Nothing else is judged: 28 rows of 16 columns of each patch.
    assert (int((first != UNKNOWN).sum()), int((second != UNKNOWN).sum())) == (28 * 16, 28 * 16)
    with catalog.read() as session:
        states = [session.get_one(Patch, label.patch_id).state.value for label in labels]
    assert states == ["partly labelled", "partly labelled"]


def test_a_correction_counts_over_what_was_drawn_before_and_only_where_it_judged(catalog: Catalog, pen: Pen):
    desk = pen.desk
    desk.deliver(saved(desk.first, [brush(box(0, 0, 32, 32))]))  # all of it is clean ice
    classes = np.full((32, 32), UNKNOWN, np.uint8)
    classes[8:16, 8:16] = 2
    pen.submit(classes, 32, 32)
    _, dataset = learnt(catalog)
    expected = np.ones((32, 32), np.uint8)
    expected[8:16, 8:16] = 2
    np.testing.assert_array_equal(dataset[0][1].numpy(), expected)
    assert desk.states() == ("labelled", "labelled", "open")  # the other proposal of the round waits


def test_a_whole_patch_is_labelled_and_nobody_else_is_kept_from_a_task_that_waits(catalog: Catalog, pen: Pen):
    (event,) = pen.submit(np.ones((32, 32)), 0, 0)
    with catalog.read() as session:
        proposal = session.get_one(Proposal, event.proposal_id)
        assert (proposal.region, proposal.round_id, proposal.patch.state.value) == (None, None, "labelled")
    pen.submit(np.ones((32, 32)), 32, 32)
    assert pen.desk.states() == ("published", "proposed", "open")


def test_a_correction_is_followed_through_the_logs(
    catalog: Catalog, pen: Pen, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.setFormatter(JsonFormatter())
    with caplog.at_level(logging.INFO):
        (event,) = pen.submit(np.ones((32, 32)), 0, 0)
    with catalog.read() as session:
        proposal = session.get_one(Proposal, event.proposal_id)
    of_correction = {"correction": event.annotation_uid, "patch": proposal.patch_id, "event": event.id}
    lines = [json.loads(line) for line in caplog.text.splitlines()]
    received, applied = (
        line for line in lines if line["logger"] in {corrections.__name__, correction_drawing.__name__}
    )
    assert received["message"] == f"label event {event.id} ({CORRECTED}) is received by map"
    assert received.items() >= of_correction.items()
    assert applied["message"].startswith(f"label event {event.id} is applied")
    assert applied.items() >= (of_correction | {"proposal": proposal.uid, "label": 1}).items()


def test_ingesting_again_changes_nothing(catalog: Catalog, pen: Pen):
    (event,) = pen.submit(np.ones((32, 32)), 0, 0)
    pen.desk.ingest(event.id)
    assert len(pen.desk.standing()) == 1


def test_pixels_without_data_are_not_judged_and_do_not_keep_a_patch_open(catalog: Catalog, tmp_path: Path):
    pen = Pen(sit_down(catalog, tmp_path / "b.tif", nodata_columns=40))
    with catalog.read() as session:
        edge = next(item for item in session.scalars(select(Patch).order_by(Patch.id)) if 0 < item.valid_share < 1)
    pen.submit(np.ones((32, 32)), edge.row_off, edge.col_off)
    (label,) = pen.desk.standing()
    with catalog.read() as session:
        assert session.get_one(Patch, edge.id).state.value == "labelled"
    _, dataset = learnt(catalog)
    assert int((dataset[0][1].numpy() == 1).sum()) == round(edge.valid_share * 32 * 32)
    assert label.patch_id == edge.id


def test_a_withdrawal_covers_corrections(catalog: Catalog, pen: Pen):
    pen.submit(np.ones((32, 32)), 0, 0, "Anna")
    pen.submit(np.ones((32, 32)), 0, 32, "bela")
    with catalog.write() as session:
        names = withdrawals.spellings(session, "anna")
        theirs = withdrawals.labels_by(session, names, None)
        withdrawal = Withdrawal(annotator="anna", reason="shifted by a pixel", actor="operator")
        freed = withdrawals.withdraw(session, withdrawal, theirs)
    assert (freed.standing, freed.patches) == (1, 1)
    assert [label.annotator for label in pen.desk.standing()] == ["bela"]
    assert [label.annotator for label in learnt(catalog)[0]] == ["bela"]


def test_a_damaged_mask_is_drawn_again_from_the_ledger(catalog: Catalog, pen: Pen):
    classes = np.full((32, 32), 2)
    classes[:10] = UNKNOWN
    pen.submit(classes, 0, 0)
    (label,) = pen.desk.standing()
    store = raster_store(catalog)
    before = store.get(label.mask_key)
    store.delete(label.mask_key)
    assert make_whole(catalog, label)
    assert store.get(label.mask_key) == before


def test_the_lineage_says_that_a_person_corrected_the_map(catalog: Catalog, pen: Pen):
    pen.submit(np.ones((32, 32)), 0, 0)
    labels, _ = learnt(catalog)
    with catalog.read() as session:
        (told,) = lineage.labels_with_causes(session, [label.id for label in labels])
        causes = [
            lineage._label(told, None, None, lambda label: label.annotator, checks=checks, controls=False).cause
            for checks in (True, False)  # as operators, and as others are told
        ]
    for cause in causes:
        assert (cause.round, cause.strategy, cause.reason) == (None, None, "corrected on the map")


def test_a_deleted_task_takes_no_correction_along(catalog: Catalog, pen: Pen):
    desk = pen.desk
    desk.deliver(saved(desk.first, [brush(box(0, 0, 32, 32))]))
    pen.submit(np.full((32, 32), 2), 32, 32)
    desk.deliver(task_deleted(desk.first.task_id))
    assert [label.annotator for label in desk.standing()] == ["anna"]


def test_the_database_refuses_ground_that_judges_models(catalog: Catalog, tmp_path: Path):
    pen = Pen(sit_down(catalog, tmp_path / "a.tif"))
    scene, _ = tiled(catalog, tmp_path / "v.tif", SceneRole.VALIDATION)
    with pytest.raises(ConflictError, match="is a validation scene: it judges models"):
        corrections.check_may_correct(scene, Window(0, 0, 32, 32))
    pen.desk.scene = scene
    with pytest.raises(Exception, match="its scene judges models: it cannot be proposed"):
        pen.submit(np.ones((32, 32)), 0, 0)  # as if nobody had checked
