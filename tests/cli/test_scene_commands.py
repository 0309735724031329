from contextlib import nullcontext
from datetime import date
from pathlib import Path

import click
import numpy as np
import pyogrio
import pytest
import shapely
from click.testing import CliRunner, Result
from sqlalchemy import select

from catalog import registry_copy
from catalog.context import Catalog
from catalog.records import Scene, now
from catalog.registry import CHAMPION, ModelVersion
from cli import scene_commands, scene_options
from cli.everest import AGED, AGEING, everest_scenes
from imagery.border import BorderSource
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.everest import prepare, write_old_outlines
from imagery.masks import rasterize_outlines
from imagery.scene_source import BandSource, ElevationSource, SceneSource
from services.scene_request import SceneRequest
from tests.imagery.forge import NORTH_UP, forge_scene, write_geotiff


def test_a_scene_is_added_with_its_dem_and_border(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    forged = forge_scene(tmp_path / "scene.tif")
    coarse = (90.0, 0.0, NORTH_UP[2], 0.0, -90.0, NORTH_UP[5])
    dem = write_geotiff(tmp_path / "dem.tif", np.full((40, 60), 5000, dtype=np.int16), transform=coarse)
    border = tmp_path / "scene_outlines.gpkg"
    options = [
        "--acquired",
        "2000-10-30",
        "--file",
        str(forged.path),
        "--dem",
        str(dem),
        "--border",
        f"{border}:clean_ice",
        "--patch-size",
        "32",
    ]
    result = CliRunner().invoke(scene_commands.scene, ["add", "khumbu", "--role", "pool", "--yes", *options])
    assert result.exit_code == 0, result.output
    with catalog.read() as session:
        scene = session.scalars(select(Scene)).one()
    source = SceneSource.from_json(scene.source)
    assert scene.acquired == "2000-10-30"
    assert source.dem == ElevationSource((BandSource("elevation", str(dem), 1, unit="m"),))
    assert source.border == BorderSource(str(border), "clean_ice")


def test_a_scene_may_be_added_to_a_champion_though_its_channels_are_not_those_of_the_settings(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    catalog.settings = catalog.settings.model_copy(update={"architecture": "aryal"})
    command = ["add", "khumbu", "--role", "pool", "--yes", "--file", str(forge_scene(tmp_path / "scene.tif").path)]
    refused = CliRunner().invoke(scene_commands.scene, command)
    assert "the channels of the architecture 'aryal'" in str(refused.exception)
    with catalog.database.write() as session:
        registry_copy.store(session, [ModelVersion(1, "run", now(), {})])
        registry_copy.set_aliases(session, {CHAMPION: 1})
    result = CliRunner().invoke(scene_commands.scene, command)
    assert result.exit_code == 0, result.output


def test_the_example_scene_says_when_it_was_acquired(tmp_path: Path) -> None:
    requests = [SceneRequest.model_validate(request) for request in everest_scenes(prepare(tmp_path))]
    assert {request.acquired for request in requests} == {date(2000, 10, 30)}


def test_only_the_pool_of_the_example_scene_takes_old_outlines_and_says_that_they_were_made_old(tmp_path: Path) -> None:
    example = prepare(tmp_path)
    old = write_old_outlines(example, tmp_path / "old.gpkg", AGEING, 0)
    requests = [SceneRequest.model_validate(request) for request in everest_scenes(example, old)]
    told = {request.role.value: (len(request.prior_outlines), request.prior_source) for request in requests}
    assert told == {
        "pool": (2, f"made old on purpose: {AGED}"),
        "validation": (0, None),
        "test": (0, None),
    }
    grid = describe(example.bands).grid
    truth, aged = (rasterize_outlines(layers, grid, GLACIER_SCHEME) for layers in (example.outlines, old))
    assert 0.7 < (truth == aged).mean() < 0.95  # near the truth, and not the truth


@pytest.mark.parametrize(("option", "value"), [("--dem", "dem.tif"), ("--band", "nir=missing:first.tif")])
def test_a_file_that_is_not_there_is_named(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, value: str
) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    monkeypatch.chdir(tmp_path)
    path = forge_scene(tmp_path / "scene.tif").path
    command = ["add", "khumbu", "--role", "pool", "--band", f"red={path}:1", option, value]
    result = CliRunner().invoke(scene_commands.scene, command)
    assert isinstance(result.exception, SceneError)
    assert f"found no file or folder {value.removeprefix('nir=')}" in str(result.exception)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{tmp}/LC08 04:41:00Z.tif", {"path": "{tmp}/LC08 04:41:00Z.tif"}),
        ("{tmp}/LC08 04:41:00Z.tif:3", {"path": "{tmp}/LC08 04:41:00Z.tif", "index": 3}),
        ("{tmp}/plain.tif", {"path": "{tmp}/plain.tif"}),
        ("{tmp}/plain.tif:2", {"path": "{tmp}/plain.tif", "index": 2}),
        ("{tmp}/plain.tif:1:2", {"path": "{tmp}/plain.tif:1", "index": 2}),  # both are files: the longer one wins
        ("{tmp}/plain.tif:1", {"path": "{tmp}/plain.tif:1"}),
        ("missing.tif:4", {"path": "missing.tif", "index": 4}),
        ("C:\\scenes\\b4.tif", {"path": "C:\\scenes\\b4.tif"}),
        ("C:\\scenes\\b4.tif:4", {"path": "C:\\scenes\\b4.tif", "index": 4}),
        ("/vsicurl/http://host:80/b4.tif", {"path": "/vsicurl/http://host:80/b4.tif"}),
        ("s3://bucket/b4.tif:4", {"path": "s3://bucket/b4.tif", "index": 4}),
    ],
)
def test_a_band_is_a_file_and_perhaps_an_index(tmp_path: Path, text: str, expected: dict[str, object]) -> None:
    for name in ("LC08 04:41:00Z.tif", "plain.tif", "plain.tif:1"):
        (tmp_path / name).touch()
    given = text.replace("{tmp}", str(tmp_path))
    path = str(expected["path"]).replace("{tmp}", str(tmp_path))
    assert scene_options.named(f"nir={given}", "index", "") == {"name": "nir", **expected, "path": path}
    assert scene_options.raster(f"{given},unit=ft,nodata=-1") == {**expected, "path": path, "unit": "ft", "nodata": -1}


@pytest.mark.parametrize(
    ("text", "path", "layer"),
    [
        ("{tmp}/a 04:41.gpkg", "{tmp}/a 04:41.gpkg", None),
        ("{tmp}/a 04:41.gpkg:clean ice", "{tmp}/a 04:41.gpkg", "clean ice"),
        ("missing.gpkg:border", "missing.gpkg", "border"),
        ("C:\\a.gpkg", "C:\\a.gpkg", None),
        ("/vsizip/a.zip/b.gpkg:border", "/vsizip/a.zip/b.gpkg", "border"),
    ],
)
def test_outlines_are_a_file_and_perhaps_a_layer(tmp_path: Path, text: str, path: str, layer: str | None) -> None:
    (tmp_path / "a 04:41.gpkg").touch()
    found = scene_options.outlines("clean ice=" + text.replace("{tmp}", str(tmp_path)), None, {})
    assert found["class"] == "clean ice"
    assert found["path"] == path.replace("{tmp}", str(tmp_path))
    assert found.get("layer") == layer


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--band", "nir", "found 'nir', expected NAME=FILE[:INDEX]"),
        (
            "--band",
            "nir={tmp}/plain.tif:first",
            "found 'first' after the file {tmp}/plain.tif and a colon; expected the number of",
        ),
        (
            "--band",
            "nir={tmp}/plain.tif:",
            "found '' after the file {tmp}/plain.tif and a colon; expected the number of",
        ),
        ("--band", "nir={tmp}/plain.tif:-1", "found '-1' after the file"),
        (
            "--outlines",
            "clean ice={tmp}/plain.tif:",
            "after the file {tmp}/plain.tif and a colon; expected a name of a layer",
        ),
        ("--border", "{tmp}/plain.tif:", "after the file {tmp}/plain.tif and a colon; expected a name of a layer"),
    ],
)
def test_what_is_no_file_with_an_index_or_layer_is_a_usage_error(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, option: str, value: str, message: str
) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    (tmp_path / "plain.tif").touch()
    scene = ["--file", str(forge_scene(tmp_path / "scene.tif").path)] if option != "--band" else []
    command = ["add", "khumbu", "--role", "pool", *scene, option, value.replace("{tmp}", str(tmp_path))]
    result = CliRunner().invoke(scene_commands.scene, command)
    assert result.exit_code == 2
    assert message.replace("{tmp}", str(tmp_path)) in result.output


def test_a_scene_whose_files_have_colons_is_added(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    path = forge_scene(tmp_path / "LC08 2013-10-30T04:41:00Z.tif").path
    command = ["add", "khumbu", "--role", "pool", "--yes", "--band", f"red={path}:1", "--band", f"nir={path}:4"]
    result = CliRunner().invoke(scene_commands.scene, command)
    assert result.exit_code == 0, result.output
    with catalog.read() as session:
        source = SceneSource.from_json(session.scalars(select(Scene)).one().source)
    assert [(band.name, band.path, band.index) for band in source.bands] == [
        ("red", str(path), 1),
        ("nir", str(path), 4),
    ]


def test_outlines_of_several_classes_are_added_and_replaced(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Named with a field, then recognised, then refused because a value is not known."""
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    forged = forge_scene(tmp_path / "scene.tif")
    squares = shapely.to_wkb([shapely.box(*forged.grid.bounds), shapely.box(0, 0, 1, 1)])

    def write(second: str) -> str:
        path = tmp_path / f"{second}.shp"
        values = [np.array(["Clean Ice", second], dtype=object)]
        pyogrio.raw.write(
            path, squares, field_data=values, fields=["Glaciers"], geometry_type="Polygon", crs=forged.grid.crs
        )
        return str(path)

    def invoke(command: str, *outlines: str) -> Result:
        described = ["khumbu", "--role", "validation", "--file", str(forged.path), "--patch-size", "32"]
        return CliRunner().invoke(scene_commands.scene, [command, *described, "--yes", "--outlines", *outlines])

    def stored() -> list[tuple[str, str | None, list[str]]]:
        with catalog.read() as session:
            scene = session.scalars(select(Scene).where(Scene.name == "khumbu")).one()
        return [(item["class_name"], item["class_field"], item["class_values"]) for item in scene.outlines]

    assert invoke("replace", write("rock")).exit_code == 1  # there is nothing to replace yet
    named = invoke("add", write("odd"), "--class-field", "Glaciers", "--map", "Clean Ice=clean ice")
    assert named.exit_code == 0, named.output
    assert stored() == [("clean ice", "Glaciers", ["Clean Ice"])]
    recognised = invoke("replace", write("Debris covered"))
    assert recognised.exit_code == 0, recognised.output
    assert "is replaced and has the number 2: 0 labels are kept, 0 do not count any more" in recognised.output
    assert stored() == [
        ("clean ice", "Glaciers", ["Clean Ice"]),
        ("debris-covered ice", "Glaciers", ["Debris covered"]),
    ]
    assert "not recognised: 'odd'" in str(invoke("replace", write("odd")).exception)
    assert invoke("replace", write("odd"), "--class-field", "Glaciers", "--map", "odd").exit_code == 2
    assert "without a class for each of its values" in str(
        invoke("replace", write("odd"), "--class-field", "Glaciers").exception
    )
    assert len(stored()) == 2


def _classes_told(*options: str) -> list[dict[str, object]]:
    """Return what a command sends as outlines, without the paths."""
    sent: list[dict[str, object]] = []

    @click.command()
    @scene_options.scene_options
    def command(**given: object) -> None:
        request = scene_options.to_request("khumbu", "pool", "scene.tif", given)
        sent.extend({**item, "path": None} for name in ("outlines", "prior_outlines") for item in request[name])

    result = CliRunner().invoke(command, options)
    if result.exit_code:
        raise click.UsageError(result.output)
    return sent


@pytest.mark.parametrize("prior", ["", "prior-"])
def test_a_field_of_classes_is_never_dropped(prior: str) -> None:
    """It is sent along with a class, which the API refuses, unless it is there for other outlines."""
    field = [f"--{prior}class-field", "TYPE", f"--{prior}map", "1=clean ice"]
    told = {"path": None, "class_field": "TYPE", "classes": {"1": "clean ice"}}
    option = f"--{prior}outlines"
    assert _classes_told(option, "clean ice=a.shp", *field) == [{"class": "clean ice", **told}]
    assert _classes_told(option, "clean ice=a.shp", option, "b.shp", *field) == [
        {"class": "clean ice", "path": None},
        told,
    ]
    with pytest.raises(
        click.UsageError, match=rf"found --{prior}class-field or --{prior}map without --{prior}outlines"
    ):
        _classes_told(*field)


@pytest.mark.parametrize("prior", ["", "prior-"])
def test_the_period_of_outlines_is_sent_with_each(prior: str) -> None:
    option = f"--{prior}outlines"
    period = [f"{option}-from", "2000", f"{option}-to", "2005-12"]
    told = {"path": None, "drawn_from": "2000", "drawn_to": "2005-12"}
    assert _classes_told(option, "clean ice=a.shp", option, "b.shp", *period) == [{"class": "clean ice", **told}, told]
    with pytest.raises(click.UsageError, match=rf"found {option}-from or {option}-to without {option}"):
        _classes_told(*period)


def test_a_class_and_a_field_are_refused(catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    forged = forge_scene(tmp_path / "scene.tif")
    path = tmp_path / "a.shp"
    pyogrio.raw.write(
        path,
        shapely.to_wkb([shapely.box(*forged.grid.bounds)]),
        field_data=[np.array([1])],
        fields=["TYPE"],
        geometry_type="Polygon",
        crs=forged.grid.crs,
    )
    options = ["--outlines", f"clean ice={path}", "--class-field", "TYPE", "--map", "1=clean ice", "--yes"]
    described = ["add", "khumbu", "--role", "pool", "--file", str(forged.path), "--patch-size", "32"]
    result = CliRunner().invoke(scene_commands.scene, [*described, *options])
    assert "found the class 'clean ice' and a field of classes or mapped values" in str(result.exception)
