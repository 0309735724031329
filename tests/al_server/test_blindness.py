"""What annotators are not shown while a patch that was labelled, or whose truth is known, waits for one of them."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from catalog import labels, registry_copy
from catalog.context import Catalog
from catalog.records import (
    Label,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    TrainingRun,
    now,
)
from catalog.registry import ModelVersion
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from services import raster_keys
from services.places import raster_store
from services.pseudonyms import of_account
from services.tile_urls import tile_signatures
from tests.al_server.test_error_shape import assert_problem
from tests.al_server.test_qgis import addresses
from tests.al_server.test_scene_labels import ask, patch_at
from tests.catalog_fixtures import add_round, add_scene, add_scoring, as_role, label_of
from tests.imagery.forge import ForgedScene
from tests.services.judging import judge
from tests.workers.rows import tiled

ROLES = ("reader", "annotator")


@pytest.fixture
def pool(catalog: Catalog, tmp_path: Path) -> tuple[Scene, ForgedScene]:
    """A scene of the pool that was registered with its truth."""
    scene, forged = tiled(catalog, tmp_path / "scene.tif")
    truth = mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME)
    raster_store(catalog).put(raster_keys.truth(scene.id), truth)
    return scene, forged


def set_state(catalog: Catalog, patch: Patch, state: PatchState) -> None:
    with catalog.database.write() as session:
        session.get_one(Patch, patch.id).state = state


@pytest.mark.parametrize("role", ROLES)
def test_labels_of_a_patch_that_waits_are_withheld_until_it_is_done(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], role: str
) -> None:
    scene, forged = pool
    waits, done = (patch_at(catalog, scene, 0, column) for column in (0, 32))
    label = judge(catalog, waits, forged.truth[:32, :32], minute=1)
    judge(catalog, done, forged.truth[:32, 32:64], minute=2)
    picture, page = f"/api/v1/patches/{waits.id}/labels/{label}.webp", f"/patches/{waits.id}"
    person, operator = as_role(catalog, role), as_role(catalog, "operator")
    for state, withheld in ((PatchState.PROPOSED, [waits.id]), (PatchState.LABELLED, [])):
        set_state(catalog, waits, state)
        found = ask(client, catalog, scene, role)
        assert found["withheld"] == withheld
        assert {item["properties"]["patch"] for item in found["features"]} == {waits.id, done.id} - set(withheld)
        if withheld:
            assert_problem(client.get(picture, headers=person), 409, "not to see its earlier labels")
        else:
            assert client.get(picture, headers=person).status_code == 200
        shown = client.get(page, headers=person).text
        assert (picture in shown) is not bool(withheld)
        assert ("without looking at earlier labels" in shown) is bool(withheld)
        everything = ask(client, catalog, scene, "operator")
        assert (everything["withheld"], len({item["properties"]["patch"] for item in everything["features"]})) == (
            [],
            2,
        )
        assert picture in client.get(page, headers=operator).text
        assert client.get(picture, headers=operator).status_code == 200


@pytest.mark.parametrize("role", ROLES)
def test_patches_that_wait_look_alike_labelled_before_or_not(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], role: str
) -> None:
    scene, forged = pool
    again, first, *done = (patch_at(catalog, scene, 0, column) for column in (0, 32, 64, 96))
    judge(catalog, again, forged.truth[:32, :32], minute=1)
    for minute, patch in enumerate(done, start=2):
        judge(catalog, patch, forged.truth[:32, patch.col_off : patch.col_off + 32], minute=minute)
    with catalog.database.write() as session:
        _, proposals = add_round(session, [session.get_one(Patch, patch.id) for patch in (again, first)])
        proposals[0].reason = ProposalReason.SECOND_LABEL
    # A page holds as many labelled patches that do not wait as were asked for: 64, then 96.
    page = ask(client, catalog, scene, role, limit=1)
    assert {item["properties"]["patch"] for item in page["features"]} == {done[0].id}
    assert page["withheld"] == [again.id, first.id]
    rest = client.get(page["next"], headers=as_role(catalog, role)).get_json(force=True)
    assert ({item["properties"]["patch"] for item in rest["features"]}, rest["withheld"]) == ({done[1].id}, [])
    pages = [client.get(f"/patches/{patch.id}", headers=as_role(catalog, role)).text for patch in (again, first)]
    drawn, why = "Labels over time</h2>", "Why it was proposed</h2>"
    told = [page.split(drawn)[1].split(why)[0] for page in pages]
    assert told[0] == told[1]
    assert "if there are any" in told[0]
    assert [page.split(why)[1].count("place") for page in pages] == [1, 1]  # the proposal that waits, no earlier one
    for_operators = client.get(f"/patches/{again.id}", headers=as_role(catalog, "operator")).text
    assert for_operators.split(why)[1].count("place") == 2


@pytest.mark.parametrize("role", ROLES)
def test_nothing_names_a_patch_that_waits_as_one_that_was_labelled(
    client: FlaskClient, catalog: Catalog, role: str
) -> None:
    """The first patch of a round waits for a second label, the second does not; a version has learnt both."""
    person = "a@glacier.local"
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, proposals = add_round(session, patches[:2])
        for number, proposal in enumerate(proposals):
            labels.store(session, label_of(session, proposal, number, annotator=person))
        registry_copy.store(session, [ModelVersion(1, "a-run", now(), {})])
        run = TrainingRun(trigger=RunTrigger.LABELS, label_ids=[1, 2], labels_sha256="c" * 64, seed=1)
        run.state, run.model_version = RunState.FINISHED, 1
        session.add(run)
        _, (again,) = add_round(session, patches[:1])
        again.reason = ProposalReason.SECOND_LABEL
        waits, done, number = patches[0].id, patches[1].id, opened.id
    for who, sees in ((role, False), ("operator", True)):
        headers = as_role(catalog, who)
        for page in (f"/rounds/{number}", "/versions/1", f"/annotators/{of_account(catalog, person)}"):
            shown = client.get(page, headers=headers).text
            assert f'href="/patches/{done}"' in shown
            assert (f'href="/patches/{waits}"' in shown) is sees
        learnt = client.get("/api/v1/models/1/lineage", headers=headers).json["labels"]
        assert [label["patch"] for label in learnt] == ([waits, done] if sees else [done])
    for label in (1, 2, 99):  # its own, another's, and none
        address = f"/api/v1/patches/{waits}/labels/{label}.webp"
        assert client.get(address, headers=as_role(catalog, role)).status_code == 409


@pytest.mark.parametrize("role", ROLES)
def test_a_patch_that_was_a_honeypot_has_its_label_on_the_map_as_others_have(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], role: str
) -> None:
    scene, forged = pool
    honeypot, plain = (patch_at(catalog, scene, 0, column) for column in (0, 32))
    label = judge(catalog, honeypot, forged.truth[:32, :32], minute=1)
    judge(catalog, plain, forged.truth[:32, 32:64], minute=2)
    with catalog.database.write() as session:
        session.get_one(Label, label).proposal.reason = ProposalReason.KNOWN_TRUTH
    shown = {
        who: {item["properties"]["patch"] for item in ask(client, catalog, scene, who)["features"]}
        for who in (role, "operator")
    }
    assert shown == {role: {honeypot.id, plain.id}, "operator": {plain.id}}


def test_only_operators_count_the_checks_of_a_round(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, proposals = add_round(session, patches[:4])
        opened.scoring, opened.measure = add_scoring(session, 1, {}), "entropy_top10"
        chosen = (
            (ProposalReason.UNCERTAIN, 0.5),
            (ProposalReason.SHORTLIST_CONTROL, 0.1),
            (ProposalReason.SECOND_LABEL, None),
            (ProposalReason.KNOWN_TRUTH, 0.4),
        )
        for proposal, (reason, score) in zip(proposals, chosen, strict=True):
            proposal.reason, proposal.score = reason, score
        number = opened.id
    told = {"reader": {"uncertain": 2, "random control": 2}}
    told["operator"] = {"uncertain": 1, "shortlist control": 1, "second label": 1, "known truth": 1}
    for role, reasons in told.items():
        headers = as_role(catalog, role)
        assert client.get(f"/api/v1/rounds/{number}", headers=headers).json["reasons"] == reasons
        assert client.get("/api/v1/rounds", headers=headers).json[0]["reasons"] == reasons


@pytest.mark.parametrize("role", ROLES)
def test_pages_of_a_second_label_and_of_a_control_tell_the_same(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], role: str
) -> None:
    scene, _ = pool
    with catalog.database.write() as session:
        opened, proposals = add_round(session, [patch_at(catalog, scene, 0, column) for column in (0, 32)])
        opened.scoring, opened.measure = add_scoring(session, 1, {}), "entropy_top10"
        for proposal, reason, score in zip(
            proposals, (ProposalReason.SHORTLIST_CONTROL, ProposalReason.SECOND_LABEL), (0.123, None), strict=True
        ):
            proposal.reason, proposal.score = reason, score
        number, patches = opened.id, [proposal.patch_id for proposal in proposals]
    for who, sees in ((role, False), ("operator", True)):
        headers = as_role(catalog, who)
        round_page = client.get(f"/rounds/{number}", headers=headers).text
        pages = [client.get(f"/patches/{patch}", headers=headers).text for patch in patches]
        assert "Why it was proposed" in pages[0]
        told = [page.split("Why it was proposed</h2>")[1].split("</p>")[0] for page in pages]
        assert ("0.123" in round_page, "0.123" in pages[0], told[0] != told[1]) == (sees, sees, sees)
        assert round_page.count("<td>random control</td>") == (0 if sees else 2)


def test_checks_of_a_random_round_have_the_reason_of_its_other_patches(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, proposals = add_round(session, patches[:3])
        proposals[1].reason, proposals[2].reason = ProposalReason.SECOND_LABEL, ProposalReason.KNOWN_TRUTH
        number = opened.id
    found = client.get(f"/api/v1/rounds/{number}", headers=as_role(catalog, "annotator")).json
    assert found["reasons"] == {"random start": 3}


def test_the_lineage_of_a_version_names_checks_to_operators_only(client: FlaskClient, catalog: Catalog) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, proposals = add_round(session, patches[:3])
        opened.scoring, opened.measure = add_scoring(session, 1, {}), "entropy_top10"
        chosen = (
            (ProposalReason.UNCERTAIN, 0.5),
            (ProposalReason.SECOND_LABEL, None),
            (ProposalReason.KNOWN_TRUTH, 0.4),
        )
        for number, (proposal, (reason, score)) in enumerate(zip(proposals, chosen, strict=True)):
            proposal.reason, proposal.score = reason, score
            labels.store(session, label_of(session, proposal, number))
        registry_copy.store(session, [ModelVersion(1, "a-run", now(), {})])
        run = TrainingRun(trigger=RunTrigger.LABELS, label_ids=[1, 2, 3], labels_sha256="c" * 64, seed=1)
        run.state, run.model_version = RunState.FINISHED, 1
        session.add(run)
    for role, told in (
        ("reader", [("uncertain", None), ("random control", None), ("uncertain", None)]),
        ("operator", [("uncertain", 0.5), ("second label", None), ("known truth", 0.4)]),
    ):
        found = client.get("/api/v1/models/1/lineage", headers=as_role(catalog, role)).json
        assert [(item["cause"]["reason"], item["cause"]["score"]) for item in found["labels"]] == told


@pytest.mark.parametrize("role", ROLES)
def test_the_truth_of_honeypots_is_for_operators(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], role: str
) -> None:
    scene, _ = pool
    patch = patch_at(catalog, scene, 0, 0)
    window = "row_off=0&col_off=0&height=32&width=32"
    maps = f"/api/v1/scenes/{scene.id}/maps/reference"
    addresses_of_truth = (f"{maps}/12/3035/1719.webp", f"{maps}/window?{window}", f"{maps}/window.webp?{window}")
    for share in (0.1, 0.0):
        catalog.settings = catalog.settings.model_copy(update={"honeypot_share": share})
        for who, sees in ((role, share == 0), ("operator", True)):
            headers = as_role(catalog, who)
            layers = client.get(f"/api/v1/scenes/{scene.id}/map", headers=headers).get_json()["layers"]
            assert ("reference" in [layer["name"] for layer in layers]) is sees
            for address in addresses_of_truth:
                assert client.get(address, headers=headers).status_code == (200 if sees else 404)
            assert ("/maps/reference/window.webp" in client.get(f"/patches/{patch.id}", headers=headers).text) is sees
    operator = as_role(catalog, "operator")
    catalog.settings = catalog.settings.model_copy(update={"honeypot_share": 0.1})
    # A file for QGIS holds addresses that need no token: the truth is not among them.
    file = client.get(f"/api/v1/scenes/{scene.id}/qgis/layers.qlr", headers=operator).text
    assert "Outlines that came with the scene" not in addresses(file)


@pytest.mark.parametrize("role", ROLES)
def test_the_truth_stays_secret_until_the_last_honeypot_is_answered(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene], role: str
) -> None:
    """The share was set to 0 while a task waits: neither its scene nor another tells of it."""
    scene, _ = pool
    with catalog.database.write() as session:
        _, elsewhere = add_scene(session, "elsewhere", offset_px=5000)
        _, (honeypot,) = add_round(session, elsewhere[:1])
        honeypot.reason = ProposalReason.KNOWN_TRUTH
    address = f"/api/v1/scenes/{scene.id}/maps/reference/12/3035/1719.webp"
    assert catalog.settings.honeypot_share == 0
    assert client.get(address, headers=as_role(catalog, role)).status_code == 404
    assert client.get(address, headers=as_role(catalog, "operator")).status_code == 200
    with catalog.database.write() as session:
        labels.store(session, label_of(session, session.get_one(Proposal, honeypot.id), 1))
    assert client.get(address, headers=as_role(catalog, role)).status_code == 200


def test_signed_tiles_show_all_maps_but_the_truth_that_measures_annotators(
    client: FlaskClient, catalog: Catalog, pool: tuple[Scene, ForgedScene]
) -> None:
    scene, forged = pool
    raster_store(catalog).put(raster_keys.prior(scene.id), mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME))
    signature = tile_signatures(catalog).sign(scene.id)
    for share, of_truth in ((0.1, 404), (0.0, 200)):
        catalog.settings = catalog.settings.model_copy(update={"honeypot_share": share})
        for layer, status in (("prior", 200), ("reference", of_truth)):
            address = f"/api/v1/scenes/{scene.id}/qgis/maps/{layer}/12/3035/1719.webp"
            assert client.get(address, query_string={"signature": signature}).status_code == status


def test_the_truth_of_validation_ground_measures_nobody(client: FlaskClient, catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "scene.tif", role=SceneRole.VALIDATION)
    truth = mask_to_geotiff(forged.truth, forged.grid, GLACIER_SCHEME)
    raster_store(catalog).put(raster_keys.truth(scene.id), truth)
    catalog.settings = catalog.settings.model_copy(update={"honeypot_share": 0.1})
    layers = client.get(f"/api/v1/scenes/{scene.id}/map", headers=as_role(catalog, "reader")).get_json()["layers"]
    assert [layer["name"] for layer in layers] == ["reference"]
