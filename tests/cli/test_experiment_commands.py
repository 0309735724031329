import csv
import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from catalog.context import Catalog
from cli.main import main
from experiments.areas import EVEREST_CAUTION
from imagery import everest
from tests.catalog_fixtures import NOBODY
from tests.workers.rows import tiled

# Of MLflow's own models, when it opens a database in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.* loader strategy is deprecated:DeprecationWarning")

QUICK = ["--depth", "2", "--width", "4", "--steps", "2", "--seeds", "1"]


@pytest.fixture
def var_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, nothing of which runs."""
    folder = tmp_path / "var"
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(folder))
    monkeypatch.setenv("GLACIER_AL_MLFLOW_URL", NOBODY)
    monkeypatch.setenv("GLACIER_AL_DEVICE", "cpu")
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def experiment(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["experiment", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["heads", "khumbu", "--example", "everest"], "found both scenes and an example; expected one of them"),
        (["tails"], "'tails' is not one of 'bands', 'heads', 'losses', 'baselines', 'debris-share'"),
        (["heads", "--example", "alps"], "'alps' is not one of 'everest', 'synthetic'"),
        (["heads", "--seeds", "0"], "0 is not in the range 1<=x<=100"),
        (["heads", "--patch-size", "16"], "16 is not in the range 32<=x<=1024"),
        (["heads", "--split", "regions"], "'regions' is not one of 'fishnet', 'random'"),
        (["heads", ""], "scenes.0: String should have at least 1 character"),
        (["heads", "--architecture", "resnet"], "'resnet' is not one of 'default', 'baraka', 'aryal', 'he'"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(var_dir: Path, arguments: list[str], message: str) -> None:
    result = experiment(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not var_dir.exists()


def test_without_scenes_it_is_said_what_to_do(var_dir: Path) -> None:
    var_dir.mkdir(exist_ok=True)
    result = experiment("heads")
    assert result.exit_code == 1
    assert "or take an example: everest, synthetic" in " ".join(result.output.split())
    assert "Traceback" not in result.output


def test_networks_take_the_threads_that_the_settings_give_them(var_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLACIER_AL_TORCH_THREADS", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    experiment("heads")
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("1", "PASSIVE")


@pytest.mark.slow
def test_an_experiment_leaves_tables_a_figure_and_a_run_and_is_known_from_then_on(var_dir: Path) -> None:
    first = experiment("heads", "--example", "everest", *QUICK)
    assert first.exit_code == 0, first.output
    (folder,) = (var_dir / "experiments" / "results").glob("everest-*")
    files = [folder / f"heads.{kind}" for kind in ("md", "csv", "png")]
    said = first.output.splitlines()
    assert all(str(path) in said for path in files)
    for name in ("binary", "multiclass", "two binaries"):
        assert f"{name}, seed 0: " in first.output
    assert "known from before" not in first.output
    assert f"MLflow run in sqlite:///{var_dir}/experiments/mlflow.sqlite (see it with `mlflow ui" in first.output

    markdown = files[0].read_text()
    assert "- Study area: everest, in windows of 64 px with glacier in at least a tenth; fishnet split." in markdown
    assert "- Networks: architecture default, depth 2, width 4, 2 steps, 1 seeds, " in markdown
    assert f"- {EVEREST_CAUTION}" in markdown
    with files[1].open(newline="") as file:
        assert {record["row"] for record in csv.DictReader(file)} == {"binary", "multiclass", "two binaries"}
    with Image.open(files[2]) as picture:
        picture.verify()
    windows = json.loads((folder / "heads-windows-everest.geojson").read_text())
    assert {feature["properties"]["acquired"] for feature in windows["features"]} == {everest.ACQUIRED.isoformat()}

    tables = [path.read_bytes() for path in files[:2]]
    second = experiment("heads", "--example", "everest", *QUICK)
    assert second.exit_code == 0, second.output
    assert second.output.count("known from before") == 3
    assert [path.read_bytes() for path in files[:2]] == tables


@pytest.mark.slow
def test_other_choices_do_not_replace_the_results(var_dir: Path) -> None:
    for steps in ("1", "2"):
        result = experiment("debris-share", "--example", "everest", *QUICK, "--steps", steps)
        assert result.exit_code == 0, result.output
    results = sorted((var_dir / "experiments" / "results").glob("everest-*/debris-share.md"))
    assert len(results) == 2
    assert {steps for steps in ("1", "2") for path in results if f", {steps} steps, " in path.read_text()} == {"1", "2"}


@pytest.mark.slow
def test_the_windows_of_each_held_out_third_are_reported(var_dir: Path) -> None:
    result = experiment("geography", "--example", "everest", *QUICK)
    assert result.exit_code == 0, result.output
    (markdown,) = (var_dir / "experiments" / "results").glob("everest-*/geography.md")
    text = markdown.read_text()
    assert "at least a tenth; held-out thirds." in text
    assert text.count("- Windows, third-") == 3
    assert len(list(markdown.parent.glob("geography-windows-third-*-everest.geojson"))) == 3


@pytest.mark.slow
def test_registered_scenes_are_the_study_areas(var_dir: Path, catalog: Catalog, tmp_path: Path, settings: Any) -> None:
    """Two scenes that this installation knows; their windows are named after them."""
    for index, name in enumerate(("khumbu", "ngozumpa")):
        tiled(catalog, tmp_path / f"{name}.tif", offset_px=index * 200)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("var_dir", "database_url", "redis_url"):
            patch.setenv(f"GLACIER_AL_{name.upper()}", str(getattr(settings, name)))
        result = experiment(
            "label-shares", "ngozumpa-pool", "khumbu-pool", "--patch-size", "32", "--split", "random", *QUICK
        )
    assert result.exit_code == 0, result.output
    (folder,) = (settings.var_dir / "experiments" / "results").glob("2-scenes-*")
    assert {path.name for path in folder.iterdir()} == {
        "label-shares.md",
        "label-shares.csv",
        "label-shares.png",
        "label-shares-windows-khumbu-pool.geojson",
        "label-shares-windows-ngozumpa-pool.geojson",
    }
