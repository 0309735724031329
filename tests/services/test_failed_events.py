"""With which failed label events something is left to do."""

from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from catalog import labels
from catalog.context import Catalog
from catalog.event_order import CORRECTED, MAP, WEBHOOK
from catalog.records import EventState, LabelEvent, Patch, Proposal, Scene, SceneState
from labeling.events import AnnotationDeleted, TaskDeleted, UnreadableEvent
from labeling.events import LabelEvent as ParsedEvent
from services import failed_events, label_events
from tests.catalog.test_event_order import saved
from tests.catalog_fixtures import NOON, PROJECT_ID, add_round, add_scene


@pytest.fixture
def patch(catalog: Catalog) -> Patch:
    """The patch of a published proposal, task 1."""
    with catalog.write() as session:
        _, patches = add_scene(session)
        add_round(session, patches[:1])
    return patches[0]


def receive(catalog: Catalog, event: ParsedEvent, state: EventState) -> None:
    with catalog.write() as session:
        (row,) = label_events.record(session, [event], b"{}", WEBHOOK)
        labels.settle(row, state)


def uid_of(catalog: Catalog, patch: Patch) -> str:
    with catalog.read() as session:
        return session.query(Proposal).filter_by(patch_id=patch.id).one().uid


def left(catalog: Catalog) -> int:
    """Return how many are counted, and check that all stay in the ledger."""
    with catalog.read() as session:
        count = failed_events.count_left(session)
        assert failed_events.count_by_state(session)[EventState.FAILED] == count
        assert session.query(LabelEvent).filter_by(state=EventState.FAILED).count() == 1
    return count


def unreadable(uid: str) -> UnreadableEvent:
    """Annotation 1 of task 1, whose result is null."""
    reason = "Field 'annotation.result' is null."
    return UnreadableEvent("ANNOTATION_UPDATED", reason, "content", PROJECT_ID, 1, 1, NOON, NOON, uid)


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_corrected_drawing_leaves_nothing_to_do(catalog: Catalog, patch: Patch, is_readable: bool) -> None:
    uid = uid_of(catalog, patch)
    receive(catalog, saved(uid) if is_readable else unreadable(uid), EventState.FAILED)
    assert left(catalog) == 1
    receive(catalog, saved(uid, minutes=2, annotation_id=2), EventState.APPLIED)
    assert left(catalog) == 1  # of another annotation
    receive(catalog, saved(uid, minutes=3), EventState.APPLIED)
    assert left(catalog) == 0


@pytest.mark.parametrize("deletion", [AnnotationDeleted(1, PROJECT_ID), TaskDeleted(1, PROJECT_ID)])
@pytest.mark.parametrize(("state", "counted"), [(EventState.SUPERSEDED, 1), (EventState.APPLIED, 0)])
def test_a_deleted_drawing_leaves_nothing_to_do(
    catalog: Catalog, patch: Patch, deletion: ParsedEvent, state: EventState, counted: int
) -> None:
    receive(catalog, unreadable(uid_of(catalog, patch)), EventState.FAILED)
    receive(catalog, deletion, state)
    assert left(catalog) == counted


@pytest.mark.parametrize("uid", [None, "one that this database does not know"])
def test_a_drawing_on_a_task_that_is_not_ours_counts_until_it_is_deleted(
    catalog: Catalog, patch: Patch, uid: str | None
) -> None:
    """The database may have been restored to a time before the proposal."""
    receive(catalog, saved(uid, task_id=7), EventState.FAILED)
    assert left(catalog) == 1
    receive(catalog, TaskDeleted(7, PROJECT_ID), EventState.APPLIED)
    assert left(catalog) == 0


def add_failed_correction(session: Session, patch: Patch) -> None:
    """Add the event of a patch of a correction on the map, which failed."""
    uid = str(uuid4())
    place = {"dedupe_key": f"map:{uid}:{patch.id}", "annotation_uid": uid, "content_sha256": "0" * 64}
    session.add(LabelEvent(action=CORRECTED, origin=MAP, state=EventState.FAILED, body=b"{}", **place))


@pytest.mark.parametrize("is_correction", [True, False])
def test_a_drawing_on_a_removed_scene_leaves_nothing_to_do(catalog: Catalog, patch: Patch, is_correction: bool) -> None:
    if is_correction:
        with catalog.write() as session:
            add_failed_correction(session, patch)
    else:
        receive(catalog, saved(uid_of(catalog, patch)), EventState.FAILED)
    assert left(catalog) == 1
    with catalog.write() as session:
        session.get_one(Scene, patch.scene_id).state = SceneState.REMOVED
    assert left(catalog) == 0


def test_a_correction_of_a_patch_that_is_gone_leaves_nothing_to_do(catalog: Catalog, patch: Patch) -> None:
    with catalog.write() as session:
        _, others = add_scene(session, "replaced", offset_px=500)
        add_failed_correction(session, others[0])
        session.flush()
        session.delete(session.get_one(Patch, others[0].id))
    assert left(catalog) == 0
