from html.parser import HTMLParser

from flask.testing import FlaskClient

from catalog import failures, jobs, labels
from catalog.context import Catalog
from catalog.records import JobKind, Proposal, Scene
from services.registry_watch import RegistryWatcher
from services.rounds import abandon
from tests.catalog_fixtures import add_round, add_scene, as_role, label_of

STYLE = "/static/pages.css"  # of this server; all else would break the content security policy


class Page(HTMLParser):
    """The visible text of a page, whether its tags match, and the addresses it loads by itself."""

    VOID = frozenset({"meta", "link", "br", "img", "progress"})

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
    for expected in ("glacier-al scene everest", "glacier-al round", "waiting for annotators"):
        assert expected in " ".join(page.text.split())
    assert page.loaded == [STYLE]


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
        "1 new since the last fine-tune",
        "fine tune running training: loss 0.4",
        "2 published, 1 labelled",
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
    assert page.loaded == [STYLE]
