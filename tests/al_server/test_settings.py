"""Settings by the API and on the page: who reads and changes what, and what is refused."""

import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from al_server.app import create_app
from catalog.context import Catalog
from catalog.settings import Settings
from tests.catalog_fixtures import as_role

URL = "/api/v1/settings"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of which the file gives one."""
    (tmp_path / "config.toml").write_text("# ours\nmc_passes = 30\n")
    return Settings(**settings.model_dump(include=settings.model_fields_set))


def told(client: FlaskClient, catalog: Catalog, role: str = "operator") -> dict[str, dict[str, Any]]:
    response = client.get(URL, headers=as_role(catalog, role))
    assert response.status_code == 200
    return {item["name"]: item for item in response.json}


def patch(client: FlaskClient, catalog: Catalog, changes: object, role: str = "operator") -> Any:
    return client.patch(URL, json={"settings": changes}, headers=as_role(catalog, role))


def test_a_setting_is_told_with_all_that_people_need(client: FlaskClient, catalog: Catalog) -> None:
    assert told(client, catalog)["fine_tune_after_s"] == {
        "name": "fine_tune_after_s",
        "heading": "Fine-tune after",
        "group": "The network and its training",
        "value": 3600.0,
        "default": 3600.0,
        "source": "default",
        "place": "",
        "meaning": "Age of the oldest unused label that starts a fine-tune, however few labels there are.",
        "unit": "seconds",
        "allowed": "a number, more than 0 and at most 316,224,000",
        "kind": "number",
        "choices": [],
        "run_time": True,
        "fixed": False,
        "changed": None,
    }


def test_readers_are_told_only_what_may_change_and_operators_all(client: FlaskClient, catalog: Catalog) -> None:
    of_operators, of_readers = told(client, catalog), told(client, catalog, "reader")
    assert list(of_operators) == list(Settings.model_fields)
    assert of_readers == {name: item for name, item in of_operators.items() if item["run_time"]}
    assert "database_url" not in of_readers
    assert {"auto_rounds", "round_size", "gate_margin", "canary_change_limit"} <= of_readers.keys()


def test_passwords_in_addresses_are_masked(tmp_path: Path, settings: Settings) -> None:
    """Of a Redis that is down; the API answers all the same."""
    with_password = settings.model_copy(update={"redis_url": "redis://:sesame@127.0.0.1:9/0"})
    catalog = Catalog(with_password, answers_requests=True)
    found = told(create_app(catalog).test_client(), catalog)
    assert found["redis_url"]["value"] == "redis://:***@127.0.0.1:9/0"
    catalog.close()


def test_a_change_is_in_force_at_once_and_recorded(client: FlaskClient, catalog: Catalog) -> None:
    response = patch(client, catalog, {"round_size": 7, "auto_rounds": True})
    assert response.status_code == 200
    assert [(item["name"], item["value"], item["source"]) for item in response.json] == [
        ("round_size", 7, "page"),
        ("auto_rounds", True, "page"),
    ]
    assert (catalog.settings.round_size, catalog.settings.auto_rounds) == (7, True)
    assert told(client, catalog)["round_size"]["changed"]["changed_by"] == "operator"
    # The request for a round that names no size takes this one.
    refused = client.post("/api/v1/rounds", json={"second_looks": 8}, headers=as_role(catalog, "operator"))
    assert "found 8 second looks in a round of 7 patches" in refused.json["detail"]


def test_another_process_obeys_within_seconds(catalog: Catalog, settings: Settings) -> None:
    other = Catalog(settings)
    requests = create_app(other).test_client()
    assert told(requests, other)["round_size"]["value"] == 20
    assert patch(create_app(catalog).test_client(), catalog, {"round_size": 7}).status_code == 200
    assert told(requests, other)["round_size"]["value"] == 7  # the list of settings itself is never old
    assert patch(create_app(catalog).test_client(), catalog, {"round_size": 6}).status_code == 200
    deadline = time.monotonic() + 20
    while other.settings.round_size != 6:  # by any request
        assert time.monotonic() < deadline
        assert requests.get("/healthz").status_code == 200
        time.sleep(0.1)
    other.close()


def test_null_goes_back_to_the_default_and_the_record_keeps_all(client: FlaskClient, catalog: Catalog) -> None:
    for value in (7, 7, None, None):  # what changes nothing is not recorded
        assert patch(client, catalog, {"round_size": value}).status_code == 200
    found = told(client, catalog)["round_size"]
    assert (found["value"], found["source"], found["changed"]["value"]) == (20, "default", None)
    patch(client, catalog, {"mc_seed": 4})
    recorded = client.get(f"{URL}/changes?limit=2", headers=as_role(catalog, "reader"))
    assert [(item["name"], item["value"]) for item in recorded.json] == [("mc_seed", 4), ("round_size", None)]
    following = client.get(recorded.headers["Link"].split(">")[0][1:], headers=as_role(catalog, "reader"))
    assert [(item["name"], item["value"]) for item in following.json] == [("round_size", 7)]
    named = client.get(f"{URL}/changes?name=mc_seed", headers=as_role(catalog, "reader"))
    assert [item["value"] for item in named.json] == [4]


@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"round_size": 0}, {"round_size": "round_size is 0, expected a whole number, at least 1 and at most 10,000"}),
        (
            {"round_size": "many", "mc_seed": 3},
            {"round_size": 'round_size is "many", expected a whole number, at least 1 and at most 10,000'},
        ),
        (
            {"round_size": True},
            {"round_size": 'round_size is "true", expected a whole number, at least 1 and at most 10,000'},
        ),
        ({"round_sise": 3}, {"round_sise": "round_sise names no setting; did you mean round_size?"}),
        (
            {"patch_size_px": 64},
            {
                "patch_size_px": "patch_size_px cannot change while the system runs; set it in config.toml and restart "
                "`glacier-al up`"
            },
        ),
        (
            {"preannotation": "polygon", "interactive_clicks": True},
            {
                "interactive_clicks": "interactive_clicks is true, but clicks cannot mend polygons; expected the "
                "preannotation brush or none"
            },
        ),
        (
            {"round_strategy": "mutual_information"},
            {
                "round_strategy": "round_strategy is mutual_information, and mc_shortlist_share 0.2; that strategy "
                "needs all passes of Monte Carlo dropout on every patch: set mc_shortlist_share to 1"
            },
        ),
    ],
)
def test_what_would_be_refused_at_a_start_is_refused(
    client: FlaskClient, catalog: Catalog, changes: dict[str, object], faults: dict[str, str]
) -> None:
    response = patch(client, catalog, changes)
    assert response.status_code == 422
    assert {item["field"]: item["fault"] for item in response.json["errors"]} == faults
    assert response.json["detail"] == "; ".join(faults.values())
    assert catalog.settings == catalog.configured
    recorded = client.get(f"{URL}/changes", headers=as_role(catalog, "reader"))
    assert recorded.json == []


def test_settings_that_only_fit_together_are_changed_together(client: FlaskClient, catalog: Catalog) -> None:
    both = {"round_strategy": "mutual_information", "mc_shortlist_share": 1}
    assert patch(client, catalog, both).status_code == 200
    refused = patch(client, catalog, {"mc_shortlist_share": None})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "round_strategy")
    assert patch(client, catalog, dict.fromkeys(both)).status_code == 200


def test_what_the_file_gives_is_fixed_and_its_place_is_told(
    client: FlaskClient, catalog: Catalog, tmp_path: Path
) -> None:
    found = told(client, catalog)["mc_passes"]
    assert (found["value"], found["source"], found["place"], found["fixed"]) == (
        30,
        "file",
        "config.toml, line 2",
        True,
    )
    refused = patch(client, catalog, {"mc_passes": 40})
    assert refused.status_code == 422
    assert refused.json["detail"] == (
        "mc_passes is fixed by config.toml, line 2; change it there, or remove it there and restart `glacier-al up`"
    )
    assert catalog.settings.mc_passes == 30


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"settings": {}}, 422),
        ({"settings": {"round_size": {"a": 1}}}, 422),
        ({"settings": {"round_size": 1e30}}, 422),
        ({"settings": {"x" * 65: 1}}, 422),
        ({"round_size": 3}, 422),
        ({}, 422),
    ],
)
def test_a_body_of_another_form_is_refused(
    client: FlaskClient, catalog: Catalog, body: dict[str, Any], status: int
) -> None:
    assert client.patch(URL, json=body, headers=as_role(catalog, "operator")).status_code == status
    infinite = client.patch(
        URL,
        data='{"settings": {"fine_tune_after_s": Infinity}}',
        content_type="application/json",
        headers=as_role(catalog, "operator"),
    )
    assert infinite.status_code == 422


def test_the_page_shows_who_fixed_or_changed_what(client: FlaskClient, catalog: Catalog) -> None:
    patch(client, catalog, {"round_size": 7})
    page = client.get("/settings", headers=as_role(catalog, "operator")).text
    assert "Changed by operator" in page
    assert "Fixed by config.toml, line 2: whoever runs this server changes it there." in page
    assert 'data-does="edit"' in page
    of_reader = client.get("/settings", headers=as_role(catalog, "reader")).text
    assert "data-does" not in of_reader
    assert "database_url" not in of_reader
