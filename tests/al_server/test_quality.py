"""The quality of labels is told to operators only."""

import numpy as np
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from catalog import labels, references
from catalog.context import Catalog
from catalog.records import Label, Proposal, ProposalReason, Scene, SceneState
from cli.quality_commands import quality
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from services.compared_labels import compare_labels
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.catalog_fixtures import add_round, add_scene, as_role, label_of

QUALITY = "/api/v1/quality"


@pytest.fixture
def labelled_twice(catalog: Catalog) -> Catalog:
    """A patch whose label, clean ice all over, was accepted; as a honeypot, another drew its upper half so."""
    with catalog.database.write() as session:
        scene, patches = add_scene(session)
        for number, (name, rows) in enumerate((("a@glacier.local", 32), ("b@glacier.local", 16))):
            _, (proposal,) = add_round(session, patches[:1], first_task=number)
            proposal.reason = ProposalReason.KNOWN_TRUTH if number else ProposalReason.RANDOM_START
            mask = np.zeros((32, 32), np.uint8)
            mask[:rows] = 1
            label = label_of(session, proposal, number, number, annotator=name)
            encoded = mask_to_geotiff(mask, source_of(scene).grid, GLACIER_SCHEME, window_of(patches[0]))
            label.mask_sha256 = raster_store(catalog).put(label.mask_key, encoded)
            labels.store(session, label)
        references.accept(session, 1)
    return catalog


def test_operators_see_annotators_with_their_figures(client: FlaskClient, labelled_twice: Catalog) -> None:
    assert client.get(QUALITY, headers=as_role(labelled_twice, "operator")).json["pending"] == 2
    compare_labels(labelled_twice)
    found = client.get(QUALITY, headers=as_role(labelled_twice, "operator")).json
    assert found["classes"] == ["background", "clean ice", "debris-covered ice"]
    one, other = found["annotators"]
    assert (one["annotator"], one["truth"], one["others"]["patches"]) == ("a@glacier.local", None, 1)
    assert other["truth"]["agreement"] == {"value": 0.5, "low": None, "high": None, "count": 1}
    assert [iou and iou["value"] for iou in other["others"]["iou"]] == [0.0, 0.5, None]
    assert (found["bias"], found["same_person"], found["pending"]) == (None, 0, 0)
    assert found["references"] == [
        {
            "patch_id": 1,
            "label_id": 1,
            "annotator": "a@glacier.local",
            "answers": 1,
            "stands": True,
            "is_removed": False,
        }
    ]


def test_a_reference_whose_label_fell_can_be_released_where_it_is_shown(
    client: FlaskClient, labelled_twice: Catalog
) -> None:
    operator = as_role(labelled_twice, "operator")

    def shown(page: str) -> str:
        return " ".join(client.get(page, headers=operator).text.split())

    release = 'data-call="DELETE /api/v1/quality/references/1"'
    assert release in shown("/patches/1")
    assert "no longer stands" not in shown("/patches/1")
    with labelled_twice.database.write() as session:
        label = session.get_one(Label, 1)
        label.superseded_at = label.annotated_at
    assert release in shown("/patches/1")
    assert "no longer stands" in shown("/patches/1")
    assert '<a href="/patches/1">1</a>' in shown("/quality")
    with labelled_twice.database.write() as session:
        session.get_one(Scene, 1).state = SceneState.REMOVED
    assert client.get("/patches/1", headers=operator).status_code == 404
    assert '<a href="/patches/1">' not in shown("/quality")
    assert release in shown("/quality")


def test_operators_read_the_agreement_on_the_page_of_an_annotator(client: FlaskClient, labelled_twice: Catalog) -> None:
    compare_labels(labelled_twice)
    path = "/annotators/b@glacier.local"
    shown = " ".join(client.get(path, headers=as_role(labelled_twice, "operator")).text.split())
    assert "<h3>With known truth: 1 patch</h3>" in shown
    assert "<dt>same class</dt><dd>0.500 of the pixels of which both name a class</dd>" in shown
    assert "<dt>IoU of clean ice</dt><dd>0.500</dd>" in shown
    assert "<dt>IoU of debris-covered ice</dt><dd>–</dd>" in shown
    assert client.get(path, headers=as_role(labelled_twice, "reader")).status_code == 404


@pytest.mark.parametrize("role", ["reader", "annotator"])
def test_annotators_do_not_see_each_other(client: FlaskClient, catalog: Catalog, role: str) -> None:
    assert client.get(QUALITY, headers=as_role(catalog, role)).status_code == 403


def test_the_command_shows_the_same_and_changes_references(
    labelled_twice: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(labelled_twice.settings.var_dir))
    monkeypatch.setenv("GLACIER_AL_DATABASE_URL", labelled_twice.settings.database_url)
    shown = CliRunner().invoke(quality)
    assert shown.exit_code == 0, shown.output
    assert "b@glacier.local" in shown.output
    assert "Reference patches" in shown.output
    assert "no reference any more" in CliRunner().invoke(quality, ["release", "1"]).output
    assert "the reference of patch 1" in CliRunner().invoke(quality, ["accept", "1"]).output
    with labelled_twice.database.write() as session:
        session.get_one(Proposal, 2).reason = ProposalReason.SECOND_LABEL
    again = CliRunner().invoke(quality, ["accept", "2"])
    assert "label 1 is the reference of patch 1 already" in str(again.exception)
