"""Fine-tuning against a real MLflow: what a version learns from, how it is judged, and which one is served."""

import io
import json
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from sqlalchemy import select

from al_server.app import create_app
from catalog import jobs, labels, set_aside, training
from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.errors import ConflictError
from catalog.logs import JsonFormatter
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    Patch,
    ProposalReason,
    RunState,
    RunTrigger,
    Scene,
    SceneRole,
    Score,
)
from catalog.registry import registry_of
from catalog.settings import Settings
from experiments.replay import Project, with_random_patches, without_prior_outlines
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.grid import Window
from imagery.masks import mask_from_geotiff, mask_to_geotiff
from imagery.scene_reader import SceneReader
from labeling.webhook import SECRET_HEADER
from models.card import Gain
from models.inference import predict_windows
from models.label_doubt import STANDS_OUT
from services import changing_settings, raster_keys
from services.block_changes import block_changes, most_changed
from services.places import raster_store
from services.promotion import promote, roll_back
from services.scene_replacement import replace_scene
from services.scenes import ready_scenes, source_of, window_of
from services.stability import Agreement
from services.unusable_scenes import take_back
from services.version_figures import figures_of
from services.withdrawals import WithdrawalRequest, withdraw
from tests.catalog_fixtures import add_round, add_scoring, label_of
from tests.imagery.forge import BAND_NAMES, forge_scene
from tests.workers.desk import box, brush, saved, sit_down
from tests.workers.fine_tuning import (
    answer,
    changed,
    fine_tune,
    labelled,
    mlflow,
    mlflow_status,
    reopen,
    row,
    runs,
    settings,
)
from tests.workers.rows import described_anew, patches, score_pool, tiled
from tests.workers.test_corrections import Pen
from workers.evaluation import evaluate
from workers.jobs import perform
from workers.reproduction import reproduce
from workers.versions import load_card, load_champion, load_version

__all__ = ["labelled", "mlflow", "settings"]

pytestmark = pytest.mark.slow

BANDS = list(BAND_NAMES)
WEBHOOK = "/api/v1/webhooks/label-studio"


@pytest.fixture
def json_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What our processes would write to their logs as JSON, read again."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)

    def read() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]
        return [line for line in lines if line["logger"].partition(".")[0] in ("services", "workers", "catalog")]

    yield read
    root.removeHandler(handler)
    root.setLevel(level)


def waiting(catalog: Catalog, kind: JobKind) -> Job:
    """Claim the oldest job of a kind that waits."""
    queued = select(Job.id).where(Job.kind == kind, Job.state == JobState.QUEUED).order_by(Job.created_at).limit(1)
    with catalog.database.write() as session:
        job = jobs.claim(session, session.scalars(queued).one())
    assert job is not None
    return job


def test_a_version_is_made_and_judged(labelled):
    assert fine_tune(labelled).state is JobState.FINISHED
    assert fine_tune(labelled).state is JobState.FINISHED
    first, second = runs(labelled)
    assert (first.model_version, first.parent_version, first.state) == (1, None, RunState.FINISHED)
    assert (second.model_version, second.parent_version, second.state) == (2, 1, RunState.FINISHED)
    assert (first.seed, second.seed) == (1, 2)
    assert mlflow_status(labelled, second) == "FINISHED"
    registry = registry_of(labelled.settings)
    version = registry.get(2)
    assert registry.champion() == version
    assert registry.aliases() == {"champion": 2, "learner": 2}
    assert (first.champion_version, second.champion_version) == (None, 1)
    assert version.tags["labels.sha256"] == second.labels_sha256
    assert version.tags["verdict"] == "promoted"
    found, parent = figures_of(version).regions["validation"], figures_of(registry.get(1)).regions["validation"]
    assert found.gain_mean_iou == pytest.approx(found.mean_iou - parent.mean_iou, abs=2e-6)
    saliency = load_champion(labelled).card.saliency
    assert saliency.windows > 0
    assert list(saliency.channels) == ["clean ice", "debris-covered ice"]
    assert all(sum(shares.values()) == pytest.approx(1) for shares in saliency.channels.values())
    changes = block_changes(*(load_card(labelled, number).model_dump(mode="json") for number in (2, 1)))
    shown = [(change.scene_id, change.row, change.col) for some in most_changed(changes) for change in some]
    assert [(block.scene_id, block.row, block.col) for block in saliency.blocks] == shown != []
    assert load_card(labelled, 1).saliency.blocks == ()  # there was nothing to compare with
    area_error = load_champion(labelled).card.area_error
    assert list(area_error.classes) == ["clean ice", "debris-covered ice", "glacier"]
    assert all(set(error.calibration) == {"validation"} for error in area_error.classes.values())  # no test scene
    with labelled.read() as session:
        assert jobs.is_open(session, JobKind.SCORE_POOL)
    history = MlflowClient(tracking_uri=labelled.settings.mlflow_url).get_metric_history(
        second.mlflow_run_id, "train.loss"
    )
    assert [metric.step for metric in history] == [6]


def test_the_first_version_learns_from_prior_outlines_and_the_next_from_labels_beside_them(catalog, tmp_path):
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    tiled(catalog, tmp_path / "test.tif", SceneRole.TEST, offset_px=800)
    scene, forged = tiled(catalog, tmp_path / "pool.tif", priors=(0, 1), ring_m=15.0)
    with catalog.database.write() as session:
        job = jobs.claim(session, training.enqueue_if_due(session, catalog.settings).id)
    perform(catalog, job)
    assert row(catalog, job.id).state is JobState.FINISHED
    (first,) = runs(catalog)
    assert (first.trigger, first.label_ids, first.model_version) == (RunTrigger.PRIORS, [], 1)
    card = load_champion(catalog).card
    assert (card.labels.count, card.patch_size_px, card.priors.share, card.priors.patches) == (0, 32, 1.0, 20)
    (source,) = card.priors.sources
    assert (source.scene, source.date, source.source, source.ring_m) == (scene.id, "2003-07-30", "an inventory", 15.0)
    assert source.files == ("pool_outlines.gpkg",)
    assert figures_of(registry_of(catalog.settings).get(1)).labels == 0

    (patch,) = patches(catalog, scene.id)[5:6]
    with catalog.database.write() as session:
        _, (proposal,) = add_round(session, [session.get_one(Patch, patch.id)])
        proposal.reason = ProposalReason.UNCERTAIN
        label = label_of(session, proposal, 1, found=[[1000, 24, 0], [0, 0, 0], [0, 0, 0]])
        label.mask_key = raster_keys.label(patch.id, 1, label.event_id)
        mask = forged.truth[window_of(patch).slices]
        data = mask_to_geotiff(mask, source_of(scene).grid, GLACIER_SCHEME, window_of(patch))
        label.mask_sha256 = raster_store(catalog).put(label.mask_key, data)
        labels.store(session, label)
        agreement = Agreement(1, 0, 20, 0.9, (0.9, 0.7, None), (9000, 900, 0))
        add_scoring(session, 1, {}).stability = agreement.to_json()
    assert fine_tune(catalog).state is JobState.FINISHED
    card = load_champion(catalog).card
    assert (card.labels.count, card.priors.patches) == (1, 19)  # the label overrides the outlines of its patch
    assert card.priors.share == pytest.approx(0.5 / (1 + 1 / 40))  # of one label; at 40 it is halved
    told = MlflowClient(tracking_uri=catalog.settings.mlflow_url).get_run(runs(catalog)[1].mlflow_run_id).data
    assert told.params["priors.sha256"] == source.sha256
    assert told.metrics["arms.chosen.wrong_px"] == 24
    assert (told.metrics["stability.kappa"], told.metrics["stability.kappa.clean ice"]) == (0.9, 0.7)
    assert "stability.kappa.debris-covered ice" not in told.metrics

    # The trainings again, with patches drawn by a seed that draws the one that was chosen: the same versions.
    seed = next(seed for seed in range(1000) if np.random.default_rng(seed).permutation(20)[0] == 5)
    project = Project.read(catalog)
    again = with_random_patches(project, forged.truth, seed)
    assert [evaluation.blocks for evaluation in again] == [
        load_card(catalog, number).blocks["test"] for number in (1, 2)
    ]
    other = with_random_patches(project, forged.truth, seed + 1)
    assert other[0] == again[0]  # before any label
    assert other[1] != again[1]
    # Without outlines both learn the one label, with the seeds of both versions.
    alone = without_prior_outlines(project)
    assert len(alone) == 2
    assert alone[0] != again[0]
    assert alone[1] != again[1]


def test_a_label_is_followed_from_the_webhook_to_its_version_by_one_id(catalog, tmp_path, json_lines):
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    desk = sit_down(catalog, tmp_path / "pool.tif")
    secret = {SECRET_HEADER: catalog.secrets.webhook_secret}
    body = saved(desk.first, [brush(box(2, 3, 20, 25))])
    assert create_app(catalog).test_client().post(WEBHOOK, json=body, headers=secret).status_code == 202
    perform(catalog, waiting(catalog, JobKind.INGEST_LABEL))
    assert fine_tune(catalog).state is JobState.FINISHED

    # What `grep UID` or `jq 'select(.proposal == UID or (.proposals // [] | index(UID)))'` shows.
    uid = desk.first.uid
    path = [line for line in json_lines() if uid == line.get("proposal") or uid in line.get("proposals", [])]
    told = ["logger", "event", "label", "labels", "run", "version"]
    assert [tuple(line.get(name) for name in told) for line in path] == [
        ("services.label_events", 1, None, None, None, None),
        ("workers.ingest_label", 1, 1, None, None, None),
        ("workers.fine_tune", None, None, [1], 1, None),
        ("workers.fine_tune", None, None, [1], 1, 1),
        ("services.promotion", None, None, [1], 1, 1),
    ]
    assert [line["message"] for line in path[-2:]] == [
        "version 1 is registered",
        "version 1: promoted by gate: the first version",
    ]
    with catalog.read() as session:
        kinds = [session.get_one(Job, line["job"]).kind for line in path[1:]]
    assert kinds == [JobKind.INGEST_LABEL, JobKind.FINE_TUNE, JobKind.FINE_TUNE, JobKind.FINE_TUNE]
    text = json.dumps(json_lines())
    assert [name for name, value in vars(catalog.secrets).items() if "email" not in name and value in text] == []


def test_a_version_maps_what_was_drawn_on_the_map(catalog, tmp_path):
    """Ice and background change places in the drawing, so that the version cannot know it from anything else."""
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    desk = sit_down(catalog, tmp_path / "pool.tif")
    swap = np.arange(256, dtype=np.uint8)
    swap[[0, 1]] = 1, 0
    drawn = swap[forge_scene(tmp_path / "again.tif").truth[:64, :128]]
    Pen(desk).submit(drawn, 0, 0)
    catalog.settings = changed(catalog, fine_tune_steps=150)
    assert fine_tune(catalog).state is JobState.FINISHED
    segmenter = load_version(catalog, 1).segmenter
    with SceneReader(source_of(desk.scene)) as reader:
        (found,) = predict_windows(segmenter, [torch.from_numpy(reader.read(BANDS, Window(0, 0, 64, 128)))[None]])
    mapped = segmenter.decide(found[0].numpy())
    assert (mapped == drawn)[drawn != 255].mean() >= 0.95


def test_stages_add_up_to_the_time_of_the_job(labelled):
    job = fine_tune(labelled)
    (run,) = runs(labelled)
    assert list(run.seconds) == ["load", "evaluate", "train", "export", "register", "promote"]
    wall = (job.finished_at - job.started_at).total_seconds()
    assert 0 <= wall - sum(run.seconds.values()) < 1  # but for the claim of the job and the note of its end


def test_what_is_known_is_neither_fetched_nor_found_again(labelled):
    fine_tune(labelled)
    cache = labelled.settings.var_dir / "cache"
    (version,) = (cache / "models").iterdir()
    files = sorted(version.iterdir())
    assert [file.name for file in files] == ["card.json", "model.onnx", "weights.safetensors"]
    (graph,) = (cache / "graphs").glob("*.onnx")
    untouched = [file.stat().st_mtime_ns for file in (*files, graph)]
    fine_tune(labelled)  # from the files of the first version, by its graph
    assert [file.stat().st_mtime_ns for file in (*files, graph)] == untouched
    assert list((cache / "graphs").glob("*.onnx")) == [graph]
    assert len(list((cache / "models").iterdir())) == 2


def test_a_parent_is_judged_again_when_the_truth_is_another(labelled):
    fine_tune(labelled)
    parent = load_champion(labelled)
    with labelled.read() as session:
        (scene,) = ready_scenes(session, [SceneRole.VALIDATION])
    key = raster_keys.truth(scene.id)
    truth = mask_from_geotiff(raster_store(labelled).get(key), GLACIER_SCHEME)
    raster_store(labelled).put(key, mask_to_geotiff(np.fliplr(truth), source_of(scene).grid, GLACIER_SCHEME))
    fine_tune(labelled)
    card = load_champion(labelled).card
    assert (card.parent_version, parent.card.evaluation) != (None, card.evaluation)
    (size,) = {patch.size_px for patch in patches(labelled, scene.id)}
    judged_again = evaluate(labelled, parent.segmenter, [scene], size).metrics
    assert judged_again != parent.card.metrics["validation"]
    assert card.gain["validation"] == Gain.between(judged_again, card.metrics["validation"])


def test_the_card_records_what_people_changed_of_the_settings(labelled):
    changes = {"fine_tune_learning_rate": 0.003, "map_orientations": "one"}
    catalog = Catalog(Settings(**labelled.settings.model_dump(exclude=changes.keys())))  # others are given, so fixed
    changing_settings.change(catalog, changes, "olga")
    fine_tune(catalog)
    card = load_champion(catalog).card
    assert (card.training.learning_rate, card.orientations) == (0.003, "one")
    catalog.close()


def decisions(catalog: Catalog) -> list[Promotion]:
    with catalog.read() as session:
        return list(session.scalars(select(Promotion).order_by(Promotion.id)))


SPOILT = {
    **{"fine_tune_steps": 3, "fine_tune_learning_rate": 0.5, "fine_tune_ema_decay": 0.0},
    **{"gate_margin": 0.0, "gate_confidence": 0.51},
}
"""Settings with which a version unlearns what its parent knew, has no time to learn it again, and the gate sees it on a
few blocks already."""


def test_a_version_that_loses_is_not_served_but_learning_goes_on_from_it(labelled):
    labelled.settings = changed(labelled, fine_tune_steps=60)
    fine_tune(labelled)
    labelled.settings = changed(labelled, **SPOILT)
    fine_tune(labelled)
    registry = registry_of(labelled.settings)
    assert registry.aliases() == {"champion": 1, "challenger": 2, "learner": 2}
    kept = decisions(labelled)[1]
    assert (kept.model_version, kept.verdict, kept.evidence["champion_version"]) == (2, "kept", 1)
    assert kept.evidence["mean_iou"]["outcome"] == "worse"
    assert registry.get(2).tags["champion_version"] == "1"
    assert figures_of(registry.get(2)).gate.model_dump() == kept.evidence == load_card(labelled, 2).gate.model_dump()

    fine_tune(labelled)  # a second version that is worse than the same champion
    third = runs(labelled)[2]
    assert (third.parent_version, third.champion_version, third.model_version) == (2, 1, 3)
    assert registry.aliases() == {"champion": 1, "challenger": 3, "learner": 1}
    kept, set_back = decisions(labelled)[2:]
    assert (kept.model_version, kept.verdict) == (3, "kept")
    assert (set_back.model_version, set_back.previous_version, set_back.verdict) == (1, 3, "set back")
    assert set_back.reason.startswith("versions 2 and 3 are both worse than version 1")

    reopen(labelled, third)  # as if the worker had died before it closed the run
    fine_tune(labelled)
    assert len(decisions(labelled)) == 4
    fine_tune(labelled)
    assert runs(labelled)[3].parent_version == 1


def test_labels_that_the_champion_doubts_are_named_with_the_version_that_learnt_them(labelled):
    labelled.settings = changed(labelled, fine_tune_steps=60)
    fine_tune(labelled)
    labelled.settings = changed(labelled, gate_class_margin=0.0, gate_margin=0.0, gate_confidence=0.999)
    with labelled.read() as session:
        (scene,) = ready_scenes(session, [SceneRole.POOL])
    learnt, masks = load_version(labelled, 1).segmenter, {}
    with SceneReader(source_of(scene)) as reader:
        for patch, bad in zip(patches(labelled, scene.id)[9:11], (False, True), strict=True):
            raw = torch.from_numpy(reader.read(learnt.channels, window_of(patch)))
            (found,) = predict_windows(learnt, [raw[None]])
            masks[patch] = found[0].numpy().argsort(axis=0)[0 if bad else -1].astype(np.uint8)
    answer(labelled, scene, masks, first=5)
    swapped = list(masks)[1]
    fine_tune(labelled)
    version = registry_of(labelled.settings).get(2)
    (doubted,) = figures_of(version).doubted
    with labelled.read() as session:
        label = session.scalars(select(Label).where(Label.patch_id == swapped.id)).one()
        assert (doubted.label, doubted.proposal) == (label.id, label.proposal.uid)
    assert doubted.doubt > STANDS_OUT
    told = f"; 1 of 2 new labels stands out: {label.id} ({doubted.doubt:+.2f})"
    assert (version.tags["verdict"], version.tags["verdict.reason"].endswith(told)) == ("kept", True)


def test_an_installation_without_a_learner_goes_on_from_the_champion(labelled):
    fine_tune(labelled)
    client = MlflowClient(tracking_uri=labelled.settings.mlflow_url)
    client.delete_registered_model_alias(labelled.settings.registered_model, "learner")
    fine_tune(labelled)
    assert runs(labelled)[1].parent_version == 1
    assert registry_of(labelled.settings).aliases() == {"champion": 2, "learner": 2}


def test_a_roll_back_during_the_training_sets_the_learner_back_for_good(labelled):
    fine_tune(labelled)
    fine_tune(labelled)
    labelled.settings = changed(labelled, fine_tune_steps=300)
    registry = registry_of(labelled.settings)

    def roll_back_meanwhile() -> None:
        while not any(job.done > 0 for job in running_jobs(labelled)):
            time.sleep(0.01)
        roll_back(labelled, registry, "it maps shadows", "a person")

    person = threading.Thread(target=roll_back_meanwhile)
    person.start()
    fine_tune(labelled)
    person.join()
    assert registry.aliases() == {"champion": 1, "learner": 1, "challenger": 3}


def test_a_person_chooses_what_training_goes_on_from(labelled):
    labelled.settings = changed(labelled, gate_class_margin=0.0, gate_margin=0.0, gate_confidence=0.999)
    fine_tune(labelled)
    labelled.settings = changed(labelled, fine_tune_learning_rate=0.5)
    fine_tune(labelled)
    registry = registry_of(labelled.settings)
    assert registry.aliases() == {"champion": 1, "challenger": 2, "learner": 2}
    promote(labelled, registry, 1, "version 2 learnt nonsense", "a person")
    assert registry.aliases() == {"champion": 1, "challenger": 2, "learner": 1}
    with pytest.raises(ConflictError, match="version 1 is served already"):
        promote(labelled, registry, 1, "again", "a person")
    promote(labelled, registry, 2, "it is better than that", "a person")
    assert registry.aliases() == {"champion": 2, "challenger": 2, "learner": 2}
    roll_back(labelled, registry, "it is not", "a person")
    assert registry.aliases() == {"champion": 1, "challenger": 2, "learner": 1}


def test_a_champion_moved_during_the_training_stays(labelled):
    fine_tune(labelled)
    (first,) = runs(labelled)
    client = MlflowClient(tracking_uri=labelled.settings.mlflow_url)
    name = labelled.settings.registered_model
    client.create_model_version(name, source=f"runs:/{first.mlflow_run_id}/bundle", run_id=first.mlflow_run_id)
    labelled.settings = Settings(**{**labelled.settings.model_dump(), "fine_tune_steps": 300})

    def promote_another_meanwhile() -> None:
        while not any(job.done > 0 for job in running_jobs(labelled)):
            time.sleep(0.01)
        client.set_registered_model_alias(name, "champion", "2")

    person = threading.Thread(target=promote_another_meanwhile)
    person.start()
    fine_tune(labelled)
    person.join()
    registry = registry_of(labelled.settings)
    assert registry.aliases() == {"champion": 2, "challenger": 3, "learner": 3}
    assert registry.get(3).tags["verdict"] == "kept"
    assert registry.get(3).tags["verdict.reason"].endswith("but meanwhile the champion was moved to version 2")


def test_a_roll_back_while_the_version_is_uploaded_is_not_overwritten(labelled, monkeypatch):
    fine_tune(labelled)
    fine_tune(labelled)
    registry = registry_of(labelled.settings)

    def roll_back_meanwhile(catalog: Catalog, version: int, bundle: Path) -> None:
        roll_back(catalog, registry_of(catalog.settings), "it maps shadows", "a person")

    monkeypatch.setattr("workers.fine_tune._fill_cache", roll_back_meanwhile)
    assert fine_tune(labelled).state is JobState.FINISHED
    assert registry.aliases() == {"champion": 1, "learner": 1, "challenger": 3}
    tags = registry.get(3).tags
    assert tags["verdict"] == "kept"
    assert tags["verdict.reason"].endswith(", but meanwhile the champion was moved to version 1")
    client, name = MlflowClient(tracking_uri=labelled.settings.mlflow_url), labelled.settings.registered_model
    assert client.get_model_version(name, "3").description == tags["verdict.reason"]
    assert decisions(labelled)[-1].reason == tags["verdict.reason"]


@pytest.mark.parametrize("is_prepared", [True, False], ids=["and is ready again", "and is not ready yet"])
def test_a_version_that_was_judged_on_outlines_replaced_meanwhile_is_not_served(labelled, monkeypatch, is_prepared):
    fine_tune(labelled)

    def replace_meanwhile(catalog: Catalog, version: int, bundle: Path) -> None:
        with catalog.write() as session:
            (old,) = ready_scenes(session, [SceneRole.VALIDATION])
            new = described_anew(old, outlines=old.outlines[:1])
            replace_scene(session, catalog.settings, old.id, new, None, has_champion=True)
        if is_prepared:
            perform(catalog, waiting(catalog, JobKind.TILE_SCENE))

    monkeypatch.setattr("workers.fine_tune._fill_cache", replace_meanwhile)
    assert fine_tune(labelled).state is JobState.FINISHED
    registry = registry_of(labelled.settings)
    assert registry.aliases() == {"champion": 1, "challenger": 2, "learner": 2}
    tags = registry.get(2).tags
    assert tags["verdict"] == "kept"
    assert tags["verdict.reason"].endswith(
        ", but meanwhile validation scenes that it was judged on were changed or set aside"
    )


def running_jobs(catalog: Catalog) -> list[Job]:
    with catalog.read() as session:
        return list(session.scalars(select(Job).where(Job.state == JobState.RUNNING)))


def test_without_a_validation_scene_nothing_is_trained(catalog, tmp_path):
    tiled(catalog, tmp_path / "pool.tif")
    job = fine_tune(catalog)
    assert job.state is JobState.FAILED
    assert "found no ready scene with the role 'validation' and outlines" in job.error
    assert runs(catalog) == []


def test_a_fine_tune_waits_while_every_validation_scene_is_set_aside(labelled, tmp_path):
    catalog = labelled
    with catalog.read() as session:
        scene = session.scalar(select(Scene).where(Scene.role == SceneRole.VALIDATION))
    path = Path(scene.source["bands"][0]["path"])
    path.rename(tmp_path / "elsewhere")
    job = fine_tune(catalog)
    assert (job.state, job.failures) == (JobState.QUEUED, 0)
    assert "found every scene with the role 'validation' set aside" in job.error
    assert f"this job goes on by itself when one is back ({scene.name}: " in job.error
    assert runs(catalog) == []
    (tmp_path / "elsewhere").rename(path)
    assert take_back(catalog) == [scene.name]
    with catalog.write() as session:
        job = jobs.claim(session, job.id)
    perform(catalog, job)
    with catalog.read() as session:
        assert session.get_one(Job, job.id).state is JobState.FINISHED


def test_without_labels_nothing_is_trained(catalog, tmp_path):
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION)
    job = fine_tune(catalog)
    assert job.state is JobState.FAILED
    assert "found no label to learn from" in job.error


def test_labels_without_a_pixel_of_known_class_are_no_reason_to_try_again(catalog, tmp_path):
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    scene, _ = tiled(catalog, tmp_path / "pool.tif")
    answer(catalog, scene, {patches(catalog, scene.id)[5]: np.full((32, 32), UNKNOWN, np.uint8)})
    job = fine_tune(catalog)
    assert (job.state, job.failures) == (JobState.FAILED, 1)
    assert "found no pixel of known class in the 1 labels to learn from" in job.error


def test_without_a_pixel_of_known_class_in_labels_all_is_learnt_from_prior_outlines(catalog, tmp_path):
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    scene, _ = tiled(catalog, tmp_path / "pool.tif", priors=(0, 1), ring_m=15.0)
    answer(catalog, scene, {patches(catalog, scene.id)[5]: np.full((32, 32), UNKNOWN, np.uint8)})
    assert fine_tune(catalog).state is JobState.FINISHED
    card = load_champion(catalog).card
    assert (card.labels.count, card.priors.share) == (1, 1.0)


@pytest.mark.parametrize(
    ("changes", "classes"),
    [
        ({"head": "binary", "fine_tune_loss": "slba"}, ("background", "glacier")),
        ({"architecture": "aryal", "channels": BANDS}, ("background", "clean ice", "debris-covered ice")),
        (
            {"architecture": "he", "channels": BANDS, "unet_dropout": 0.1, "input_normalization": "patch"},
            ("background", "glacier"),
        ),
    ],
    ids=["binary", "aryal", "he"],
)
def test_every_head_and_the_papers_presets_go_through_the_loop(labelled, changes, classes):
    labelled.settings = Settings(**{**labelled.settings.model_dump(), **changes})
    assert fine_tune(labelled).state is JobState.FINISHED
    assert fine_tune(labelled).state is JobState.FINISHED  # from the first, with the same classes
    champion = load_champion(labelled)
    assert champion is not None
    assert champion.card.classes == classes
    assert set(champion.card.gain["validation"].iou) == set(classes)
    score_pool(labelled, champion)
    with labelled.read() as session:
        scores = list(session.scalars(select(Score.value).where(Score.measure == "entropy_top10")))
    assert scores
    assert 0 <= min(scores) <= max(scores) <= math.log(len(classes))


def test_another_network_than_the_champions_is_refused_before_anything_is_trained(labelled):
    fine_tune(labelled)
    labelled.settings = Settings(**{**labelled.settings.model_dump(), "head": "binary", "fine_tune_loss": "dice"})
    job = fine_tune(labelled)
    assert job.state is JobState.FAILED
    assert "found settings for a network with head 'binary'" in job.error
    assert [run.state for run in runs(labelled)] == [RunState.FINISHED, RunState.FAILED]
    labelled.settings = Settings(**{**labelled.settings.model_dump(), "head": None})
    assert fine_tune(labelled).state is JobState.FINISHED


def test_a_fresh_network_after_a_withdrawal_is_of_the_champions_kind(labelled):
    fine_tune(labelled)
    withdraw(labelled, WithdrawalRequest(annotator="glaciologist@glacier.local", reason="shifted"), "an operator")
    with labelled.read() as session:
        (scene,) = ready_scenes(session, [SceneRole.POOL])
    answer(labelled, scene, {patches(labelled, scene.id)[9]: np.zeros((32, 32), np.uint8)}, first=5)
    kept, labelled.settings = labelled.settings, changed(labelled, head="binary", fine_tune_loss="dice")
    assert "found settings for a network with head 'binary'" in fine_tune(labelled).error
    labelled.settings = kept.model_copy(update={"channels": ["red"]})
    assert fine_tune(labelled).state is JobState.FINISHED
    first, fresh = (load_card(labelled, number) for number in (1, 2))
    assert fresh.parent_version is None
    assert fresh.channels == first.channels != ("red",)


def test_without_a_champion_among_versions_nobody_is_promoted_unseen(labelled):
    fine_tune(labelled)
    MlflowClient(tracking_uri=labelled.settings.mlflow_url).delete_registered_model_alias(
        labelled.settings.registered_model, "champion"
    )
    job = fine_tune(labelled)
    assert job.state is JobState.FAILED
    assert "found versions but no champion" in job.error
    assert [run.state for run in runs(labelled)] == [RunState.FINISHED, RunState.FAILED]


def test_the_card_names_what_it_was_judged_on(labelled):
    fine_tune(labelled)
    registry = registry_of(labelled.settings)
    card = json.loads(registry.artifact(registry.get(1), "card.json"))
    assert card["evaluation"]["validation"]["scenes"] == [1]
    assert card["evaluation"]["validation"]["truth_sha256"] == registry.get(1).tags["validation.truth_sha256"]
    assert [item["name"] for item in card["input_channels"]] == card["channels"]
    assert {(item["unit"], item["scale"], item["offset"]) for item in card["input_channels"]} == {
        ("digital number", 1.0, 0.0)
    }
    assert (card["format_version"], card["levels"], card["sensors"]) == (2, [], [])


def test_a_version_is_calibrated_on_validation_and_served_as_it_was_judged(labelled):
    labelled.settings = changed(labelled, calibration="vector", map_orientations="all")
    fine_tune(labelled)
    registry = registry_of(labelled.settings)
    version = load_version(labelled, 1)
    card, figures = version.card, figures_of(registry.get(1)).regions["validation"]
    assert card.calibration is not None
    assert card.calibration.log_loss.after < card.calibration.log_loss.before
    errors = card.calibration.errors
    assert figures.calibration_error == pytest.approx({name: error.after for name, error in errors.items()}, abs=1e-6)
    assert figures.uncalibrated_error == pytest.approx({name: error.before for name, error in errors.items()}, abs=1e-6)
    assert version.segmenter.logit_scale.tolist() == list(card.logit_scale)
    assert card.logit_scale != (1.0, 1.0, 1.0)
    assert version.segmenter.orientations == "all"
    with labelled.read() as session:
        scenes = ready_scenes(session, [SceneRole.VALIDATION])
    served = evaluate(labelled, version.segmenter, scenes, card.patch_size_px)
    assert served.metrics == card.metrics["validation"]


def test_what_cannot_be_read_is_left_out_by_name_and_the_rest_is_learnt(labelled, tmp_path):
    """One of four masks is gone, and with it the ledger's drawing; a second validation scene was moved."""
    tiled(labelled, tmp_path / "elsewhere.tif", SceneRole.VALIDATION, offset_px=800)
    (tmp_path / "elsewhere.tif").rename(tmp_path / "moved.tif")
    with labelled.read() as session:
        all_labels = session.scalars(select(Label).order_by(Label.id)).all()
    raster_store(labelled).delete(all_labels[1].mask_key)
    assert fine_tune(labelled).state is JobState.FINISHED
    (run,) = runs(labelled)
    assert run.label_ids == [all_labels[0].id, all_labels[2].id, all_labels[3].id]
    assert figures_of(registry_of(labelled.settings).get(1)).labels == 3
    client = MlflowClient(tracking_uri=labelled.settings.mlflow_url)
    assert client.get_run(run.mlflow_run_id).data.params["labels_left_out"] == str(all_labels[1].id)
    with labelled.read() as session:
        assert [row.name for row in set_aside.standing(session)] == [
            "elsewhere-validation",
            f"label {all_labels[1].id}",
        ]
        assert training.new_labels(session) == set()
    card = load_card(labelled, 1)
    assert len(card.evaluation["validation"].scenes) == 1


def test_a_version_that_could_not_learn_a_label_is_reproduced_exactly(catalog, tmp_path):
    """The outlines teach under the label that is lost, in either training; of 20 patches one has a label."""
    tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    scene, forged = tiled(catalog, tmp_path / "pool.tif", priors=(0, 1), ring_m=15.0)
    answer(catalog, scene, {patch: forged.truth[window_of(patch).slices] for patch in patches(catalog, scene.id)[5:7]})
    with catalog.read() as session:
        learnt, lost = session.scalars(select(Label).order_by(Label.id)).all()
    raster_store(catalog).delete(lost.mask_key)
    assert fine_tune(catalog).state is JobState.FINISHED
    card = load_card(catalog, 1)
    assert (card.labels.ids, card.priors.patches) == ((learnt.id,), 19)
    assert reproduce(catalog, 1).is_exact()


def test_truncated_weights_in_the_cache_are_fetched_again(labelled):
    fine_tune(labelled)
    (weights,) = (labelled.settings.var_dir / "cache" / "models").glob("*/weights.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    assert fine_tune(labelled).state is JobState.FINISHED
    assert weights.read_bytes() == whole
