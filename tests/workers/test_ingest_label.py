"""Label events and the rows and rasters that follow from them."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.io import MemoryFile
from sqlalchemy import select

from catalog import jobs, labels
from catalog.context import Catalog
from catalog.records import (
    EventState,
    Job,
    JobKind,
    JobState,
    LabelEvent,
    Patch,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    Scene,
)
from catalog.settings import Settings
from imagery.border import BorderSource
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.masks import mask_from_geotiff, mask_to_geotiff
from imagery.scene_source import BandSource
from labeling.errors import EventError, LabelStudioError, RegionError
from labeling.regions import BrushRegion, PolygonRegion, encode_brush, encode_polygon
from labeling.task_calls import ReadTask
from services import raster_keys, rounds
from services.places import raster_store
from services.scene_removal import remove_scene
from services.scenes import source_of, window_of
from tests.catalog_fixtures import NOON, PROJECT_ID, add_scoring
from tests.imagery.forge import write_geotiff, write_polygons
from tests.workers.desk import (
    ANNOTATION,
    SIDE,
    TASK,
    Desk,
    box,
    brush,
    deleted,
    moment,
    saved,
    sit_down,
    task_deleted,
    updated,
)
from tests.workers.rows import claimed, context_of
from workers import carried_drawings, ingest_label
from workers.clock import tick
from workers.jobs import perform
from workers.label_drawing import draw

CLEAN = box(2, 3, 20, 25)


@pytest.fixture
def desk(catalog: Catalog, tmp_path) -> Desk:
    return sit_down(catalog, tmp_path / "a.tif")


class Studio:
    """What Label Studio would answer: the real one would have to be made to send events late."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self._tasks: dict[int, ReadTask] = {}

    def has(self, payload: dict[str, Any]) -> None:
        """Let it have an annotation as a webhook tells of it."""
        task = payload["task"]
        self._tasks[task["id"]] = {**task, "annotations": [payload["annotation"]]}

    def has_task_without_annotations(self, proposal: Proposal) -> None:
        self._tasks[proposal.task_id] = {**saved(proposal, [])["task"], "annotations": []}

    def read_tasks(self, project_id: int, task_ids: list[int]) -> list[ReadTask]:
        self.asked.append(task_ids)
        return [self._tasks[task_id] for task_id in task_ids if task_id in self._tasks]


@pytest.fixture
def studio(monkeypatch: pytest.MonkeyPatch) -> Studio:
    stub = Studio()
    monkeypatch.setattr("workers.doubted_event.label_studio", lambda catalog: stub)
    return stub


# What is drawn


def test_the_last_drawn_wins():
    square = np.array([[0, 0], [10, 0], [10, 10], [0, 10]], float)
    clean = BrushRegion("clean ice", box(5, 5, 15, 15))
    debris = PolygonRegion("debris-covered ice", square)
    below = draw([clean, debris], SIDE, SIDE, GLACIER_SCHEME)
    assert (below[7, 7], below[12, 12], below[2, 2], below[20, 20]) == (2, 1, 2, 0)
    above = draw([debris, clean], SIDE, SIDE, GLACIER_SCHEME)
    assert (above[7, 7], above[12, 12], above[2, 2], above[20, 20]) == (1, 1, 2, 0)


def test_nothing_drawn_is_background():
    assert not draw([], 5, 7, GLACIER_SCHEME).any()
    assert draw([], 5, 7, GLACIER_SCHEME).shape == (5, 7)


def test_a_polygon_that_crosses_itself_covers_both_lobes():
    bow_tie = PolygonRegion("clean ice", np.array([[0, 0], [20, 20], [20, 0], [0, 20]], float))
    mask = draw([bow_tie], SIDE, SIDE, GLACIER_SCHEME)
    assert (mask[10, 2], mask[10, 17], mask[2, 10], mask[18, 10]) == (1, 1, 0, 0)


def test_what_a_polygon_goes_around_twice_is_filled_as_on_the_page():
    outer, inner = [[0, 0], [20, 0], [20, 20], [0, 20], [0, 0]], [[5, 5], [15, 5], [15, 15], [5, 15], [5, 5]]
    filled = draw([PolygonRegion("clean ice", np.array(outer + inner, float))], SIDE, SIDE, GLACIER_SCHEME)
    hollow = draw([PolygonRegion("clean ice", np.array(outer + inner[::-1], float))], SIDE, SIDE, GLACIER_SCHEME)
    assert (np.count_nonzero(filled), np.count_nonzero(hollow)) == (400, 300)


def test_a_line_covers_no_pixel():
    assert not draw(
        [PolygonRegion("clean ice", np.array([[0, 0], [20, 20], [10, 10]], float))], SIDE, SIDE, GLACIER_SCHEME
    ).any()


def test_a_polygon_beyond_the_edge_is_cut_off():
    outside = PolygonRegion("masked/unknown", np.array([[-10, -10], [5, -10], [5, 5], [-10, 5]], float))
    mask = draw([outside], SIDE, SIDE, GLACIER_SCHEME)
    assert (mask[:5, :5] == UNKNOWN).all()
    assert (mask == UNKNOWN).sum() == 25


# Created, updated, deleted, skipped, empty


def test_an_answer_for_a_removed_scene_is_no_label_and_says_why(desk):
    with desk.catalog.database.write() as session:
        rounds.abandon(session, desk.first.round_id)
        remove_scene(session, desk.scene.id)
    (event_id,) = desk.receive(saved(desk.first, [brush(CLEAN)]))
    with pytest.raises(EventError, match=r"its scene 'a-pool \(removed 1\)' was removed"):
        desk.ingest(event_id)
    event = desk.event(event_id)
    assert event.state is EventState.FAILED
    assert event.detail.endswith("was removed")
    assert desk.standing() == []


def test_a_created_annotation_becomes_a_mask_on_the_patchs_own_grid(desk):
    triangle = np.array([[10.0, 10.0], [30.0, 10.0], [30.0, 30.0]])
    ring = CLEAN & ~box(8, 8, 12, 14)  # a rock island, left open by the brush
    result = [brush(ring), encode_polygon(triangle, "debris-covered ice", SIDE, SIDE, "p1")]
    event = desk.deliver(saved(desk.first, result))
    assert (event.state, event.detail) == (EventState.APPLIED, None)
    (label,) = desk.standing()
    with MemoryFile(raster_store(desk.catalog).get(label.mask_key)) as file, file.open() as raster:
        mask = raster.read(1)
        with desk.catalog.read() as session:
            patch = session.get_one(Patch, desk.first.patch_id)
        grid = source_of(desk.scene).grid
        assert (raster.crs.to_string(), raster.transform) == (grid.crs, grid.window_transform(window_of(patch)))
        assert raster.nodata == UNKNOWN
    assert (mask[9, 9], mask[5, 5], mask[15, 28], mask[29, 4]) == (0, 1, 2, 0)
    assert mask[12, 20] == DEBRIS_COVERED_ICE.value  # both were drawn there, the polygon last
    assert (label.annotator, label.simulated, label.lead_time_s) == ("unknown", False, 12.5)
    assert (label.annotated_at, label.edited_px) == (NOON, np.count_nonzero(mask))
    assert desk.states() == ("labelled", "labelled", "open")


def test_what_was_shown_is_what_edits_are_counted_from(desk):
    shown = np.where(box(0, 0, 10, 10), CLEAN_ICE.value, 0).astype(np.uint8)
    key = raster_keys.preannotation(desk.first.uid, 5)
    raster_store(desk.catalog).put(
        key, mask_to_geotiff(shown, source_of(desk.scene).grid.subgrid(window(desk)), GLACIER_SCHEME)
    )
    with desk.catalog.database.write() as session:
        session.get_one(Proposal, desk.first.id).preannotated_by = 5
    desk.deliver(saved(desk.first, [brush(box(0, 0, 10, 12))]))
    (label,) = desk.standing()
    assert label.edited_px == 20


def test_what_is_painted_with_a_region_of_the_proposal_counts_over_its_later_regions(desk):
    """The annotator selects the clean ice of the proposal and paints over a part of its debris, then draws anew."""
    ice, debris = box(0, 0, 10, 10), box(0, 10, 10, 20)
    shown = (ice * CLEAN_ICE.value + debris * DEBRIS_COVERED_ICE.value).astype(np.uint8)
    key = raster_keys.preannotation(desk.first.uid, 5)
    raster_store(desk.catalog).put(
        key, mask_to_geotiff(shown, source_of(desk.scene).grid.subgrid(window(desk)), GLACIER_SCHEME)
    )
    with desk.catalog.database.write() as session:
        session.get_one(Proposal, desk.first.id).preannotated_by = 5
    result = [
        encode_brush(ice | box(0, 10, 10, 15), "clean ice", "pre-1"),
        encode_brush(debris, "debris-covered ice", "pre-2"),
        encode_brush(box(8, 8, 12, 12), "masked/unknown", "x_1"),
    ]
    desk.deliver(saved(desk.first, result))
    mask = desk.mask()
    assert (mask[5, 5], mask[5, 12], mask[5, 17], mask[9, 11]) == (1, 1, 2, UNKNOWN)


def window(desk: Desk):
    with desk.catalog.read() as session:
        return window_of(session.get_one(Patch, desk.first.patch_id))


def test_an_update_supersedes_and_keeps_the_old(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    (old,) = desk.standing()
    desk.deliver(updated(desk.first, [brush(CLEAN, "debris-covered ice")], 5, lead_time=20.0))
    assert (desk.mask()[CLEAN] == 2).all()
    (new,) = desk.standing()
    assert (new.id > old.id, new.lead_time_s) == (True, 20.0)
    assert (mask_from_geotiff(raster_store(desk.catalog).get(old.mask_key), GLACIER_SCHEME)[CLEAN] == 1).all()


def test_a_label_tells_what_the_scoring_had_wrong(desk):
    """The map of the round's scoring has ice in the columns 2 to 11 of the patch, and knows nothing of its last row."""
    with desk.catalog.database.write() as session:
        scoring = add_scoring(session, 1, {})
        session.get_one(Round, desk.first.round_id).scoring_id = scoring.id
        window = window_of(session.get_one(Patch, desk.first.patch_id))
    classes = np.zeros(source_of(desk.scene).grid.window.shape, dtype=np.uint8)
    classes[window.slices][:, 2:12] = CLEAN_ICE.value
    classes[window.slices][-1] = UNKNOWN
    mapped = mask_to_geotiff(classes, source_of(desk.scene).grid, GLACIER_SCHEME)
    raster_store(desk.catalog).put(raster_keys.scored(scoring.id, desk.scene.id, "classes"), mapped)
    drawn = box(0, 2, SIDE, 22)
    desk.deliver(saved(desk.first, [brush(drawn)]))
    (label,) = desk.standing()
    rows = SIDE - 1
    assert label.found == [[(SIDE - 20) * rows, 0, 0], [10 * rows, 10 * rows, 0], [0, 0, 0]]


def test_a_label_of_a_random_round_finds_no_error_of_a_version(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    (label,) = desk.standing()
    assert label.found is None


def test_a_deletion_asks_again(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    assert desk.deliver(deleted()).state is EventState.APPLIED
    assert desk.standing() == []
    assert desk.states() == ("published", "proposed", "open")


def test_a_skip_teaches_nothing_but_answers(desk):
    event = desk.deliver(saved(desk.first, [brush(CLEAN)], was_cancelled=True))
    assert (event.state, event.detail) == (EventState.APPLIED, "skipped")
    assert desk.standing() == []
    assert desk.states() == ("skipped", "skipped", "open")


def test_the_reason_for_a_skip_stands_in_the_ledger(desk):
    why = {"type": "choices", "from_name": "why", "to_name": "img", "value": {"choices": ["I cannot tell"]}}
    event = desk.deliver(saved(desk.first, [brush(CLEAN), why], was_cancelled=True))
    assert (event.state, event.detail) == (EventState.APPLIED, "skipped: I cannot tell")
    assert desk.states()[0] == "skipped"


def test_a_skip_after_a_label_withdraws_it(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    desk.deliver(updated(desk.first, [brush(CLEAN)], 3, was_cancelled=True))
    assert desk.standing() == []
    assert desk.states()[0] == "skipped"


def test_an_empty_submission_says_that_there_is_no_ice(desk):
    desk.deliver(saved(desk.first, []))
    assert not desk.mask().any()
    assert desk.states() == ("labelled", "labelled", "open")


def test_masked_or_unknown_is_a_value_of_its_own(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN), brush(box(0, 0, 10, 32), "masked/unknown", "b2")]))
    assert (desk.mask()[:10] == UNKNOWN).all()
    assert desk.mask()[15, 10] == CLEAN_ICE.value


def test_ground_beyond_the_border_is_stored_as_unknown_not_as_background(desk, tmp_path):
    """Trap: nobody judged it. Rows and columns 32 to 63 are the patch; the border holds columns 0 to 47."""
    x0, y0, _, y1 = source_of(desk.scene).grid.bounds
    west = write_polygons(tmp_path / "west.gpkg", {"border": [shapely.box(x0, y0, x0 + 48 * 30, y1)]})
    with desk.catalog.database.write() as session:
        bordered = describe(source_of(desk.scene).bands, border=BorderSource(str(west)))
        session.get_one(Scene, desk.scene.id).source = bordered.to_json()
        session.get_one(Patch, desk.first.patch_id).valid_share = 0.5  # as tiling would find
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    np.testing.assert_array_equal(desk.mask()[:, :16], CLEAN[:, :16])
    assert (desk.mask()[:, 16:] == UNKNOWN).all()
    (label,) = desk.standing()
    assert label.edited_px == CLEAN.sum()  # what the annotator did, wherever


def test_ground_without_any_data_is_stored_as_unknown(catalog, tmp_path):
    desk = sit_down(catalog, tmp_path / "b.tif", nodata_columns=80)  # columns 80 to 159 of the scene
    desk.deliver(saved(desk.second, [brush(box(0, 0, 4, 32))]))
    assert (desk.mask()[:, 16:] == UNKNOWN).all()
    assert (desk.mask()[:4, :16] == CLEAN_ICE.value).all()
    assert not desk.mask()[4:, :16].any()


@pytest.mark.parametrize("beside", ["quality", "QA_RADSAT", "elevation", "slope"])
def test_fill_is_stored_as_unknown_though_flags_and_relief_have_values_there(catalog, tmp_path, beside):
    """Trap: Landsat's quality band says 1 in the fill, a valid number. Columns 80 to 159 of the scene are fill."""
    desk = sit_down(catalog, tmp_path / "d.tif", nodata_columns=80)
    everywhere = write_geotiff(tmp_path / "beside.tif", np.ones((100, 160), np.uint16), descriptions=[beside])
    with desk.catalog.database.write() as session:
        stack = describe((*source_of(desk.scene).bands, BandSource(beside, str(everywhere), 1)))
        session.get_one(Scene, desk.scene.id).source = stack.to_json()
    desk.deliver(saved(desk.second, []))
    assert (desk.mask()[:, 16:] == UNKNOWN).all()
    assert not desk.mask()[:, :16].any()


def test_ground_of_a_scene_that_is_relief_alone_is_stored_as_judged(catalog, tmp_path):
    desk = sit_down(catalog, tmp_path / "e.tif")
    relief = write_geotiff(tmp_path / "relief.tif", np.ones((100, 160), np.uint16), descriptions=["elevation"])
    with desk.catalog.database.write() as session:
        source = describe((BandSource("elevation", str(relief), 1),))
        session.get_one(Scene, desk.scene.id).source = source.to_json()
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    np.testing.assert_array_equal(desk.mask(), CLEAN)


def test_ground_that_lacks_one_band_only_is_stored_as_judged(catalog, tmp_path):
    desk = sit_down(catalog, tmp_path / "c.tif")
    bands = source_of(desk.scene).bands
    other = write_geotiff(tmp_path / "nir.tif", np.zeros((100, 160), np.uint8), nodata=0, descriptions=["nir"])
    with desk.catalog.database.write() as session:
        gappy = describe((*bands[:3], BandSource("nir", str(other), 1)))
        session.get_one(Scene, desk.scene.id).source = gappy.to_json()
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    np.testing.assert_array_equal(desk.mask(), CLEAN)


def test_a_label_on_a_patch_without_gaps_needs_no_scene(desk):
    path = Path(source_of(desk.scene).bands[0].path)
    path.rename(path.with_suffix(".away"))
    assert desk.deliver(saved(desk.first, [brush(CLEAN)])).state is EventState.APPLIED
    np.testing.assert_array_equal(desk.mask(), CLEAN)


def test_a_label_whose_scene_cannot_be_read_waits_in_the_ledger(desk):
    with desk.catalog.database.write() as session:
        session.get_one(Patch, desk.first.patch_id).valid_share = 0.9  # so its pixels without data must be read
    (event_id,) = desk.receive(saved(desk.first, [brush(CLEAN)]))
    path = Path(source_of(desk.scene).bands[0].path)
    path.rename(path.with_suffix(".away"))
    job = claimed(desk.catalog, JobKind.INGEST_LABEL, f"test-{event_id}", event_id=event_id)
    perform(desk.catalog, job)  # sets the scene aside, and is to begin again without it
    assert desk.event(event_id).state is EventState.RECEIVED
    with desk.catalog.database.write() as session:
        again = jobs.claim(session, job.id)
    perform(desk.catalog, again)
    event = desk.event(event_id)
    assert event.state is EventState.FAILED
    assert "found no such file" in event.detail
    path.with_suffix(".away").rename(path)
    with desk.catalog.database.write() as session:
        labels.replay(session, event_id)
    desk.ingest(event_id)
    np.testing.assert_array_equal(desk.mask(), CLEAN)


def test_a_deleted_task_withdraws_its_proposal_and_frees_its_patch(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    desk.deliver(task_deleted(TASK))
    assert desk.standing() == []
    assert desk.states() == ("withdrawn", "unlabelled", "open")


def test_a_copy_of_a_task_that_is_deleted_takes_its_label_along(desk):
    """A person exports tasks and imports them again: the copy carries our proposal."""
    copy = saved(desk.first, [brush(CLEAN)])
    copy["task"]["id"] = 99
    desk.deliver(copy)
    assert desk.states() == ("labelled", "labelled", "open")
    assert desk.deliver(task_deleted(99)).state is EventState.APPLIED
    assert desk.standing() == []
    assert desk.states() == ("published", "proposed", "open")  # the task that we published is still there


def test_what_was_drawn_on_a_copy_stays_when_the_original_is_deleted(desk):
    copy = saved(desk.first, [brush(CLEAN)], id=ANNOTATION + 1)
    copy["task"]["id"] = 99
    desk.deliver(saved(desk.first, []))
    desk.deliver(copy)
    desk.deliver(task_deleted(TASK))
    (label,) = desk.standing()
    assert label.annotation_id == ANNOTATION + 1
    assert desk.states() == ("withdrawn", "labelled", "open")


def test_an_annotation_id_that_is_given_away_again_is_another_annotation(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    (deletion,) = desk.receive(deleted())
    desk.deliver(saved(desk.second, [], 5, created_at=moment(5)))  # the same id, before the deletion is applied
    desk.ingest(deletion)
    (label,) = desk.standing()
    assert label.proposal_id == desk.second.id
    assert desk.states()[0] == "published"


def test_a_skip_is_not_undone_by_the_deletion_of_another_annotation(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    desk.deliver(saved(desk.first, [], 5, id=ANNOTATION + 1, created_at=moment(4), was_cancelled=True))
    desk.deliver(deleted())
    assert desk.standing() == []
    assert desk.states() == ("skipped", "skipped", "open")
    desk.deliver(deleted(ANNOTATION + 1))
    assert desk.states() == ("published", "proposed", "open")


def test_a_deleted_project_ends_its_rounds_and_keeps_the_labels(desk):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    event = desk.deliver({"action": "PROJECT_DELETED", "project": {"id": PROJECT_ID}})
    assert event.detail == f"project {PROJECT_ID} was deleted in Label Studio; 1 proposals were withdrawn"
    assert len(desk.standing()) == 1
    assert desk.states() == ("labelled", "labelled", "complete")
    with desk.catalog.read() as session:
        assert session.get_one(Proposal, desk.second.id).state is ProposalState.WITHDRAWN
        assert "was deleted" in session.get_one(Round, desk.first.round_id).error


def test_what_came_before_the_project_was_deleted_is_ingested_after_it(desk):
    (event_id,) = desk.receive(saved(desk.first, [brush(CLEAN)]))
    desk.deliver({"action": "PROJECT_DELETED", "project": {"id": PROJECT_ID}})
    desk.ingest(event_id)
    assert (desk.mask()[CLEAN] == 1).all()
    assert desk.states() == ("withdrawn", "labelled", "complete")


def test_hundreds_of_regions_drawn_by_a_person_are_ingested(desk):
    corners = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    squares = [
        encode_polygon(corners + np.array([column, row]), "clean ice", SIDE, SIDE, f"p{row}-{column}")
        for row in range(SIDE)
        for column in range(SIDE)
    ]
    desk.deliver(saved(desk.first, squares))
    assert (desk.mask() == CLEAN_ICE.value).all()


def test_one_body_may_tell_of_several_deletions(desk):
    first, second = desk.receive(task_deleted(TASK, TASK + 1))
    desk.ingest(second)
    desk.ingest(first)
    with desk.catalog.read() as session:
        states = {session.get_one(Proposal, item.id).state for item in (desk.first, desk.second)}
        assert states == {ProposalState.WITHDRAWN}
        assert session.get_one(Round, desk.first.round_id).state is RoundState.COMPLETE


def test_the_round_is_complete_when_all_are_answered(desk):
    desk.deliver(saved(desk.first, []))
    desk.deliver(saved(desk.second, [], id=ANNOTATION + 1, was_cancelled=True))
    assert desk.states()[2] == "complete"
    desk.deliver(deleted())
    assert desk.states()[2] == "open"


def test_enough_labels_start_a_fine_tune_at_the_next_tick(desk):
    desk.catalog.settings = Settings(**{**desk.catalog.settings.model_dump(), "fine_tune_after_labels": 2})
    desk.deliver(saved(desk.first, []))
    tick(desk.catalog, reconcile=False)
    assert jobs_of(desk, JobKind.FINE_TUNE) == []
    desk.deliver(saved(desk.second, [], id=ANNOTATION + 1))
    tick(desk.catalog, reconcile=False)
    (job,) = jobs_of(desk, JobKind.FINE_TUNE)
    assert (job.state, job.subject) == (JobState.QUEUED, {"trigger": "enough new labels"})


def jobs_of(desk: Desk, kind: JobKind) -> list[Job]:
    with desk.catalog.read() as session:
        return list(session.scalars(select(Job).where(Job.kind == kind)))


# Repeated, late, out of order


def test_a_repeated_event_is_not_even_stored(desk):
    payload = saved(desk.first, [brush(CLEAN)])
    event = desk.deliver(payload)
    assert desk.receive(payload) == []
    desk.ingest(event.id)  # a job that runs twice finds the event dealt with
    assert len(desk.standing()) == 1


# Where the order of arrival and the times contradict each other, what Label Studio has now decides.


def test_an_attempt_that_goes_on_after_another_has_applied_its_event_changes_nothing(desk, monkeypatch):
    """As one does that was frozen until it seemed dead."""
    (event_id,) = desk.receive(saved(desk.first, [brush(CLEAN)]))
    make = ingest_label._make_label

    def frozen(*arguments):
        label = make(*arguments)
        monkeypatch.undo()
        ingest_label.ingest_label(context_of(desk.catalog, JobKind.INGEST_LABEL, "another"), event_id)
        return label

    monkeypatch.setattr(ingest_label, "_make_label", frozen)
    desk.ingest(event_id)
    assert desk.event(event_id).state is EventState.APPLIED
    assert [label.event_id for label in desk.standing()] == [event_id]
    assert (desk.mask()[CLEAN] == 1).all()


def test_an_open_event_whose_label_is_stored_is_applied(desk):
    """Earlier releases could reopen one just when an attempt that had seemed dead applied it."""
    event = desk.deliver(saved(desk.first, [brush(CLEAN)]))
    with desk.catalog.database.write() as session:
        session.get_one(LabelEvent, event.id).state = EventState.RECEIVED
    desk.ingest(event.id)
    assert desk.event(event.id).state is EventState.APPLIED
    assert [label.event_id for label in desk.standing()] == [event.id]
    assert (desk.mask()[CLEAN] == 1).all()


def test_a_late_event_changes_nothing(desk, studio):
    newer = updated(desk.first, [brush(CLEAN, "debris-covered ice")], 5)
    desk.deliver(newer)
    studio.has(newer)
    late = desk.deliver(saved(desk.first, [brush(CLEAN)], 0))
    assert late.state is EventState.SUPERSEDED
    assert late.detail.endswith("which came before it, and Label Studio has another state of it")
    assert (desk.mask()[CLEAN] == 2).all()
    assert studio.asked == [[TASK]]


def test_a_state_saved_after_a_clock_was_set_back_becomes_the_label(desk, studio):
    """Label Studio's clock was two days ahead when the first state was saved."""
    desk.deliver(updated(desk.first, [brush(CLEAN)], 2 * 24 * 60))
    later = updated(desk.first, [brush(CLEAN, "debris-covered ice")], 5)
    studio.has(later)
    assert desk.deliver(later).state is EventState.APPLIED
    assert (desk.mask()[CLEAN] == 2).all()


def test_events_that_come_in_order_ask_label_studio_nothing(desk, studio):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    desk.deliver(updated(desk.first, [], 5))
    desk.deliver(deleted())
    assert studio.asked == []


def test_a_deletion_that_overtakes_the_creation_holds(desk, studio):
    desk.deliver(deleted())
    studio.has_task_without_annotations(desk.first)
    late = desk.deliver(saved(desk.first, [brush(CLEAN)]))
    assert late.state is EventState.SUPERSEDED
    assert late.detail.endswith("and Label Studio has it no more")
    assert desk.standing() == []
    assert desk.states() == ("published", "proposed", "open")


def test_an_annotation_that_was_deleted_and_exists_again_becomes_a_label(desk, studio):
    """Label Studio's database was restored, and the annotation was changed since."""
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    desk.deliver(deleted())
    again = updated(desk.first, [brush(CLEAN, "debris-covered ice")], 5)
    studio.has(again)
    assert desk.deliver(again).state is EventState.APPLIED
    assert (desk.mask()[CLEAN] == 2).all()


def test_an_id_given_away_again_ends_the_label_whose_deletion_was_lost(desk, studio):
    """Trap: the new drawing was superseded without a word, and the deleted one stood."""
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    anew = saved(desk.second, [brush(CLEAN)], -60, created_at=moment(-60))  # the clock was set back, too
    studio.has(anew)
    studio.has_task_without_annotations(desk.first)
    assert desk.deliver(anew).state is EventState.APPLIED
    (deletion,) = desk.received()
    desk.ingest(deletion)
    (label,) = desk.standing()
    assert label.proposal_id == desk.second.id
    assert (desk.event(deletion).action, desk.event(deletion).origin) == ("ANNOTATIONS_DELETED", "reconciliation")
    assert desk.states()[0] == "published"


def test_a_late_deletion_does_not_end_the_annotation_that_got_the_id(desk, studio):
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    anew = saved(desk.second, [brush(CLEAN)], 5, created_at=moment(5))
    studio.has(anew)
    desk.deliver(anew)
    late = desk.deliver(deleted())
    assert late.state is EventState.SUPERSEDED
    assert late.detail.endswith("and Label Studio still has the annotation")
    for event_id in desk.received():
        desk.ingest(event_id)
    (label,) = desk.standing()
    assert label.proposal_id == desk.second.id


def test_a_deletion_applied_late_ends_no_label_that_was_received_after_it(desk, studio):
    """Its job was delayed; meanwhile Label Studio's database was restored, and the annotation was changed since."""
    desk.deliver(saved(desk.first, [brush(CLEAN)]))
    (deletion,) = desk.receive(deleted())
    again = updated(desk.first, [brush(CLEAN, "debris-covered ice")], 5)
    studio.has(again)
    kept = desk.deliver(again)
    desk.ingest(deletion)
    assert desk.event(deletion).state is EventState.APPLIED
    assert [label.event_id for label in desk.standing()] == [kept.id]
    assert desk.states() == ("labelled", "labelled", "open")


@pytest.mark.parametrize(("state", "is_kept"), [("superseded", True), ("received", False), ("applied", False)])
def test_a_drawing_whose_deletion_was_refuted_is_carried_over_with_its_task(desk, state, is_kept):
    (drawn,) = desk.receive(saved(desk.first, [brush(CLEAN)]))
    (deletion,) = desk.receive(deleted())
    (of_task,) = desk.receive(task_deleted(TASK))
    with desk.catalog.database.write() as session:
        session.get_one(LabelEvent, deletion).state = EventState(state)
    with desk.catalog.read() as session:
        carried = carried_drawings._drawings(session, session.get_one(LabelEvent, of_task))
    assert [event.id for event in carried] == ([drawn] if is_kept else [])


def test_an_event_in_doubt_waits_for_label_studio(desk):
    desk.deliver(updated(desk.first, [brush(CLEAN)], 5))
    (late,) = desk.receive(saved(desk.first, [], 0))
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        desk.ingest(late)
    assert desk.event(late).state is EventState.RECEIVED


@pytest.mark.parametrize("skipped", [True, False])
def test_what_comes_after_the_tasks_deletion_changes_nothing(desk, studio, skipped):
    desk.deliver(task_deleted(TASK))
    late = desk.deliver(saved(desk.first, [brush(CLEAN)], was_cancelled=skipped))
    assert late.state is EventState.SUPERSEDED
    assert late.detail.endswith("and Label Studio has it no more")
    assert desk.standing() == []
    assert desk.states() == ("withdrawn", "unlabelled", "open")


# Bad input


def broken(region: dict, **changes: Any) -> dict:
    return {**region, **changes}


def with_value(region: dict, **changes: Any) -> dict:
    return {**region, "value": {**region["value"], **changes}}


GOOD = brush(CLEAN)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([brush(np.ones((16, 16), bool))], "its original_width is 16; expected 32"),
        ([with_value(GOOD, brushlabels=["snow"])], r"its label is 'snow'; expected one of \['clean ice'"),
        ([with_value(GOOD, brushlabels=["clean ice", "masked/unknown"])], "expected exactly one of"),
        ([with_value(GOOD, rle=GOOD["value"]["rle"][:20])], "it was cut off"),
        ([with_value(GOOD, rle=[255] * 40)], "expected 4096"),
        ([with_value(GOOD, rle="AAAA")], "The RLE is str; expected a list of integers"),
        ([with_value(GOOD, rle=[0] * 100_000)], "needs at most"),
        ([broken(GOOD, type="choices")], "its type is 'choices'"),
        ([{}] * 20_001, "has 20001 regions; at most 20000"),
    ],
)
def test_a_region_that_cannot_be_read_fails_and_loses_nothing(desk, result, message):
    (event_id,) = desk.receive(saved(desk.first, result))
    with pytest.raises(RegionError, match=message):
        desk.ingest(event_id)
    event = desk.event(event_id)
    assert event.state is EventState.FAILED
    assert desk.standing() == []
    assert desk.states() == ("published", "proposed", "open")
    desk.deliver(updated(desk.first, [GOOD], 5))  # the annotator mends it
    assert (desk.mask()[CLEAN] == 1).all()


def test_a_failed_update_leaves_the_label_that_stands(desk):
    desk.deliver(saved(desk.first, [GOOD]))
    (event_id,) = desk.receive(updated(desk.first, [with_value(GOOD, brushlabels=["snow"])], 5))
    with pytest.raises(RegionError):
        desk.ingest(event_id)
    assert (desk.mask()[CLEAN] == 1).all()


def test_an_event_that_could_not_be_read_is_ingested_once_it_can(desk, monkeypatch):
    """As if a fault of ours had been mended since: lead times were limited too narrowly."""
    with monkeypatch.context() as narrow:
        narrow.setattr("labeling.events._MAX_SECONDS", 1.0)
        (event_id,) = desk.receive(saved(desk.first, [GOOD]))
    assert desk.event(event_id).state is EventState.FAILED
    with desk.catalog.database.write() as session:
        labels.replay(session, event_id)
    desk.ingest(event_id)
    assert (desk.event(event_id).state, len(desk.standing())) == (EventState.APPLIED, 1)


def test_an_event_that_still_cannot_be_read_fails_again(desk):
    (event_id,) = desk.receive(saved(desk.first, None))
    with desk.catalog.database.write() as session:
        labels.replay(session, event_id)
    with pytest.raises(EventError, match=r"'annotation\.result' is null"):
        desk.ingest(event_id)
    assert desk.event(event_id).state is EventState.FAILED
    desk.deliver(updated(desk.first, [GOOD], 5))  # the annotator mends it
    assert len(desk.standing()) == 1


@pytest.mark.parametrize("uid", ["f" * 32, None])
def test_an_unknown_task_is_named(desk, uid):
    payload = saved(desk.first, [GOOD])
    payload["task"]["data"] = {"proposal": uid} if uid else {}
    (event_id,) = desk.receive(payload)
    with pytest.raises(EventError, match=f"unknown task {TASK} in project {PROJECT_ID}"):
        desk.ingest(event_id)
    assert "this server has never made" in desk.event(event_id).detail


def test_the_deletion_of_a_task_that_was_never_ours_is_no_failure(desk):
    (event_id,) = desk.receive(task_deleted(777))
    desk.ingest(event_id)
    event = desk.event(event_id)
    assert (event.state, event.detail) == (EventState.APPLIED, "task 777 was no proposal of this server")


def test_a_failed_event_can_be_replayed(desk):
    (event_id,) = desk.receive(saved(desk.first, [GOOD]))
    with desk.catalog.database.write() as session:  # as if a fault of ours had been mended since
        labels.settle(session.get_one(LabelEvent, event_id), EventState.FAILED, "a fault")
    with desk.catalog.database.write() as session:
        labels.replay(session, event_id)
    desk.ingest(event_id)
    assert (desk.event(event_id).state, len(desk.standing())) == (EventState.APPLIED, 1)


def test_a_damaged_body_is_named(desk):
    (event_id,) = desk.receive(saved(desk.first, [GOOD]))
    with desk.catalog.database.write() as session:
        session.get_one(LabelEvent, event_id).body = json.dumps(saved(desk.second, [GOOD])).encode()
    with pytest.raises(EventError, match=f"label event {event_id} does not hold what its row says"):
        desk.ingest(event_id)


def test_moments_keep_their_time_zone(desk):
    desk.deliver(saved(desk.first, [], updated_at="2026-11-21T15:30:00.000001+03:30"))
    (label,) = desk.standing()
    assert label.annotated_at == datetime.fromisoformat("2026-11-21T12:00:00.000001+00:00")


def test_no_job_names_the_label_of_a_check(desk: Desk) -> None:
    """All users may list the jobs: the label of a honeypot calls for no other job than that of another patch."""
    kinds = []
    with desk.catalog.database.write() as session:
        session.get_one(Proposal, desk.second.id).reason = ProposalReason.KNOWN_TRUTH
    for number, proposal in enumerate((desk.first, desk.second)):
        event = desk.deliver(saved(proposal, [brush(CLEAN)], id=ANNOTATION + number))
        assert event.state is EventState.APPLIED
        with desk.catalog.read() as session:
            kinds.append(set(session.scalars(select(Job.kind))))
    assert kinds[0] == kinds[1]
