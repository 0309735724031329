"""``scene add`` and ``replace`` of products: what is shown, asked and stored."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import Scene
from cli import scene_commands, scene_options
from services.scenes import source_of
from tests.imagery.forge import write_geotiff
from tests.imagery.product_forge import L2SP, landsat_level_1, landsat_level_2

Run = Callable[..., Result]
NAME = "lc08-l2sp-140041-20181026-20200830-02-t1"


@pytest.fixture
def run(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Run a command beside the folder of a Landsat Level-2 product, `l2`."""
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    monkeypatch.chdir(tmp_path)
    landsat_level_2(tmp_path / "l2")
    return lambda *command, answer=None: CliRunner().invoke(scene_commands.scene, command, input=answer)


def scenes(catalog: Catalog) -> list[Scene]:
    with catalog.read() as session:
        return list(session.scalars(select(Scene).order_by(Scene.id)))


def test_a_product_is_shown_and_registered_when_the_user_agrees(run: Run, catalog: Catalog) -> None:
    refused = run("add", "l2", "--role", "pool", answer="n\n")
    assert refused.exit_code == 1
    assert scenes(catalog) == []
    agreed = run("add", "l2", "--role", "pool", answer="y\n")
    assert agreed.exit_code == 0, agreed.output
    for text in (
        f"Scene {NAME} (pool)",
        f"({L2SP})",
        "landsat-8-oli",
        "surface reflectance",
        "2018-10-26",
        "96 × 96 pixels of 30 m",
        "reflectance = stored × 2.75e-05 - 0.2; no data: 0",
        f"red    {L2SP}_SR_B4.TIF\n",
        "masks fill, cirrus, cloud, cloud shadow",
        "8.33 % without data",
        "12.5 % by the provider",
        "SR_QA_AEROSOL.TIF",
        f"Scene {NAME} (pool) is registered as number 1.",
    ):
        assert text in agreed.output
    assert [scene.name for scene in scenes(catalog)] == [NAME]


def test_a_dry_run_as_json_is_nothing_but_json(run: Run, catalog: Catalog) -> None:
    result = run("add", "l2", "--role", "pool", "--name", "khumbu", "--dry-run", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["name"] == "khumbu"
    assert scenes(catalog) == []


def test_with_yes_nothing_is_asked(run: Run, catalog: Catalog) -> None:
    result = run("add", "l2", "--role", "pool", "--yes", "--json", "--mask", "none")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["quality"][0]["masked"] == []
    assert len(scenes(catalog)) == 1


def test_bands_are_named_by_the_sensor_and_scaled(run: Run, catalog: Catalog, tmp_path: Path) -> None:
    bands = [f"--band={field}=l2/{L2SP}_{field}.TIF" for field in ("SR_B3", "SR_B4", "SR_B5", "QA_PIXEL")]
    result = run("add", "khumbu", "--role", "pool", "--yes", "--sensor", "landsat-8-oli", *bands)
    assert result.exit_code == 0, result.output
    source = source_of(scenes(catalog)[0])
    assert source.band_names == ("green", "red", "nir")
    assert {(band.unit, band.scale, band.offset) for band in source.bands} == {("reflectance", 2.75e-5, -0.2)}
    assert [(band.table, "cloud" in band.masked) for band in source.quality] == [("landsat-c2-qa-pixel", True)]
    assert str(tmp_path) not in str(scenes(catalog)[0].product)


def test_a_scene_is_replaced_under_its_name(run: Run, catalog: Catalog, tmp_path: Path) -> None:
    landsat_level_1(tmp_path / "l1")
    assert run("add", "l2", "--role", "pool", "--name", "khumbu", "--yes").exit_code == 0
    shown = run("replace", "khumbu", "l1", "--dry-run")
    assert "top of atmosphere reflectance" in shown.output
    assert [source_of(scene).level for scene in scenes(catalog)] == ["surface"]
    result = run("replace", "khumbu", "l1", "--yes")
    assert result.exit_code == 0, result.output
    assert "Scene khumbu (pool) is replaced and has the number 2: 0 labels are kept" in result.output
    assert [(scene.name, source_of(scene).level) for scene in scenes(catalog)][1:] == [("khumbu", "top of atmosphere")]
    assert "there is no scene named 'nuptse'" in str(run("replace", "nuptse", "l1", "--yes").exception)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["nothing", "--role", "pool"], "found no file or folder nothing; expected one, or a name with --band or"),
        (["khumbu", "--role", "pool", "--name", "a", "--file", "x.tif"], "found the names khumbu and a"),
        (["Khumbu/b", "--role", "pool", "--file", "x.tif"], "found the name 'Khumbu/b'"),
        (["l2", "--role", "pool", "--class-field", "a", "--map", "b"], "found 'b', expected VALUE=CLASS"),
        (["l2", "--role", "pool", "--channel", "coh.tif"], "found 'coh.tif', expected a further channel, NAME=FILE"),
        (["l2", "--role", "pool", "--dem", "d.tif,nodata=none"], "found nodata=none; expected a number"),
        (["l2", "--role", "pool", "--dem", "d.tif,unit=m,unit=ft"], "found unit twice"),
        (["l2", "--role", "pool", "--name", "Peak"], "name: String should match pattern"),
        (["khumbu", "--role", "pool", "--file", "a.tif", "--band", "red=b.tif"], "found both or neither"),
    ],
)
def test_a_malformed_command_is_a_usage_error(run: Run, command: list[str], message: str) -> None:
    result = run("add", *command)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.replace("│", "").split())


def test_statements_follow_a_file_unless_its_name_contains_them(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "coh,unit=1.tif", np.ones((1, 4, 4), np.uint8))
    assert scene_options.raster(str(path)) == {"path": str(path)}
    stated = scene_options.channel(f"coherence={path}:1,unit=m/a,nodata=-1.5,scale=0.01,offset=2")
    assert stated == {
        **{"name": "coherence", "path": str(path), "index": 1, "unit": "m/a"},
        **{"nodata": -1.5, "scale": 0.01, "offset": 2},
    }


def test_outlines_without_a_class_may_contain_an_equals_sign(tmp_path: Path) -> None:
    path = tmp_path / "year=2018.gpkg"
    path.touch()
    assert scene_options.outlines(str(path), None, {}) == {"path": str(path)}
    told = {"class_field": "Glaciers", "classes": {"Clean Ice": "clean ice"}}
    assert scene_options.outlines(f"{path}:a", "Glaciers", told["classes"]) == {"path": str(path), "layer": "a", **told}
