import csv
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cli.main import main
from experiments import areas
from tests.catalog_fixtures import NOBODY

# Of MLflow's own models, when it opens a database in this process.
pytestmark = pytest.mark.filterwarnings("ignore:.*noload.* loader strategy is deprecated:DeprecationWarning")


@pytest.fixture
def var_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of its own, nothing of which runs."""
    folder = tmp_path / "var"
    monkeypatch.setenv("GLACIER_AL_VAR_DIR", str(folder))
    monkeypatch.setenv("GLACIER_AL_MLFLOW_URL", NOBODY)
    monkeypatch.setenv("COLUMNS", "200")
    return folder


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["simulate", *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["khumbu", "--example", "everest"], "found both scenes and an example; expected one of them"),
        (
            ["--example", "everest", "--rounds", "2"],
            "rounds: found 2; expected more than 2, the rounds that are drawn",
        ),
        (["--strategy", "prior_disagreement"], "'prior_disagreement' is not one of 'recipe', 'random'"),
        (["--annotator", "pencil"], "'pencil' is not one of 'brush', 'strokes'"),
        ([""], "scenes.0: String should have at least 1 character"),
        (["--seeds", "0"], "0 is not in the range 1<=x<=100"),
    ],
)
def test_what_cannot_be_asked_is_a_usage_error(var_dir: Path, arguments: list[str], message: str) -> None:
    result = simulate(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not var_dir.exists()


def test_without_scenes_it_is_said_what_to_do(var_dir: Path) -> None:
    var_dir.mkdir(exist_ok=True)
    result = simulate()
    assert result.exit_code == 1
    assert "or take an example: everest, synthetic" in " ".join(result.output.split())
    assert "Traceback" not in result.output


@pytest.mark.slow
def test_a_simulation_leaves_tables_a_figure_and_a_run_and_is_known_from_then_on(
    var_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(areas, "SYNTHETIC_SIDE_PX", 256)
    quick = ["--example", "synthetic", "--patch-size", "32", "--seeds", "1", "--rounds", "3", "--steps", "1"]
    quick += ["--round-size", "2", "--processes", "1"]
    first = simulate(*quick)
    assert first.exit_code == 0, first.output
    # Recipe, foreground_random, random, and every patch; the recipe ranks by entropy after the random rounds.
    assert "4 runs of the loop, 0 known from before" in first.output
    assert "the others take about 1 min in 1 process," in first.output
    (folder,) = (var_dir / "experiments" / "results").glob("synthetic-*")
    files = [folder / f"simulation.{kind}" for kind in ("md", "csv", "png")]
    assert all(str(path) in first.output.splitlines() for path in files)
    assert f"MLflow run in sqlite:///{var_dir}/experiments/mlflow.sqlite" in first.output
    with files[1].open(newline="") as file:
        assert {record["row"] for record in csv.DictReader(file)} == {"entropy_top10", "foreground_random", "random"}
    with Image.open(files[2]) as picture:
        picture.verify()
    assert "One seed has neither a spread nor an interval" in files[0].read_text()

    tables = [path.read_bytes() for path in files[:2]]
    second = simulate(*quick)
    assert second.exit_code == 0, second.output
    assert "4 runs of the loop, 4 known from before" in second.output
    assert [path.read_bytes() for path in files[:2]] == tables
