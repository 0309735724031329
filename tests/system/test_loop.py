"""The whole loop with every part real: what the stages of `tests.system.conftest` have brought about."""

import html
import io
import math
import re
import zipfile

import httpx
import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from rasterio.features import rasterize
from rasterio.io import MemoryFile
from rasterio.warp import transform_geom
from shapely.geometry import shape
from sqlalchemy import func, select

from catalog.records import (
    EventState,
    Job,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    RunState,
    Scene,
    Scoring,
    TrainingRun,
)
from imagery.classes import GLACIER_SCHEME
from imagery.grid import Window
from imagery.masks import mask_from_geotiff
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from labeling.predictions import score_of
from labeling.regions import decode_result
from labeling.webhook import SECRET_HEADER
from models.bundle import read_bundle
from services import raster_keys
from services.expected_edits import ExpectedEdits
from services.scenes import source_of, window_of
from tests.system.conftest import ROUND_SIZE, Interruption, Stage
from tests.system.loop_system import EXPERT, LoopSystem
from workers.label_drawing import draw

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATCH_PX = 64


def scene_of(system: LoopSystem, role: str) -> Scene:
    with system.catalog.read() as session:
        return session.scalars(select(Scene).where(Scene.role == role)).one()


def test_the_first_round_is_random(random_round: Stage):
    assert (random_round.round["strategy"], random_round.round["model_version"]) == ("random", None)
    assert random_round.round["reasons"] == {"random start": ROUND_SIZE}
    assert [proposal.rank for proposal in random_round.proposals] == list(range(ROUND_SIZE))
    assert random_round.models == []


def test_a_task_shows_its_patch_and_says_why_and_where(system: LoopSystem, random_round: Stage):
    first = random_round.proposals[0]
    task = system.task(first)
    assert task["data"]["proposal"] == first.uid
    assert task["data"]["reason"] == "Round 1: drawn at random, to start from"
    assert "everest-pool, 2" in task["data"]["place"] and "° N 86." in task["data"]["place"]
    shown = [task["data"]["true_colour"], *re.findall('<img src="([^"]+)"', task["data"]["panel"])]
    assert len(shown) == 1 + len(first.views or {})
    for address in shown:
        signed = httpx.URL(html.unescape(address))
        # Not in the loop's later stages: this system's address changes there.
        here = signed.copy_with(port=httpx.URL(system.settings.api_url).port)
        picture = httpx.get(here, headers={"Origin": system.settings.label_studio_url})
        assert picture.status_code == httpx.codes.OK
        assert picture.headers["Access-Control-Allow-Origin"] in {"*", system.settings.label_studio_url}
        size = Image.open(io.BytesIO(picture.content)).size
        assert size == (PATCH_PX, PATCH_PX) or "surroundings" in address
    (empty,) = task["predictions"]
    assert (empty["result"], empty["score"]) == ([], score_of(1.0))


def test_publishing_twice_creates_nothing_twice(published_twice: tuple[dict[str, int], dict[str, int]]):
    once, twice = published_twice
    assert once == twice
    assert len(once) == ROUND_SIZE


def test_labels_arrive_as_drawn(system: LoopSystem, second_version: Stage):
    store = RasterStore(system.settings.raster_store)
    pool = source_of(scene_of(system, "pool"))
    with system.catalog.read() as session:
        rows = session.execute(
            select(Label, Patch).join(Patch).where(Label.annotation_id.in_(list(system.drawn)))
        ).all()
    assert len(rows) >= 2 * ROUND_SIZE - 2  # two may have been drawn in the browser, in test_labelling_page
    for label, patch in rows:
        assert (label.annotator, label.simulated, label.lead_time_s) == (EXPERT[0], False, 20.0)
        with MemoryFile(store.get(label.mask_key)) as file, file.open() as mask:
            np.testing.assert_array_equal(mask.read(1), system.drawn[label.annotation_id])
            assert mask.crs.to_string() == pool.grid.crs
            assert mask.transform == pool.grid.window_transform(window_of(patch))
        assert patch.state is PatchState.LABELLED


def test_edits_are_counted_from_what_was_shown(system: LoopSystem, second_version: Stage):
    store = RasterStore(system.settings.raster_store)
    with system.catalog.read() as session:
        rows = session.execute(
            select(Label, Proposal).join(Proposal).where(Label.annotation_id.in_(list(system.drawn)))
        ).all()
    assert {proposal.round_id for _, proposal in rows} >= {1, 2}
    for label, proposal in rows:
        drawn = system.drawn[label.annotation_id]
        if proposal.preannotated_by is None:
            assert label.edited_px == np.count_nonzero(drawn)
        else:
            shown = mask_from_geotiff(store.get(raster_keys.preannotation(proposal.uid, 1)), GLACIER_SCHEME)
            assert label.edited_px == np.count_nonzero(drawn != shown)


def test_a_version_holds_weights_onnx_and_card(system: LoopSystem, second_version: Stage, tmp_path):
    newest, first = second_version.models
    assert (first["version"], first["parent_version"], first["labels"]) == (1, None, ROUND_SIZE)
    assert (newest["version"], newest["parent_version"], newest["labels"]) == (2, 1, 2 * ROUND_SIZE)
    assert (newest["aliases"], first["aliases"]) == (["champion", "learner"], [])
    assert set(newest["sha256"]) == {"card.json", "weights.safetensors", "model.onnx"}
    with system.catalog.read() as session:
        run = session.scalars(select(TrainingRun).where(TrainingRun.model_version == 2)).one()
    assert run.state is RunState.FINISHED
    assert set(run.seconds) == {"load", "evaluate", "train", "export", "register", "promote"}
    card = system.request("GET", "models/latest/card").json()
    assert (card["labels"]["ids"], card["labels"]["sha256"]) == (run.label_ids, run.labels_sha256)
    assert card["channels"] == ["red", "green", "blue", "nir"]
    assert card["classes"] == list(GLACIER_SCHEME.names)


def test_the_gain_is_over_the_parent_on_the_same_pixels(second_version: Stage):
    newest, first = second_version.models
    for role in ("validation", "test"):
        assert newest["gain"][role].keys() == newest["iou"][role].keys() >= {"mean"}
        for name, gain in newest["gain"][role].items():
            assert gain == pytest.approx(newest["iou"][role][name] - first["iou"][role][name], abs=2e-6)


def test_the_champion_scores_the_pool(system: LoopSystem, second_version: Stage):
    pool = scene_of(system, "pool")
    page = system.get(f"scenes/{pool.id}/patches", limit=1000)
    assert page["next"] is None
    assert page["features"]
    for feature in page["features"]:
        scores = feature["properties"]["scores"]
        assert scores["origin"] == {"model_version": 2, "passes": 6, "seed": 0, "survey": False}
        assert 0 <= scores["mutual_information"] <= scores["entropy_mean"] <= scores["entropy_top10"] <= math.log(3)


def test_the_second_round_asks_what_the_model_is_unsure_of(system: LoopSystem, uncertain_round: Stage):
    assert (uncertain_round.round["strategy"], uncertain_round.round["model_version"]) == ("entropy_top10", 1)
    assert uncertain_round.round["reasons"] == {"uncertain": ROUND_SIZE - 1, "shortlist control": 1}
    chosen = [item for item in uncertain_round.proposals if item.reason is ProposalReason.UNCERTAIN]
    scores = [item.score for item in chosen]
    assert scores == sorted(scores, reverse=True)
    labelled_before = {item.patch_id for item in uncertain_round.proposals} & {
        item.patch_id for item in system.proposals(1)
    }
    assert labelled_before == set()
    reason = system.task(chosen[0])["data"]["reason"]
    assert reason.startswith("Round 2: model version 1 is unsure here; ")


def test_the_arms_tell_what_the_first_version_had_wrong(system: LoopSystem, second_version: Stage):
    told = system.get("arms")
    arms = {arm["arm"]: arm for arm in told["arms"]}
    assert {name: arm["labels"] for name, arm in arms.items()} == {"chosen": ROUND_SIZE - 1, "shortlist": 1}
    assert 0 < arms["chosen"]["wrong_share"]["value"] < 1
    assert arms["chosen"]["minutes"]["value"] > 0
    assert [(pair["of"], pair["minus"]) for pair in told["differences"]] == [("chosen", "shortlist")]
    assert (told["next_round"], told["worth"]) == (None, "cannot tell")  # two versions make no curve


def test_preannotations_are_what_the_champion_sees_where_correcting_it_is_less_work(
    system: LoopSystem, uncertain_round: Stage
):
    store = RasterStore(system.settings.raster_store)
    assert any(proposal.preannotated_by for proposal in uncertain_round.proposals)
    for proposal in uncertain_round.proposals:
        task = system.task(proposal)
        (prediction,) = task["predictions"]
        assert prediction["score"] == pytest.approx(score_of(task["data"]["priority"]))
        if proposal.reason is ProposalReason.UNCERTAIN:
            assert task["data"]["priority"] == pytest.approx(proposal.score / np.log(3))
        edits = ExpectedEdits.model_validate(proposal.expected_edits)
        assert (edits.model_version, edits.asked_px, edits.screening) == (1, PATCH_PX**2, False)
        assert proposal.preannotated_by == (1 if edits.proposal_pays else None)
        if proposal.preannotated_by is None:
            assert prediction["result"] == []
            continue
        regions = decode_result(prediction["result"], height=PATCH_PX, width=PATCH_PX, labels=GLACIER_SCHEME.labels)
        shown = mask_from_geotiff(store.get(raster_keys.preannotation(proposal.uid, 1)), GLACIER_SCHEME)
        np.testing.assert_array_equal(draw(regions, PATCH_PX, PATCH_PX, GLACIER_SCHEME), shown)


def test_the_web_tool_polls_the_latest_model(system: LoopSystem, second_version: Stage):
    latest = system.request("GET", "models/latest")
    assert latest.json()["version"] == 2
    again = system.request("GET", "models/latest", headers={"If-None-Match": latest.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    onnx = system.request("GET", "models/latest/onnx")
    again = system.request("GET", "models/latest/onnx", headers={"If-None-Match": onnx.headers["ETag"]})
    assert again.status_code == 304


def test_onnx_predicts_what_torch_predicts(system: LoopSystem, second_version: Stage, tmp_path):
    files = {"card.json": "card", "weights.safetensors": "weights", "model.onnx": "onnx"}
    for name, path in files.items():
        (tmp_path / name).write_bytes(system.request("GET", f"models/latest/{path}").content)
    segmenter, card = read_bundle(tmp_path)
    with SceneReader(source_of(scene_of(system, "test"))) as reader:
        raw = reader.read(card.channels, Window(10, 20, 96, 128))[None]
    raw[0, :, :5, :7] = np.nan
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (by_onnx,) = session.run(["probabilities"], {session.get_inputs()[0].name: raw})
    np.testing.assert_allclose(by_onnx, segmenter.probabilities(torch.from_numpy(raw)).numpy(), atol=1e-5)


def test_the_map_of_a_scene_lies_in_its_place(system: LoopSystem, second_version: Stage):
    scene = scene_of(system, "test")
    grid = source_of(scene).grid
    tif = system.prediction(scene.id, "tif")
    assert tif.headers["X-Model-Version"] == "2"
    with MemoryFile(tif.content) as file, file.open() as raster:
        assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert (raster.crs.to_string(), raster.transform) == (grid.crs, grid.affine)
        assert (raster.height, raster.width, raster.nodata) == (grid.height, grid.width, 255)
        classes = raster.read(1)

    assert zipfile.is_zipfile(io.BytesIO(system.prediction(scene.id, "shp.zip").content))
    outlines = system.prediction(scene.id, "geojson").json()
    values = {item.name: item.value for item in GLACIER_SCHEME.classes}
    footprint = grid.footprint_wgs84().buffer(1e-6)
    assert all(footprint.covers(shape(feature["geometry"])) for feature in outlines["features"])
    back = [
        (transform_geom("EPSG:4326", grid.crs, feature["geometry"]), values[feature["properties"]["class"]])
        for feature in outlines["features"]
    ]
    burnt = rasterize(back, out_shape=classes.shape, transform=grid.affine, dtype="uint8")
    np.testing.assert_array_equal(burnt, classes)


def test_the_proof_in_the_card_is_of_that_very_map(system: LoopSystem, second_version: Stage):
    """The IoU that the gate judged by follows from the map that is served and the outlines that came with the scene."""
    scene = scene_of(system, "validation")
    served = system.wait(
        "the prediction",
        lambda: (
            (response := system.request("GET", f"scenes/{scene.id}/prediction.tif")).status_code == 200 and response
        ),
    )
    predicted = mask_from_geotiff(served.content, GLACIER_SCHEME)
    truth = mask_from_geotiff(
        RasterStore(system.settings.raster_store).get(raster_keys.truth(scene.id)), GLACIER_SCHEME
    )
    for item in GLACIER_SCHEME.classes:
        both, either = (
            (predicted == item.value) & (truth == item.value),
            (predicted == item.value) | (truth == item.value),
        )
        iou = second_version.models[0]["iou"]["validation"][item.name]
        assert iou == pytest.approx(both.sum() / either.sum(), abs=1e-6)


def test_a_repeated_webhook_changes_nothing(system: LoopSystem, second_version: Stage):
    def counts() -> list[int]:
        with system.catalog.read() as session:
            return [session.scalar(select(func.count()).select_from(row)) for row in (LabelEvent, Label, Job)]

    with system.catalog.read() as session:
        body = session.scalars(select(LabelEvent.body).where(LabelEvent.state == EventState.APPLIED)).first()
    before = counts()
    repeated = system.request(
        "POST", "webhooks/label-studio", content=body, headers={SECRET_HEADER: system.secrets.webhook_secret}
    )
    assert (repeated.status_code, repeated.json()) == (200, {"recorded": []})
    assert counts() == before


def test_what_happened_while_the_server_was_down_is_found(system: LoopSystem, interruption: Interruption):
    with system.catalog.read() as session:
        states = {
            name: session.get_one(Proposal, proposal.id).state.value
            for name, proposal in (
                ("drawn", interruption.drawn),
                ("erased", interruption.erased),
                ("removed", interruption.removed),
            )
        }
        found = session.scalars(select(LabelEvent.action).where(LabelEvent.origin == "reconciliation")).all()
    assert interruption.recovered == {"drawn": "labelled", "erased": "published", "removed": "withdrawn"}
    assert {"ANNOTATION_CREATED", "ANNOTATIONS_DELETED", "TASKS_DELETED"} <= set(found)
    assert states["drawn"] == "labelled"


def test_images_follow_the_server_to_its_new_address(system: LoopSystem, interruption: Interruption):
    data = system.task(interruption.drawn)["data"]
    assert data["true_colour"].startswith(f"{interruption.new_address}/")
    assert httpx.get(data["true_colour"]).status_code == 200
    assert data["proposal"] == interruption.drawn.uid


def test_the_loop_keeps_itself_going(system: LoopSystem, interruption: Interruption):
    system.finish_round(interruption.round_id)
    following = interruption.round_id + 1

    def opened() -> bool:
        with system.catalog.read() as session:
            return session.scalar(select(Scoring.model_version).order_by(Scoring.id.desc()).limit(1)) == 3 and any(
                item["id"] == following and item["state"] == "open" for item in system.get("rounds")
            )

    system.wait("the next round", opened)
    assert system.get(f"rounds/{following}")["model_version"] == 3
