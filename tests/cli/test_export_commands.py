import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyogrio
import pytest
import shapely
from click.testing import CliRunner, Result

from catalog.context import Catalog
from catalog.records import Scene
from catalog.registry import ModelVersion
from cli import export_commands
from cli.main import main
from imagery.classes import GLACIER_SCHEME
from services import dataset_model
from services.scenes import window_of
from tests.imagery.forge import NORTH_UP, ForgedScene
from tests.services.judging import judge
from tests.services.predicting import store_prediction
from tests.workers.rows import champion, patches, tiled


@pytest.fixture
def scene(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Scene, ForgedScene]:
    """A scene with one judged window, in a catalog whose MLflow is down."""
    monkeypatch.setattr(export_commands, "installed_catalog", lambda: nullcontext(catalog))
    row, forged = tiled(catalog, tmp_path / "khumbu.tif")
    with catalog.database.write() as session:
        stored = session.get_one(Scene, row.id)
        stored.acquired, stored.sensor = "2000-10-30", "landsat-7-etm+"
    patch = next(item for item in patches(catalog, row.id) if (item.row_off, item.col_off) == (32, 64))
    judge(catalog, patch, forged.truth[window_of(patch).slices], minute=0, annotator="ila@glacier.local")
    with catalog.read() as session:
        return session.get_one(Scene, row.id), forged


@pytest.fixture
def served(
    catalog: Catalog, scene: tuple[Scene, ForgedScene], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ModelVersion:
    """A champion in a registry that answers, whose map of the scene is stored."""
    version, row = champion(3).version, scene[0]
    version.tags.update({"class_names": json.dumps(GLACIER_SCHEME.names), "labels.count": "7"})
    for module in (export_commands, dataset_model):
        monkeypatch.setattr(module, "registry_of", lambda _: SimpleNamespace(champion=lambda: version))
    store_prediction(catalog, row, scene[1].truth, 3, of_outlines=dict.fromkeys(GLACIER_SCHEME.names, (1.0, 0.9, 1.2)))
    files = {name: tmp_path / name for name in ("card.json", "model.onnx")}
    files["card.json"].write_text(champion(3).card.model_dump_json())
    files["model.onnx"].write_bytes(b"a graph")
    bundles = SimpleNamespace(file=lambda _version, name: files[name])
    monkeypatch.setattr(dataset_model, "bundle_cache", lambda *_: bundles)
    return version


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["export", *map(str, arguments)])


def test_a_data_set_is_written_without_the_model_where_mlflow_is_down(
    scene: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    result = call("dataset", tmp_path / "out", "--form", "npy", "--form", "stac", "--channel", "red", "--role", "pool")
    assert result.exit_code == 0, result.output
    assert "The model is left out: MLflow does not answer" in result.output
    assert "1 train windows, 1 labels by 1 analysts" in result.output
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert (about["channels"], about["forms"]) == (["red"], ["npy", "stac"])
    assert about["software"].startswith("glacier-al ")


def test_an_export_tells_how_far_it_is(
    scene: tuple[Scene, ForgedScene], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_commands, "QUIET_S", 0.0)
    result = call("dataset", tmp_path / "out", "--form", "npy", "--channel", "red", "--role", "pool")
    assert result.exit_code == 0, result.output
    assert "the data set, 100%" in result.stderr  # of one window
    assert "the data set" not in result.stdout


def test_a_data_set_holds_the_served_model(
    scene: tuple[Scene, ForgedScene], served: ModelVersion, tmp_path: Path
) -> None:
    result = call("dataset", tmp_path / "out", "--labels", "all", "--licence", "CC-BY-4.0")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "stac" / "model-version-3.json").read_text())["id"] == "model-version-3"
    assert json.loads((tmp_path / "out" / "collection.json").read_text())["license"] == "CC-BY-4.0"


def test_outlines_for_glims_are_written_and_checked_by_one_command(
    scene: tuple[Scene, ForgedScene], served: ModelVersion, tmp_path: Path
) -> None:
    name = scene[0].name
    stated = ("--analyst", "ila@glacier.local=Rao, Ila, An institute", "--image-id", "X")
    result = call("glims", name, tmp_path / "out", *stated, "--geolocation-error", "12")
    assert result.exit_code == 0, result.output
    # 5,900 pixels of 30 m on the map are 5.31 km2 there, and 0.07 % more on the ellipsoid.
    assert "1 glaciers, 5.314 km2; clean ice is glac_bound, debris-covered ice is debris_cov." in result.output
    assert "keeps GLIMS's published requirements." in result.output
    assert "trained on 7 labelled windows" in (tmp_path / "out" / "processing.txt").read_text()
    again = call("check", tmp_path / "out")
    assert (again.exit_code, again.output.count("error:")) == (0, 0)
    warned = call("glims", name, tmp_path / "unplaced", *stated)  # X does not tell Tier 1
    assert (warned.exit_code, "found no glob_unc_x; expected a value" in warned.output) == (0, True)


def test_ice_is_divided_along_an_inventory_and_has_intervals_where_no_expert_judged(
    scene: tuple[Scene, ForgedScene], served: ModelVersion, tmp_path: Path
) -> None:
    """The expert judged a window of the eastern half."""
    a, _, c, _, e, f = NORTH_UP
    halves = [shapely.box(c + a * left, f + e * 100, c + a * right, f) for left, right in ((0, 60), (60, 160))]
    pyogrio.raw.write(
        tmp_path / "rgi.gpkg", shapely.to_wkb(np.array(halves)), geometry_type="Polygon", crs="EPSG:32645",
        field_data=[np.array(["RGI60-1", "RGI60-2"], dtype=object)] * 2, fields=["RGIId", "name"], driver="GPKG",
    )  # fmt: skip
    result = call(
        "glims", scene[0].name, tmp_path / "out", "--glaciers", tmp_path / "rgi.gpkg", "--analyst", "Rao, Ila"
    )
    assert result.exit_code == 0, result.output
    assert "2 of them are glaciers of rgi.gpkg" in result.output
    assert "1 of them have a 95 % interval of the area." in result.output
    meta, _, _, columns = pyogrio.raw.read(tmp_path / "out" / "glaciers.shp")
    fields = dict(zip(meta["fields"], columns, strict=True))
    (west,) = np.flatnonzero(fields["rgi_id"] == "RGI60-1")
    assert fields["area_best"][west] == pytest.approx(fields["area"][west], rel=1e-3)
    assert np.isfinite(fields["area_low"]).sum() == 1
    refused = call("glims", scene[0].name, tmp_path / "out", "--glaciers", tmp_path / "rgi.gpkg", "--glacier-id", "key")
    assert "found no field 'key'; expected one of RGIId, name" in refused.output


def test_names_of_analysts_are_asked_for_by_a_warning_and_the_image_by_a_line(
    scene: tuple[Scene, ForgedScene], served: ModelVersion, tmp_path: Path
) -> None:
    result = call("glims", scene[0].name, tmp_path / "out", "--smoothing", "0.8")
    assert result.exit_code == 0, result.output
    assert "warning: session, feature 0: found no name of a person as anlst_surn" in result.output
    assert f"No identifier of the image was found: {scene[0].name} is the scene's name" in result.output


def test_without_the_system_only_what_experts_drew_can_be_exported(
    scene: tuple[Scene, ForgedScene], tmp_path: Path
) -> None:
    refused = call("glims", scene[0].name, tmp_path / "out")
    assert refused.exit_code == 1
    assert "MLflow does not answer" in refused.output
    assert "--labels-only" in refused.output
    drawn = call("glims", scene[0].name, tmp_path / "out", "--labels-only", "--analyst", "Rao, Ila, An institute")
    assert drawn.exit_code == 0, drawn.output
    assert "ends at the edge of the image or at unknown ground" in drawn.output


def test_a_folder_that_is_no_submission_ends_with_an_error(tmp_path: Path) -> None:
    result = call("check", tmp_path)
    assert result.exit_code == 3
    assert "error: glaciers: found no glaciers.shp" in result.output
    assert "not fit for GLIMS yet" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--analyst", ", Ila"], "expected 'Surname, Given names, Affiliation'"),
        (["--line-type", "clean ice"], "expected CLASS=LINE_TYPE"),
        (["--line-type", "clean ice=rock"], "found the line type 'rock' for 'clean ice'"),
    ],
)
def test_what_cannot_be_understood_is_said(
    scene: tuple[Scene, ForgedScene], served: ModelVersion, tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = call("glims", scene[0].name, tmp_path / "out", *arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_line_types_can_be_stated(scene: tuple[Scene, ForgedScene], served: ModelVersion, tmp_path: Path) -> None:
    only_clean = call("glims", scene[0].name, tmp_path / "out", "--line-type", "debris-covered ice=none")
    assert only_clean.exit_code == 0, only_clean.output
    assert "debris-covered ice is left out" in only_clean.output
    assert np.count_nonzero(scene[1].truth == 1) * 0.0009 == pytest.approx(3.15)
    assert "1 glaciers, 3.152 km2" in only_clean.output
