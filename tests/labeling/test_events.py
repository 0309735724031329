import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeling.errors import EventError
from labeling.events import (
    AnnotationDeleted,
    AnnotationSaved,
    ProjectDeleted,
    TaskDeleted,
    UnreadableEvent,
    parse_event,
    parse_time,
    proposal_of,
    read_saved,
    saved_payload,
)
from labeling.regions import decode_result
from tests.labeling.payloads import HEIGHT, LABELS, WIDTH, annotation, body, regions, saved, task

MAX_BYTES = 100_000


def parse(payload: object) -> list:
    return parse_event(body(payload), MAX_BYTES)


def test_a_submitted_annotation():
    (event,) = parse(saved())
    assert event == AnnotationSaved(
        action="ANNOTATION_CREATED",
        annotation_id=107,
        annotation_uid="188747bc-2bb8-4e97-abf9-8091d99f6374",
        annotation_created_at=datetime(2026, 11, 21, 9, 10, 54, 390960, UTC),
        annotation_updated_at=datetime(2026, 11, 21, 9, 10, 54, 391039, UTC),
        task_id=188,
        project_id=15,
        proposal="r1-p3",
        was_cancelled=False,
        result=regions(),
        drawn_by=2,
        lead_time_s=3.795,
    )
    times = "2026-11-21T09:10:54.390960+00:00:2026-11-21T09:10:54.391039+00:00"
    assert event.dedupe_key == f"saved:15:107:{times}:{event.content_sha256[:32]}"
    decoded = decode_result(event.result, height=HEIGHT, width=WIDTH, labels=LABELS)
    assert decoded[0].mask.sum() == 10 * 20


def test_a_skip_keeps_the_untouched_regions_and_says_so():
    (event,) = parse(saved("ANNOTATION_UPDATED", was_cancelled=True))
    assert event.action == "ANNOTATION_UPDATED"
    assert event.was_cancelled
    assert len(event.result) == 2


def test_who_changed_a_drawing_has_drawn_it():
    (created,) = parse(saved(updated_by=7))  # with the administrator's token, for the annotator
    (changed,) = parse(saved("ANNOTATION_UPDATED", updated_by=7))
    (unknown,) = parse(saved("ANNOTATION_UPDATED", updated_by=None))
    assert (created.drawn_by, changed.drawn_by, unknown.drawn_by) == (2, 7, 2)


def test_nothing_drawn_is_not_a_skip():
    (event,) = parse(saved(result=[], parent_prediction=None))
    assert event.result == []
    assert not event.was_cancelled


def test_what_may_be_absent_is_none():
    payload = saved(completed_by=None, lead_time=None)
    payload["task"]["data"] = {"image": "someone else's task"}
    (event,) = parse(payload)
    assert (event.proposal, event.drawn_by, event.lead_time_s) == (None, None, None)


def test_a_new_version_of_an_annotation_has_a_new_key():
    (first,), (second,) = parse(saved()), parse(saved(updated_at="2026-11-21T09:11:00Z"))
    assert first.dedupe_key != second.dedupe_key


def test_deletions_may_be_several_and_name_no_proposal():
    assert parse({"action": "ANNOTATIONS_DELETED", "annotations": [{"id": 84}, {"id": 85}], "project": {"id": 8}}) == [
        AnnotationDeleted(annotation_id=84, project_id=8),
        AnnotationDeleted(annotation_id=85, project_id=8),
    ]
    (event,) = parse({"action": "TASKS_DELETED", "tasks": [{"id": 9}], "project": {"id": 1}})
    assert event == TaskDeleted(task_id=9, project_id=1)
    assert parse({"action": "PROJECT_DELETED", "project": {"id": 8}}) == [ProjectDeleted(8)]


def test_deletions_that_reconciliation_found_name_more_than_ids():
    created = "2026-11-21T09:10:54.390960Z"
    deleted = [{"id": 84, "created_at": created}]
    (event,) = parse({"action": "ANNOTATIONS_DELETED", "annotations": deleted, "project": {"id": 8}})
    assert event == AnnotationDeleted(84, 8, parse_time(created))
    (event,) = parse({"action": "TASKS_DELETED", "tasks": [{"id": 9, "proposal": "r1-p3"}], "project": {"id": 1}})
    assert event == TaskDeleted(9, 1, "r1-p3")


def test_keys_of_deletions_never_meet_those_of_other_kinds():
    events = [AnnotationDeleted(9, 1), TaskDeleted(9, 1), AnnotationDeleted(9, 2), ProjectDeleted(9)]
    assert len({event.dedupe_key for event in events}) == 4


@pytest.mark.parametrize("action", ["PROJECT_UPDATED", "TASKS_CREATED", "LABEL_LINK_CREATED"])
def test_actions_that_do_not_concern_us_bring_no_event(action):
    assert parse({"action": action, "project": {"id": 1}}) == []


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "is list; expected an object"),
        ({}, "'action' is missing"),
        ({"action": "START_TRAINING"}, "Unknown action 'START_TRAINING'; expected one of ANNOTATION_CREATED"),
    ],
)
def test_what_is_no_label_event_is_refused(payload, message):
    with pytest.raises(EventError, match=message):
        parse(payload)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"action": "ANNOTATION_CREATED"}, "'annotation' is missing"),
        ({"action": "ANNOTATION_CREATED", "annotation": annotation()}, "'task' is missing"),
        (saved(id="107"), "'annotation.id' is str; expected int"),
        (saved(id=True), "'annotation.id' is bool; expected int"),
        (saved(result=None), "'annotation.result' is null; expected list"),
        (saved(was_cancelled=0), "'annotation.was_cancelled' is int; expected bool"),
        (saved(lead_time="3"), "'annotation.lead_time' is str; expected int or float"),
        (saved(lead_time=float("nan")), "'annotation.lead_time' is not a finite number"),
        (saved(lead_time=10**400), "'annotation.lead_time' is not a finite number"),
        (saved(id=2**63), "'annotation.id' is not an id"),
        (saved(id=0), "'annotation.id' is not an id"),
        (saved(updated_at="yesterday"), "'annotation.updated_at': .*'yesterday' is not ISO 8601"),
        (saved(updated_at="2026-11-21T09:10:54"), "no offset from UTC"),
        (saved(updated_at="0001-01-01T00:00:00+23:59"), "'annotation.updated_at': .*outside the years 1970 to 9998"),
        (saved(created_at="9999-12-31T23:59:59-23:59"), "'annotation.created_at': .*outside the years 1970 to 9998"),
        (saved(created_at=None), "'annotation.created_at' is null"),
        ({**saved(), "task": task(data={"proposal": 7})}, "'task.data.proposal' is int; expected str"),
        ({**saved(), "task": task(data={"proposal": "r1\0p3"})}, "'task.data.proposal' is 'r1.*printable"),
        ({**saved(), "task": task(project=None)}, "'task.project' is null; expected int"),
        ({"action": "TASKS_DELETED", "tasks": [{}], "project": {"id": 1}}, "'tasks.id' is missing"),
        ({"action": "TASKS_DELETED", "tasks": [9], "project": {"id": 1}}, "'tasks' holds int; expected objects"),
        ({"action": "ANNOTATIONS_DELETED", "annotations": []}, "'project' is missing"),
        ({"action": "PROJECT_DELETED"}, "'project' is missing"),
    ],
)
def test_an_event_that_cannot_be_read_is_one_and_names_the_field(payload, message):
    (event,) = parse(payload)
    assert isinstance(event, UnreadableEvent)
    assert event.action == payload["action"]
    assert re.search(message, event.reason)


def test_what_can_be_read_of_an_unreadable_event_identifies_it():
    (event,) = parse(saved(result=None))
    (readable,) = parse(saved())
    assert (event.project_id, event.task_id, event.annotation_id, event.proposal) == (15, 188, 107, "r1-p3")
    assert event.annotation_created_at == readable.annotation_created_at
    (api,) = parse(saved_payload(annotation(result=None, prediction={}), task()))
    assert event.dedupe_key == api.dedupe_key != readable.dedupe_key  # whether by webhook or by reconciliation


def test_without_ids_an_unreadable_event_is_known_by_its_content():
    (first,), (again,), (other,) = (parse(saved(id=name)) for name in ("107", "107", "108"))
    assert first.dedupe_key == again.dedupe_key != other.dedupe_key
    renewed = {**saved(id="107"), "task": task(data={"proposal": "r1-p3", "true_colour": "signed anew"})}
    assert parse(renewed)[0].dedupe_key == first.dedupe_key


def test_one_bad_item_of_a_bulk_deletion_does_not_hide_the_others():
    events = parse({"action": "TASKS_DELETED", "tasks": [{"id": 9}, {"id": "x"}, {"id": 10}], "project": {"id": 1}})
    assert [type(event) for event in events] == [TaskDeleted, UnreadableEvent, TaskDeleted]


def test_too_large_bodies_are_refused_before_they_are_parsed():
    with pytest.raises(EventError, match="has 11 bytes; at most 10"):
        parse_event(b"{" * 11, 10)


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b"9" * 5000])
def test_what_is_not_json_is_an_event_error(raw):
    with pytest.raises(EventError):
        parse_event(raw, MAX_BYTES)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
nonsense = st.one_of(leaves, st.lists(leaves, max_size=3), st.dictionaries(st.text(max_size=5), leaves, max_size=3))


@given(st.sampled_from(["annotation", "task", "action", "project"]), nonsense, st.data())
def test_any_member_may_be_nonsense_without_another_error(part, value, data):
    payload = json.loads(body(saved()))
    if isinstance(payload[part], dict) and data.draw(st.booleans()):
        payload[part][data.draw(st.sampled_from(sorted(payload[part])))] = value
    else:
        payload[part] = value
    try:
        parse(payload)
    except EventError:
        return


def test_reconciliation_finds_the_same_event_as_the_webhook():
    (webhook,) = parse(saved())
    (api,) = parse(saved_payload({key: value for key, value in annotation().items() if key != "unique_id"}, task()))
    assert webhook.annotation_uid == annotation()["unique_id"]
    assert api == replace(webhook, annotation_uid=None)


def test_reconciliation_tells_created_from_updated_by_the_times():
    (later,) = parse(saved_payload(annotation(updated_at="2026-11-21T09:12:00Z"), task()))
    assert later.action == "ANNOTATION_UPDATED"


def test_reconciliation_passes_on_what_it_cannot_read():
    (event,) = parse(saved_payload({"id": 7}, task()))
    assert isinstance(event, UnreadableEvent)
    assert event.annotation_id == 7


@pytest.mark.parametrize("data", [None, [], {}, {"proposal": 7}, {"proposal": ["x"]}, {"proposal": "\ud800"}])
def test_a_task_that_is_not_ours_carries_no_proposal(data):
    assert proposal_of(data) is None


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+23:59",
        "0001-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "9999-01-01T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
    ],
)
def test_times_at_the_edge_of_the_calendar_are_refused(text):
    with pytest.raises(EventError, match="outside the years 1970 to 9998"):
        parse_time(text)


def test_a_digest_tells_drawings_apart_and_webhooks_from_nothing():
    """Times may be equal: a clock was set back, or the database was restored."""
    (webhook,) = parse(saved())
    (api,) = parse(saved_payload({**annotation(), "unique_id": None}, task()))
    assert (webhook.dedupe_key, webhook.content_sha256) == (api.dedupe_key, api.content_sha256)
    (other,) = parse(saved(result=[]))
    (skipped,) = parse(saved(was_cancelled=True))
    assert len({event.dedupe_key for event in (webhook, other, skipped)}) == 3


def test_times_are_turned_to_utc():
    nepal = timezone(timedelta(hours=5, minutes=45))
    time = datetime(2026, 11, 21, 14, 55, tzinfo=nepal)
    assert parse_time("2026-11-21T14:55:00+05:45") == time
    assert parse_time("2026-11-21T14:55:00+05:45").tzinfo == UTC


@pytest.mark.parametrize("name", ["created_at", "unique_id"])
def test_what_was_found_is_shown_in_short(name: str) -> None:
    payload = saved(**{name: "é\n" * 500_000})
    (event,) = parse_event(body(payload), 1 << 24)
    assert isinstance(event, UnreadableEvent)
    assert "'é\\né\\n" in event.reason
    assert len(event.reason) < 400


def nested(levels: int, innermost: object = 1) -> object:
    for _ in range(levels):
        innermost = [innermost]
    return innermost


@pytest.mark.parametrize("innermost", [1, 2**65])  # orjson writes the first only
@pytest.mark.parametrize(("levels", "is_readable"), [(251, True), (252, False), (940, False)])
def test_what_is_nested_too_deeply_is_kept_as_unreadable(levels: int, is_readable: bool, innermost: object) -> None:
    drawn = [{"id": "a", "meta": nested(levels, innermost)}]  # in annotation, result and region
    (event,) = parse_event(body(saved(result=drawn)), 1 << 20)
    assert isinstance(event, AnnotationSaved) == is_readable
    assert event.dedupe_key == parse_event(body(saved(result=drawn)), 1 << 20)[0].dedupe_key
    found, stored = read_saved(annotation(result=drawn), task())
    assert found.dedupe_key == event.dedupe_key
    assert parse_event(stored, 1 << 20) == [found]


def test_where_no_id_can_be_read_what_is_nested_too_deeply_is_kept_too() -> None:
    events = [
        *parse_event(body(saved(id=None, result=nested(940))), 1 << 20),
        *parse_event(body({"action": "ANNOTATION_CREATED", "annotation": nested(940)}), 1 << 20),
        *parse_event(body({"action": "TASKS_DELETED", "project": {"id": 1}, "tasks": [nested(940)]}), 1 << 20),
        *parse_event(body({"action": "TASKS_DELETED", "project": nested(940), "tasks": []}), 1 << 20),
    ]
    assert [type(event) for event in events] == [UnreadableEvent] * 4
    assert len({event.dedupe_key for event in events}) == 4
