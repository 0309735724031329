from contextlib import nullcontext
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from catalog.context import Catalog
from catalog.records import Promotion, Scene
from cli import scene_commands
from cli.everest import everest_scenes
from imagery.border import BorderSource
from imagery.scene_source import SceneSource
from services.promotion import PROMOTED
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
    result = CliRunner().invoke(scene_commands.scene, ["add", "khumbu", "--role", "pool", *options])
    assert result.exit_code == 0, result.output
    with catalog.read() as session:
        scene = session.scalars(select(Scene)).one()
    source = SceneSource.from_json(scene.source)
    assert scene.acquired == "2000-10-30"
    assert source.dem is not None
    assert (source.dem.name, source.dem.path) == ("elevation", str(dem))
    assert source.border == BorderSource(str(border), "clean_ice")


def test_a_scene_may_be_added_to_a_champion_though_its_channels_are_not_those_of_the_settings(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    catalog.settings = catalog.settings.model_copy(update={"architecture": "aryal"})
    command = ["add", "khumbu", "--role", "pool", "--file", str(forge_scene(tmp_path / "scene.tif").path)]
    refused = CliRunner().invoke(scene_commands.scene, command)
    assert "the channels of the architecture 'aryal'" in str(refused.exception)
    with catalog.database.write() as session:
        moved = {"model_version": 1, "previous_version": None, "verdict": PROMOTED}
        session.add(Promotion(**moved, reason="the first version", actor="gate"))
    result = CliRunner().invoke(scene_commands.scene, command)
    assert result.exit_code == 0, result.output


def test_the_example_scene_says_when_it_was_acquired(tmp_path: Path) -> None:
    requests = [SceneRequest.model_validate(request) for request in everest_scenes(tmp_path)]
    assert {request.acquired for request in requests} == {date(2000, 10, 30)}


def test_a_dem_that_is_not_there_is_a_usage_error(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(scene_commands, "installed_catalog", lambda: nullcontext(catalog))
    path = forge_scene(tmp_path / "scene.tif").path
    command = ["add", "khumbu", "--role", "pool", "--file", str(path), "--dem", str(tmp_path / "dem.tif")]
    result = CliRunner().invoke(scene_commands.scene, command)
    assert result.exit_code == 2
    assert "found no file" in result.output
