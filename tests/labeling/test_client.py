"""The client against a real Label Studio."""

import time
from datetime import UTC, datetime

import numpy as np
import pytest

from labeling.client import LabelStudio
from labeling.errors import LabelStudioError
from labeling.events import SUBSCRIBED, AnnotationSaved, UnreadableEvent, parse_event, saved_payload
from labeling.predictions import build_prediction, score_of
from labeling.project_calls import VIEW_TITLE
from labeling.regions import decode_result, encode_brush
from labeling.task_calls import PresentTask, TaskCalls
from labeling.tasks import TaskData, to_task
from tests.labeling.payloads import body
from tests.real_services import LabelStudioServer, free_port

pytestmark = pytest.mark.slow

COLOURS = {"clean ice": "#38bdf8", "debris-covered ice": "#f97316", "unknown": "#6b7280"}
HEIGHT, WIDTH = 48, 64


def a_mask() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return (y - 20) ** 2 + (x - 40) ** 2 < 15**2


def a_task(proposal: str, priority: float = 1.0) -> dict:
    data = TaskData(
        proposal=proposal,
        patch_id=3,
        patch="everest/r00c03",
        round=1,
        reason="The model is least sure here.",
        place="27.98 N, 86.92 E",
        priority=priority,
        true_colour="http://127.0.0.1:9/t.png",
        panel="<p>views</p>",
    )
    region = encode_brush(a_mask(), "clean ice", "b1")
    prediction = build_prediction([region], score=score_of(priority), height=HEIGHT, width=WIDTH, labels=list(COLOURS))
    return to_task(data, prediction)


@pytest.fixture(scope="module")
def client(label_studio: LabelStudioServer) -> LabelStudio:
    return LabelStudio(label_studio.url + "/", label_studio.token)


@pytest.fixture
def project_id(client: LabelStudio, request: pytest.FixtureRequest) -> int:
    return client.create_project(request.node.name[-50:], COLOURS, "made by a test", "draw")


def publish(client: LabelStudio, project_id: int, tasks: list[dict]) -> dict[str, int]:
    """Import tasks that are missing; return the one task of each proposal."""
    found = client.import_missing(project_id, tasks)
    assert all(len(present) == 1 for present in found.values())
    return {proposal: present[0].id for proposal, present in found.items()}


def task_ids(client: LabelStudio, project_id: int) -> set[int]:
    return {tag.id for tag in client.list_tags(project_id)}


def event_of(annotation: dict, task: dict) -> AnnotationSaved | UnreadableEvent:
    """Return the event that reconciliation makes of an annotation."""
    payload = body(saved_payload(annotation, task))
    (event,) = parse_event(payload, len(payload))
    return event


def test_it_answers_and_knows_the_token(client, label_studio):
    client.check()
    with pytest.raises(LabelStudioError, match=r"401.*Check the token") as caught:
        LabelStudio(label_studio.url, "f" * 40).check()
    assert caught.value.status == 401


def test_a_project_is_found_by_its_title_and_kept_up_to_date(client, project_id, request):
    title = request.node.name[-50:]
    made = client._sdk.projects.get(project_id)
    assert (made.sampling, made.maximum_annotations, made.show_instruction) == ("Uncertainty sampling", 1, True)
    client.create_project(title, COLOURS, "a second one", "draw")
    assert client.find_project(title) == project_id
    assert client.find_project("no such title") is None

    client.update_project(project_id, COLOURS, "made by a test", "draw")
    assert client._sdk.projects.get(project_id).model_dump() == made.model_dump()

    client._sdk.projects.update(project_id, title="Renamed by a person")
    client.update_project(project_id, {**COLOURS, "shadow": "#000000"}, "made by a test", "draw")
    assert 'value="shadow"' in client._sdk.projects.get(project_id).label_config
    assert client.project_title(project_id) == "Renamed by a person"


def test_only_a_project_that_is_certainly_gone_does_not_exist(client, project_id, label_studio):
    assert client.project_exists(project_id)
    client.delete_project(project_id)
    assert not client.project_exists(project_id)
    with pytest.raises(LabelStudioError) as caught:
        LabelStudio(label_studio.url, "f" * 40).project_exists(project_id)
    assert caught.value.status == 401
    elsewhere = LabelStudio(f"{label_studio.url}/no-such-folder", label_studio.token)  # 404 to everything
    with pytest.raises(LabelStudioError, match="cannot be told") as caught:
        elsewhere.project_exists(project_id)
    assert caught.value.status is None  # not "refused": whoever asked waits


def test_there_is_exactly_one_webhook_of_ours(client, project_id):
    def hooks() -> list[tuple]:
        found = client._sdk.webhooks.list(project=str(project_id))
        return [(hook.id, hook.url, hook.headers, sorted(hook.actions)) for hook in found]

    client.ensure_webhook(project_id, "http://127.0.0.1:9/hook", "X-Secret", "one")
    ((hook_id, *first),) = hooks()
    assert first == ["http://127.0.0.1:9/hook", {"X-Secret": "one"}, sorted(SUBSCRIBED)]

    client.ensure_webhook(project_id, "http://127.0.0.1:9/hook", "X-Secret", "one")
    assert hooks() == [(hook_id, *first)]

    client.ensure_webhook(project_id, "http://127.0.0.1:8/elsewhere", "X-Secret", "two")
    changed = (hook_id, "http://127.0.0.1:8/elsewhere", {"X-Secret": "two"}, sorted(SUBSCRIBED))
    assert hooks() == [changed]

    client._sdk.webhooks.create(project=project_id, url="http://127.0.0.1:8/elsewhere")
    client._sdk.webhooks.create(project=project_id, url="http://127.0.0.1:7/someone-else")
    client.ensure_webhook(project_id, "http://127.0.0.1:8/elsewhere", "X-Secret", "two")
    assert changed in hooks()
    assert sorted(url for _, url, _, _ in hooks()) == ["http://127.0.0.1:7/someone-else", changed[1]]


def test_the_shared_tab_is_made_once(client, project_id):
    client.ensure_view(project_id)
    client.ensure_view(project_id)
    (view,) = client._sdk.views.list(project=project_id)
    assert (view.data["title"], view.data["ordering"]) == (VIEW_TITLE, ["-tasks:data.priority"])
    assert "tasks:data.panel" in view.data["hiddenColumns"]["explore"]


def test_a_tab_of_an_earlier_release_hides_what_is_not_for_people_from_now_on(client, project_id):
    older = {"title": VIEW_TITLE, "ordering": ["-tasks:data.priority"], "gridWidth": 3}
    client._sdk.views.create(project=project_id, data=older)
    client.ensure_view(project_id)
    (view,) = client._sdk.views.list(project=project_id)
    assert view.data["gridWidth"] == 3  # what people chose stays
    assert "tasks:data.panel" in view.data["hiddenColumns"]["labeling"]


def test_importing_twice_creates_nothing_twice(client, project_id):
    tasks = [a_task(f"twice-{i}") for i in range(60)]  # more than one batch
    first = publish(client, project_id, tasks[:5])
    both = publish(client, project_id, tasks)
    assert set(both) == {f"twice-{i}" for i in range(60)}
    assert first.items() <= both.items()
    assert task_ids(client, project_id) == set(both.values())
    assert client.find_tasks(project_id, ["twice-3", "never"]) == {"twice-3": [both["twice-3"]]}
    assert client.find_tasks(project_id, []) == {}


def test_what_an_import_left_behind_can_be_seen(client, project_id):
    """Label Studio repeats an import by itself while its database is locked: without predictions, or twice."""
    bare = {"data": a_task("doubled")["data"]}
    client._sdk.projects.import_tasks(project_id, request=[bare, a_task("doubled"), a_task("doubled"), a_task("whole")])
    found = client.present_tasks(project_id, ["doubled", "whole"])
    assert [task.is_predicted for task in found["doubled"]] == [False, True, True]
    assert [task.is_begun for task in found["doubled"]] == [False] * 3

    first, second, third = (task.id for task in found["doubled"])
    client.annotate(third, [], lead_time_s=1.0)
    (begun, *rest) = client.present_tasks(project_id, ["doubled"])["doubled"]
    assert (begun.id, begun.is_begun) == (third, True)
    assert [task.id for task in rest] == [first, second]

    client.delete_untouched(project_id, [second])
    client.delete_untouched(project_id, [second])  # gone: nothing to do
    assert client.find_tasks(project_id, ["doubled"]) == {"doubled": [first, third]}


def test_a_file_that_a_person_uploaded_is_told_apart(client, project_id):
    files = {"file": ("copy.json", body([{"data": a_task("copied")["data"]}]), "application/json")}
    client._sdk._client_wrapper.httpx_client.httpx_client.post(
        f"{client._url}/api/projects/{project_id}/import",
        files=files,
        headers={"Authorization": f"Token {client._token}"},
    ).raise_for_status()
    (copy,) = client.present_tasks(project_id, ["copied"])["copied"]
    assert copy.is_uploaded


def test_a_task_that_label_studio_refuses_does_not_keep_others_out(client, project_id):
    refused = {"data": {"proposal": "refused"}}  # the page's other columns are missing
    with pytest.raises(LabelStudioError, match="status 400"):
        client.import_missing(project_id, [a_task("before"), refused, a_task("after")])
    assert "before" in client.find_tasks(project_id, ["before", "refused", "after"])


def test_the_most_urgent_task_is_served_first_and_shown_on_top(client, project_id):
    priorities = {"low": 0.2, "high": 3.0, "middle": 1.0}
    tasks = publish(client, project_id, [a_task(f"urgent-{name}", p) for name, p in priorities.items()])
    client.ensure_view(project_id)
    (view,) = client._sdk.views.list(project=project_id)
    shown = client._sdk.tasks.list(view=view.id, project=project_id, fields="task_only", page_size=-1).items
    in_order = [tasks[f"urgent-{name}"] for name in ("high", "middle", "low")]
    assert [task.id for task in shown] == in_order
    served = client._sdk._client_wrapper.httpx_client.request(f"api/projects/{project_id}/next", method="GET")
    assert served.json()["id"] == in_order[0]


def test_a_mask_survives_label_studio(client, project_id):
    tasks = publish(client, project_id, [a_task("mask")])
    (prediction,) = client._sdk.predictions.list(task=tasks["mask"])
    (region,) = decode_result(prediction.result, height=HEIGHT, width=WIDTH, labels=list(COLOURS))
    assert region.label == "clean ice"
    assert np.array_equal(region.mask, a_mask())
    assert prediction.score == 0.5


def test_changing_a_member_of_the_data_keeps_the_others(client, project_id):
    task = a_task("patched")
    tasks = publish(client, project_id, [task])
    assert client.update_task_data(tasks["patched"], {"true_colour": "http://127.0.0.1:9/new.png"})
    (changed,) = client.changed_tasks(project_id, None)
    assert changed["data"] == {**task["data"], "true_colour": "http://127.0.0.1:9/new.png"}
    client.delete_untouched(project_id, [tasks["patched"]])
    assert not client.update_task_data(tasks["patched"], {"true_colour": "http://127.0.0.1:9/newer.png"})


def renewed(client: LabelStudio, project_id: int, name: str, task_id: int) -> bool:
    """Whether a task took the data and the prediction of a patch that is worth thrice as much."""
    newer = a_task(name, 3.0)
    return client.renew_task(project_id, task_id, newer["data"], newer["predictions"][0])


def shown_on(client: LabelStudio, project_id: int, name: str) -> tuple[float, list[tuple[str, float]]]:
    """The priority of a task, and the name and score of each of its predictions."""
    (task,) = [task for task in client.changed_tasks(project_id, None) if task["data"]["proposal"] == name]
    predictions = client._sdk.predictions.list(task=task["id"])
    return task["data"]["priority"], [(item.model_version, item.score) for item in predictions]


def test_a_renewed_task_has_one_prediction_whatever_calls_were_done_twice(client, project_id):
    tasks = publish(client, project_id, [a_task("kept"), a_task("renewed"), {"data": a_task("bare")["data"]}])
    client._sdk.predictions.create(task=tasks["renewed"], **a_task("renewed")["predictions"][0])
    assert renewed(client, project_id, "renewed", tasks["renewed"])
    assert renewed(client, project_id, "bare", tasks["bare"])
    assert shown_on(client, project_id, "renewed") == shown_on(client, project_id, "bare")
    assert shown_on(client, project_id, "bare") == (3.0, [("proposal", 0.25)])  # 1 / (1 + 3)
    assert shown_on(client, project_id, "kept") == (1.0, [("proposal", 0.5)])
    client.delete_untouched(project_id, [tasks["bare"]])
    assert not renewed(client, project_id, "bare", tasks["bare"])


@pytest.fixture(scope="module")
def annotator(client: LabelStudio, label_studio: LabelStudioServer) -> LabelStudio:
    """Another person: Label Studio shows nobody the drafts of others."""
    client.invite_user("drafts@glacier.local", "a long password")
    return LabelStudio(label_studio.url, client.user_token("drafts@glacier.local", "a long password"))


def draw_draft(who: LabelStudio, project_id: int, task_id: int) -> None:
    address, draft = f"api/tasks/{task_id}/drafts?project={project_id}", {"result": [], "lead_time": 1.0}
    assert who._sdk._client_wrapper.httpx_client.request(address, method="POST", json=draft).is_success


def test_a_task_that_somebody_has_begun_is_not_renewed(client, annotator, project_id):
    tasks = publish(client, project_id, [a_task("submitted"), a_task("drafted")])
    client.annotate(tasks["submitted"], [], lead_time_s=1.0)
    draw_draft(annotator, project_id, tasks["drafted"])
    for name in ("submitted", "drafted"):
        assert not renewed(client, project_id, name, tasks[name])
        assert shown_on(client, project_id, name) == (1.0, [("proposal", 0.5)])
    seen = client.present_tasks(project_id, ["submitted", "drafted"])
    assert [task.is_begun for (task,) in seen.values()] == [True, True]


@pytest.mark.parametrize("first", [{}, {"predictions": []}])
def test_who_begins_while_a_task_is_renewed_finds_what_was_drawn_on(client, annotator, project_id, monkeypatch, first):
    """A draft is saved seconds after the task was opened: it is of what the task showed before."""
    tasks = publish(client, project_id, [{**a_task("slow"), **first}])
    shown, show = shown_on(client, project_id, "slow"), TaskCalls._show

    def begin_then_show(self: TaskCalls, *changes) -> None:
        show(self, *changes)
        monkeypatch.undo()
        draw_draft(annotator, project_id, tasks["slow"])

    monkeypatch.setattr(TaskCalls, "_show", begin_then_show)
    assert not renewed(client, project_id, "slow", tasks["slow"])
    assert shown_on(client, project_id, "slow") == shown


def test_predictions_of_an_earlier_release_are_shown(client, project_id):
    """It named them by what drew them, and kept those of each version."""
    old, older, newest = (
        {**a_task("upgraded")["predictions"][0], "model_version": f"version {number}", "score": score}
        for number, score in ((1, 0.1), (2, 0.2), (3, 0.3))
    )
    other = {**old, "model_version": "a person's"}
    task = {**a_task("upgraded"), "predictions": [older, old, other, newest]}
    unlike = {**a_task("other"), "predictions": [newest]}  # not of the version that is noted
    tasks = publish(client, project_id, [task, a_task("new"), unlike])
    for _ in range(2):
        client.show_predictions(project_id, {"upgraded": "version 2", "new": "version 3", "other": "version 9"})
    _, found = shown_on(client, project_id, "upgraded")
    assert sorted(found) == [("a person's", 0.1), ("proposal", 0.2)]
    assert shown_on(client, project_id, "new") == (1.0, [("proposal", 0.5)])
    assert shown_on(client, project_id, "other") == (1.0, [("version 3", 0.3)])
    assert list(client.present_tasks(project_id, ["upgraded"])["upgraded"]) == [
        PresentTask(tasks["upgraded"], is_begun=False, is_uploaded=False, is_predicted=True)
    ]


def test_reconciliation_sees_every_kind_of_change_once(client, project_id):
    result = [encode_brush(a_mask(), "clean ice", "b1")]
    tasks = publish(client, project_id, [a_task(f"seen-{i}") for i in range(4)])

    def changes(since: datetime | None) -> tuple[list[str], datetime | None]:
        tags = list(client.list_tags(project_id, since=since))
        changed = client.changed_tasks(project_id, since)
        return [task["data"]["proposal"] for task in changed], max((tag.updated_at for tag in tags), default=since)

    names, since = changes(None)
    assert sorted(names) == ["seen-0", "seen-1", "seen-2", "seen-3"]
    assert changes(since) == ([], since)

    created = client.annotate(tasks["seen-1"], result, lead_time_s=12.5)
    client.annotate(tasks["seen-2"], result, lead_time_s=1.0, skip=True)
    names, since = changes(since)
    assert names == ["seen-1", "seen-2"]

    client._sdk.annotations.update(created, result=[], lead_time=20.0)
    names, since = changes(since)
    assert names == ["seen-1"]

    client._sdk.annotations.delete(created)
    names, since = changes(since)
    assert names == ["seen-1"]

    client._sdk.tasks.delete(str(tasks["seen-0"]))
    assert changes(since) == ([], since)
    assert task_ids(client, project_id) == {tasks[f"seen-{i}"] for i in (1, 2, 3)}


def test_annotations_found_by_reconciliation_are_events(client, project_id, label_studio):
    before = datetime.now(UTC)
    tasks = publish(client, project_id, [a_task("event-0"), a_task("event-1")])
    result = [encode_brush(a_mask(), "clean ice", "b1")]
    annotation_id = client.annotate(tasks["event-0"], result, lead_time_s=12.5)
    client.annotate(tasks["event-1"], result, lead_time_s=1.0, skip=True)

    changed = client.changed_tasks(project_id, before)
    events = {
        event.proposal: event
        for task in changed
        for event in (event_of(annotation, task) for annotation in task["annotations"])
    }
    submitted, skipped = events["event-0"], events["event-1"]
    assert submitted.action == "ANNOTATION_CREATED"
    assert (submitted.annotation_id, submitted.task_id) == (annotation_id, tasks["event-0"])
    assert (submitted.project_id, submitted.was_cancelled) == (project_id, False)
    assert (submitted.result, submitted.lead_time_s) == (result, 12.5)
    assert client.user_emails()[submitted.drawn_by] == label_studio.email
    assert before < submitted.annotation_created_at < submitted.annotation_updated_at < datetime.now(UTC)
    assert skipped.was_cancelled

    time.sleep(0.02)  # an update is told from a creation by its time
    client._sdk.annotations.update(annotation_id, result=[])
    (task,) = [task for task in client.changed_tasks(project_id, None) if task["data"]["proposal"] == "event-0"]
    (annotation,) = task["annotations"]
    updated = event_of(annotation, task)
    assert (updated.action, updated.result) == ("ANNOTATION_UPDATED", [])
    assert updated.dedupe_key != submitted.dedupe_key
    assert updated.annotation_created_at == submitted.annotation_created_at


def test_who_changes_the_drawing_of_another_has_drawn_it(client, project_id, label_studio):
    def drawn_by() -> str:
        (task,) = [task for task in client.changed_tasks(project_id, None) if task["data"]["proposal"] == "changed"]
        (annotation,) = task["annotations"]
        return client.user_emails()[event_of(annotation, task).drawn_by]

    expert = client.invite_user("another@glacier.local", "ice cold password")
    tasks = publish(client, project_id, [a_task("changed")])
    annotation_id = client.annotate(tasks["changed"], [], lead_time_s=1.0, completed_by=expert)
    assert drawn_by() == "another@glacier.local"
    time.sleep(0.02)  # an update is told from a creation by its time
    client._sdk.annotations.update(annotation_id, lead_time=2.0)
    assert drawn_by() == label_studio.email


def test_an_annotation_that_nobody_can_read_is_an_event_all_the_same(client, project_id):
    """Label Studio stores an annotation without a result as null, and any number as its lead time."""
    tasks = publish(client, project_id, [a_task("null")])
    http = client._sdk._client_wrapper.httpx_client
    for annotation in ({}, {"result": [], "lead_time": 1e300}):
        http.request(f"api/tasks/{tasks['null']}/annotations/", method="POST", json=annotation).raise_for_status()
    (task,) = client.changed_tasks(project_id, None)
    null, endless = (event_of(annotation, task) for annotation in task["annotations"])
    assert isinstance(null, UnreadableEvent)
    assert (null.proposal, null.task_id) == ("null", tasks["null"])
    assert "'annotation.result' is null" in null.reason
    assert isinstance(endless, UnreadableEvent)
    assert "lead_time" in endless.reason
    assert null.dedupe_key != endless.dedupe_key
    assert event_of(task["annotations"][0], task).dedupe_key == null.dedupe_key


def test_a_server_that_is_down_is_an_error_at_once():
    port = free_port()
    client = LabelStudio(f"http://127.0.0.1:{port}", "f" * 40)
    calls = [
        client.check,
        lambda: task_ids(client, 1),
        lambda: publish(client, 1, [a_task("nowhere")]),
        lambda: client.create_project("nowhere", COLOURS, "", "draw"),
        lambda: client.project_exists(1),
        lambda: client.user_token("expert@glacier.local", "long enough"),
    ]
    for call in calls:
        start = time.monotonic()
        with pytest.raises(LabelStudioError, match=f"127.0.0.1:{port} cannot be reached") as caught:
            call()
        assert caught.value.status is None
        assert time.monotonic() - start < 5


def test_what_label_studio_refuses_is_an_error_with_its_reason(client):
    with pytest.raises(LabelStudioError, match="did not list tasks of project 999999: status 404"):
        task_ids(client, 999_999)


def test_only_tasks_that_nobody_has_begun_are_deleted(client, project_id):
    published = publish(
        client, project_id, [a_task(name) for name in ("untouched", "answered", "skipped", "drafted", "other")]
    )
    client.annotate(published["answered"], [], lead_time_s=1.0)
    client.annotate(published["skipped"], [], lead_time_s=1.0, skip=True)
    body = {"result": [], "lead_time": 1.0}
    client._sdk._client_wrapper.httpx_client.request(
        f"api/tasks/{published['drafted']}/drafts?project={project_id}", method="POST", json=body
    )
    assert client.delete_unanswered(project_id, ["untouched", "answered", "skipped", "drafted"]) == 1
    assert set(client.find_tasks(project_id, list(published))) == {"answered", "skipped", "drafted", "other"}


def test_without_tasks_to_delete_none_is_deleted(client, project_id):
    """Label Studio takes an empty list of tasks for all of them."""
    publish(client, project_id, [a_task("first")])
    client.delete_untouched(project_id, [])
    assert client.delete_unanswered(project_id, []) == 0
    assert client.delete_unanswered(project_id, ["unknown"]) == 0
    assert len(task_ids(client, project_id)) == 1
