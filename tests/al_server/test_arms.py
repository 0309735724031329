"""The arms of a project over HTTP and on the dashboard."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from catalog import registry_copy
from catalog.context import Catalog
from catalog.records import ProposalReason
from catalog.registry import CHAMPION, ModelVersion
from services.stability import Agreement
from tests.catalog_fixtures import add_round, add_scene, add_scoring, as_role, label_of

ARMS = "/api/v1/arms"


def version(number: int, labels: int, iou: float) -> ModelVersion:
    tags: Mapping[str, str] = {"labels.count": str(labels), "validation.mean_iou": f"{iou}"}
    return ModelVersion(number, "run", datetime(2026, 1, 1, tzinfo=UTC), dict(tags))


@pytest.fixture
def versions(catalog: Catalog) -> None:
    """Three versions, of 5, 10 and 20 labels; each doubling gained 0.1."""
    with catalog.database.write() as session:
        registry_copy.store(session, [version(3, 20, 0.7), version(2, 10, 0.6), version(1, 5, 0.5)])
        registry_copy.set_aliases(session, {CHAMPION: 3})


@pytest.fixture
def labels(catalog: Catalog) -> None:
    """Two rounds, of a chosen patch and a control from the shortlist each: 30 and 50 wrong pixels against 20."""
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        for number, wrong in enumerate((30, 50)):
            _, (chosen, control) = add_round(session, patches[2 * number : 2 * number + 2], first_task=10 * number + 1)
            chosen.reason, control.reason = ProposalReason.UNCERTAIN, ProposalReason.SHORTLIST_CONTROL
            for proposal, count in ((chosen, wrong), (control, 20)):
                found = [[1000 - count, 0, 0], [count, 0, 0], [0, 0, 0]]
                session.add(label_of(session, proposal, proposal.id, found=found, lead_time_s=120.0))


@pytest.mark.usefixtures("versions")
def test_before_any_round_by_scores_nothing_is_told(client: FlaskClient, catalog: Catalog) -> None:
    told = client.get(ARMS, headers=as_role(catalog, "reader")).json
    assert (told["arms"], told["differences"]) == ([], [])
    assert told["classes"] == ["background", "clean ice", "debris-covered ice"]
    assert told["next_round"]["minutes"] is None


@pytest.mark.usefixtures("versions", "labels")
def test_arms_and_the_next_round_are_told(client: FlaskClient, catalog: Catalog) -> None:
    headers = as_role(catalog, "reader")
    told = client.get(ARMS, headers=headers).json
    chosen, shortlist = told["arms"]
    assert (chosen["arm"], chosen["labels"], chosen["wrong_px"]["value"]) == ("chosen", 2, 40)
    assert shortlist["wrong_px_per_minute"]["value"] == 10
    (pair,) = told["differences"]
    assert (pair["of"], pair["minus"], pair["wrong_px"]["value"]) == ("chosen", "shortlist", 20)
    assert pair["wrong_px"]["low"] < 0 < pair["wrong_px"]["high"]  # two rounds tell little
    expected = told["next_round"]  # 20 more than 20 labels: a doubling
    assert (expected["more"], expected["gain"]["value"]) == (20, pytest.approx(0.1))
    assert expected["minutes"]["value"] == 40
    assert told["worth"] == "go on"
    page = client.get("/", headers=headers).text
    assert "chosen minus shortlist, within rounds" in page
    assert "expected gain of mean IoU +0.100" in page


@pytest.mark.usefixtures("versions")
@pytest.mark.parametrize(("lowest", "is_stable"), [(0.99, True), (0.985, False)])
def test_predictions_that_stabilise_are_told(
    client: FlaskClient, catalog: Catalog, lowest: float, is_stable: bool
) -> None:
    with catalog.database.write() as session:
        for number, of_rare in ((2, 0.992), (3, lowest), (4, 0.991)):
            kept = Agreement(number, number - 1, 256, 0.995, (0.995, of_rare, None), (900, 90, 0))
            add_scoring(session, number, {}).stability = kept.to_json()
    headers = as_role(catalog, "reader")
    told = client.get(ARMS, headers=headers).json
    assert [item["version"] for item in told["agreements"]] == [4, 3, 2]
    assert (told["agreements"][0]["least"], told["agreements"][0]["kappa_of"]) == (0.991, [0.995, 0.991, None])
    assert told["has_stabilised"] is is_stable
    page = client.get("/", headers=headers).text
    assert "0.995 (version 4, lowest of a class 0.991)" in page
    assert ("more labels of this kind change little" in page) is is_stable


@pytest.mark.usefixtures("labels")
def test_before_the_first_version_the_page_shows_the_arms_alone(client: FlaskClient, catalog: Catalog) -> None:
    headers = as_role(catalog, "reader")
    assert client.get(ARMS, headers=headers).json["next_round"] is None
    page = client.get("/", headers=headers).text
    assert "Does choosing pay?" in page
    assert "expected gain" not in page
