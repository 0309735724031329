"""An experiment in MLflow. Its library takes seconds to load, and its database seconds to be made: slow, all of it."""

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from catalog.settings import Settings
from experiments.estimates import Estimate
from experiments.figures import bars
from experiments.findings import Findings, Row, Table, values_by_name, write
from experiments.record import EXPERIMENT, record
from tests.catalog_fixtures import NOBODY

# Of MLflow's own models, when it opens a database in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.* loader strategy is deprecated:DeprecationWarning")

NAN = float("nan")
PARAMETERS: Mapping[str, object] = {"architecture": "default", "steps": 3, "depth": None, "areas": "khumbu"}
TABLE = Table(
    "IoU by loss",
    "loss",
    (
        Row("combined, α = 0.1", {"clean ice IoU": Estimate(0.5, 0.1, 0.4, 0.6), "published clean ice IoU": 0.6631}),
        Row("> 10%", {"clean ice IoU": Estimate(NAN, NAN, NAN, NAN), "windows": 3}),
        Row("Dice, smoothed labels (Baraka's code)", {"clean ice IoU": None}),
    ),
)


def findings() -> Findings:
    return Findings("losses", "?", (TABLE,), (), bars(TABLE, ["clean ice IoU"]), {})


def settings(tmp_path: Path, mlflow_url: str) -> Settings:
    return Settings(var_dir=tmp_path, mlflow_url=mlflow_url)


def recorded(tmp_path: Path, mlflow_url: str) -> str:
    files = write(findings(), tmp_path / "files", [])
    return record(findings(), files, PARAMETERS, settings(tmp_path, mlflow_url), tmp_path / "experiments")


def check_last_run(url: str, runs: int) -> None:
    """The newest run holds what was found; there are so many."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=url)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])
    assert len(found) == runs
    run = found[0]
    assert (run.info.run_name, run.info.status, run.data.tags["experiment"]) == ("losses", "FINISHED", "losses")
    assert run.data.params == {"architecture": "default", "steps": "3", "depth": "None", "areas": "khumbu"}
    assert run.data.metrics == {
        "IoU by loss/combined_ α _ 0.1/clean ice IoU": 0.5,
        "IoU by loss/_ 10_/windows": 3.0,
    }
    assert len(run.data.metrics) == sum(not math.isnan(value) for value in values_by_name(findings()).values())
    files = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert files == {"losses.md", "losses.csv", "losses.png"}


@pytest.mark.slow
def test_without_a_running_system_the_run_is_in_a_file_of_its_own(tmp_path: Path) -> None:
    url = recorded(tmp_path, NOBODY)
    assert url == f"sqlite:///{tmp_path}/experiments/mlflow.sqlite"
    check_last_run(url, runs=1)
    assert recorded(tmp_path, NOBODY) == url  # a second experiment beside the first
    check_last_run(url, runs=2)
    kept = list((tmp_path / "experiments" / "mlflow-artifacts").rglob("losses.csv"))
    assert [path.read_bytes() for path in kept] == [(tmp_path / "files" / "losses.csv").read_bytes()] * 2


@pytest.mark.slow
def test_with_a_running_system_the_run_is_in_its_mlflow(tmp_path: Path, mlflow_server: str) -> None:
    assert recorded(tmp_path, mlflow_server) == mlflow_server
    check_last_run(mlflow_server, runs=1)
    assert not (tmp_path / "experiments").exists()


@pytest.mark.slow
def test_a_run_that_could_not_be_completed_says_so(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    folder = tmp_path / "experiments"
    with pytest.raises(FileNotFoundError, match=r"missing\.csv"):
        record(findings(), [tmp_path / "missing.csv"], PARAMETERS, settings(tmp_path, NOBODY), folder)
    client = MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.sqlite")
    (run,) = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert run.info.status == "FAILED"
