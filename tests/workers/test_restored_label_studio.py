"""Reconciliation with a real Label Studio whose database is restored, and whose clock is set; no webhook arrives."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from catalog.context import Catalog
from catalog.reconciliation_records import Reconciliation
from catalog.records import Label
from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_from_geotiff
from labeling.regions import encode_brush
from services.places import raster_store
from tests.real_services import LabelStudioServer
from tests.workers.desk import box
from tests.workers.label_studio_desk import LabelStudioDesk, settings_beside
from tests.workers.rows import tiled

pytestmark = pytest.mark.slow

FAILED = r"broken off|500"
ICE, MORE_ICE = (box(2, 2, 20, width) for width in (20, 25))
WAITS, ANSWERED = ("published", "proposed", "open"), ("labelled", "labelled", "open")


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioServer, request: pytest.FixtureRequest) -> Settings:
    return settings_beside(label_studio, settings, request.node.name)


@pytest.fixture
def desk(catalog: Catalog, tmp_path: Path) -> LabelStudioDesk:
    return LabelStudioDesk(catalog, tiled(catalog, tmp_path / "a.tif")[0])


@pytest.fixture
def database(label_studio: LabelStudioServer) -> Path:
    """Label Studio's own database."""
    return label_studio.folder / "data" / "label_studio.sqlite3"


def copy(source: Path, target: Path) -> None:
    """Copy a SQLite database, also one that is in use."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target, timeout=30)) as other:
        one.backup(other)


def restamp(database: Path, task_id: int, annotation_id: int | None, by: str) -> None:
    """Move the times of change of a task and an annotation, as if Label Studio's clock had been set."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("UPDATE task SET updated_at = datetime(updated_at, ?) WHERE id = ?", [by, task_id])
        connection.execute(
            "UPDATE task_completion SET updated_at = datetime(updated_at, ?) WHERE id = ?", [by, annotation_id]
        )


def draw(mask: np.ndarray) -> list[dict]:
    return [encode_brush(mask, "clean ice", "b1")]


def standing(desk: LabelStudioDesk) -> dict[int, np.ndarray]:
    """The masks of the standing labels by annotation."""
    with desk.catalog.read() as session:
        labels = session.scalars(select(Label).where(Label.superseded_at.is_(None))).all()
    store = raster_store(desk.catalog)
    masks = {label.annotation_id: mask_from_geotiff(store.get(label.mask_key), GLACIER_SCHEME) for label in labels}
    assert len(masks) == len(labels)
    return masks


def last_mended(desk: LabelStudioDesk) -> tuple[str | None, dict[str, int]]:
    """Why the last comparison was full, and what it mended."""
    with desk.catalog.read() as session:
        row = session.scalars(select(Reconciliation).order_by(Reconciliation.id.desc()).limit(1)).one()
        return row.full_because, row.mended


def test_a_restored_database_is_noticed_and_nothing_that_it_has_is_left_out(
    desk: LabelStudioDesk, database: Path, tmp_path: Path
) -> None:
    """Changed, drawn anew under an id that was given away before, and a task that was deleted: all as it is now."""
    changed, undone, anew, returned = desk.open(6, 7, 8, 9)
    studio = desk.studio
    first = studio.annotate(changed.task_id, draw(ICE), lead_time_s=1.0)
    kept = studio.annotate(returned.task_id, draw(ICE), lead_time_s=1.0)
    desk.reconcile()
    copy(database, tmp_path / "earlier.sqlite3")
    studio._sdk.annotations.update(first, result=draw(MORE_ICE))
    second = studio.annotate(undone.task_id, draw(ICE), lead_time_s=1.0)
    studio._sdk.tasks.delete(str(returned.task_id))
    desk.reconcile()
    assert sorted(standing(desk)) == [first, second]
    assert desk.states(returned)[0] == "withdrawn"

    copy(tmp_path / "earlier.sqlite3", database)
    third = studio.annotate(anew.task_id, draw(MORE_ICE), lead_time_s=1.0)
    assert third == second  # Label Studio gives the id away again
    desk.reconcile()
    masks = standing(desk)
    assert sorted(masks) == sorted([first, kept, third])
    np.testing.assert_array_equal(masks[first], ICE)
    np.testing.assert_array_equal(masks[third], MORE_ICE)
    assert [desk.states(item) for item in (changed, undone, anew, returned)] == [ANSWERED, WAITS, ANSWERED, ANSWERED]
    reason, mended = last_mended(desk)
    assert "Label Studio's database was restored" in (reason or "")
    assert mended["TASK_RETURNED"] == 1
    before = len(desk.events())
    desk.reconcile()
    assert len(desk.events()) == before  # nothing is left to be mended


def test_a_clock_that_was_ahead_hides_nothing(desk: LabelStudioDesk, database: Path) -> None:
    """A task and an annotation are stamped two days ahead; later changes are stamped right."""
    ahead, later = desk.open(6, 7)
    studio = desk.studio
    annotation = studio.annotate(ahead.task_id, draw(ICE), lead_time_s=1.0)
    restamp(database, ahead.task_id, annotation, "+2 days")
    desk.reconcile()
    assert sorted(standing(desk)) == [annotation]
    studio._sdk.annotations.update(annotation, result=draw(MORE_ICE))
    desk.reconcile()
    np.testing.assert_array_equal(standing(desk)[annotation], MORE_ICE)
    other = studio.annotate(later.task_id, draw(ICE), lead_time_s=1.0)
    desk.reconcile()
    assert sorted(standing(desk)) == sorted([annotation, other])
    studio._sdk.annotations.delete(other)
    desk.reconcile()
    assert sorted(standing(desk)) == [annotation]


def test_a_change_stamped_long_ago_is_found_by_counting(desk: LabelStudioDesk, database: Path) -> None:
    """Label Studio's clock was set back for a while: nothing new is later than the last look."""
    drawn, skipped = desk.open(6, 7)
    desk.reconcile()
    annotation = desk.studio.annotate(drawn.task_id, draw(ICE), lead_time_s=1.0)
    restamp(database, drawn.task_id, annotation, "-9 days")
    desk.reconcile()
    assert sorted(standing(desk)) == [annotation]
    assert desk.states(skipped)[0] == "published"


def take_back_count(database: Path, task_id: int, before: tuple[object, ...]) -> None:
    """Make a task as it was before its last annotation was stored: Label Studio was killed right after that."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute(
            "UPDATE task SET updated_at = ?, total_annotations = ?, is_labeled = ? WHERE id = ?", [*before, task_id]
        )


def counted(database: Path, task_id: int) -> tuple[object, ...]:
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        of_task = "SELECT updated_at, total_annotations, is_labeled FROM task WHERE id = ?"
        found: tuple[object, ...] = connection.execute(of_task, [task_id]).fetchone()
    return found


def test_a_drawing_that_its_task_does_not_count_is_found(desk: LabelStudioDesk, database: Path) -> None:
    drawn, waits = desk.open(6, 7)
    desk.reconcile()
    before = counted(database, drawn.task_id)
    assert before[1:] == (0, 0)
    annotation = desk.studio.annotate(drawn.task_id, draw(ICE), lead_time_s=1.0)
    take_back_count(database, drawn.task_id, before)
    desk.reconcile()
    assert sorted(standing(desk)) == [annotation]
    assert [desk.states(proposal)[0] for proposal in (drawn, waits)] == ["labelled", "published"]
    desk.reconcile()
    assert len(desk.events()) == 1


def test_a_second_drawing_that_is_not_counted_is_found_by_a_full_comparison(
    desk: LabelStudioDesk, database: Path
) -> None:
    (drawn,) = desk.open(6)
    first = desk.studio.annotate(drawn.task_id, draw(ICE), lead_time_s=1.0)
    desk.reconcile()
    before = counted(database, drawn.task_id)
    assert before[1:] == (1, 1)
    second = desk.studio.annotate(drawn.task_id, draw(MORE_ICE), lead_time_s=1.0)
    take_back_count(database, drawn.task_id, before)
    desk.catalog.settings = desk.catalog.settings.model_copy(update={"full_reconcile_interval_s": 0.001})
    desk.reconcile()
    assert sorted(event.annotation_id for event in desk.events()) == [first, second]


def break_off(database: Path, statement: str) -> None:
    """Let Label Studio fail at a statement, as if it were killed there: what it has committed stays."""
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute(f"CREATE TRIGGER broken_off {statement} BEGIN SELECT RAISE(ABORT, 'broken off'); END")


def go_on(database: Path) -> None:
    with closing(sqlite3.connect(database, timeout=30)) as connection, connection:
        connection.execute("DROP TRIGGER IF EXISTS broken_off")


@pytest.fixture
def harmed(database: Path) -> Iterator[Path]:
    """The database of a Label Studio that fails at some statement; it is mended afterwards."""
    yield database
    go_on(database)


def test_a_changed_drawing_whose_task_was_not_stamped_afterwards_is_found(desk: LabelStudioDesk, harmed: Path) -> None:
    """Label Studio stamps the task, stores the drawing, and stamps the task again: it is killed before the last."""
    (drawn,) = desk.open(6)
    annotation = desk.studio.annotate(drawn.task_id, draw(ICE), lead_time_s=1.0)
    desk.reconcile()
    earlier = counted(harmed, drawn.task_id)
    break_off(harmed, "BEFORE UPDATE ON task WHEN EXISTS (SELECT 1 FROM task_completion WHERE result LIKE '%later%')")
    with pytest.raises(Exception, match=FAILED):
        desk.studio._sdk.annotations.update(annotation, result=[encode_brush(MORE_ICE, "clean ice", "later")])
    assert counted(harmed, drawn.task_id)[0] != earlier[0]
    desk.reconcile()
    np.testing.assert_array_equal(standing(desk)[annotation], MORE_ICE)


def test_a_drawing_stored_after_the_comparison_saw_its_stamp_is_found(desk: LabelStudioDesk, harmed: Path) -> None:
    """The comparison comes between the first stamp and the drawing, and Label Studio is killed after it."""
    (drawn,) = desk.open(6)
    annotation = desk.studio.annotate(drawn.task_id, draw(ICE), lead_time_s=1.0)
    desk.reconcile()
    break_off(harmed, "BEFORE UPDATE OF result ON task_completion")
    with pytest.raises(Exception, match=FAILED):
        desk.studio._sdk.annotations.update(annotation, result=draw(MORE_ICE))
    go_on(harmed)
    desk.reconcile()
    np.testing.assert_array_equal(standing(desk)[annotation], ICE)
    with closing(sqlite3.connect(harmed, timeout=30)) as connection, connection:
        connection.execute(
            "UPDATE task_completion SET result = ? WHERE id = ?", [json.dumps(draw(MORE_ICE)), annotation]
        )
    desk.reconcile()
    np.testing.assert_array_equal(standing(desk)[annotation], MORE_ICE)
    events = len(desk.events())
    desk.reconcile()
    assert len(desk.events()) == events


def test_a_full_comparison_reads_no_task_that_stayed_as_it_was(desk: LabelStudioDesk, database: Path) -> None:
    drawn, skipped, miscounted, _ = desk.open(6, 7, 8, 9)
    desk.studio.annotate(drawn.task_id, draw(ICE), lead_time_s=1.0)
    desk.studio.annotate(skipped.task_id, [], lead_time_s=1.0, skip=True)
    before = counted(database, miscounted.task_id)
    desk.studio.annotate(miscounted.task_id, draw(MORE_ICE), lead_time_s=1.0)
    for task in (drawn, skipped, miscounted):
        restamp(database, task.task_id, None, "-1 minutes")
    desk.reconcile()
    tags = {tag.id: tag for tag in desk.studio.list_tags(drawn.project_id)}
    assert [tags[task.task_id].annotations for task in (drawn, skipped, miscounted)] == [1, 0, 1]
    assert not any(tag.is_miscounted for tag in tags.values())
    take_back_count(database, miscounted.task_id, before)
    desk.catalog.settings = desk.catalog.settings.model_copy(update={"full_reconcile_interval_s": 0.001})
    desk.reconcile()
    with desk.catalog.read() as session:
        newest = session.scalars(select(Reconciliation).order_by(Reconciliation.id.desc()).limit(1)).one()
    assert newest.full_because == "it is due"
    assert (newest.tasks, newest.read) == (4, 1)


def test_a_drawing_on_a_task_of_others_is_listed_with_its_reason(desk: LabelStudioDesk) -> None:
    """A person uploaded a task into our project: what is drawn on it cannot be learnt."""
    (ours,) = desk.open(6)
    (data,) = [task["data"] for task in desk.studio.changed_tasks(ours.project_id, None)]
    desk.studio._sdk.projects.import_tasks(ours.project_id, request=[{"data": {**data, "proposal": "of others"}}])
    foreign = max(tag.id for tag in desk.studio.list_tags(ours.project_id))
    assert foreign != ours.task_id
    desk.studio.annotate(foreign, draw(ICE), lead_time_s=1.0)
    desk.reconcile()
    (event,) = desk.events()
    assert (event.state.value, event.task_id) == ("failed", foreign)
    assert "this server has never made" in event.detail


def test_more_tasks_than_a_page_holds_are_all_compared(desk: LabelStudioDesk) -> None:
    """Trap: a page without a size has 100 tasks, and more than that may change within a few minutes."""
    (ours,) = desk.open(6)
    (data,) = [task["data"] for task in desk.studio.changed_tasks(ours.project_id, None)]
    copies = [{"data": {**data, "proposal": f"copy {number}"}} for number in range(250)]
    for start in range(0, 250, 50):
        desk.studio._sdk.projects.import_tasks(ours.project_id, request=copies[start : start + 50])
    last = max(tag.id for tag in desk.studio.list_tags(ours.project_id))
    assert desk.studio.count_tasks(ours.project_id).tasks > 250  # more, if Label Studio repeats an import
    desk.studio.annotate(last, draw(ICE), lead_time_s=1.0)
    desk.reconcile()
    assert [event.task_id for event in desk.events()] == [last]
