"""Publication and reconciliation against a real Label Studio, with what people and a busy database do to it."""

import dataclasses
import json
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from catalog import event_order, set_aside
from catalog.context import Catalog
from catalog.installation import get_installation
from catalog.records import (
    EventState,
    Job,
    JobKind,
    Proposal,
    ProposalReason,
    ProposalState,
    RoundState,
    now,
)
from catalog.settings import Settings
from labeling.client import LabelStudio
from labeling.errors import LabelStudioError
from labeling.events import parse_event, saved_payload
from labeling.predictions import MODEL_VERSION, score_of
from labeling.regions import encode_brush
from labeling.task_calls import PresentTask, TaskCalls
from services import label_events, rounds
from services import label_studio as project_of
from services.compared_labels import compare_labels
from services.label_quality import assess
from services.label_studio import connect
from tests.catalog_fixtures import NOBODY
from tests.real_services import LabelStudioServer
from tests.workers.desk import box
from tests.workers.label_studio_desk import LabelStudioDesk, publication_by_newest, settings_beside
from tests.workers.rows import champion, context_of, finish, score_pool, tiled
from tests.workers.threads import together
from workers import publish_round as publishing
from workers.jobs import JobContext
from workers.remove_tasks import remove_tasks
from workers.task_removal import remove_doubles

pytestmark = pytest.mark.slow

LOCKED_S = 12.0  # Label Studio waits 5 s for its database, then 3 s, and repeats the import; our client waits 30 s
ICE = [encode_brush(box(2, 2, 20, 20), "clean ice", "b1")]


@pytest.fixture
def settings(settings: Settings, label_studio: LabelStudioServer, request: pytest.FixtureRequest) -> Settings:
    return settings_beside(label_studio, settings, request.node.name)


@pytest.fixture
def desk(catalog: Catalog, tmp_path) -> LabelStudioDesk:
    return LabelStudioDesk(catalog, tiled(catalog, tmp_path / "a.tif")[0])


def stored_project(catalog: Catalog) -> int | None:
    with catalog.database.write() as session:
        return get_installation(session).label_studio_project_id


# The project


def test_a_renamed_project_stays_ours(desk: LabelStudioDesk) -> None:
    (proposal,) = desk.open(6)
    assert proposal.project_id == stored_project(desk.catalog)
    desk.studio._sdk.projects.update(proposal.project_id, title="Everest, autumn")
    desk.studio.annotate(proposal.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    assert desk.states(proposal) == ("labelled", "labelled", "complete")
    assert desk.studio.find_project(desk.catalog.settings.label_studio_project) is None
    assert desk.studio.project_title(proposal.project_id) == "Everest, autumn"


@pytest.mark.parametrize("renamed", [False, True])
def test_an_older_installation_adopts_its_project_once(desk: LabelStudioDesk, renamed: bool) -> None:
    (proposal,) = desk.open(6)
    with desk.catalog.database.write() as session:  # as an older release left it
        get_installation(session).label_studio_project_id = None
    if renamed:
        desk.studio._sdk.projects.update(proposal.project_id, title="Renamed before the upgrade")
    assert connect(desk.catalog, desk.studio) == proposal.project_id == stored_project(desk.catalog)


def test_an_installation_without_tasks_adopts_the_project_with_its_title(desk: LabelStudioDesk) -> None:
    made = desk.studio.create_project(desk.catalog.settings.label_studio_project, {"ice": "#ffffff"}, "", "draw")
    assert connect(desk.catalog, desk.studio) == made == stored_project(desk.catalog)


def test_a_deleted_project_withdraws_what_waits_keeps_labels_and_says_so(
    desk: LabelStudioDesk, caplog: pytest.LogCaptureFixture
) -> None:
    labelled, waiting = desk.open(6, 7)
    desk.studio.annotate(labelled.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    desk.studio.delete_project(labelled.project_id)
    desk.reconcile()
    desk.reconcile()  # once said, it is not said again
    assert desk.states(labelled) == ("labelled", "labelled", "complete")
    assert desk.states(waiting) == ("withdrawn", "unlabelled", "complete")
    assert desk.actions() == ["ANNOTATION_CREATED", "PROJECT_DELETED"]
    assert f"project {labelled.project_id} was deleted" in desk.round(waiting).error
    assert f"no project {labelled.project_id} any more" in caplog.text

    (again,) = desk.open(7)
    assert again.project_id != labelled.project_id
    assert desk.states(again) == ("published", "proposed", "open")


def test_a_task_that_a_cut_off_publication_did_not_note_is_removed_with_its_round(desk: LabelStudioDesk) -> None:
    (proposal,) = desk.open(6)
    desk.cut_off(proposal.round_id)
    with desk.catalog.database.write() as session:
        row = session.get_one(Proposal, proposal.id)
        row.state, row.project_id, row.task_id = ProposalState.CHOSEN, None, None
        rounds.abandon(session, proposal.round_id)
    context = context_of(desk.catalog, JobKind.REMOVE_TASKS, "test")
    remove_tasks(context, proposal.round_id)
    finish(context)
    assert list(desk.studio.list_tags(proposal.project_id)) == []


def test_a_project_deleted_during_a_publication_is_replaced_at_the_next_attempt(desk: LabelStudioDesk) -> None:
    first, second = desk.choose(6, 7)
    desk.publish(first.round_id)
    (first, second) = desk.proposals(first.round_id)
    desk.cut_off(first.round_id)
    with desk.catalog.database.write() as session:  # the second had no task yet
        row = session.get_one(Proposal, second.id)
        row.state, row.project_id, row.task_id = "chosen", None, None
    desk.studio.delete_project(first.project_id)
    _, second = desk.publish(first.round_id)
    desk.reconcile()
    assert desk.states(first)[0] == "withdrawn"
    assert desk.states(second) == ("published", "proposed", "open")
    assert second.project_id == stored_project(desk.catalog) != first.project_id


@pytest.mark.parametrize("token", ["f" * 40, None])
def test_a_label_studio_that_refuses_us_or_is_down_has_not_lost_the_project(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch, token: str | None
) -> None:
    (proposal,) = desk.open(6)
    if token is None:
        elsewhere = desk.catalog.settings.model_copy(update={"label_studio_url": NOBODY})
        monkeypatch.setattr(desk.catalog, "settings", elsewhere)
    else:
        monkeypatch.setattr(
            desk.catalog, "secrets", dataclasses.replace(desk.catalog.secrets, label_studio_token=token)
        )
    with pytest.raises(LabelStudioError) as caught:
        desk.reconcile()
    assert not caught.value.refused
    assert (desk.states(proposal)[0], stored_project(desk.catalog)) == ("published", proposal.project_id)


def test_a_project_of_others_under_our_id_is_left_alone(desk: LabelStudioDesk) -> None:
    """As if another Label Studio answered at the address of ours."""
    foreign = desk.studio.create_project("Penguins", {"penguin": "#000000"}, "not ours", "count")
    with desk.catalog.database.write() as session:
        get_installation(session).label_studio_project_id = foreign
    with pytest.raises(LabelStudioError, match="is not ours"):
        desk.reconcile()
    assert desk.studio._sdk.projects.get(foreign).description == "not ours"
    assert desk.events(*EventState) == []


def test_two_workers_that_start_together_make_one_project(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, store, title = threading.Barrier(2), project_of._store_project, desk.catalog.settings.label_studio_project

    def store_together(catalog: Catalog, project_id: int) -> int:
        desk.studio.create_project(title, {"ice": "#ffffff"}, "repeated by Label Studio, whose database was locked", "")
        both.wait(30)  # both have found none, and made one
        return store(catalog, project_id)

    monkeypatch.setattr(project_of, "_store_project", store_together)
    found: list[int] = []
    together(*[lambda: found.append(connect(desk.catalog, desk.studio))] * 2)
    assert found == [stored_project(desk.catalog)] * 2
    assert desk.studio.find_project(title) == found[0]
    assert desk.studio.doubles(found[0]) == []


def test_a_project_whose_creation_came_late_is_deleted(desk: LabelStudioDesk) -> None:
    """The network held a creation back; the client gave up and created another one."""
    desk.reconcile()
    title = desk.catalog.settings.label_studio_project
    late = desk.studio.create_project(title, {"ice": "#ffffff"}, "came late", "")
    other = desk.studio.create_project(f"{title[:-1]}!", {"ice": "#ffffff"}, "of somebody else", "")
    assert desk.studio.doubles(stored_project(desk.catalog)) == [late]
    desk.reconcile()
    assert desk.studio.doubles(stored_project(desk.catalog)) == []
    assert desk.studio.project_exists(stored_project(desk.catalog))
    assert desk.studio.project_exists(other)


def test_surplus_projects_are_deleted_by_one_worker_at_a_time(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: Label Studio disconnects all its signals during a deletion, and two at once lose them for good."""
    both, store, delete = threading.Barrier(2), project_of._store_project, LabelStudio.delete_project
    title, at_work, most = desk.catalog.settings.label_studio_project, [], []

    def store_together(catalog: Catalog, project_id: int) -> int:
        for _ in range(2):
            desk.studio.create_project(title, {"ice": "#ffffff"}, "repeated by Label Studio", "")
        both.wait(30)
        return store(catalog, project_id)

    def delete_slowly(self: LabelStudio, project_id: int) -> None:
        at_work.append(project_id)
        most.append(len(at_work))
        time.sleep(0.2)  # so that another worker would begin meanwhile
        delete(self, project_id)
        at_work.remove(project_id)

    monkeypatch.setattr(project_of, "_store_project", store_together)
    monkeypatch.setattr(LabelStudio, "delete_project", delete_slowly)
    together(*[lambda: connect(desk.catalog, desk.studio)] * 2)
    assert most
    assert max(most) == 1


# Publication


def predictions(desk: LabelStudioDesk, proposal: Proposal) -> list[tuple[str, float]]:
    """Name and score of the predictions that the task of a proposal has."""
    found = desk.studio._sdk.predictions.list(task=proposal.task_id)
    return [(item.model_version, item.score) for item in found]


@pytest.mark.parametrize("told", [True, False])
def test_a_task_deleted_between_two_attempts_is_not_published_again(desk: LabelStudioDesk, told: bool) -> None:
    deleted, kept = desk.open(6, 7)
    desk.cut_off(kept.round_id)
    desk.studio._sdk.tasks.delete(str(deleted.task_id))
    if told:
        desk.reconcile()
    desk.publish(kept.round_id)
    desk.reconcile()
    assert desk.states(deleted) == ("withdrawn", "unlabelled", "open")
    assert desk.tasks(deleted) == []
    assert desk.tasks(kept) == [kept.task_id]


def forget_tasks(desk: LabelStudioDesk, *proposals: Proposal, state: str | None = None) -> None:
    """As if the publication had been cut off between the import and the note of these tasks."""
    with desk.catalog.database.write() as session:
        for proposal in proposals:
            row = session.get_one(Proposal, proposal.id)
            row.state, row.project_id, row.task_id = state or row.state, None, None


def test_what_is_answered_before_its_task_is_noted_has_a_task_and_loses_it(desk: LabelStudioDesk) -> None:
    """The worker is killed right after the import; before it begins again, somebody labels, skips and deletes."""
    labelled, skipped, withdrawn, waits = desk.open(6, 7, 8, 9)
    forget_tasks(desk, labelled, skipped, withdrawn, state="chosen")
    desk.cut_off(waits.round_id)
    desk.studio.annotate(labelled.task_id, ICE, lead_time_s=1.0)
    desk.studio.annotate(skipped.task_id, [], lead_time_s=1.0, skip=True)
    drawing = desk.studio.annotate(withdrawn.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    desk.studio._sdk.annotations.delete(drawing)
    desk.reconcile()
    desk.publish(waits.round_id)
    assert [item.task_id for item in desk.proposals(waits.round_id)] == [
        item.task_id for item in (labelled, skipped, withdrawn, waits)
    ]
    for proposal in (labelled, skipped, withdrawn, waits):
        desk.studio._sdk.tasks.delete(str(proposal.task_id))
    desk.reconcile()
    assert [desk.states(item) for item in (labelled, skipped, withdrawn, waits)] == [
        ("withdrawn", "unlabelled", "complete")
    ] * 4
    assert desk.events(EventState.FAILED) == []


def test_a_task_deleted_before_it_was_noted_keeps_no_round_waiting(desk: LabelStudioDesk) -> None:
    """Its only event is the label, which says whose task it was."""
    drawn, other = desk.open(6, 7)
    desk.studio.annotate(drawn.task_id, ICE, lead_time_s=1.0)
    desk.studio.annotate(other.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    forget_tasks(desk, drawn)  # as the release before this one left it
    desk.studio._sdk.tasks.delete(str(drawn.task_id))
    desk.reconcile()
    assert desk.states(drawn) == ("withdrawn", "unlabelled", "complete")


def test_what_earlier_releases_left_without_a_task_is_mended(desk: LabelStudioDesk, caplog) -> None:
    labelled, gone, waits = desk.open(6, 7, 8)
    desk.studio.annotate(labelled.task_id, ICE, lead_time_s=1.0)
    desk.studio._sdk.tasks.delete(str(gone.task_id))
    forget_tasks(desk, labelled, gone, waits)
    desk.reconcile()
    assert [desk.states(item)[0] for item in (labelled, gone, waits)] == ["labelled", "withdrawn", "published"]
    assert [item.task_id for item in desk.proposals(waits.round_id)] == [labelled.task_id, None, waits.task_id]
    assert "waited for an annotator without a task" in caplog.text
    desk.studio.annotate(waits.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    assert desk.states(waits) == ("labelled", "labelled", "complete")


def test_what_an_import_left_behind_is_mended(desk: LabelStudioDesk) -> None:
    """Label Studio repeats an import by itself while its database is locked: without predictions, or twice."""
    bare, doubled, begun = desk.open(6, 7, 8)
    studio, project_id = desk.studio, bare.project_id
    data = {task["data"]["proposal"]: task["data"] for task in studio.changed_tasks(project_id, None)}
    forget_tasks(desk, bare, doubled, begun, state="chosen")
    studio._sdk.tasks.delete(str(bare.task_id))
    studio._sdk.projects.import_tasks(project_id, request=[{"data": data[item.uid]} for item in (bare, doubled, begun)])
    last = max(desk.tasks(begun))
    studio.annotate(last, ICE, lead_time_s=1.0)
    desk.cut_off(bare.round_id)

    bare, doubled, begun = desk.publish(bare.round_id)
    assert [len(desk.tasks(proposal)) for proposal in (bare, doubled, begun)] == [1, 1, 1]
    assert [len(predictions(desk, proposal)) for proposal in (bare, doubled)] == [1, 1]
    assert predictions(desk, begun) == []  # what somebody has begun stays as they found it
    assert begun.task_id == last
    assert desk.states(bare) == ("published", "proposed", "open")
    desk.reconcile()
    assert desk.states(begun) == ("labelled", "labelled", "open")
    assert desk.events(EventState.FAILED) == []


def doubled(desk: LabelStudioDesk, *numbers: int) -> tuple[list[Proposal], dict[str, list[PresentTask]]]:
    """Publish patches, each as two tasks; return their proposals, and their tasks as they are listed then."""
    proposals = desk.open(*numbers)
    project_id = proposals[0].project_id
    data = [{"data": task["data"]} for task in desk.studio.changed_tasks(project_id, None)]
    desk.studio._sdk.projects.import_tasks(project_id, request=data)
    return proposals, desk.studio.present_tasks(project_id, [proposal.uid for proposal in proposals])


def test_a_double_that_somebody_begins_after_it_was_listed_is_kept(desk: LabelStudioDesk) -> None:
    (proposal,), listed = doubled(desk, 6)
    original, double = (task.id for task in listed[proposal.uid])
    assert original == proposal.task_id
    desk.studio.annotate(double, ICE, lead_time_s=1.0)
    kept = remove_doubles(desk.catalog, desk.studio, proposal.project_id, [proposal], listed)
    assert kept[proposal.uid].id == double
    assert desk.tasks(proposal) == [double]
    desk.reconcile()
    assert desk.states(proposal) == ("labelled", "labelled", "complete")


def test_a_double_that_somebody_begins_while_it_is_deleted_stays_and_is_learnt(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's drawing is lost, wherever between our last look and Label Studio's deletion it is sent."""
    (begun, untouched), listed = doubled(desk, 6, 7)
    studio, double = desk.studio, listed[begun.uid][1].id
    delete = TaskCalls.delete_untouched

    def delete_while_it_is_begun(self: TaskCalls, project_id: int, task_ids: Sequence[int]) -> None:
        if double in task_ids:
            studio.annotate(double, ICE, lead_time_s=1.0)
        delete(self, project_id, task_ids)

    monkeypatch.setattr(TaskCalls, "delete_untouched", delete_while_it_is_begun)
    desk.reconcile()
    assert [desk.tasks(item) for item in (begun, untouched)] == [[begun.task_id, double], [untouched.task_id]]
    desk.reconcile()  # now the other one is left that nobody has begun
    assert desk.tasks(begun) == [double]
    assert desk.states(begun) == ("labelled", "labelled", "open")
    assert desk.states(untouched) == ("published", "proposed", "open")
    assert desk.events(EventState.FAILED) == []


@pytest.mark.parametrize("told", ["before", "after"])
def test_what_is_drawn_while_its_double_is_deleted_is_carried_over(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    """Label Studio stores and tells of an annotation, and deletes it with its task: nobody's drawing is lost with it.

    The webhooks may come before or after the deletion that we noted is ingested; the skip of another double is carried
    over likewise.
    """
    (drawn, skipped), listed = doubled(desk, 6, 7)
    studio, project_id = desk.studio, drawn.project_id
    kept, double = (task.id for task in listed[drawn.uid])
    bodies: list[bytes] = []

    def tell() -> None:
        for body in bodies:
            with desk.catalog.write() as session:
                label_events.record(session, parse_event(body, len(body)), body, event_order.WEBHOOK)

    def delete_meanwhile(self: TaskCalls, project: int, task_ids: Sequence[int]) -> None:
        studio.annotate(double, ICE, lead_time_s=12.5)
        studio.annotate(listed[skipped.uid][1].id, [], lead_time_s=3.5, skip=True)
        for task in studio.read_tasks(project, task_ids):
            bodies.extend(json.dumps(saved_payload(item, task)).encode() for item in task["annotations"])
        if told == "before":
            tell()
        for task_id in task_ids:
            studio._sdk.tasks.delete(str(task_id))
        deleted = {"tasks": [{"id": task_id} for task_id in task_ids], "project": {"id": project}}
        bodies.append(json.dumps({"action": "TASKS_DELETED", **deleted}).encode())
        if told == "before":
            tell()

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(TaskCalls, "delete_untouched", delete_meanwhile)
        desk.reconcile()
    assert [desk.tasks(item) for item in (drawn, skipped)] == [[kept], [skipped.task_id]]
    if told == "after":
        tell()
        desk.reconcile()
    desk.reconcile()  # no webhook tells of what was carried over
    tasks = studio.read_tasks(project_id, [kept, skipped.task_id])
    carried = [
        (item["result"], item["lead_time"], item["was_cancelled"]) for task in tasks for item in task["annotations"]
    ]
    assert carried == [(ICE, 12.5, False), ([], 3.5, True)]
    assert desk.states(drawn) == ("labelled", "labelled", "complete")
    assert desk.states(skipped) == ("skipped", "skipped", "complete")
    desk.reconcile()  # nothing is done twice
    assert sum(len(task["annotations"]) for task in studio.read_tasks(project_id, [kept, skipped.task_id])) == 2
    assert desk.events(EventState.FAILED) == []


def test_a_double_that_a_person_deletes_takes_its_drawing_along(desk: LabelStudioDesk) -> None:
    (proposal,), listed = doubled(desk, 6)
    double = listed[proposal.uid][1].id
    desk.studio.annotate(double, ICE, lead_time_s=1.0)
    desk.reconcile()
    assert desk.tasks(proposal) == [double]
    desk.studio._sdk.tasks.delete(str(double))
    desk.reconcile()
    assert desk.tasks(proposal) == []
    assert desk.states(proposal) == ("withdrawn", "unlabelled", "complete")


def test_tasks_of_an_abandoned_round_that_come_late_are_removed(desk: LabelStudioDesk) -> None:
    """Label Studio may do an import after its sender has given up, and the round has been abandoned."""
    untouched, begun = desk.open(6, 7)
    project_id = untouched.project_id
    data = [{"data": task["data"]} for task in desk.studio.changed_tasks(project_id, None)]
    desk.studio.annotate(begun.task_id, ICE, lead_time_s=1.0)
    with desk.catalog.write() as session:
        rounds.abandon(session, untouched.round_id)
    remove_tasks(desk.context(untouched.round_id), untouched.round_id)
    assert [len(desk.tasks(item)) for item in (untouched, begun)] == [0, 1]
    desk.studio._sdk.projects.import_tasks(project_id, request=data)
    desk.reconcile()
    desk.reconcile()
    assert [len(desk.tasks(item)) for item in (untouched, begun)] == [0, 1]
    assert desk.states(untouched)[2] == "abandoned"
    assert desk.events(EventState.FAILED) == []


def test_the_double_of_an_answered_task_is_removed(desk: LabelStudioDesk) -> None:
    """Nobody is asked again what is answered."""
    (proposal,), _ = doubled(desk, 6)
    desk.studio.annotate(proposal.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    desk.reconcile()
    assert desk.tasks(proposal) == [proposal.task_id]
    assert desk.states(proposal) == ("labelled", "labelled", "complete")
    assert desk.events(EventState.FAILED) == []


def test_what_a_busy_database_makes_of_an_import_is_mended(
    desk: LabelStudioDesk, label_studio: LabelStudioServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: Label Studio repeats the import by itself, without the predictions; none is there to be chosen."""
    round_id = desk.choose(6, 7)[0].round_id
    connect(desk.catalog, desk.studio)
    left_behind, run_import = [], TaskCalls._import

    def import_while_busy(self: TaskCalls, project_id: int, tasks: list) -> None:
        with locked(label_studio.folder / "data" / "label_studio.sqlite3", LOCKED_S):
            run_import(self, project_id, tasks)
        left_behind.extend(self.present_tasks(project_id, [task["data"]["proposal"] for task in tasks]).values())

    monkeypatch.setattr(TaskCalls, "_import", import_while_busy)
    desk.publish(round_id)
    assert [task.is_predicted for tasks in left_behind for task in tasks] == [False, False]
    proposals = desk.proposals(round_id)
    assert [desk.states(proposal) for proposal in proposals] == [("published", "proposed", "open")] * 2
    assert [len(predictions(desk, proposal)) for proposal in proposals] == [1, 1]
    assert desk.studio.model_version(proposals[0].project_id) == MODEL_VERSION


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold the write lock of a SQLite database for some seconds from the beginning of the block."""
    is_held = threading.Event()

    def hold() -> None:
        with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            is_held.set()
            time.sleep(seconds)
            database.execute("ROLLBACK")

    holder = threading.Thread(target=hold)
    holder.start()
    is_held.wait()
    yield
    holder.join()


def test_proposals_are_shown_again_after_a_person_chose_another_version(desk: LabelStudioDesk) -> None:
    (proposal,) = desk.open(6)
    assert desk.studio.model_version(proposal.project_id) == MODEL_VERSION
    desk.studio._sdk.projects.update(proposal.project_id, model_version="")
    desk.reconcile()
    assert desk.studio.model_version(proposal.project_id) == MODEL_VERSION


def test_proposals_that_cannot_be_shown_do_not_keep_the_round_from_opening(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise LabelStudioError("Model version doesn't exist in the project", url="", status=400)

    (first,) = desk.open(6)
    desk.studio._sdk.predictions.create(task=first.task_id, model_version="mine", score=0.5, result=[])
    desk.studio.set_model_version(first.project_id, "mine")
    with monkeypatch.context() as refusing:
        refusing.setattr("labeling.client.LabelStudio.set_model_version", refuse)
        (second,) = desk.open(7)
    assert desk.states(second)[2] == "open"
    assert desk.studio.model_version(first.project_id) == "mine"
    desk.reconcile()
    assert desk.studio.model_version(first.project_id) == MODEL_VERSION


def test_tasks_of_an_earlier_release_show_their_proposals(desk: LabelStudioDesk) -> None:
    """It named predictions by the version that drew them."""
    begun, waiting = desk.open(6, 7)
    desk.studio.annotate(begun.task_id, ICE, lead_time_s=1.0)
    for proposal in (begun, waiting):
        (prediction,) = desk.studio._sdk.predictions.list(task=proposal.task_id)
        desk.studio._sdk.predictions.update(prediction.id, model_version="no model yet")
    desk.studio.set_model_version(begun.project_id, "no model yet")
    desk.reconcile()
    assert [name for item in (begun, waiting) for name, _ in predictions(desk, item)] == [MODEL_VERSION] * 2
    assert desk.studio.model_version(begun.project_id) == MODEL_VERSION


def test_two_publishers_of_one_round_make_each_task_once(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One seemed dead and was given up, but lives: both find nothing, and both import."""
    chosen = desk.choose(6, 7, 8)
    connect(desk.catalog, desk.studio)
    both, run_import = threading.Barrier(2), TaskCalls._import
    first = desk.context(chosen[0].round_id)
    with desk.catalog.read() as session:
        second = JobContext(desk.catalog, session.get_one(Job, first.job_id))

    def import_together(self: TaskCalls, project_id: int, tasks: list) -> None:
        both.wait(30)
        run_import(self, project_id, tasks)

    monkeypatch.setattr(TaskCalls, "_import", import_together)
    round_id = chosen[0].round_id
    together(*[lambda context=context: publishing.publish_round(context, round_id) for context in (first, second)])
    proposals = desk.proposals(round_id)
    desk.reconcile()
    assert [desk.tasks(proposal) for proposal in proposals] == [[proposal.task_id] for proposal in proposals]
    assert [desk.states(proposal) for proposal in proposals] == [("published", "proposed", "open")] * 3
    assert desk.events(EventState.FAILED) == []


def learn(desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a version score the pool, and publications show it."""
    score_pool(desk.catalog, champion())
    monkeypatch.setattr(publishing, "begin_publication", publication_by_newest)


def test_waiting_tasks_are_renewed_as_a_whole(desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    (waiting,) = desk.open(6)
    assert "uncertainty" not in waiting.views
    (before,) = predictions(desk, waiting)
    learn(desk, monkeypatch)
    desk.open(7)
    (waiting,) = desk.proposals(waiting.round_id)
    assert (waiting.views["uncertainty"], waiting.shown_version) == ("uncertainty-1", "version 1")
    shown = {task["id"]: task["data"] for task in desk.studio.changed_tasks(waiting.project_id, None)}
    assert "uncertainty-1.png" in shown[waiting.task_id]["panel"]
    (after,) = predictions(desk, waiting)
    assert after == (MODEL_VERSION, score_of(shown[waiting.task_id]["priority"])) != before


def test_a_task_that_is_not_renewed_shows_what_its_proposal_notes(
    desk: LabelStudioDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was begun, as by the first of two annotators; the scene of another was set aside meanwhile."""
    elsewhere = LabelStudioDesk(desk.catalog, tiled(desk.catalog, tmp_path / "b.tif", offset_px=400)[0])
    begun, waiting = desk.open(6, 7)
    (unreadable,) = elsewhere.open(6)
    kept = [predictions(desk, item) for item in (begun, unreadable)]
    draft_as_another_person(desk, begun)
    learn(desk, monkeypatch)
    with desk.catalog.database.write() as session:
        name = elsewhere.scene.name
        set_aside.set_aside(session, set_aside.Kind.SCENE, name, "its file is gone", elsewhere.scene.id)
    desk.open(8)
    assert [predictions(desk, item) for item in (begun, unreadable)] == kept
    noted = {item.id: item.shown_version for item in desk.proposals(begun.round_id)}
    assert noted == {begun.id: "no model yet", waiting.id: "version 1"}
    assert [item.shown_version for item in elsewhere.proposals(unreadable.round_id)] == ["no model yet"]
    assert {name for item in (begun, waiting, unreadable) for name, _ in predictions(desk, item)} == {MODEL_VERSION}
    assert desk.studio.model_version(begun.project_id) == MODEL_VERSION


def draft_as_another_person(desk: LabelStudioDesk, proposal: Proposal) -> None:
    """Label Studio shows nobody the drafts of others."""
    desk.studio.invite_user("first@glacier.local", "a long password")
    token = desk.studio.user_token("first@glacier.local", "a long password")
    address = f"api/tasks/{proposal.task_id}/drafts?project={proposal.project_id}"
    http = LabelStudio(desk.catalog.settings.label_studio_url, token)._sdk._client_wrapper.httpx_client
    assert http.request(address, method="POST", json={"result": ICE, "lead_time": 1.0}).is_success


def test_a_task_whose_prediction_is_refused_keeps_what_it_shows_or_starts_empty(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, lost = desk.open(6, 7)
    before, renew = predictions(desk, kept), TaskCalls.renew_task
    (prediction,) = desk.studio._sdk.predictions.list(task=lost.task_id)
    desk.studio._sdk.predictions.delete(prediction.id)
    learn(desk, monkeypatch)
    asked = []

    def refuse_first(self: TaskCalls, project_id: int, task_id: int, *changes) -> bool:
        asked.append(task_id)
        if asked.count(task_id) == 1:
            raise LabelStudioError("refused", url="", status=400)
        return renew(self, project_id, task_id, *changes)

    monkeypatch.setattr(TaskCalls, "renew_task", refuse_first)
    desk.open(8)
    assert asked == [kept.task_id, lost.task_id, lost.task_id]
    assert predictions(desk, kept) == before
    kept, lost = desk.proposals(kept.round_id)
    assert (kept.shown_version, lost.shown_version) == ("no model yet", "version 1")
    (prediction,) = desk.studio._sdk.predictions.list(task=lost.task_id)
    assert (prediction.result, lost.preannotated_by) == ([], None)


def test_until_waiting_tasks_are_renewed_they_show_their_proposals(
    desk: LabelStudioDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_: object) -> None:
        raise LabelStudioError("Label Studio cannot be reached", url="")

    (waiting,) = desk.open(6)
    before = predictions(desk, waiting)
    learn(desk, monkeypatch)
    (chosen,) = desk.choose(7)
    with monkeypatch.context() as failing, pytest.raises(LabelStudioError):
        failing.setattr(publishing, "_renew_waiting", cut_off)
        desk.publish(chosen.round_id)
    desk.reconcile()
    (imported,) = desk.proposals(chosen.round_id)
    assert (imported.state, imported.shown_version) == (ProposalState.PUBLISHED, "version 1")
    assert predictions(desk, waiting) == before
    assert desk.studio.model_version(imported.project_id) == MODEL_VERSION
    desk.publish(chosen.round_id)
    assert predictions(desk, waiting) != before


# Reconciliation


def test_a_task_id_that_is_given_away_again_is_another_task(desk: LabelStudioDesk) -> None:
    """Label Studio on SQLite gives a new task the id of the newest deleted one."""
    (old,) = desk.open(6)
    desk.studio.annotate(old.task_id, ICE, lead_time_s=1.0, skip=True)
    desk.reconcile()
    desk.studio._sdk.tasks.delete(str(old.task_id))
    (new,) = desk.open(7)
    assert new.task_id == old.task_id
    desk.studio.annotate(new.task_id, ICE, lead_time_s=1.0, skip=True)
    desk.reconcile()
    desk.reconcile()
    assert desk.states(old) == ("withdrawn", "unlabelled", "complete")
    assert desk.states(new) == ("skipped", "skipped", "complete")


def test_a_copy_takes_the_place_of_its_deleted_original(desk: LabelStudioDesk) -> None:
    """A person exports the tasks, deletes them, and imports them again, under other ids."""
    moved, last = desk.open(6, 7)
    studio = desk.studio
    (data,) = [task["data"] for task in studio.changed_tasks(moved.project_id, None) if task["id"] == moved.task_id]
    studio._sdk.projects.import_tasks(moved.project_id, request=[{"data": data}])
    studio._sdk.tasks.delete(str(moved.task_id))
    desk.reconcile()
    (copy,) = desk.tasks(moved)
    assert desk.states(moved) == ("published", "proposed", "open")
    assert desk.proposals(moved.round_id)[0].task_id == copy != moved.task_id
    studio.annotate(copy, ICE, lead_time_s=1.0)
    desk.reconcile()
    assert desk.states(moved) == ("labelled", "labelled", "open")
    studio._sdk.tasks.delete(str(copy))
    desk.reconcile()
    assert desk.states(moved) == ("withdrawn", "unlabelled", "open")
    assert desk.states(last)[0] == "published"


def test_an_annotation_that_cannot_be_read_does_not_hide_the_others(desk: LabelStudioDesk) -> None:
    poisoned, lost = desk.open(6, 7)
    desk.http.request(f"api/tasks/{poisoned.task_id}/annotations/", method="POST", json={}).raise_for_status()
    desk.studio.annotate(lost.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    assert desk.states(lost)[0] == "labelled"
    (failed,) = desk.events(EventState.FAILED)
    assert (failed.task_id, failed.origin) == (poisoned.task_id, "reconciliation")
    assert "'annotation.result' is null" in failed.detail
    with desk.catalog.database.write() as session:  # the addresses of the task's images are signed anew
        session.get_one(Proposal, poisoned.id).images_signed_at = now() - timedelta(days=400)
    desk.reconcile()
    desk.reconcile()
    assert len(desk.events(*EventState)) == 2


def test_a_deleted_annotation_is_noticed_once(desk: LabelStudioDesk) -> None:
    (proposal,) = desk.open(6)
    annotation = desk.studio.annotate(proposal.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    assert desk.states(proposal) == ("labelled", "labelled", "complete")
    desk.studio._sdk.annotations.delete(annotation)
    desk.reconcile()
    desk.reconcile()
    assert desk.states(proposal) == ("published", "proposed", "open")
    assert desk.actions() == ["ANNOTATION_CREATED", "ANNOTATIONS_DELETED"]
    assert desk.round(proposal).state is RoundState.OPEN


def test_two_people_label_a_patch_and_label_studio_does_not_show_that_it_is_the_second_time(
    desk: LabelStudioDesk,
) -> None:
    (first,) = desk.open(6)
    people = [f"{name}@glacier.local" for name in ("careful", "careless")]
    studios = []
    for email in people:
        desk.studio.invite_user(email, "a long password")
        studios.append(
            LabelStudio(desk.catalog.settings.label_studio_url, desk.studio.user_token(email, "a long password"))
        )
    studios[0].annotate(first.task_id, ICE, lead_time_s=1.0)
    desk.reconcile()
    (second,) = desk.open(6, reason=ProposalReason.SECOND_LABEL)
    shown = {task["id"]: task["data"] for task in desk.studio.changed_tasks(first.project_id, None)}
    changing = {"proposal", "round", "reason"}  # of each task
    assert {key for key, value in shown[second.task_id].items() if value != shown[first.task_id][key]} <= {
        *changing,
        "true_colour",
        "panel",  # signed at another second
    }
    assert shown[second.task_id]["reason"] == shown[first.task_id]["reason"].replace("Round 1", "Round 2")
    studios[1].annotate(second.task_id, [], lead_time_s=1.0)
    desk.reconcile()
    compare_labels(desk.catalog)
    found = assess(desk.catalog)
    assert [item.annotator for item in found.annotators] == people
    assert found.annotators[1].others is not None
    assert found.annotators[1].others.patches == 1
    assert desk.states(second) == ("labelled", "labelled", "complete")
