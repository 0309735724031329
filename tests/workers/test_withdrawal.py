"""Lineage, reproduction and withdrawal with real (tiny) trainings and a real MLflow: one project, step by step."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from al_server.app import create_app
from catalog import failures, jobs, labels
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Job, JobKind, JobState, Label, Patch, PatchState, Proposal, RunState, SceneRole, TrainingRun
from catalog.registry import registry_of
from catalog.settings import Settings
from cli.main import main
from imagery.classes import GLACIER_SCHEME
from imagery.masks import mask_to_geotiff
from services import raster_keys, reproductions
from services.places import raster_store
from services.pseudonyms import pseudonym
from services.reproductions import SAME, Options, Tolerance
from services.scenes import source_of, window_of
from services.version_figures import figures_of
from services.withdrawals import WithdrawalRequest, tag_versions, withdraw
from tests.catalog_fixtures import NOON, add_round, add_scoring, as_role, label_of
from tests.workers.rows import patches, tiled
from workers import interruption
from workers import jobs as worker_jobs
from workers.fine_tune import _check_standing
from workers.jobs import JobContext, perform
from workers.reproduction import reproduce
from workers.time_limit import JobTimeLimit
from workers.versions import load_card

pytestmark = pytest.mark.slow

CARELESS, CAREFUL = "careless@glacier.local", "careful@glacier.local"


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, migrated_database: Path, redis_server: str, mlflow_server: str
) -> Iterator[Catalog]:
    """A project with two versions: the first learnt from a careful annotator, the second from a careless one, too."""
    folder = tmp_path_factory.mktemp("withdrawal")
    (folder / "catalog.sqlite").write_bytes(migrated_database.read_bytes())
    catalog = Catalog(
        Settings(
            var_dir=folder,
            database_url=f"sqlite:///{folder / 'catalog.sqlite'}",
            redis_url=redis_server,
            mlflow_url=mlflow_server,
            registered_model=f"model-{uuid4().hex}",
            experiment=f"experiment-{uuid4().hex}",
            patch_size_px=32,
            unet_depth=2,
            unet_width=4,
            fine_tune_steps=6,
            fine_tune_batch_size=2,
            gate_margin=1.0,
            gate_class_margin=1.0,
            torch_threads=1,
            calibration="temperature",
        )
    )
    tiled(catalog, folder / "validation.tif", SceneRole.VALIDATION, offset_px=400)
    tiled(catalog, folder / "test.tif", SceneRole.TEST, offset_px=800)
    scene, forged = tiled(catalog, folder / "pool.tif", priors=(0, 1), ring_m=15.0)
    chosen = patches(catalog, scene.id)[5:9]
    with catalog.database.write() as session:
        opened, proposals = add_round(session, [session.get_one(Patch, patch.id) for patch in chosen])
        opened.scoring_id, opened.measure = add_scoring(session, 7, {}).id, "entropy_top10"
        proposals[2].score = 0.625
    for number, by in ((0, CAREFUL), (1, CAREFUL), (2, CARELESS), (3, CARELESS)):
        with catalog.database.write() as session:
            proposal = session.get_one(Proposal, proposals[number].id)
            label = label_of(session, proposal, number, minutes=number, annotator=by)
            label.mask_key = raster_keys.label(proposal.patch_id, number, label.event_id)
            window = window_of(chosen[number])
            mask = forged.truth[window.slices] if by == CAREFUL else np.ones((32, 32), np.uint8)
            data = mask_to_geotiff(mask, source_of(scene).grid, GLACIER_SCHEME, window)
            label.mask_sha256 = raster_store(catalog).put(label.mask_key, data)
            labels.store(session, label)
        if number in {1, 3}:
            assert fine_tune(catalog).state is JobState.FINISHED
    yield catalog
    catalog.close()


def fine_tune(catalog: Catalog, trigger: str = "by hand") -> Job:
    """Do one attempt of a fine-tune here, of the job that waits if one does; return its row."""
    with catalog.database.write() as session:
        job = jobs.claim(session, jobs.enqueue(session, JobKind.FINE_TUNE, trigger=trigger).id)
    assert job is not None
    perform(catalog, job)
    with catalog.read() as session:
        return session.get_one(Job, job.id)


def test_a_version_is_traced_to_labels_and_the_scores_that_caused_them(project):
    client = create_app(project).test_client()
    found = client.get("/api/v1/models/2/lineage", headers=as_role(project, "operator")).json
    assert [(item["version"], item["parent_version"], item["label_ids"]) for item in found["trainings"]] == [
        (2, 1, [1, 2, 3, 4]),
        (1, None, [1, 2]),
    ]
    assert [item["seed"] for item in found["trainings"]] == [2, 1]
    for item in found["trainings"]:
        card = load_card(project, item["version"])
        assert (item["code_version"], item["weights_sha256"]) == (card.code_version, card.weights_sha256)
        assert item["settings"] == card.training.to_json()
        assert item["environment"]["threads"] == 1
        assert len(item["priors"]["patch_ids"]) == item["priors"]["patches"]
        assert item["fault"] is None
    third = found["labels"][2]
    with project.read() as session:
        label = session.get_one(Label, 3)
    assert (third["annotator"], third["mask_sha256"]) == (CARELESS, label.mask_sha256)
    assert third["scene"] == "pool-pool"
    assert third["cause"] == {
        "round": 1,
        "strategy": "random",
        "round_seed": 0,
        "part": "whole",
        "reason": "random start",
        "rank": 2,
        "score": 0.625,
        "measure": "entropy_top10",
        "scored_by": 7,
        "passes": 20,
        "scoring_seed": 0,
    }
    seen = client.get("/api/v1/models/2/lineage", headers=as_role(project, "reader"))
    assert CARELESS not in seen.text
    assert [item["annotator"] for item in seen.json["labels"]][2:] == [pseudonym(project, label)] * 2
    assert client.get("/api/v1/models/99/lineage", headers=as_role(project, "reader")).status_code == 404


@pytest.mark.parametrize("version", [1, 2])
def test_a_version_is_reproduced_exactly_with_as_many_threads(project, version):
    found = reproduce(project, version)
    assert found.is_exact()
    assert (found.same_class, found.largest_metric_difference) == (1.0, 0.0)
    assert {role: set(figures) for role, figures in found.metrics.items()} == {
        role: {"mean", *GLACIER_SCHEME.names} for role in ("validation", "test")
    }
    assert found.is_within(Tolerance(0.0, 0.0))
    with project.read() as session:
        assert len(session.scalars(select(TrainingRun)).all()) == 2
    assert len(registry_of(project.settings).versions(10)) == 2


def test_another_precision_is_told_and_lies_outside_of_no_tolerance(project):
    other = "float32" if load_card(project, 2).training.precision == "bfloat16" else "bfloat16"
    found = reproduce(project, 2, precision=other)
    assert not found.is_exact()
    assert 0 < found.rms_difference < found.largest_difference
    assert any("it was trained in" in note for note in found.notes)
    assert not found.same_circumstances
    assert found.is_within(Tolerance(1.0, 1.0))


def ask_again(catalog: Catalog, version: int, **options: object) -> Job:
    """Ask for a version to be trained again, and claim the job as a worker does."""
    with catalog.database.write() as session:
        job = jobs.claim(session, reproductions.ask(session, version, Options(**options), "olga").id)
    assert job is not None
    return job


def ended(catalog: Catalog, job: Job) -> tuple[Job, dict[str, object] | None]:
    """Do a claimed job; return its row, and the newest report of its version."""
    perform(catalog, job)
    with catalog.read() as session:
        reported = jobs.last_reported(session, JobKind.REPRODUCE_VERSION, str(job.subject["version"]))
        return session.get_one(Job, job.id), None if reported is None else reported.report


def test_a_job_reports_what_the_command_prints_and_registers_nothing(project):
    job, report = ended(project, ask_again(project, 2))
    assert (job.state, job.error, job.done, job.total) == (JobState.FINISHED, None, 6, 6)
    assert (report["outcome"], report["tolerance"]) == ("exact", {"pixels": 0.0, "metric": 0.0})
    assert report == json.loads(json.dumps(reproduce(project, 2).to_json(SAME)))
    with project.read() as session:
        assert len(session.scalars(select(TrainingRun)).all()) == 2
    assert len(registry_of(project.settings).versions(10)) == 2


def test_a_job_judges_by_the_tolerance_that_was_asked_for(project):
    other = "float32" if load_card(project, 2).training.precision == "bfloat16" else "bfloat16"
    _, report = ended(project, ask_again(project, 2, precision=other, pixels=1.0, metric=1.0))
    assert (report["outcome"], report["tolerance"]) == ("within", {"pixels": 1.0, "metric": 1.0})
    assert report["largest_difference"] > 0


def test_a_job_is_cancelled_while_it_trains_and_can_be_retried(project, monkeypatch):
    monkeypatch.setattr(worker_jobs, "STEP_TOLD_EVERY_S", 0.0)
    told = []

    class Cancelled(JobContext):
        def progress(self, done, total, message):
            told.append((done, message))
            if done == 2:
                with project.database.write() as session:
                    jobs.request_cancel(session, self.job_id)
            super().progress(done, total, message)

    claimed = ask_again(project, 1)
    monkeypatch.setattr(worker_jobs, "JobContext", Cancelled)
    job, report = ended(project, claimed)
    assert (job.state, report) == (JobState.CANCELLED, None)
    assert told == [(0, "reading what it learnt from"), (1, "training: step 1 of 6"), (2, "training: step 2 of 6")]
    monkeypatch.undo()
    with project.database.write() as session:
        failures.retry(session, job.id)
    with project.database.write() as session:
        again = jobs.claim(session, job.id)
    job, report = ended(project, again)
    assert (job.state, job.attempt, report["outcome"]) == (JobState.FINISHED, 2, "exact")


def test_a_job_whose_worker_stops_begins_again_later(project, monkeypatch):
    claimed = ask_again(project, 2)
    monkeypatch.setattr(interruption, "is_requested", lambda: True)
    perform(project, claimed)
    with project.read() as session:
        job = session.get_one(Job, claimed.id)
    assert (job.state, job.failures, job.message) == (JobState.QUEUED, 0, "its worker was stopped")
    with project.database.write() as session:
        jobs.request_cancel(session, job.id)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (JobTimeLimit("Task exceeded maximum timeout value (21600 seconds)"), "longer than 21600 s, the setting comp"),
        (FloatingPointError("the loss of step 3 is nan"), "version 2 diverges here, .* the loss of step 3 is nan"),
    ],
)
def test_what_would_fail_again_is_not_tried_again(project, monkeypatch, raised, told):
    claimed = ask_again(project, 2)

    def train(*_arguments):
        raise raised

    monkeypatch.setattr("workers.reproduction.train_network", train)
    job, _ = ended(project, claimed)
    assert (job.state, job.failures) == (JobState.FAILED, 1)
    assert re.search(told, job.error)


def test_what_is_lost_is_named(project):
    with project.read() as session:
        label = session.get_one(Label, 3)
    store = raster_store(project)
    data = store.get(label.mask_key)
    (project.settings.var_dir / "store" / label.mask_key).write_bytes(data[:-1] + b"!")
    with pytest.raises(ConflictError, match=r"1 of the 4 labels of version 2 without a mask \(ids 3\)"):
        reproduce(project, 2)  # and the ledger of this test holds no drawing
    job, _ = ended(project, ask_again(project, 2))
    assert (job.state, job.failures) == (JobState.FAILED, 1)
    assert "1 of the 4 labels of version 2 without a mask (ids 3)" in job.error
    store.put(label.mask_key, data)


def test_labels_are_withdrawn_and_what_learnt_from_them_is_trained_again(project, monkeypatch):
    for name, value in project.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    command = ["labels", "withdraw", "--annotator", CARELESS.upper(), "--reason", "everything is ice"]
    registry = registry_of(project.settings)
    assert registry.aliases() == {"champion": 2, "learner": 2}

    dry = CliRunner().invoke(main, [*command, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "version 2 learnt from these labels and is served until it is replaced" in dry.output
    assert "from version 1" in dry.output
    assert "Nothing was changed." in dry.output
    with project.read() as session:
        assert all(label.superseded_at is None for label in session.scalars(select(Label)))

    done = CliRunner().invoke(main, [*command, "--yes"])
    assert done.exit_code == 0, done.output
    assert "Withdrawal 1 took 2 labels" in done.output
    assert "labels.withdrawn" not in registry.get(2).tags
    tag_versions(project, registry)  # the clock does that
    assert registry.get(2).tags["labels.withdrawn"] == "1 (directly)"
    assert figures_of(registry.get(2)).withdrawals == (1,)
    assert figures_of(registry.get(1)).withdrawals == ()
    assert registry.aliases() == {"champion": 2, "learner": 2}
    with project.read() as session:
        assert [session.get_one(Patch, label.patch_id).state for label in session.scalars(select(Label))] == [
            PatchState.LABELLED,
            PatchState.LABELLED,
            PatchState.UNLABELLED,
            PatchState.UNLABELLED,
        ]
    client = create_app(project).test_client()
    operator = as_role(project, "operator")
    assert client.get("/api/v1/models/latest", headers=operator).json["withdrawals"] == [1]
    assert "it learnt from withdrawn labels" in client.get("/", headers=operator).text
    traced = client.get("/api/v1/models/2/lineage", headers=operator).json
    assert traced["learnt_from_withdrawn_labels"]
    assert [item["withdrawal"] for item in traced["labels"]] == [None, None, 1, 1]

    with project.read() as session:
        waiting = jobs.last_of(session, JobKind.FINE_TUNE)
        assert (waiting.state, waiting.subject) == (JobState.QUEUED, {"trigger": "labels withdrawn"})
    assert fine_tune(project).state is JobState.FINISHED
    with project.read() as session:
        run = session.scalars(select(TrainingRun).order_by(TrainingRun.id.desc())).first()
    assert (run.model_version, run.parent_version, run.champion_version, run.label_ids) == (3, 1, 2, [1, 2])
    # Version 2 learnt from 4 labels, of which 2 count: the gate may call version 3 "not worse" with its 2.
    assert registry.aliases() == {"champion": 3, "learner": 3}
    assert figures_of(registry.get(3)).withdrawals == ()
    assert reproduce(project, 3).is_exact()


def test_a_training_whose_labels_are_withdrawn_meanwhile_begins_anew_from_a_fresh_network(project, monkeypatch):
    taken = WithdrawalRequest(annotator=CAREFUL, since=NOON.replace(minute=1), reason="shifted by a pixel")
    registry = registry_of(project.settings)

    def withdraw_first(catalog: Catalog, run: TrainingRun) -> None:
        if run.id == 4 and run.mlflow_run_id is not None:  # it has been trained and is about to be registered
            effect = withdraw(catalog, taken, "an operator")
            assert [(item.version, item.directly) for item in effect.versions] == [(1, True), (2, True), (3, True)]
            assert (effect.retraining, effect.retrained_from, effect.labels_left) == (True, None, 1)
        _check_standing(catalog, run)

    monkeypatch.setattr("workers.fine_tune._check_standing", withdraw_first)
    assert fine_tune(project).state is JobState.FINISHED
    with project.read() as session:
        killed, finished = session.scalars(select(TrainingRun).where(TrainingRun.id > 3).order_by(TrainingRun.id)).all()
    assert (killed.state, killed.model_version) == (RunState.KILLED, None)
    assert "labels that it or its parent learnt from were withdrawn meanwhile" in killed.error
    assert (finished.state, finished.model_version, finished.parent_version) == (RunState.FINISHED, 4, None)
    assert (finished.label_ids, finished.trigger.value) == ([1], "labels withdrawn")
    assert registry.aliases()["learner"] == 4
    tag_versions(project, registry)
    assert registry.get(2).tags["labels.withdrawn"] == "1 (directly), 2 (directly)"
    assert reproduce(project, 4).is_exact()

    client = create_app(project).test_client()
    listed = client.get("/api/v1/withdrawals", headers=as_role(project, "operator")).json
    assert [(item["id"], item["annotator"], item["labels"]) for item in listed] == [
        (2, CAREFUL, 1),
        (1, CARELESS.upper(), 2),
    ]
    assert listed[1]["versions"] == [{"version": 2, "directly": True}]
    assert client.get("/api/v1/withdrawals", headers=as_role(project, "reader")).status_code == 403


def test_a_withdrawal_of_nothing_is_refused(project):
    client, operator = create_app(project).test_client(), as_role(project, "operator")
    unknown = client.post("/api/v1/withdrawals", json={"annotator": "who@x", "reason": "why not"}, headers=operator)
    assert unknown.status_code == 404
    assert "expected one of the 2 annotators with labels" in unknown.get_json(force=True)["detail"]
    again = client.post("/api/v1/withdrawals", json={"annotator": CARELESS, "reason": "again"}, headers=operator)
    assert again.status_code == 409
    assert "that is not withdrawn already" in again.get_json(force=True)["detail"]


def test_the_commands_tell_lineage_and_reproduction(project, monkeypatch):
    for name, value in project.settings.as_environment().items():
        monkeypatch.setenv(name, value)
    told = CliRunner().invoke(main, ["models", "lineage", "2"])
    assert told.exit_code == 0, told.output
    assert CARELESS in told.output
    assert "withdrawn (1)" in told.output
    told = CliRunner().invoke(main, ["models", "lineage", "2", "--json"])
    assert json.loads(told.stdout)["labels"][2]["cause"]["score"] == 0.625
    same = CliRunner().invoke(main, ["reproduce", "2"])  # masks of withdrawn labels stay
    assert (same.exit_code, "Version 2 is exactly the same." in same.output) == (0, True), same.output
    assert "the training, 100%" in same.stderr
    precision = load_card(project, 2).training.precision
    other = ["--precision", "float32" if precision == "bfloat16" else "bfloat16"]
    differs = CliRunner().invoke(main, ["reproduce", "2", *other, "--metric", "0", "--pixels", "0", "--json"])
    found = json.loads(differs.stdout)
    assert differs.exit_code == (0 if found["within_tolerance"] else 3)
    assert found["exact"] is False
