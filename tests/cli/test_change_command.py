"""``glacier-al change`` on two images of one ground, at 30 m and at 15 m, whose change is known."""

import csv
import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyogrio
import pytest
import shapely
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from catalog import jobs
from catalog.context import Catalog
from catalog.records import JobKind, Scene, SceneRole, SceneState
from catalog.registry import ModelVersion
from cli import change_command
from cli.main import main
from imagery import masks
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.geotiff import encode
from imagery.masks import OutlineLayer, mask_from_geotiff, mask_to_geotiff
from imagery.projection import reproject
from imagery.scene_source import BandSource
from services import change_maps, raster_keys
from services.area_report import Area, GlacierAreas
from services.places import raster_store
from services.prior_outlines import PriorOutlines
from services.scenes import source_of
from tests.catalog_fixtures import add_scoring
from tests.imagery.forge import NORTH_UP, write_geotiff
from tests.services.predicting import store_prediction

A, B, C, D, E, F = NORTH_UP
TEXTURE = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(120, 160)), 2) * 20_000 + 10_000
HALF = (A / 2, B, C, D, E / 2, F)


def add(catalog: Catalog, name: str, acquired: str, pixels: NDArray[Any], transform: Any, **maps: Any) -> Scene:
    """Add a scene with its image, and store the class maps given by key function."""
    path = write_geotiff(catalog.settings.var_dir / f"{name}.tif", pixels.astype(np.float32), transform=transform)
    source = describe([BandSource("nir", str(path), 1)])
    with catalog.database.write() as session:
        scene = Scene(
            name=name, role=SceneRole.POOL, state=SceneState.READY, source=source.to_json(), acquired=acquired,
            footprint=source.grid.footprint_wgs84().__geo_interface__, outlines=[], patch_size_px=32,
            patch_overlap_px=0,
        )  # fmt: skip
        session.add(scene)
    if "outlines" in maps:
        data = mask_to_geotiff(maps["outlines"], source.grid, GLACIER_SCHEME)
        raster_store(catalog).put(raster_keys.truth(scene.id), data)
    return scene


@pytest.fixture
def scenes(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> tuple[Scene, Scene]:
    """A glacier of 40 x 50 px of 30 m that loses its lowest 12 rows in ten years, and gets 5 rows of debris."""
    catalog.settings.var_dir.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(change_command, "running_catalog", lambda: nullcontext(catalog))
    before: NDArray[np.uint8] = np.zeros((120, 160), dtype=np.uint8)
    before[30:70, 40:90] = 1
    after = before.copy()
    after[58:70], after[53:58, 40:90] = 0, 2
    first = add(catalog, "early", "2000-10-30", TEXTURE, NORTH_UP, outlines=before)
    image, classes = (np.kron(array, np.ones((2, 2))) for array in (TEXTURE, after))
    second = add(catalog, "late", "2010-10-30", image, HALF, outlines=classes.astype(np.uint8))
    return first, second


def run(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["change", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def lines(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    with (folder / "change.csv").open(newline="") as file:
        return {(line["glacier"], line["class"]): line for line in csv.DictReader(file)}


def test_the_change_of_outlines_is_written_as_table_polygons_summary_and_map(
    scenes: tuple[Scene, Scene], tmp_path: Path
) -> None:
    printed = run("early", "late", "--of", "outlines", "--output", str(tmp_path / "out"))
    assert "displaced by" in printed
    table = lines(tmp_path / "out")
    pixel = 0.0009  # square kilometres, 0.08 % more on the ground
    ice = table["all", "glacier"]
    assert {line["error_method"] for line in table.values()} == {"buffer"}
    assert float(ice["area_before_km2"]) == pytest.approx(2000 * pixel, rel=1e-3)
    assert float(ice["change_km2"]) == pytest.approx(-600 * pixel, rel=1e-3)
    assert float(ice["change_percent"]) == pytest.approx(-30)
    assert float(ice["change_km2_per_year"]) == pytest.approx(-60 * pixel, rel=1e-3)
    assert ice["significant"] == "True"
    assert float(table["all", "debris-covered ice"]["gained_km2"]) == pytest.approx(250 * pixel, rel=1e-3)
    assert table["1", "glacier"]["lost_km2"] == ice["lost_km2"]
    layers = {
        name: pyogrio.raw.read(tmp_path / "out" / "change.gpkg", layer=name)
        for name in pyogrio.list_layers(tmp_path / "out" / "change.gpkg")[:, 0]
    }
    assert set(layers) == {"lost", "converted"}
    _, _, geometries, (before, after, area, width, wider) = layers["lost"]
    assert shapely.from_wkb(geometries[0]).bounds == (C + 40 * A, F + 70 * E, C + 90 * A, F + 58 * E)
    assert (before[0], after[0], bool(wider[0])) == ("clean ice", "background", True)
    assert area[0] == pytest.approx(600 * pixel, rel=1e-3)
    assert width[0] == pytest.approx(2 * 12 * 50 * 30 / (2 * 62), rel=1e-3)
    document = json.loads((tmp_path / "out" / "change.json").read_text())
    assert (document["years"], document["first"]["acquired"]) == (10.0, "2000-10-30")
    assert abs(document["shift"]["east_m"]) < 3
    with Image.open(tmp_path / "out" / "change.png") as picture:
        assert min(picture.size) > 500


def test_each_glacier_of_an_inventory_has_lines_of_its_own(scenes: tuple[Scene, Scene], tmp_path: Path) -> None:
    halves = [shapely.box(C + A * left, F + E * 120, C + A * right, F) for left, right in ((0, 65), (65, 160))]
    file = tmp_path / "rgi.gpkg"
    pyogrio.raw.write(
        file, shapely.to_wkb(np.array(halves)), field_data=[np.array(["RGI-west", "RGI-east"], dtype=object)],
        fields=["rgi_id"], geometry_type="Polygon", crs="EPSG:32645", layer="glaciers", driver="GPKG",
    )  # fmt: skip
    run("early", "late", "--of", "outlines", "--output", str(tmp_path), "--glaciers", str(file))
    table = lines(tmp_path)
    west, east = (float(table[name, "glacier"]["area_before_km2"]) for name in ("RGI-west", "RGI-east"))
    assert west == pytest.approx(east, rel=1e-4)
    assert west + east == pytest.approx(float(table["all", "glacier"]["area_before_km2"]))


def test_polygons_without_an_id_are_glaciers_of_their_own_which_is_told(
    scenes: tuple[Scene, Scene], tmp_path: Path
) -> None:
    spans = ((0, 50), (50, 65), (65, 160))
    parts = [shapely.box(C + A * left, F + E * 120, C + A * right, F) for left, right in spans]
    file = tmp_path / "rgi.gpkg"
    pyogrio.raw.write(
        file, shapely.to_wkb(np.array(parts)), field_data=[np.array(["RGI-west", None, None], dtype=object)],
        fields=["rgi_id"], geometry_type="Polygon", crs="EPSG:32645", layer="glaciers", driver="GPKG",
    )  # fmt: skip
    printed = run("early", "late", "--of", "outlines", "--output", str(tmp_path), "--glaciers", str(file))
    table = lines(tmp_path)
    widths = {"RGI-west": 10, "feature 2 of rgi.gpkg": 15, "feature 3 of rgi.gpkg": 25}  # of 50 columns
    assert {glacier for glacier, _ in table} == {"all", *widths}
    whole = float(table["all", "glacier"]["area_before_km2"])
    for glacier, width in widths.items():
        assert float(table[glacier, "glacier"]["area_before_km2"]) == pytest.approx(whole * width / 50, rel=1e-4)
    (note,) = json.loads((tmp_path / "change.json").read_text())["glacier_notes"]
    assert note.startswith("2 polygons have no id in the field 'rgi_id'")
    assert note in " ".join(printed.split())


def test_a_glacier_of_several_polygons_is_one_line(scenes: tuple[Scene, Scene], tmp_path: Path) -> None:
    """The glacier of 2000 px is a MultiPolygon in degrees, whose parts are moved onto the scene one by one."""
    spans = ((0, 50), (50, 60), (60, 160))
    parts = [shapely.box(C + A * left, F + E * 120, C + A * right, F) for left, right in spans]
    whole = reproject(np.array([shapely.MultiPolygon([parts[0], parts[2]]), parts[1]]), "EPSG:32645", "EPSG:4326")
    file = tmp_path / "rgi.gpkg"
    pyogrio.raw.write(
        file, shapely.to_wkb(whole), field_data=[np.array(["RGI-one", "RGI-one"], dtype=object)],
        fields=["rgi_id"], geometry_type="Unknown", crs="EPSG:4326", layer="glaciers", driver="GPKG",
    )  # fmt: skip
    run("early", "late", "--of", "outlines", "--output", str(tmp_path), "--glaciers", str(file))
    with (tmp_path / "change.csv").open(newline="") as table:
        rows = [line for line in csv.DictReader(table) if line["class"] == "glacier"]
    assert [line["glacier"] for line in rows] == ["all", "RGI-one"]
    for column in ("area_before_km2", "area_before_low_km2", "change_km2", "change_percent", "significant"):
        assert rows[0][column] == rows[1][column], column
    assert float(rows[1]["change_percent"]) == pytest.approx(-30)


def test_maps_of_scenes_may_be_larger_than_any_mask_of_a_patch(
    scenes: tuple[Scene, Scene], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(masks, "_LARGEST_MASK_PX", 32 * 32)
    run("early", "late", "--of", "outlines", "--output", str(tmp_path))
    assert float(lines(tmp_path)["all", "glacier"]["change_percent"]) == pytest.approx(-30)


OF_OUTLINES = {"clean ice": (1.1, 0.9, 1.3), "debris-covered ice": (1.0, 0.5, 2.0)}
OF_TOTALS = {"clean ice": (1.0, 0.95, 1.1), "glacier": (1.0, 0.5, 1.5)}


@pytest.fixture
def predict(catalog: Catalog, scenes: tuple[Scene, Scene], monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that has the worker store the outlines as predictions by a champion of some classes."""

    def play(names: tuple[str, ...] = GLACIER_SCHEME.names, glaciers: tuple[GlacierAreas, ...] = ()) -> None:
        version = ModelVersion(1, "run", datetime(2024, 1, 1, tzinfo=UTC), {"class_names": json.dumps(names)})
        registry = type("Registry", (), {"champion": lambda _: version})()
        monkeypatch.setattr(change_command, "registry_of", lambda _: registry)

        def work(_: float) -> None:
            for scene in scenes:
                truth = mask_from_geotiff(raster_store(catalog).get(raster_keys.truth(scene.id)), GLACIER_SCHEME)
                classes = np.minimum(truth, np.uint8(len(names) - 1))
                store_prediction(catalog, scene, classes, 1, names, OF_OUTLINES, OF_TOTALS, glaciers)

        monkeypatch.setattr("cli.prediction_wait.time.sleep", work)

    return play


def interval(line: dict[str, str], date: str) -> list[float]:
    """The best estimate and the ends of the interval, relative to the mapped area."""
    mapped = float(line[f"area_{date}_km2"])
    return [float(line[f"area_{date}_{end}_km2"]) / mapped for end in ("best", "low", "high")]


def test_predictions_are_asked_for_and_compared_with_the_intervals_that_were_delivered(
    catalog: Catalog, predict: Callable[..., None], tmp_path: Path
) -> None:
    predict()
    printed = run("early", "late", "--output", str(tmp_path))
    assert "Version 1 is predicting early" in printed
    table = lines(tmp_path)
    methods = {key: line["error_method"] for key, line in table.items()}
    assert methods == {
        ("all", "clean ice"): "calibrated total",
        ("all", "debris-covered ice"): "buffer",  # its total has no interval
        ("all", "glacier"): "calibrated total",
        ("1", "clean ice"): "calibrated outlines",
        ("1", "debris-covered ice"): "calibrated outlines",
        ("1", "glacier"): "calibrated outlines",
    }
    total, ice = table["all", "clean ice"], table["1", "clean ice"]
    for date in ("before", "after"):
        assert interval(total, date) == pytest.approx([1, 0.95, 1.1], rel=1e-4)
        assert interval(ice, date) == pytest.approx([1.1, 0.9, 1.3], rel=1e-4)
    # 1150 px of clean ice (x 1.1, 0.9, 1.3) and 250 px of debris (x 1, 0.5, 2) go together.
    assert interval(table["1", "glacier"], "after") == pytest.approx([1515 / 1400, 1160 / 1400, 1995 / 1400], rel=1e-4)
    assert (table["1", "debris-covered ice"]["area_before_high_km2"], total["significant"]) == ("0.0", "True")
    pixel = float(total["area_before_km2"]) / 2000
    # The change of 850 px: 0.05 x 1150 and 0.1 x 2000 px below, 0.1 x 1150 and 0.05 x 2000 above.
    change = [float(total[f"change_{end}_km2"]) / pixel for end in ("best", "low", "high")]
    assert change == pytest.approx([-850, -850 - np.hypot(57.5, 200), -850 + np.hypot(115, 100)], rel=1e-3)
    document = json.loads((tmp_path / "change.json").read_text())
    assert document["second"]["mapped_by"] == "model version 1"
    assert document["relative_errors"][0] == {
        "class": "clean ice", "ours_before": 0.075, "ours_after": 0.075, "experts_differ": 0.05,
    }  # fmt: skip
    assert "doi:10.3189/2013AoG63A296" in document["experts_source"]
    unfolded = " ".join(printed.split())
    assert "clean ice: ±8% and ±8%; experts differ by up to 5%." in unfolded
    assert "debris-covered ice: undefined and ±" in unfolded
    assert "2013AoG63A296" in unfolded.replace(" ", "")
    with catalog.read() as session:
        assert jobs.is_open(session, JobKind.PREDICT_SCENE)


def test_intervals_are_those_of_the_report_where_it_knows_the_glacier(
    predict: Callable[..., None], tmp_path: Path
) -> None:
    """Half of the ice of early is on each glacier; the report knows the eastern one by another polygon."""
    file = tmp_path / "rgi.gpkg"
    halves = [shapely.box(C + A * left, F + E * 120, C + A * right, F) for left, right in ((0, 65), (65, 160))]
    pyogrio.raw.write(
        file, shapely.to_wkb(np.array(halves)), field_data=[np.array(["RGI-west", "RGI-east"], dtype=object)],
        fields=["rgi_id"], geometry_type="Polygon", crs="EPSG:32645", layer="glaciers", driver="GPKG",
    )  # fmt: skip
    known = Area(name="clean ice", mapped_km2=0.9, area_km2=0.99, low_km2=0.9, high_km2=1.17, error=None)
    other = known.model_copy(update={"mapped_km2": 0.3})
    predict(glaciers=(GlacierAreas(id="RGI-west", areas=[known]), GlacierAreas(id="RGI-east", areas=[other])))
    run("early", "late", "--output", str(tmp_path), "--glaciers", str(file))
    table = lines(tmp_path)
    ice, both = table["RGI-west", "clean ice"], table["RGI-west", "glacier"]
    assert (ice["error_method"], both["error_method"]) == ("calibrated total", "calibrated outlines")
    assert table["RGI-east", "clean ice"]["error_method"] == "calibrated outlines"
    assert interval(ice, "before") == pytest.approx([1.1, 1.0, 1.3], rel=2e-3)  # 1000 px are 0.9 km2
    # Half of the outline: the distances to the ends, 0.2 of the area each, grow by the root of 2.
    assert interval(both, "before") == pytest.approx([1.1, 1.1 - 0.2 * 2**0.5, 1.1 + 0.2 * 2**0.5], rel=1e-4)


def test_a_connected_patch_has_no_interval_of_the_glacier_with_its_number(
    predict: Callable[..., None], tmp_path: Path
) -> None:
    """All 2000 px of ice of early, which are 1.8 km2, are patch 1; the report has a glacier "1" of that area."""
    known = Area(name="clean ice", mapped_km2=1.8, area_km2=1.8, low_km2=0.9, high_km2=2.7, error=0.5)
    predict(glaciers=(GlacierAreas(id="1", areas=[known]),))
    run("early", "late", "--output", str(tmp_path))
    assert lines(tmp_path)["1", "clean ice"]["error_method"] == "calibrated outlines"


def test_only_files_that_exist_are_named(scenes: tuple[Scene, Scene], tmp_path: Path) -> None:
    printed = run("early", "early", "--of", "outlines", "--output", str(tmp_path))
    assert printed.endswith(f"Written to {tmp_path}: change.csv, change.json, change.png\n")
    assert sorted(path.name for path in tmp_path.glob("change.*")) == ["change.csv", "change.json", "change.png"]


def test_the_map_of_a_binary_model_is_of_one_class(predict: Callable[..., None], tmp_path: Path) -> None:
    predict(("background", "glacier"))
    run("early", "late", "--output", str(tmp_path))
    table = lines(tmp_path)
    assert set(table) == {("all", "glacier"), ("1", "glacier")}
    assert table["all", "glacier"]["error_method"] == "calibrated total"
    assert table["1", "glacier"]["error_method"] == "buffer", "its outlines have no intervals"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["late", "early", "--of", "outlines"], "expected the earlier scene first"),
        (["early", "none", "--of", "outlines"], "there is no scene named 'none'"),
    ],
)
def test_a_comparison_that_makes_no_sense_is_refused(
    scenes: tuple[Scene, Scene], tmp_path: Path, arguments: list[str], message: str
) -> None:
    result = CliRunner().invoke(main, ["change", *arguments, "--output", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert message in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("drawn", "years", "mapped_by"),
    [
        ("2000-10-30", 10.0, "prior outlines by RGI, 2000-10-30"),
        ("2012-02-08", None, "prior outlines by RGI, 2012-02-08, drawn after the image was taken"),
    ],
)
def test_prior_outlines_are_compared_with_what_the_model_confidently_shows(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drawn: str, years: float | None, mapped_by: str
) -> None:
    catalog.settings.var_dir.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(change_command, "running_catalog", lambda: nullcontext(catalog))
    version = ModelVersion(1, "run", datetime.now(UTC), {"class_names": json.dumps(GLACIER_SCHEME.names)})
    monkeypatch.setattr(change_maps, "registry_of", lambda _: SimpleNamespace(get=lambda _: version))
    old: NDArray[np.uint8] = np.zeros((120, 160), dtype=np.uint8)
    old[30:70, 40:90] = 1
    classes, entropy = old.copy(), np.full(old.shape, 0.1, dtype=np.float32)
    classes[58:70] = 0
    classes[30:40, 40:50], entropy[30:40, 40:50] = 0, 0.9  # the model is not sure of this
    classes[50:58, 60:70] = 2  # not told apart by outlines of whole glaciers
    scene = add(catalog, "pool", "2010-10-30", TEXTURE, NORTH_UP)
    prior = PriorOutlines((OutlineLayer("rgi.gpkg", None, "clean ice"),), drawn, "RGI", 0.0, "0" * 64)
    store, grid = raster_store(catalog), source_of(scene).grid
    with catalog.database.write() as session:
        session.get_one(Scene, scene.id).prior_outlines = prior.to_json()
        scoring_id = add_scoring(session, 1, {}).id
    store.put(raster_keys.prior(scene.id), mask_to_geotiff(old, grid, GLACIER_SCHEME))
    store.put(raster_keys.scored(scoring_id, scene.id, "classes"), mask_to_geotiff(classes, grid, GLACIER_SCHEME))
    store.put(raster_keys.scored(scoring_id, scene.id, "entropy"), encode(entropy, grid, nodata=np.nan))
    monkeypatch.setattr(masks, "_LARGEST_MASK_PX", 32 * 32)  # of patches: maps of scenes may be larger
    run("pool", "pool", "--of", "priors", "--output", str(tmp_path / "out"))
    table = lines(tmp_path / "out")
    assert set(table) == {("all", "glacier"), ("1", "glacier")}
    change = table["all", "glacier"]
    assert float(change["change_km2"]) == pytest.approx(-600 * 0.0009, rel=1e-3)
    assert bool(change["change_km2_per_year"]) == (years is not None)
    document = json.loads((tmp_path / "out" / "change.json").read_text())
    assert (document["years"], document["first"]["acquired"]) == (years, drawn)
    assert document["first"]["mapped_by"] == mapped_by
