import pytest
from flask.testing import FlaskClient
from sqlalchemy import event

from al_server import current_settings
from catalog import jobs
from catalog.context import Catalog
from catalog.records import JobKind, ProposalReason, ProposalState, Round, RoundState
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_round, add_scene, add_scoring, as_role, pushed

ROUNDS = "/api/v1/rounds"


def test_opening_a_round_follows_the_settings_and_says_where(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    response = client.post(ROUNDS, json={}, headers=as_role(catalog, "operator"))
    assert response.status_code == 202
    opened, job = response.json["round"], response.json["job"]
    assert (opened["strategy"], opened["size"], opened["state"]) == ("random", catalog.settings.round_size, "choosing")
    assert opened["seed"] == opened["id"]
    assert (job["kind"], job["subject"]) == ("propose_round", {"round_id": opened["id"]})
    assert pushed(catalog) == [f"{job['id']}-0"]
    assert client.get(response.headers["Location"], headers=as_role(catalog, "reader")).json == opened


def test_a_request_may_say_how(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scoring(session, 5, {patch.id: 0.5 for patch in patches})
    body = {"strategy": "entropy_top10", "size": 3, "seed": 0}
    opened = client.post(ROUNDS, json=body, headers=as_role(catalog, "operator")).json["round"]
    assert {name: opened[name] for name in body} == body
    assert opened["model_version"] == 5


def test_a_second_round_waits_for_the_first(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    client.post(ROUNDS, json={}, headers=as_role(catalog, "operator"))
    response = client.post(ROUNDS, json={}, headers=as_role(catalog, "operator"))
    assert_problem(response, 409, "round 1 is still choosing; wait until it is open")
    with catalog.read() as session:
        assert session.query(Round).count() == 1


def test_a_ranking_without_scores_is_refused(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        add_scene(session)
    response = client.post(ROUNDS, json={"strategy": "mutual_information"}, headers=as_role(catalog, "operator"))
    assert_problem(response, 409, "no version has scored the pool yet", "'random'")


def test_a_ranking_by_prior_outlines_without_any_is_refused(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        add_scoring(session, 1, {patch.id: 0.5 for patch in patches})
    response = client.post(ROUNDS, json={"strategy": "prior_disagreement"}, headers=as_role(catalog, "operator"))
    assert_problem(response, 409, "but no scene of the pool has any")


def test_progress_is_told_by_state_and_reason_the_newest_round_first(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        first, _ = add_round(session, patches[:1])
        first.state = RoundState.COMPLETE
        _, proposals = add_round(session, patches[1:4], first_task=2)
        proposals[0].state = ProposalState.LABELLED
        proposals[0].reason = proposals[1].reason = ProposalReason.UNCERTAIN
    newest, oldest = client.get(ROUNDS, headers=as_role(catalog, "reader")).json
    assert (newest["id"], newest["state"], oldest["id"], oldest["state"]) == (2, "open", 1, "complete")
    assert newest["proposals"] == {
        "chosen": 0,
        "published": 2,
        "labelled": 1,
        "skipped": 0,
        "withdrawn": 0,
        "abandoned": 0,
    }
    assert newest["reasons"] == {"uncertain": 2, "random start": 1}


@pytest.mark.parametrize("address", [ROUNDS, "/api/v1/scenes", "/api/v1/changes", "/"])
def test_no_list_asks_the_database_for_each_item(
    client: FlaskClient, catalog: Catalog, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(current_settings, "KEPT_FOR_S", 0.0)  # each request asks for changed settings, not some
    asked: list[str] = []
    event.listen(catalog.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2]))

    def queries() -> int:
        asked.clear()
        assert client.get(address, headers=as_role(catalog, "reader")).status_code == 200
        return len(asked)

    def grow(first: int, last: int) -> None:
        with catalog.database.write() as session:
            for number in range(first, last):
                scene, patches = add_scene(session, f"scene-{number}", offset_px=200 * number)
                subject = {"uid": f"{number}", "earlier": scene.id, "later": scene.id, "subject": "prediction"}
                jobs.enqueue(session, JobKind.COMPARE_SCENES, f"{number}", **subject, version=1)
                scoring = add_scoring(session, number, {patches[0].id: 0.5})
                add_round(session, patches[:2], first_task=1 + 10 * number)[0].scoring_id = scoring.id

    grow(0, 2)
    queries()  # the first use of a token looks it up and is noted
    few = queries()
    grow(2, 12)
    assert queries() == few


def test_a_round_is_abandoned_by_an_operator(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, _ = add_round(session, patches[:2])
    address = f"{ROUNDS}/{opened.id}/abandon"
    assert_problem(client.post(address, headers=as_role(catalog, "annotator")), 403, "needs operator")
    response = client.post(address, headers=as_role(catalog, "operator"))
    assert (response.status_code, response.json["state"]) == (200, "abandoned")
    assert response.json["proposals"]["abandoned"] == 2
    assert_problem(client.post(address, headers=as_role(catalog, "operator")), 409, "is abandoned already")
