"""The pages of a version, a round, a patch and an annotator."""

import hashlib
import io
import re
from datetime import UTC, datetime

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from sqlalchemy import select

from al_server import round_page
from catalog import labels, registry_copy, withdrawals
from catalog.access_records import Role
from catalog.context import Catalog
from catalog.records import Label, Patch, Proposal, ProposalReason, Round, Scene, SceneState
from catalog.registry import CHAMPION, LEARNER, ModelVersion
from catalog.withdrawal_records import Withdrawal
from imagery.classes import CLEAN_ICE, GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from services import tokens, users
from services.places import raster_store
from services.pseudonyms import of_account
from services.scenes import source_of, window_of
from tests.al_server.test_dashboard import Page
from tests.al_server.test_error_shape import assert_problem
from tests.catalog_fixtures import add_scoring, as_role, label_of
from tests.dashboard_world import PEOPLE, populate, version_tags

ANNA, BEN = PEOPLE


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


def words_of(html: str) -> str:
    page = Page(html)
    assert page.open == []
    return " ".join(page.text.split())


def words(client: FlaskClient, catalog: Catalog, path: str, role: str = "reader") -> str:
    response = client.get(path, headers=as_role(catalog, role))
    assert response.status_code == 200
    return words_of(response.text)


def as_person(catalog: Catalog, name: str) -> dict[str, str]:
    """Return the header of a token that belongs to an annotator who may log in under this name."""
    with catalog.database.write() as session:
        users.add(session, name, Role.ANNOTATOR, "correct horse battery")
        _, token = tokens.add(session, f"{name}-token", Role.ANNOTATOR, user=name)
    return {"Authorization": f"Bearer {token}"}


def test_a_version_tells_its_figures_evidence_and_labels(client: FlaskClient, in_round_3: Catalog) -> None:
    shown = words(client, in_round_3, "/versions/2")
    for expected in (
        "Version 2 champion",
        "promoted: mean IoU changed by +0.080. Trained 2026-11-20 00:00 UTC from version 1 ; compared with version 1",
        "What changed since version 1, on the map",
        "Mean IoU 0.600, +0.080 against what was served",
        "clean ice 0.700",
        "60 blocks of 32 px, worth 52 independent ones; about 40 are needed",
        "mean IoU +0.080 +0.030 to +0.130 better",
        "12; started by: enough new labels.",
        "6 patches of round 1 Round 1 : patch 1 , patch 2 ,",
        "6 patches of round 2 Round 2 : patch 7 , patch 8 ,",
        "Its card is not in the local cache",
    ):
        assert expected in shown
    html = client.get("/versions/2", headers=as_role(in_round_3, "reader")).text
    assert "/#/models/" in html
    assert "/map#mode=swipe&amp;view=true-colour&amp;other=true-colour&amp;version=1&amp;otherVersion=2" in html
    assert 'href="/patches/7"' in html


def test_lists_of_labels_have_ids_so_that_they_stay_open(client: FlaskClient, in_round_3: Catalog) -> None:
    html = client.get("/versions/2", headers=as_role(in_round_3, "operator")).text
    assert re.findall("<details.*?>", html) == ['<details id="learnt-1">', '<details id="learnt-2">']


def test_an_operator_is_offered_to_promote_each_version_that_is_not_served(
    client: FlaskClient, in_round_3: Catalog
) -> None:
    offered = re.compile(r'data-call="POST /api/v1/models/(.)/promote" data-title="([^"]+)"')
    found = {
        (role, version): offered.findall(client.get(f"/versions/{version}", headers=as_role(in_round_3, role)).text)
        for role in ("reader", "operator")
        for version in (1, 2)
    }
    assert found.pop(("operator", 1)) == [("1", "Serve version 1 instead of version 2?")]
    assert list(found.values()) == [[], [], []]


def test_a_round_tells_its_progress_why_each_patch_was_chosen_and_what_became_of_it(
    client: FlaskClient, in_round_3: Catalog
) -> None:
    with in_round_3.database.write() as session:
        first = session.scalars(select(Proposal).where(Proposal.round_id == 3).order_by(Proposal.rank)).first()
        first.expected_edits = {
            "model_version": 2,
            "screening": False,
            "asked_px": 1024,
            "from_empty_px": 12.0,
            "from_proposal_px": None,
        }
    shown = words(client, in_round_3, "/rounds/3", "operator")
    assert "Round 3, open" in shown
    assert "4 of 6 patches are done: 2 published, 4 labelled." in shown
    assert "anna@glacier.local : 2 patches ben@glacier.local : 2 patches" in shown
    assert "The column Drafts in Label Studio tells which tasks somebody has begun, but not who." in shown
    # Of its first patch, which was begun from an empty mask: 12 expected, 7 changed.
    assert "Of 1 labels, 12 pixels were expected to change and 7 did: 5 pixels a label fewer than expected." in shown
    assert "1 khumbu 13 uncertain – labelled anna@glacier.local 12 7 1.5 201" in shown
    assert "3 khumbu 15 shortlist control – labelled anna@glacier.local – 7 1.5 203" in shown
    assert "6 khumbu 18 random start – published – – – – 206" in shown
    assert "@" not in words(client, in_round_3, "/rounds/3")


def test_a_round_for_which_fewer_patches_were_found_is_measured_by_these(
    client: FlaskClient, in_round_3: Catalog
) -> None:
    with in_round_3.database.write() as session:
        session.get_one(Round, 3).size = 10
        session.add(Round(strategy="random", size=8, seed=0))
    assert "4 of 6 patches are done" in words(client, in_round_3, "/rounds/3")
    assert "0 of 8 patches are done" in words(client, in_round_3, "/rounds/4")
    listed = client.get("/dashboard/rounds", headers=as_role(in_round_3, "reader")).text
    assert '<progress value="4" max="6" aria-label="round 3">' in listed


def test_a_long_round_is_shown_page_by_page_and_all_labels_of_it_are_counted(
    client: FlaskClient, in_round_3: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(round_page, "PROPOSALS_SHOWN", 4)
    operator = as_role(in_round_3, "operator")
    first = client.get("/rounds/3", headers=operator).text
    (following,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = client.get(following.replace("&amp;", "&"), headers=operator).text
    places = [re.findall(r'<td class="n">(\d)</td><td><a', text) for text in (first, second)]
    assert places == [["1", "2", "3", "4"], ["5", "6"]]
    for text in (first, second):
        assert "anna@glacier.local : 2 patches ben@glacier.local : 2 patches" in words_of(text)


def test_only_operators_can_tell_a_honeypot_from_other_patches(client: FlaskClient, in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        honeypot = session.scalars(select(Proposal).where(Proposal.round_id == 3)).first()
        honeypot.reason = ProposalReason.KNOWN_TRUTH
        patch = honeypot.patch_id
    for path in ("/rounds/3", f"/patches/{patch}"):
        assert "known truth" in words(client, in_round_3, path, "operator")
        assert "known truth" not in words(client, in_round_3, path, "annotator")


def test_a_patch_tells_where_it_lies_and_what_happened_to_it(client: FlaskClient, in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        patch = session.get_one(Patch, 13)
        session.get_one(Scene, patch.scene_id).sensor = "landsat-8-oli"
        add_scoring(session, 3, {patch.id: 0.25})
        again = session.scalars(select(Proposal).where(Proposal.patch_id == patch.id)).one()
        old = session.scalars(select(Label).where(Label.patch_id == patch.id)).one()
        labels.store(session, label_of(session, again, old.annotation_id, minutes=500, annotator=ANNA, edited_px=9))
    shown = words(client, in_round_3, "/patches/13", "operator")
    for expected in (
        "Patch 13 of khumbu, labelled",
        # The 13th of 20 patches of a row: 12 * 32 columns of 30 m east of the corner of the scene.
        "row 0, column 384, 32 × 32 px, 960 m across, 100 % of them valid",
        "landsat-8-oli",
        "Maps by versions 3 , 2 , 1 were removed, or not made yet. Follow a number to have one made.",
        "Round 3 , place 1, labelled",
        "task 201 in Label Studio",
        "3 2026",
        "0.250",
        "0.500",
        "anna@glacier.local round 3 9 – yes",
        "anna@glacier.local round 3 7 1.5 until",
    ):
        assert expected in shown
    for_readers = words(client, in_round_3, "/patches/13")
    assert "@" not in for_readers
    assert of_account(in_round_3, ANNA) in for_readers
    assert "validation ground" in words(client, in_round_3, "/patches/201")


def test_a_withdrawn_label_tells_when_it_was_withdrawn(client: FlaskClient, in_round_3: Catalog) -> None:
    """It was superseded before."""
    with in_round_3.database.write() as session:
        label = session.scalars(select(Label).where(Label.patch_id == 13)).one()
        label.superseded_at = datetime(2026, 11, 21, 8, tzinfo=UTC)
        day = datetime(2026, 11, 22, 9, tzinfo=UTC)
        withdrawal = Withdrawal(annotator=ANNA, reason="a wrong screen", actor="olga", withdrawn_at=day)
        withdrawals.withdraw(session, withdrawal, [label])
    assert "1.5 withdrawn 2026-11-22 09:00 UTC" in words(client, in_round_3, "/patches/13")


def test_a_label_is_drawn_in_the_colours_of_its_classes(client: FlaskClient, in_round_3: Catalog) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[4:8, 5:9] = CLEAN_ICE.value
    with in_round_3.database.write() as session:
        label = session.scalars(select(Label).where(Label.patch_id == 13)).one()
        grid, window = source_of(label.patch.scene).grid, window_of(label.patch)
        label.mask_key = "labels/test.tif"
        raster_store(in_round_3).put(label.mask_key, content := mask_to_geotiff(mask, grid, GLACIER_SCHEME, window))
        label.mask_sha256 = hashlib.sha256(content).hexdigest()
        number = label.id
    reader = as_role(in_round_3, "reader")
    response = client.get(f"/api/v1/patches/13/labels/{number}.webp", headers=reader)
    picture = np.asarray(Image.open(io.BytesIO(response.data)).convert("RGBA"))
    assert picture[4, 5].tolist() == [*CLEAN_ICE.rgb, 255]
    assert (picture[..., 3] > 0).sum() == 16
    assert_problem(client.get(f"/api/v1/patches/14/labels/{number}.webp", headers=reader), 404)


def test_an_annotator_sees_own_work_operators_all_and_readers_pseudonyms(
    client: FlaskClient, in_round_3: Catalog
) -> None:
    # Of the 16 labels every other one is Anna's: in each round those at the places 0, 2, 4, of the third only 0 and 2.
    path, hidden = f"/annotators/{ANNA}", f"/annotators/{of_account(in_round_3, ANNA)}"
    own = as_person(in_round_3, ANNA)
    seconds = {1: 90 + 92 + 94, 2: 90 + 92 + 94, 3: 90 + 92}
    for shown in (
        words(client, in_round_3, path, "operator"),
        words(client, in_round_3, hidden, "operator"),
        words_of(client.get(path, headers=own).text),
        words_of(client.get(hidden, headers=own).text),
        words(client, in_round_3, hidden),
    ):
        assert "8 labels that stand 0 updated, deleted or withdrawn since 0.2 h working time" in shown
        assert f"round 3 2 14 {seconds[3] / 60:.1f} {seconds[3] / 120:.1f}" in shown
        assert f"round 1 3 21 {seconds[1] / 60:.1f} {seconds[1] / 180:.1f}" in shown
        assert "whole patches empty mask 8 0.7 %" in shown  # 7 of 1024 pixels of each
    assert "Agreement" in words(client, in_round_3, path, "operator")
    for headers in (own, as_role(in_round_3, "reader")):
        assert "Agreement" not in client.get(hidden, headers=headers).text
    for account in (ANNA, BEN, "nobody@glacier.local"):
        refused = client.get(f"/annotators/{account}", headers=as_role(in_round_3, "reader"))
        assert_problem(refused, 404)
        assert account not in refused.text
    assert client.get(f"/annotators/{BEN}", headers=own).status_code == 404
    assert ANNA not in client.get(hidden, headers=as_role(in_round_3, "reader")).text


def test_minutes_a_label_are_those_of_labels_with_a_time(client: FlaskClient, in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        of_round = select(Label).join(Proposal, Label.proposal_id == Proposal.id).where(Proposal.round_id == 3)
        session.scalars(of_round.where(Label.annotator == ANNA).order_by(Label.id)).first().lead_time_s = None
    assert "round 3 2 14 1.5 1.5" in words(client, in_round_3, f"/annotators/{ANNA}", "operator")


def test_who_has_drawn_nothing_is_told_so_on_the_own_page_only(client: FlaskClient, in_round_3: Catalog) -> None:
    shown = words_of(client.get("/annotators/zoe", headers=as_person(in_round_3, "zoe")).text)
    assert "No labels yet: those that you draw under this name are listed here" in shown
    assert client.get("/annotators/zoe", headers=as_role(in_round_3, "operator")).status_code == 404


def test_simulated_annotators_have_one_page(client: FlaskClient, in_round_3: Catalog) -> None:
    with in_round_3.database.write() as session:
        for label in session.scalars(select(Label).where(Label.annotator == BEN)):
            label.simulated = True
    assert "8 labels that stand" in words(client, in_round_3, "/annotators/simulated annotator")


@pytest.mark.parametrize("path", ["/rounds/3", "/versions/2", f"/annotators/{ANNA}"])
def test_patches_of_a_removed_scene_have_no_link(client: FlaskClient, in_round_3: Catalog, path: str) -> None:
    operator = as_role(in_round_3, "operator")
    assert "/patches/" in client.get(path, headers=operator).text
    with in_round_3.database.write() as session:
        session.get_one(Patch, 1).scene.state = SceneState.REMOVED
    assert "/patches/" not in client.get(path, headers=operator).text


@pytest.mark.parametrize("path", ["/versions/9", "/rounds/9", "/patches/9999", "/annotators/somebody"])
def test_what_does_not_exist_is_404(client: FlaskClient, in_round_3: Catalog, path: str) -> None:
    assert client.get(path, headers=as_role(in_round_3, "reader")).status_code == 404
