"""The job of simulations and experiments: what it keeps, that it goes on, and that it lets other work go first."""

import csv
import io
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from PIL import Image

from catalog import jobs
from catalog.context import Catalog
from catalog.records import Job, JobKind, JobState, Scene
from catalog.setting_changes import SettingChange
from experiments import areas, experiment_job
from experiments.network_trial import NetworkTrial
from services import asked_experiments, made_files, raster_keys
from services.asked_experiments import Contents, KnownExperiment
from services.experiment_options import ExperimentOptions, SimulationOptions
from services.places import raster_store
from tests.workers.rows import tiled
from workers.jobs import perform
from workers.time_limit import JobTimeLimit

# Of MLflow's own models, when it opens a database in this process.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*noload.* loader strategy is deprecated:DeprecationWarning"),
]

TINY = SimulationOptions(example="synthetic", patch_size=32, seeds=1, rounds=3, steps=1, round_size=2)
HEADS = ExperimentOptions(name="heads", example="everest", depth=2, width=4, steps=2, seeds=1)


@pytest.fixture
def ours(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """An installation with a small synthetic example, whose simulations take one process."""
    monkeypatch.setattr(areas, "SYNTHETIC_SIDE_PX", 256)
    catalog.settings = catalog.settings.model_copy(update={"torch_threads": 1, "device": "cpu"})
    return catalog


def attempt(catalog: Catalog, job_id: str) -> Job:
    """Let a worker make an attempt at a job; return the job afterwards."""
    with catalog.write() as session:
        job = jobs.claim(session, job_id)
    assert job is not None
    perform(catalog, job)
    with catalog.read() as session:
        return session.get_one(Job, job_id)


def results(catalog: Catalog, uid: str) -> tuple[Contents, dict[str, bytes]]:
    """Return the results and the files of an experiment."""
    with catalog.read() as session:
        contents = made_files.find(session, KnownExperiment, uid).contents
    assert contents is not None
    archive = raster_store(catalog).get(raster_keys.data_set(uid))
    assert len(archive) == contents.size_bytes
    with ZipFile(io.BytesIO(archive)) as files:
        return contents, {name: files.read(name) for name in files.namelist()}


def ask(catalog: Catalog, options: SimulationOptions | ExperimentOptions) -> KnownExperiment:
    return asked_experiments.ask(catalog, options, by="olga")


def waiting_fine_tune(catalog: Catalog) -> Job:
    with catalog.write() as session:
        return jobs.enqueue(session, JobKind.FINE_TUNE)


def cells(catalog: Catalog) -> dict[Path, int]:
    return {
        path: path.stat().st_mtime_ns
        for path in catalog.settings.var_dir.glob("experiments/simulations/cells-*/*.json")
    }


def test_a_simulation_is_kept_and_goes_on_after_it_has_given_way(ours: Catalog) -> None:
    known, fine_tune = ask(ours, TINY), waiting_fine_tune(ours)
    given_way = attempt(ours, known.job.id)
    # Recipe, foreground_random, random, and every patch.
    assert (given_way.state, given_way.failures) == (JobState.QUEUED, 0)
    assert given_way.message == "lets other work go first; 1 of 4 runs of the loop done"
    with ours.read() as session:
        assert session.get_one(Job, known.job.id) in jobs.due(session)
    (first,) = cells(ours)
    made = cells(ours)[first]

    with ours.write() as session:
        jobs.request_cancel(session, fine_tune.id)
    done = attempt(ours, known.job.id)
    assert (done.state, done.error) == (JobState.FINISHED, None)
    assert cells(ours)[first] == made  # not computed again
    contents, files = results(ours, known.row.uid)
    assert set(files) == {"simulation.md", "simulation.csv", "simulation.png"}
    Image.open(io.BytesIO(files["simulation.png"])).verify()
    found = {record["row"] for record in csv.DictReader(io.StringIO(files["simulation.csv"].decode()))}
    assert found == {"entropy_top10", "foreground_random", "random"}
    table = next(table for table in contents.tables if table.title == "Mean IoU of the learner, by labels")
    assert table.columns == ["strategy", "2 labels", "4 labels", "6 labels"]
    assert [row[0] for row in table.rows] == ["entropy_top10", "foreground_random", "random"]
    assert f"| {' | '.join(table.rows[0])} |" in files["simulation.md"].decode()
    assert contents.mlflow == f"sqlite:///{ours.settings.var_dir}/experiments/mlflow.sqlite"
    assert any("One seed has neither a spread nor an interval" in note for note in contents.notes)
    assert (Path(ours.settings.var_dir) / "experiments" / "mlflow.sqlite").exists()


def test_an_experiment_gives_way_between_networks(ours: Catalog) -> None:
    known, fine_tune = ask(ours, HEADS), waiting_fine_tune(ours)
    for count in (1, 2):  # each attempt trains one network at least
        given_way = attempt(ours, known.job.id)
        assert given_way.message == f"lets other work go first; {count} of 3 networks done"
    with ours.write() as session:
        jobs.request_cancel(session, fine_tune.id)
    done = attempt(ours, known.job.id)
    assert (done.state, done.error) == (JobState.FINISHED, None)
    contents, files = results(ours, known.row.uid)
    assert set(files) == {"heads.md", "heads.csv", "heads.png", "heads-windows-everest.geojson"}
    assert {row[0] for row in contents.tables[0].rows} == {"binary", "multiclass", "two binaries"}


def test_registered_scenes_are_the_study_areas(ours: Catalog, tmp_path: Path) -> None:
    for index, name in enumerate(("khumbu", "ngozumpa")):
        tiled(ours, tmp_path / f"{name}.tif", offset_px=index * 200)
    names = ["khumbu-pool", "ngozumpa-pool"]
    known = ask(ours, ExperimentOptions(name="label-shares", scenes=names, patch_size=32, split="random"))
    done = attempt(ours, known.job.id)
    assert (done.state, done.error) == (JobState.FINISHED, None)
    contents, files = results(ours, known.row.uid)
    assert {f"label-shares-windows-{name}.geojson" for name in names} < set(files)
    assert any("Study area: khumbu-pool, ngozumpa-pool, in windows of 32 px" in note for note in contents.notes)


def test_nothing_is_kept_of_a_scene_that_is_replaced_meanwhile(
    ours: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, _ = tiled(ours, tmp_path / "khumbu.tif")
    options = ExperimentOptions(name="losses", scenes=[scene.name], patch_size=32, split="random", steps=1, seeds=1)

    def replaced_meanwhile(*_: Any) -> dict[str, Any]:
        with ours.write() as session:
            session.get_one(Scene, scene.id).revision += 1
        return {}

    monkeypatch.setattr(NetworkTrial, "run", replaced_meanwhile)
    failed = attempt(ours, ask(ours, options).job.id)
    assert failed.state is JobState.FAILED
    assert f"scene {scene.name} was replaced or removed meanwhile" in str(failed.error)
    assert not [path for path in (ours.settings.var_dir / "experiments" / "trials").rglob("*") if path.is_file()]


def test_one_that_is_cancelled_or_removed_stops(ours: Catalog) -> None:
    cancelled = ask(ours, TINY)
    with ours.write() as session:
        job = jobs.claim(session, cancelled.job.id)
        jobs.request_cancel(session, cancelled.job.id)
    assert job is not None
    perform(ours, job)
    with ours.read() as session:
        assert session.get_one(Job, job.id).state is JobState.CANCELLED
    removed = ask(ours, TINY)
    with ours.write() as session:
        running = jobs.claim(session, removed.job.id)
    made_files.remove(ours, raster_store(ours), KnownExperiment, removed.row.uid)
    assert running is not None
    perform(ours, running)
    with ours.read() as session:
        assert session.get_one(Job, running.id).state is JobState.CANCELLED
    assert cells(ours) == {}


def test_a_limit_that_is_too_short_for_one_run_says_so(ours: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def alarm(*_: Any) -> float:
        raise JobTimeLimit("the alarm")

    monkeypatch.setattr(experiment_job, "estimate_seconds", alarm)
    failed = attempt(ours, ask(ours, TINY).job.id)
    assert failed.state is JobState.FAILED
    assert "found nothing finished after 21600 s, the setting compute_timeout_s" in str(failed.error)


def test_a_setting_that_leaves_no_round_to_a_strategy_meanwhile_fails_it(ours: Catalog) -> None:
    known = ask(ours, TINY)  # of 3 rounds
    with ours.write() as session:
        session.add(SettingChange(name="random_start_rounds", value=3, changed_by="olga"))
    ours.refresh_settings()  # as a worker does before each job
    failed = attempt(ours, known.job.id)
    assert failed.state is JobState.FAILED
    assert "rounds: found 3; expected more than 3, the rounds that are drawn at random" in str(failed.error)


def test_too_few_patches_fail_at_once(ours: Catalog) -> None:
    failed = attempt(ours, ask(ours, TINY.model_copy(update={"round_size": 100})).job.id)
    assert (failed.state, failed.failures) == (JobState.FAILED, 1)
    assert "ask for fewer or smaller rounds, or for smaller patches" in str(failed.error)
