import json
import re
from html import unescape
from html.parser import HTMLParser

import pytest
from flask.testing import FlaskClient

from al_server import dashboard_sections
from al_server.dashboard import SECTIONS
from catalog import failures, jobs, labels, registry_copy
from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.records import JobKind, Proposal, Scene, SceneRole, SceneState, now
from catalog.registry import CHAMPION, ModelVersion
from imagery import everest_files
from services.registry_watch import RegistryWatcher
from services.rounds import abandon, open_round
from tests.catalog_fixtures import add_round, add_scene, as_role, label_of
from tests.dashboard_world import (
    add_alert,
    add_failed_event,
    complete_round,
    populate,
    run_fine_tune,
    tick,
    version_tags,
)

# Of this server; all else would break the content security policy.
LOADED = ["/static/icon.svg", "/static/pages.css", "/static/app/dashboard.css", "/static/app/dashboard.js"]
OPERATOR_ACTS = {"replay", "retry", "cancel", "abandon", "acknowledge", "rounds", "1", "2", "3"}
"""Last parts of what an operator may call: 1 to 3 are scenes that may be removed."""


class Page(HTMLParser):
    """The visible text of a page, whether its tags match, and the addresses it loads by itself."""

    VOID = frozenset({"meta", "link", "br", "img", "input"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.open, self.loaded = "", [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loaded += [value for name, value in attrs if name == "src" or (tag == "link" and name == "href")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " " + data


def load(client: FlaskClient, catalog: Catalog) -> Page:
    response = client.get("/", headers=as_role(catalog, "reader"))
    assert response.status_code == 200
    page = Page(response.text)
    assert page.open == []
    return page


def test_an_empty_system_says_how_to_begin(client: FlaskClient, catalog: Catalog) -> None:
    page = load(client, catalog)
    for expected in (
        "None yet.",  # scenes, which a reader does not register
        "glacier-al round",
        "Nothing is running or queued",
        "not checked since its start: the clock does that",  # no clock has ticked on this catalog
    ):
        assert expected in " ".join(page.text.split())
    assert page.loaded == LOADED


def test_an_operator_is_told_of_the_example_where_its_files_are_installed(
    client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for is_installed in (True, False):
        monkeypatch.setattr(everest_files, "is_installed", lambda there=is_installed: there)
        shown = client.get("/dashboard/scenes", headers=as_role(catalog, "operator")).text
        assert "<code>glacier-al scene add</code> registers your own" in shown
        assert ("<code>glacier-al scene everest</code> an example" in shown) == is_installed


def test_mlflow_down_is_told_and_the_rest_shown(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session, "khumbu")
    RegistryWatcher(catalog).look()
    page = load(client, catalog)
    assert "MLflow does not answer" in page.text
    assert "khumbu" in page.text


def test_the_page_tells_of_labels_rounds_scenes_work_and_failures(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session, "khumbu")
        _, proposals = add_round(session, patches[:3])
        labels.store(session, label_of(session, session.get_one(Proposal, proposals[0].id), 1))
        job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
        jobs.claim(session, job.id)
        jobs.report_progress(session, job.id, 1, 50, 100, "training: loss 0.4")
        failed = jobs.enqueue(session, JobKind.TILE_SCENE, "9", scene_id=9)
        jobs.claim(session, failed.id)
        jobs.fail(session, failed.id, 1, "found no pixel that is valid")
    text = " ".join(load(client, catalog).text.split())
    for expected in (
        "1 labels",
        "1 new since the last fine-tune; 20 start one",
        "fine tune running training: loss 0.4",
        "50 %",
        "2 published, 1 labelled analyst-",
        "khumbu pool ready 160 × 100 px 20 of 32 px",
        "tile scene failed found no pixel that is valid",
    ):
        assert expected in text


def test_what_a_person_ended_is_shown_as_ended_and_not_as_a_failure(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session, "khumbu")
        opened, proposals = add_round(session, patches[:3])
        labels.store(session, label_of(session, proposals[0], 1))
        labels.refresh_states(session, proposals[0], skipped=False)
        abandon(session, opened.id)
        queued = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
        failures.cancel(session, queued.id)
        running = jobs.enqueue(session, JobKind.TILE_SCENE, "9", scene_id=9)
        jobs.claim(session, running.id)
        failures.cancel(session, running.id)
    response = client.get("/", headers=as_role(catalog, "reader")).text
    text = " ".join(load(client, catalog).text.split())
    for expected in (
        "random abandoned 3 – 1 labelled, 2 abandoned",
        "fine tune cancelled cancelled by a person",
        "tile scene stopping",
    ):
        assert expected in text
    assert '<td class="bad">cancelled by a person' not in response


def test_what_people_name_is_shown_and_not_run(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
        session.query(Scene).one().error = "<script>alert(1)</script>"
    page = load(client, catalog)
    assert "<script>alert(1)</script>" in page.text
    assert page.loaded == LOADED


def test_each_section_is_what_the_page_shows_of_it(client: FlaskClient, catalog: Catalog) -> None:
    """The page's script swaps sections by these addresses; without the script the page holds them all."""
    with catalog.database.write() as session:
        populate(session)
        add_failed_event(session)
        add_alert(session)
    headers = as_role(catalog, "administrator")
    page = " ".join(Page(client.get("/", headers=headers).text).text.split())
    for name in SECTIONS:
        response = client.get(f"/dashboard/{name}", headers=headers)
        section = Page(response.text)
        assert (response.status_code, section.open, section.loaded) == (200, [], [])
        words = " ".join(section.text.split())
        assert len(words) > 5
        assert words in page
    refused = client.get("/dashboard/nothing", headers=headers)
    assert refused.status_code == 404
    assert "found no section 'nothing', expected one of now, work, rounds" in refused.json["detail"]


def test_a_reader_is_offered_no_change(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        populate(session)
        add_failed_event(session)
        add_alert(session)
        run_fine_tune(session)
    for role, offered in (("reader", set()), ("annotator", {"replay"}), ("operator", OPERATOR_ACTS)):
        html = client.get("/", headers=as_role(catalog, role)).text
        calls = re.findall(r'data-call="([A-Z]+ [^"]+)"', html)
        assert {call.rpartition("/")[2] for call in calls if "?" not in call} == offered


def test_buttons_name_the_version_that_is_replaced_and_send_it(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(number, "run", now(), {}) for number in (1, 2, 3)])
        registry_copy.set_aliases(session, {CHAMPION: 2})
        for version, before in ((1, None), (2, 1)):
            moved = {"verdict": "promoted", "reason": "better", "actor": "gate"}
            session.add(Promotion(model_version=version, previous_version=before, **moved))
    load(client, catalog)
    html = client.get("/dashboard/versions", headers=as_role(catalog, "operator")).text
    titles = re.findall(r'data-title="([^"]+)"[^>]*data-body="([^"]+)"', html)
    body = "{&#34;from_version&#34;: 2}"
    assert titles == [
        ("Serve version 1 again instead of version 2?", body),
        ("Serve version 3 instead of version 2?", body),
        ("Serve version 1 instead of version 2?", body),
    ]


def test_a_gate_of_too_few_blocks_has_no_interval(client: FlaskClient, catalog: Catalog) -> None:
    tags = version_tags()[-1]
    gate = json.loads(tags["gate.evidence"])
    gate |= {"mean_iou": {"gain": 0.02, "low": None, "high": None, "outcome": "cannot tell"}}
    gate |= {"blocks": 2, "blocks_needed": 4, "too_small": True}
    with catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(3, "run", now(), tags | {"gate.evidence": json.dumps(gate)})])
    shown = {
        path: " ".join(re.sub("<[^>]*>", " ", client.get(path, headers=as_role(catalog, "reader")).text).split())
        for path in ("/dashboard/versions", "/versions/3")
    }
    assert "has 2 blocks of 32 px; no interval can be told of fewer than 4." in shown["/dashboard/versions"]
    assert "+0.020 unknown" in shown["/versions/3"]
    assert "at least 4 are needed" in shown["/versions/3"]


def test_all_decisions_can_be_reached(client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_sections, "DECISIONS_SHOWN", 2)
    with catalog.database.write() as session:
        for version in (1, 2, 3):
            moved = {"verdict": "promoted", "reason": f"reason {version}", "actor": "gate"}
            session.add(Promotion(model_version=version, previous_version=version - 1 or None, **moved))
    operator = as_role(catalog, "operator")
    first = client.get("/dashboard/versions", headers=operator).text
    assert re.findall(r"reason \d", first) == ["reason 3", "reason 2"]
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    assert older == "/?decisions_before=2#decisions"
    second = client.get("/dashboard/versions?decisions_before=2", headers=operator).text
    assert re.findall(r"reason \d", second) == ["reason 1"]
    assert '<details id="decisions" open>' in second
    (newer,) = re.findall(r'rel="prev" href="([^"]+)"', second)
    again = client.get(newer.replace("/?", "/dashboard/versions?"), headers=operator).text
    assert re.findall(r"reason \d", again) == ["reason 3", "reason 2"]
    assert '<details id="decisions" open>' in again


def test_only_ready_scenes_are_linked_to_the_map(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        states = [SceneState.READY, SceneState.REGISTERED, SceneState.REJECTED]
        for place, state in enumerate(states):
            scene, _ = add_scene(session, f"scene-{state}", offset_px=1000 * place)
            scene.state = state
    html = client.get("/dashboard/scenes", headers=as_role(catalog, "reader")).text
    assert re.findall(r'href="/map#scene=(\d+)"', html) == ["1", "1"]  # on the small map and in the table
    assert html.count("<polygon") == len(states)
    assert "scene-rejected</td>" in html


def test_times_name_their_zone(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        populate(session)
        add_failed_event(session)
    times = re.findall(r"<time [^>]*>([^<]*)</time>", client.get("/", headers=as_role(catalog, "operator")).text)
    assert len(times) > 3
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", moment) for moment in times)


def test_a_step_that_names_a_retry_leads_to_its_button(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        populate(session)
        complete_round(session)
        opened = open_round(session, catalog.settings, "random", 3)
        job = jobs.last_of(session, JobKind.PROPOSE_ROUND, str(opened.id))
        assert job is not None
        jobs.claim(session, job.id)
        failures.note_failure(session, job, "no patch has valid pixels", max_failures=1)
    tick(catalog)
    html = client.get("/", headers=as_role(catalog, "operator")).text
    assert f"Round {opened.id} could not be chosen: no patch has valid pixels. Retry its job" in html
    assert f"POST /api/v1/jobs/{job.id}/retry" in html.partition('<p class="do">')[2].partition("</p>")[0]
    assert f"rounds/{opened.id}/abandon" not in html


def test_every_version_can_be_reached(client: FlaskClient, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboard_sections, "VERSIONS_SHOWN", 2)
    with catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(number, "run", now(), {}) for number in range(1, 6)])
    headers = as_role(catalog, "reader")
    newest = client.get("/", headers=headers).text
    older = re.search(r'rel="next" href="([^"]*versions_before=4[^"]*)"', newest)
    assert older is not None
    shown = client.get(unescape(older[1]).partition("#")[0], headers=headers).text
    assert re.findall(r'href="/versions/([0-9]+)"', shown.partition('aria-label="Model versions"')[2]) == ["3", "2"]


def test_every_failed_and_cancelled_job_can_be_reached(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        ids = [jobs.enqueue(session, JobKind.PREDICT_AREA, str(number)).id for number in range(7)]
        for job_id in ids:
            failures.cancel(session, job_id)
    headers, address, reached = as_role(catalog, "operator"), "/?", []
    while address:
        section = client.get(address, headers=headers).text.partition('<section id="trouble"')[2]
        reached += re.findall(r"jobs/([0-9a-f-]+)/retry", section)
        older = re.search(r'rel="next" href="([^"]*)"', section)
        address = unescape(older[1]).partition("#")[0] if older else ""
    assert sorted(reached) == sorted(ids)


def test_a_scoring_that_waits_or_is_put_together_is_shown(client: FlaskClient, catalog: Catalog) -> None:
    headers = as_role(catalog, "operator")
    assert "Nothing is running or queued." in client.get("/", headers=headers).text
    with catalog.database.write() as session:
        waiting = jobs.enqueue(session, JobKind.SCORE_POOL, version=2)
        waiting.error = "MLflow does not answer"
    shown = " ".join(re.sub("<[^>]*>", " ", client.get("/dashboard/work", headers=headers).text).split())
    assert "score pool queued tried again after: MLflow does not answer" in shown
    assert "Nothing is running" not in shown


def test_operators_read_who_labelled_what_and_others_read_pseudonyms(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        populate(session)
    read = {
        role: client.get("/dashboard/rounds", headers=as_role(catalog, role)).text for role in ("reader", "operator")
    }
    assert "anna@glacier.local 2, ben@glacier.local 2" in " ".join(Page(read["operator"]).text.split()).replace(
        " ,", ","
    )
    assert "@" not in read["reader"]
    assert len(set(re.findall(r"analyst-[0-9a-f]{8}", read["reader"]))) == 2


def test_people_without_the_role_cannot_open_the_page_that_adds_a_scene(client: FlaskClient, catalog: Catalog) -> None:
    assert client.get("/scenes/add", headers=as_role(catalog, "annotator")).status_code == 403
    (catalog.settings.scene_root / "LC09_khumbu").mkdir(parents=True)
    (catalog.settings.scene_root / ".hidden").touch()
    page = client.get("/scenes/add?role=validation", headers=as_role(catalog, "operator")).text
    assert '<option value="LC09_khumbu">' in page
    assert ".hidden" not in page
    assert '<option value="validation" selected>' in page


def test_a_scene_is_replaced_on_a_page_that_says_what_is_known_of_it(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        scene, patches = add_scene(session, "khumbu")
        judging, _ = add_scene(session, "langtang", SceneRole.TEST, offset_px=900)
        gone, _ = add_scene(session, "gone", offset_px=1400, state=SceneState.REMOVED)
        _, proposals = add_round(session, patches[:2])
        for annotation, proposal in enumerate(proposals, start=1):
            labels.store(session, label_of(session, proposal, annotation))
        labels.supersede(session, 15, 2)
    operator = as_role(catalog, "operator")
    assert f'href="/scenes/{scene.id}/replace"' in client.get("/", headers=operator).text
    assert "/replace" not in client.get("/", headers=as_role(catalog, "annotator")).text
    assert client.get(f"/scenes/{scene.id}/replace", headers=as_role(catalog, "annotator")).status_code == 403
    for unknown in (gone.id, 999):
        assert client.get(f"/scenes/{unknown}/replace", headers=operator).status_code == 404
    html = client.get(f"/scenes/{scene.id}/replace", headers=operator).text
    page = Page(html)
    assert page.open == []
    text = " ".join(page.text.split())
    assert "Replace scene khumbu" in text
    assert "1 label stands on it; 2 were drawn" in text
    assert 'id="name"' not in html  # it stays
    other = client.get(f"/scenes/{judging.id}/replace", headers=operator).text
    assert '<option value="test" selected>' in other
    assert 'value="keep"' not in other  # nothing was drawn on it


def test_the_page_that_adds_a_scene_offers_what_exists_and_asks_about_no_labels(
    client: FlaskClient, catalog: Catalog
) -> None:
    page = client.get("/scenes/add", headers=as_role(catalog, "operator")).text
    assert Page(page).open == []
    assert re.findall(r'name="masked" value="([a-z- ]+)" checked', page) == ["fill", "cloud", "cloud shadow", "cirrus"]
    assert 'value="snow"' not in page
    for choice in ("landsat-8-oli", "top of atmosphere, not corrected for the height of the sun", "digital number"):
        assert f'<option value="{choice}">' in page
    assert 'value="discard"' not in page
