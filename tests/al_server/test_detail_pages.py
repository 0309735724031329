"""The pages of a version and of a round."""

from datetime import UTC, datetime

import pytest
from flask.testing import FlaskClient

from catalog import registry_copy
from catalog.context import Catalog
from catalog.registry import CHAMPION, LEARNER, ModelVersion
from tests.al_server.test_dashboard import Page
from tests.catalog_fixtures import as_role
from tests.dashboard_world import populate, version_tags


@pytest.fixture
def in_round_3(catalog: Catalog) -> Catalog:
    with catalog.database.write() as session:
        populate(session)
        versions = [
            ModelVersion(number, "run", datetime(2026, 11, 20, tzinfo=UTC), tags)
            for number, tags in enumerate(version_tags(), start=1)
        ]
        registry_copy.store(session, versions)
        registry_copy.set_aliases(session, {CHAMPION: 2, LEARNER: 3})
    return catalog


def words(client: FlaskClient, catalog: Catalog, path: str, role: str = "reader") -> str:
    response = client.get(path, headers=as_role(catalog, role))
    assert response.status_code == 200
    page = Page(response.text)
    assert page.open == []
    return " ".join(page.text.split())


def test_a_version_tells_its_figures_evidence_and_labels(client: FlaskClient, in_round_3: Catalog) -> None:
    shown = words(client, in_round_3, "/versions/2")
    for expected in (
        "Version 2 champion",
        "promoted: mean IoU changed by +0.080. Trained 2026-11-20 00:00 UTC from version 1 ; compared with version 1",
        "Mean IoU 0.600, +0.080 against what was served",
        "clean ice 0.700",
        "60 blocks of 32 px, worth 52 independent ones; about 40 are needed",
        "mean IoU +0.080 +0.030 to +0.130 better",
        "12; started by: enough new labels.",
        "6 of round 1 6 of round 2",
        "Its card is not in the local cache",
    ):
        assert expected in shown
    assert "/#/models/" in client.get("/versions/2", headers=as_role(in_round_3, "reader")).text


def test_a_round_tells_why_each_patch_was_chosen_and_what_became_of_it(
    client: FlaskClient, in_round_3: Catalog
) -> None:
    shown = words(client, in_round_3, "/rounds/3", "operator")
    assert "Round 3, open" in shown
    assert "1 khumbu 13 uncertain – labelled anna@glacier.local 7 1.5 201" in shown
    assert "3 khumbu 15 shortlist control – labelled anna@glacier.local 7 1.5 203" in shown
    assert "6 khumbu 18 random start – published – – – 206" in shown
    assert "@" not in words(client, in_round_3, "/rounds/3")


@pytest.mark.parametrize("path", ["/versions/9", "/rounds/9"])
def test_what_does_not_exist_is_404(client: FlaskClient, in_round_3: Catalog, path: str) -> None:
    assert client.get(path, headers=as_role(in_round_3, "reader")).status_code == 404
