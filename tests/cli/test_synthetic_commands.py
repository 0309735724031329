from pathlib import Path

import pytest
import rasterio
from click.testing import CliRunner

from cli.synthetic_commands import synthetic


def test_a_scene_is_written_and_the_options_that_register_it_are_shown(tmp_path: Path) -> None:
    result = CliRunner().invoke(synthetic, [str(tmp_path / "scene"), "--size", "128x150", "--seed", "3"])
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "scene" / "reflective.tif") as dataset:
        assert dataset.shape == (128, 150)
    assert f"--band nir={tmp_path}/scene/reflective.tif:4" in result.output
    assert f"--outlines 'clean ice={tmp_path}/scene/outlines.gpkg:clean_ice'" in result.output
    assert f"--dem {tmp_path}/scene/dem.tif" in result.output


DATA = Path(__file__).parents[1] / "data"
DEM, OUTLINES = str(DATA / "relief" / "oetztal.tif"), str(DATA / "rgi_oetztal.shp")


def test_a_scene_is_written_on_real_relief_and_outlines(tmp_path: Path) -> None:
    options = ["--dem", DEM, "--outlines", OUTLINES, "--size", "160x200", "--debris", "0.01", "--cloud", "0"]
    result = CliRunner().invoke(synthetic, [str(tmp_path / "scene"), *options])
    assert result.exit_code == 0, result.output
    with rasterio.open(tmp_path / "scene" / "reflective.tif") as dataset:
        assert dataset.shape == (160, 200)
        assert dataset.crs.to_epsg() == 32632
    assert "1.0%" in next(line for line in result.output.splitlines() if "debris-covered ice" in line)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dem", DEM], "found only one of --dem and --outlines"),
        (["--outlines", OUTLINES], "found only one of --dem and --outlines"),
        (["--dem", DEM, "--outlines", f"moss={OUTLINES}"], "moss"),
        (["--size", "300"], "found '300'; expected ROWSxCOLS"),
        (["--size", "100x300"], "found 100 x 300 px; expected sides of at least 128"),
        (["--clean", "0.9", "--cloud", "0.2"], "expected none below 0 and a sum below 1"),
        (["--sun", "nan", "45"], "expected finite angles"),
        (["--sun", "152", "nan"], "expected finite angles"),
    ],
)
def test_what_cannot_be_made_is_explained(tmp_path: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(synthetic, [str(tmp_path), *options])
    assert result.exit_code == 2
    assert message in result.output
