"""What people see of an error: a page in a browser, and the JSON of `test_error_shape` for every program."""

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from catalog.access_records import LogIn, Role
from catalog.context import Catalog
from catalog.records import now
from services import users
from tests.al_server.test_log_in import BROWSER, PASSWORD, log_in
from tests.catalog_fixtures import as_role

PROGRAMS: list[dict[str, str]] = [{}, {"Accept": "*/*"}, {"Accept": "application/json"}]
CASES = [
    ("/dashbord", 404, "Not Found", "There is no page at this address."),
    ("/patches/99999", 404, "Not Found", "there is no patch 99999"),
    ("/patches/x", 404, "Not Found", "There is no page at this address."),
    ("/dashboard/nothing", 404, "Not Found", "found no section &#39;nothing&#39;, expected one of now"),
    ("/scenes/add", 403, "Forbidden", "rita has the role reader, this needs operator"),
    ("/logout", 405, "Method Not Allowed", "This address is only for forms and buttons of our pages."),
]


@pytest.fixture
def rita(client: FlaskClient, catalog: Catalog) -> FlaskClient:
    """A browser in which a reader is logged in."""
    with catalog.database.write() as session:
        users.add(session, "rita", Role.READER, PASSWORD)
        users.add(session, "anna", Role.OPERATOR, PASSWORD)
    log_in(client, name="rita")
    return client


@pytest.mark.parametrize(("address", "status", "title", "reason"), CASES)
def test_a_browser_gets_a_page_with_the_reason_and_the_way_back(
    rita: FlaskClient, address: str, status: int, title: str, reason: str
) -> None:
    response = rita.get(address, headers=BROWSER)
    assert (response.status_code, response.mimetype) == (status, "text/html")
    assert f"<h1>{title}</h1>" in response.text
    assert reason in response.text
    assert '<a href="/">Go to the dashboard</a>' in response.text
    assert ("Log in as somebody else" in response.text) == (status == 403)
    assert '<a href="/account">rita</a>' in response.text
    assert response.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert not re.search(r"<script|<style|\sstyle=|\son\w+=", response.text)


@pytest.mark.parametrize(("address", "status", "title", "reason"), CASES)
@pytest.mark.parametrize("headers", PROGRAMS)
def test_a_program_gets_problem_json(
    rita: FlaskClient, headers: dict[str, str], address: str, status: int, title: str, reason: str
) -> None:
    response = rita.get(address, headers=headers)
    assert (response.status_code, response.content_type) == (status, "application/problem+json")
    assert response.get_json(force=True)["title"] == title


@pytest.mark.parametrize("address", ["/api/v1/scenes/7", "/api/nowhere", "/api", "/static/nothing.css"])
def test_the_api_answers_browsers_in_json_too(rita: FlaskClient, address: str) -> None:
    response = rita.get(address, headers=BROWSER)
    assert (response.status_code, response.content_type) == (404, "application/problem+json")


def test_strangers_are_shown_no_links_of_people(client: FlaskClient) -> None:
    response = client.get("/dashbord", headers=BROWSER)
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "<nav" not in response.text


def test_what_people_write_is_shown_and_not_run(client: FlaskClient, catalog: Catalog) -> None:
    headers = BROWSER | as_role(catalog, "reader")
    response = client.get("/dashboard/<script>alert(1)<script>", headers=headers)
    assert response.status_code == 404
    assert "<script" not in response.text
    assert "&lt;script&gt;alert(1)" in response.text


def test_a_failure_of_the_server_is_told_even_without_a_database(
    rita: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        monkeypatch.setattr("al_server.auth._identify", lambda: 1 / 0)  # from now on
        raise OSError

    rita.application.view_functions["dashboard.index"] = fail
    response = rita.get("/", headers=BROWSER)
    assert (response.status_code, response.mimetype) == (500, "text/html")
    assert "this server failed; its log says why" in response.text


def test_logging_out_of_a_log_in_that_has_ended_leads_to_the_log_in(rita: FlaskClient, catalog: Catalog) -> None:
    value = re.search(r'name="csrf_token" value="([^"]+)"', rita.get("/").text)
    assert value is not None
    form = {"csrf_token": value[1]}
    with catalog.database.write() as session:
        session.query(LogIn).one().expires_at = now()
    for _ in range(2):  # its row has ended; then its cookie, too
        led = rita.post("/logout", data=form, headers=BROWSER)
        assert (led.status_code, led.location) == (303, "/login")
        assert rita.post("/logout", data=form).status_code in {401, 403}  # a program
        rita.delete_cookie("glacier_al")


def test_no_page_of_another_origin_logs_anybody_out(rita: FlaskClient, app: Flask) -> None:
    for headers in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://localhost:8080"}):
        refused = rita.post("/logout", headers=BROWSER | headers)
        assert (refused.status_code, refused.mimetype) == (403, "text/html")
        without_cookie = app.test_client().post("/logout", headers=BROWSER | headers)  # as browsers send it
        assert (without_cookie.status_code, "Set-Cookie" in without_cookie.headers) == (403, False)
    assert rita.get("/account").status_code == 200


def test_the_form_of_a_tab_that_is_older_than_the_log_in_says_so(rita: FlaskClient, app: Flask) -> None:
    value = re.search(r'name="csrf_token" value="([^"]+)"', app.test_client().get("/login").text)
    assert value is not None
    for address in ("/login", "/account", "/logout"):
        refused = rita.post(address, data={"csrf_token": value[1]}, headers=BROWSER)
        assert (refused.status_code, refused.mimetype) == (403, "text/html")
        assert "the form is older than the last log-in" in refused.text


def test_a_form_that_is_sent_after_the_log_in_has_ended_leads_to_the_log_in(
    rita: FlaskClient, catalog: Catalog
) -> None:
    value = re.search(r'name="csrf_token" value="([^"]+)"', rita.get("/account").text)
    assert value is not None
    with catalog.database.write() as session:
        session.query(LogIn).one().expires_at = now()
    form = {"csrf_token": value[1], "password": PASSWORD, "new": "another password"}
    refused = rita.post("/account", data=form, headers=BROWSER)
    assert (refused.status_code, refused.mimetype) == (401, "text/html")
    assert "You are not logged in, or your log-in has ended." in refused.text
    assert '<a href="/login">Log in</a>' in refused.text
    assert refused.headers["WWW-Authenticate"].startswith("Bearer ")
