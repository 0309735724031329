"""Lists are given in pages: each row stands on exactly one of them, also while rows are added."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.access_records import Role
from catalog.canary_records import CanaryComparison
from catalog.context import Catalog
from catalog.data_set_records import DataSet
from catalog.decision_records import Promotion
from catalog.reconciliation_records import Reconciliation
from catalog.records import Job, JobKind, LabelEvent, Scoring, now
from catalog.set_aside import SetAside
from catalog.setting_changes import SettingChange
from catalog.webhook_records import Delivery, OutgoingEvent, Subscription
from catalog.withdrawal_records import Withdrawal
from services import made_files, tokens, users
from services.asked_experiments import KnownExperiment
from services.data_sets import KnownDataSet
from services.submissions import Asked, KnownSubmission, SubmissionOptions
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_round, add_scene, as_role

Add = Callable[[Session, int], object]
FIRST = now() - timedelta(days=1)


def decision(session: Session, number: int) -> Promotion:
    made = Promotion(
        model_version=number, verdict="kept", reason="no gain", actor="gate", decided_at=FIRST, completed_at=FIRST
    )
    session.add(made)
    session.flush()
    return made


def canary_comparison(session: Session, number: int) -> None:
    limits = {"change_limit": 0.5, "area_limit": 0.5, "alerts": []}
    counts = {"patches": 1, "classes": ["background", "ice"], "counts": [[1, 0], [0, 1]]}
    session.add(CanaryComparison(decision_id=decision(session, number).id, **counts, **limits))


def data_set(session: Session, number: int) -> None:
    request = {"title": f"set {number}"}
    made_files.enqueue(session, KnownDataSet, DataSet(request=request, with_model=False, asked_by="operator"))


def submission(session: Session, number: int) -> None:
    asked = Asked(options=SubmissionOptions(scene=number), scene=f"langtang-{number}", version=None)
    row = DataSet(request=asked.model_dump(mode="json"), with_model=False, asked_by="operator")
    made_files.enqueue(session, KnownSubmission, row)


def experiment(session: Session, number: int) -> None:
    asked = {"options": {"name": "heads", "steps": number}}
    row = DataSet(request=asked, with_model=False, asked_by="operator")
    made_files.enqueue(session, KnownExperiment, row)


def change(session: Session, number: int) -> None:
    scene = add_scene(session, f"scene-{number}")[0].id
    uid = f"{number:032x}"
    asked = {"earlier": scene, "later": scene, "subject": "prediction", "version": 1, "uid": uid}
    session.add(Job(kind=JobKind.COMPARE_SCENES, key=jobs.full_key(JobKind.COMPARE_SCENES, uid), subject=asked))
    session.flush()


def job(session: Session, number: int) -> None:
    """Add a job; three at a time are of the same moment."""
    moment = FIRST + timedelta(minutes=number // 3)
    session.add(Job(kind=JobKind.TILE_SCENE, key=f"tile_scene:{number}", subject={}, created_at=moment))


def waiting_job(session: Session, number: int) -> None:
    moment = FIRST + timedelta(minutes=number)
    row = Job(kind=JobKind.TILE_SCENE, key=f"tile_scene:{number}", subject={}, created_at=moment)
    row.message = f"job {number}"
    session.add(row)


def failed_event(session: Session, number: int) -> None:
    label_event(session, number)
    session.flush()
    session.query(LabelEvent).update({"state": "failed"})


def label_event(session: Session, number: int) -> None:
    session.add(LabelEvent(dedupe_key=str(number), action="TASKS_DELETED", origin="webhook", body=b"{}"))


def reconciliation(session: Session, number: int) -> None:
    found = {"mended": {}, "event_ids": []}
    session.add(Reconciliation(project_id=1, tasks=number, read=0, started_at=FIRST, seconds=1.0, **found))


def delivery(session: Session, number: int) -> None:
    subscribed = Subscription(url=f"https://hooks.example.org/{number}", created_by="operator")
    event = OutgoingEvent(type="model.promoted", body={})
    session.add_all([subscribed, event])
    session.flush()
    session.add(Delivery(subscription_id=subscribed.id, event_id=event.id))


def name(number: int) -> str:
    return f"zz-name-{number:04d}"


NEWEST_FIRST: dict[str, Add] = {
    "rounds": lambda session, _: add_round(session, []),
    "withdrawals": lambda session, number: session.add(
        Withdrawal(annotator="a@example.org", reason="shifted", actor="operator")
    ),
    "data-sets": data_set,
    "glims-submissions": submission,
    "experiments": experiment,
    "changes": change,
    "jobs": job,
    "scorings": lambda session, number: session.add(Scoring(model_version=number, passes=20, seed=0)),
    "reconciliations": reconciliation,
    "set-aside": lambda session, number: session.add(SetAside(kind="file", name=f"{number}.tif", reason="damaged")),
    "canary": canary_comparison,
    "models/decisions": decision,
    "settings/changes": lambda session, number: session.add(
        SettingChange(name="round_size", value=number, changed_by="operator")
    ),
    "subscriptions/deliveries": delivery,
}
OLDEST_FIRST: dict[str, Add] = {
    "scenes": lambda session, number: add_scene(session, f"scene-{number}"),
    "label-events": label_event,
    "subscriptions": lambda session, number: session.add(
        Subscription(url=f"https://hooks.example.org/{number}", created_by="operator")
    ),
    "users": lambda session, number: users.add(session, name(number), Role.READER, "a long password"),
    "tokens": lambda session, number: tokens.add(session, name(number), Role.READER),
}
KEYS = {"users": "name", "tokens": "name", "set-aside": "name"}


def filled(catalog: Catalog, add: Add, count: int) -> None:
    with catalog.database.write() as session:
        for number in range(1, count + 1):
            add(session, number)


def pages(client: FlaskClient, address: str | None, headers: dict[str, str]) -> Iterator[list[dict[str, Any]]]:
    """Yield the pages from an address on, as the header ``Link`` leads from one to the next."""
    while address is not None:
        response = client.get(address, headers=headers)
        assert response.status_code == 200, response.text
        yield response.json
        following = re.fullmatch(r'<(.+)>; rel="next"', response.headers.get("Link", ""))
        address = following[1] if following else None


@pytest.mark.parametrize("path", NEWEST_FIRST | OLDEST_FIRST)
def test_each_item_is_on_one_page_though_one_is_added_between_two_requests(
    client: FlaskClient, catalog: Catalog, path: str
) -> None:
    add, key = (NEWEST_FIRST | OLDEST_FIRST)[path], KEYS.get(path, "id")
    headers = as_role(catalog, "administrator")
    filled(catalog, add, 7)
    address = f"/api/v1/{path}"
    before = [item[key] for item in client.get(address, headers=headers).json]
    assert len(before) >= 7
    seen = []
    for page in pages(client, f"{address}?limit=3", headers):
        if not seen:
            with catalog.database.write() as session:
                add(session, 8)
        assert len(page) <= 3
        seen += [item[key] for item in page]
    added = [item[key] for item in client.get(address, headers=headers).json if item[key] not in before]
    assert len(added) == 1
    if path in NEWEST_FIRST:
        assert seen == before
    else:  # what is added comes last
        assert seen == before + added


def test_the_order_is_that_of_the_ids(client: FlaskClient, catalog: Catalog) -> None:
    filled(catalog, NEWEST_FIRST["rounds"], 4)
    filled(catalog, OLDEST_FIRST["scenes"], 4)
    headers = as_role(catalog, "reader")
    assert [item["id"] for item in client.get("/api/v1/rounds?before=4&limit=2", headers=headers).json] == [3, 2]
    assert [item["id"] for item in client.get("/api/v1/scenes?after=1&limit=2", headers=headers).json] == [2, 3]


def test_without_a_limit_a_thousand_are_given(client: FlaskClient, catalog: Catalog) -> None:
    filled(catalog, NEWEST_FIRST["withdrawals"], 1001)
    found = list(pages(client, "/api/v1/withdrawals", as_role(catalog, "operator")))
    assert [len(page) for page in found] == [1000, 1]
    assert [item["id"] for page in found for item in page] == list(range(1001, 0, -1))


def test_a_change_that_was_made_again_is_on_one_page_and_gone_scenes_end_no_list(
    client: FlaskClient, catalog: Catalog
) -> None:
    filled(catalog, change, 5)
    with catalog.database.write() as session:
        first, second = session.query(Job).order_by(Job.created_at).limit(2)
        first.state = "finished"
        again = Job(kind=first.kind, key=first.key, subject=first.subject)
        session.add(again)
        second.subject = second.subject | {"earlier": 999}  # there is no such scene
    found = list(pages(client, "/api/v1/changes?limit=1", as_role(catalog, "reader")))
    assert [[int(item["id"], 16) for item in page] for page in found] == [[1], [5], [4], [3], [], []]


def test_a_page_after_a_job_that_does_not_exist_is_refused(client: FlaskClient, catalog: Catalog) -> None:
    response = client.get(f"/api/v1/jobs?before={'0' * 32}", headers=as_role(catalog, "reader"))
    assert_problem(response, 404, f"there is no job '{'0' * 32}'")


def test_every_list_of_rows_has_pages(client: FlaskClient) -> None:
    """A list that grows with use says where its next page begins."""
    bounded = {"/api/v1/settings", "/api/v1/effort"}  # one entry a setting, one a kind of label
    document = client.get("/openapi.json").json
    for path, item in document["paths"].items():
        schema = item.get("get", {}).get("responses", {}).get("200", {}).get("content", {}).get("application/json", {})
        if not schema.get("schema", {}).get("$ref", "").endswith("List") or path in bounded:
            continue
        parameters = {parameter["name"] for parameter in item["get"].get("parameters", [])}
        assert "limit" in parameters, path
        assert parameters & {"before", "after"}, path


SHOWN: dict[str, tuple[str, Add, str, bool]] = {
    "work": ("/", waiting_job, r">job (\d+)<", False),
    "aside": ("/", NEWEST_FIRST["set-aside"], r"<td>(\d+)\.tif</td>", False),
    "not-learnt": ("/", failed_event, r'<tr><td class="n">(\d+)</td><td>tasks deleted</td>\n', True),
    "rounds": ("/", NEWEST_FIRST["rounds"], r'href="/rounds/(\d+)"', True),
    "scenes": ("/", OLDEST_FIRST["scenes"], r'href="/scenes/(\d+)/replace"', False),
    "withdrawals": ("/quality", NEWEST_FIRST["withdrawals"], r'<tr><td class="n">(\d+)</td><td><time', True),
    "all": ("/changes", change, r"<tr><td>scene-(\d+)</td>", True),
    "submissions": ("/data-sets", submission, r"<tr><td>langtang-(\d+)</td>", True),
    "made": ("/experiments", experiment, r"steps: (\d+)", True),
    "data-sets": ("/data-sets", data_set, r"<tr><td>set (\d+)</td>", True),
    "people": ("/people", OLDEST_FIRST["users"], r"<tr><td>zz-name-(\d+)</td>", False),
    "tokens": ("/people", OLDEST_FIRST["tokens"], r"<tr><td>zz-name-(\d+)</td>", False),
    "deliveries": ("/events", delivery, r'<td class="n">(\d+)</td><td class="[^"]*">pending', True),
    "subscriptions": ("/events", OLDEST_FIRST["subscriptions"], r'<tr><td class="n">(\d+)</td><td>https', False),
    "changes": ("/settings", NEWEST_FIRST["settings/changes"], r"round_size</a></td><td>(\d+)</td>", True),
}


@pytest.mark.parametrize("name", SHOWN)
def test_pages_lead_through_a_list_without_a_script(client: FlaskClient, catalog: Catalog, name: str) -> None:
    path, add, pattern, newest_first = SHOWN[name]
    count = 105
    filled(catalog, add, count)
    headers = as_role(catalog, "administrator")

    def shown(address: str) -> tuple[list[int], dict[str, str]]:
        response = client.get(address, headers=headers)
        assert response.status_code == 200, response.text
        links = re.findall(r'<a rel="(prev|next)" href="([^"]+)"', response.text)
        own = {side: link.replace("&amp;", "&") for side, link in links if link.endswith(f"#{name}")}
        return list(dict.fromkeys(map(int, re.findall(pattern, response.text)))), own

    there, address = [], path
    while True:
        numbers, links = shown(address)
        there.append(numbers)
        if "next" not in links:
            break
        address = links["next"]
    assert len(there) > 1
    expected = list(range(1, count + 1))
    assert [number for numbers in there for number in numbers] == (expected[::-1] if newest_first else expected)
    back = [numbers]
    while "prev" in links:
        numbers, links = shown(links["prev"])
        back.insert(0, numbers)
    assert back[0] == there[0]  # the first page is whole, however it is come to
    assert sorted({number for numbers in back for number in numbers}) == expected


def test_a_section_that_is_asked_for_again_stays_at_its_page(client: FlaskClient, catalog: Catalog) -> None:
    filled(catalog, NEWEST_FIRST["rounds"], 30)
    headers = as_role(catalog, "reader")
    page = client.get("/?rounds_before=11&_scheme=javascript", headers=headers).text
    (address,) = re.findall(r'hx-get="(/dashboard/rounds[^"]*)"', page)
    assert address == "/dashboard/rounds?rounds_before=11"
    section = client.get(address, headers=headers).text
    assert re.findall(r'href="/rounds/(\d+)"', section) == [str(number) for number in range(10, 0, -1)]
    assert re.findall(r'rel="prev" href="([^"]+)"', section) == ["/?rounds_after=10#rounds"]


def test_a_place_that_is_gone_leads_to_the_first_page(client: FlaskClient, catalog: Catalog) -> None:
    filled(catalog, change, 2)
    page = client.get(f"/changes?all_before={'0' * 32}", headers=as_role(catalog, "reader"))
    assert page.status_code == 200
    assert re.findall(r"<tr><td>scene-(\d+)</td>", page.text) == ["2", "1"]


def test_a_place_between_two_is_refused(client: FlaskClient, catalog: Catalog) -> None:
    response = client.get("/?rounds_before=3&rounds_after=1", headers=as_role(catalog, "reader"))
    assert response.status_code == 422
    assert "found both rounds_before and rounds_after, expected one of them at most" in response.text


def test_a_place_with_nothing_behind_it_leads_to_the_first_page(client: FlaskClient, catalog: Catalog) -> None:
    filled(catalog, NEWEST_FIRST["rounds"], 2)
    page = client.get("/?rounds_before=1", headers=as_role(catalog, "reader")).text
    assert re.findall(r'href="/rounds/(\d+)"', page) == ["2", "1"]
    assert 'rel="prev"' not in page


@pytest.mark.parametrize("place", ["rounds_before=x", "rounds_before=-1", "rounds_after=99999999999"])
def test_a_place_that_can_be_none_is_refused(client: FlaskClient, catalog: Catalog, place: str) -> None:
    response = client.get(f"/?{place}", headers=as_role(catalog, "reader"))
    assert response.status_code == 422
    assert "expected a whole number" in response.text
