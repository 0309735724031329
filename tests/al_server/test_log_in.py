"""Log in, log out, change the password: what a browser gets, and what guessing gets."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from al_server.app import create_app
from catalog.access_records import LogIn, LogInAttempt, Role, User
from catalog.context import Catalog
from catalog.errors import AccessRefusedError, TooManyAttemptsError
from catalog.records import now
from catalog.settings import Settings
from services import log_ins, passwords, users

PASSWORD = "correct horse battery"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def anna(catalog: Catalog) -> None:
    with catalog.database.write() as session:
        users.add(session, "anna", Role.OPERATOR, PASSWORD)


def posted(client: FlaskClient, address: str, page: str | None = None, **form: str) -> TestResponse:
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(page or address).text)
    assert found is not None
    return client.post(address, data={"csrf_token": found[1], **form})


def log_in(client: FlaskClient, password: str = PASSWORD, name: str = "anna", **form: str) -> TestResponse:
    return posted(client, "/login", name=name, password=password, **form)


def test_a_browser_without_log_in_is_led_to_it_and_back(client: FlaskClient, anna: None) -> None:
    led = client.get("/?x=1", headers=BROWSER)
    assert (led.status_code, led.location) == (303, "/login?next=/?x%3D1")
    page = client.get(led.location)
    wanted = re.search(r'name="next" value="([^"]+)"', page.text)
    assert wanted is not None and wanted[1] == "/?x=1"
    response = log_in(client, next="/")
    assert (response.status_code, response.location) == (303, "/")
    assert ">anna</a>" in client.get("/").text


def test_a_program_is_told_instead(client: FlaskClient) -> None:
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        response = client.get("/api/v1/scenes", headers=accept)
        assert response.status_code == 401
        assert response.content_type == "application/problem+json"


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",  # browsers leave the tab out
        "/\t\\evil.example",
        "/\n\\evil.example",
    ],
)
def test_the_log_in_leads_to_our_own_pages_only(client: FlaskClient, anna: None, target: str) -> None:
    assert log_in(client, next=target).location == "/"


def test_the_cookie_is_for_our_pages_only_and_needs_tls_where_we_have_it(settings: Settings, anna: None) -> None:
    for api_url, secure in (("http://127.0.0.1:8000", False), ("https://glaciers.example.org", True)):
        secured = Catalog(settings.model_copy(update={"api_url": api_url}))
        client = create_app(secured).test_client()
        cookie = client.get("/login", base_url=api_url).headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert ("Secure" in cookie) == secure
        secured.close()


def test_logging_out_ends_the_log_in_for_a_copied_cookie_too(app: Flask, catalog: Catalog, anna: None) -> None:
    client, copy = app.test_client(), app.test_client()
    log_in(client)
    cookie = client.get_cookie("glacier_al")
    assert cookie is not None
    copy.set_cookie("glacier_al", cookie.value)
    assert copy.get("/account").status_code == 200
    assert posted(client, "/logout", "/account").location == "/login"
    for browser in (client, copy):
        assert browser.get("/account").status_code == 401
    with catalog.read() as session:
        assert session.query(LogIn).count() == 0


def test_logging_in_anew_ends_the_log_in_before(app: Flask, anna: None) -> None:
    client, copy = app.test_client(), app.test_client()
    log_in(client)
    cookie = client.get_cookie("glacier_al")
    assert cookie is not None
    copy.set_cookie("glacier_al", cookie.value)
    log_in(client)
    assert (client.get("/account").status_code, copy.get("/account").status_code) == (200, 401)


def test_an_answer_that_comes_late_does_not_put_back_the_cookie_of_an_earlier_log_in(app: Flask, anna: None) -> None:
    client = app.test_client()
    log_in(client)
    client.get("/account")  # the first page adds the value of its forms
    assert "Set-Cookie" not in client.get("/account").headers


def change_meanwhile(catalog: Catalog, patch: pytest.MonkeyPatch, change: Callable[[Session], object]) -> None:
    """Have something changed while a password is checked, before the answer is used."""
    matches = passwords.matches

    def match_and_change(password: str, stored: str | None) -> bool:
        found = matches(password, stored)
        with catalog.database.write() as session:
            change(session)
        return found

    patch.setattr(passwords, "matches", match_and_change)


@pytest.mark.parametrize(
    "change",
    [lambda session: users.set_password(session, "anna", "another password"), lambda s: users.disable(s, "anna")],
    ids=["password", "disabled"],
)
def test_a_log_in_does_not_outlive_what_it_was_checked_by(
    catalog: Catalog, anna: None, monkeypatch: pytest.MonkeyPatch, change: Callable[[Session], object]
) -> None:
    change_meanwhile(catalog, monkeypatch, change)
    with pytest.raises(AccessRefusedError, match="no user has this name and password"):
        log_ins.log_in(catalog.database, "anna", PASSWORD, "here", timedelta(hours=12))
    with catalog.read() as session:
        assert session.query(LogIn).count() == 0


def test_a_password_is_not_changed_by_one_that_is_good_no_more(
    client: FlaskClient, catalog: Catalog, anna: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client)
    form = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/account").text)
    assert form is not None
    data = {"csrf_token": form[1], "password": PASSWORD, "new": "a password of her own"}
    with monkeypatch.context() as patch:
        change_meanwhile(catalog, patch, lambda session: users.set_password(session, "anna", "another password"))
        response = client.post("/account", data=data)
    assert (response.status_code, response.location) == (303, "/login")
    with catalog.read() as session:
        stored = session.query(User).filter(User.name == "anna").one().password_hash
    assert passwords.matches("another password", stored)


def test_who_is_logged_out_while_a_page_is_drawn_still_gets_it(
    client: FlaskClient, anna: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(client)
    monkeypatch.setattr("al_server.page_frame.identity_or_none", lambda: None)  # as it is asked after the log-out
    page = client.get("/")
    assert (page.status_code, "anna" in page.text) == (200, True)


def test_a_log_in_ends_with_its_time_and_with_its_user(client: FlaskClient, catalog: Catalog, anna: None) -> None:
    log_in(client)
    with catalog.database.write() as session:
        session.query(LogIn).one().expires_at = now() - timedelta(seconds=1)
    assert client.get("/account").status_code == 401
    log_in(client)
    assert client.get("/account").status_code == 200
    with catalog.database.write() as session:
        users.set_role(session, "anna", Role.READER)
    assert "anna, reader" in client.get("/account").text
    with catalog.database.write() as session:
        users.disable(session, "anna")
    assert client.get("/account").status_code == 401
    assert "no user has this name and password" in log_in(client).text


def test_a_changed_password_ends_all_other_log_ins(app: Flask, anna: None) -> None:
    client, other = app.test_client(), app.test_client()
    log_in(client)
    log_in(other)
    too_short = posted(client, "/account", password=PASSWORD, new="short")
    assert (too_short.status_code, "5 characters, expected 12 to 128" in too_short.text) == (422, True)
    assert posted(client, "/account", password="wrong password", new="another password").status_code == 401
    changed = posted(client, "/account", password=PASSWORD, new="another password")
    assert "The password is changed." in changed.text
    assert client.get("/account").status_code == 200
    assert other.get("/account").status_code == 401
    assert log_in(other).status_code == 401
    assert log_in(other, "another password").status_code == 303


def test_a_stored_password_is_argon2id_with_a_salt(catalog: Catalog, anna: None) -> None:
    with catalog.database.write() as session:
        users.add(session, "ben", Role.READER, PASSWORD)
        hashes = [user.password_hash for user in session.query(User).filter(User.name.in_(["anna", "ben"]))]
    assert all(item.startswith("$argon2id$v=19$") for item in hashes)
    assert hashes[0] != hashes[1]


def test_who_guesses_has_to_wait_also_after_a_restart(catalog: Catalog, anna: None) -> None:
    def answer(password: str, address: str = "10.0.0.1", name: str = "anna") -> TestResponse:
        client = create_app(catalog).test_client()  # a new server each time
        client.environ_base["REMOTE_ADDR"] = address
        return log_in(client, password, name)

    for _ in range(log_ins.PERSON_AT_ADDRESS - 1):
        assert answer("wrong password").status_code == 401
    assert answer(PASSWORD).status_code == 303  # and the count begins anew
    for _ in range(log_ins.PERSON_AT_ADDRESS):
        assert answer("wrong password").status_code == 401
    refused = answer(PASSWORD)
    assert (refused.status_code, "try again in 15 min" in refused.text) == (429, True)
    assert 800 < int(refused.headers["Retry-After"]) <= 900
    assert answer(PASSWORD, "10.0.0.2").status_code == 303  # the person at another place is not locked out
    with catalog.database.write() as session:
        for attempt in session.query(LogInAttempt):
            attempt.at = now() - log_ins.WINDOW
    assert answer(PASSWORD).status_code == 303


def test_who_guesses_names_from_one_address_has_to_wait(catalog: Catalog, anna: None) -> None:
    with catalog.database.write() as session:
        session.add_all(
            LogInAttempt(user_name=f"name{number}", address="127.0.0.1") for number in range(log_ins.ADDRESS)
        )
    assert log_in(create_app(catalog).test_client()).status_code == 429


def test_a_host_escapes_no_limit_by_another_of_its_ipv6_addresses(catalog: Catalog, anna: None) -> None:
    def check(password: str, address: str) -> None:
        log_ins.check_password(catalog.database, "anna", password, address)

    for number in range(log_ins.PERSON_AT_ADDRESS):
        with pytest.raises(AccessRefusedError):
            check("wrong password", f"2001:db8::{number + 1:x}")
    with pytest.raises(TooManyAttemptsError):
        check(PASSWORD, "2001:db8:0:0:ffff::1")  # of the same 64 bits
    check(PASSWORD, "2001:db8:0:1::1")


def test_an_unknown_name_is_told_nothing_else(client: FlaskClient, anna: None) -> None:
    known, unknown = log_in(client, "wrong password"), log_in(client, "wrong password", "nobody")
    assert known.status_code == unknown.status_code == 401
    assert "no user has this name and password" in unknown.text


def test_no_page_of_ours_holds_scripts_or_styles(client: FlaskClient, catalog: Catalog, anna: None) -> None:
    log_in(client)
    for address in ("/", "/login", "/account", "/docs/swagger", "/docs/"):
        page = client.get(address)
        assert page.status_code == 200
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page.text)
        assert not [script for script in re.findall(r"<script[^>]*>", page.text) if "src=" not in script]


@pytest.mark.parametrize("address", ["/", "/login", "/healthz", "/api/v1/scenes", "/nowhere", "/static/pages.css"])
def test_every_response_has_the_headers_that_protect_browsers(client: FlaskClient, address: str) -> None:
    with client.get(address) as response:
        policy = response.headers["Content-Security-Policy"]
        assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy.split("; "))
        assert "unsafe" not in policy
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"


def test_other_names_of_this_host_are_refused_unless_allowed(settings: Settings) -> None:
    update = {"api_url": "http://192.168.1.20:8000", "allowed_hosts": ["Glaciers.example.org", ".example.net"]}
    catalog = Catalog(settings.model_copy(update=update))
    client = create_app(catalog).test_client()
    for host in (
        "192.168.1.20:8000",
        "localhost",
        "127.0.0.1:8000",
        "[::1]:8000",
        "glaciers.example.org",
        "a.example.net",
    ):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200
    for host in ("evil.example", "192.168.1.20.evil.example", "localhost.evil.example:8000", "a_b", "[::2]", ""):
        refused = client.get("/healthz", headers={"Host": host})
        assert refused.status_code == 400
    catalog.close()


def test_the_address_of_the_caller_is_taken_from_proxies_that_are_trusted(settings: Settings, anna: None) -> None:
    for proxies, expected in ((0, "127.0.0.1"), (1, "10.0.0.9")):
        catalog = Catalog(settings.model_copy(update={"trusted_proxies": proxies}))
        client = create_app(catalog).test_client()
        client.environ_base["HTTP_X_FORWARDED_FOR"] = "1.2.3.4, 10.0.0.9"
        log_in(client, "wrong password")
        with catalog.read() as session:
            assert session.query(LogInAttempt).order_by(LogInAttempt.id.desc()).first().address == expected
        catalog.close()
