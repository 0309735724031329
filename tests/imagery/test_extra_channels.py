from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.extra_channels import describe_extra
from imagery.grid import Grid
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff

SCENE = Grid(UTM_45N, NORTH_UP, 8, 8)


def write(path: Path, stored: NDArray[Any], *, unit: str | None = None, scale: float = 1.0, **options: Any) -> str:
    write_geotiff(path, stored, **options)
    with rasterio.open(path, "r+") as dataset:
        dataset.scales = (scale,)
        if unit is not None:
            dataset.units = (unit,)
    return str(path)


def test_a_raster_on_its_own_grid_becomes_a_channel_with_its_own_nodata_and_unit(tmp_path: Path) -> None:
    stored = np.full((4, 4), 2500, dtype=np.uint16)
    stored[0, 0] = 65535
    path = write(
        tmp_path / "c.tif",
        stored,
        unit="1",
        scale=1e-4,
        nodata=65535,
        transform=(60, 0, NORTH_UP[2], 0, -60, NORTH_UP[5]),
    )
    coherence, notes = describe_extra("coherence", path, over=SCENE)
    assert coherence == BandSource("coherence", path, 1, 1e-4, 0.0, None, "1")
    assert notes == (
        "coherence: holds only the whole numbers 2500; if they are classes, averages of them have no "
        "meaning, and the file is no channel",
    )
    red = write_geotiff(tmp_path / "red.tif", np.ones((8, 8), dtype=np.uint8))
    source = describe([BandSource("red", str(red), 1)], extras=[coherence])
    with SceneReader(source) as reader:
        values = reader.read(["coherence"], source.grid.window)[0]
        assert reader.valid_mask(source.grid.window).all()
    assert np.isnan(values).sum() == 4
    np.testing.assert_allclose(values[~np.isnan(values)], 0.25, rtol=1e-6)


def test_what_the_user_states_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "v.tif", np.linspace(0, 9, 64, dtype=np.float32).reshape(8, 8), unit="m", scale=2.0)
    stated, notes = describe_extra("velocity", path, unit="m/yr", scale=3.0, offset=1.0, nodata=9.0)
    assert stated == BandSource("velocity", path, 1, 3.0, 1.0, 9.0, "m/yr")
    assert notes == ()


def test_a_colour_table_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "c.tif", np.arange(64, dtype=np.uint8).reshape(8, 8), unit="1")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {value: (255 - value, value, 0, 255) for value in range(256)})
    _, notes = describe_extra("cover", path)
    assert notes == ("cover: has a colour table; if its numbers stand for colours or classes, it is no channel",)


def test_guesses_are_told(tmp_path: Path) -> None:
    stored = np.linspace(0, 9, 64, dtype=np.float32).reshape(8, 8)
    stored[0, 0] = -9999
    extra, notes = describe_extra("velocity", write(tmp_path / "v.tif", stored))
    assert (extra.nodata, extra.unit) == (-9999, "digital number")
    assert notes == (
        "velocity: -9999 is taken as no data, which the file does not declare",
        "velocity: the file does not say its unit",
    )


def test_scale_and_offset_are_read_from_items_as_those_of_bands_are(tmp_path: Path) -> None:
    path = write(tmp_path / "v.tif", np.arange(64, dtype=np.int16).reshape(8, 8), unit="m")
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(1, scale_factor="0.001", add_offset="2")
    assert describe_extra("velocity", path)[0] == BandSource("velocity", path, 1, 0.001, 2.0, None, "m")


@pytest.mark.parametrize(
    ("void", "pixels", "nodata"),
    [
        (-10000, 1, -10000),  # as MAJA writes it
        (-777, 4, -777),  # 777 below 0 to 9
        (255, 4, 255),
        (-777, 3, None),  # may be measured
        (18, 4, 18),  # as far from 9 as 9 is from 0
        (17, 4, None),
    ],
)
def test_a_number_far_from_all_others_is_no_data_if_it_recurs(
    tmp_path: Path, void: int, pixels: int, nodata: float | None
) -> None:
    stored = np.linspace(0, 9, 64, dtype=np.float32)
    stored[10 : 10 + pixels] = void
    extra, notes = describe_extra("velocity", write(tmp_path / "v.tif", stored.reshape(8, 8), unit="m"))
    told = f"velocity: {void} is taken as no data, which the file does not declare"
    assert (extra.nodata, notes) == (nodata, () if nodata is None else (told,))


def test_of_few_values_none_is_far_from_the_others(tmp_path: Path) -> None:
    stored = np.array([0.0, 1.0, 2.0, 90.0], dtype=np.float32).repeat(16).reshape(8, 8)
    assert describe_extra("velocity", write(tmp_path / "v.tif", stored))[0].nodata is None


@pytest.mark.parametrize(("spelt", "unit"), [("kelvin", "K"), ("Degrees", "degree"), ("metre", "m"), ("dB", "dB")])
def test_units_are_spelt_as_elsewhere(tmp_path: Path, spelt: str, unit: str) -> None:
    path = write(tmp_path / "a.tif", np.linspace(0, 9, 64, dtype=np.float32).reshape(8, 8), unit=spelt)
    assert describe_extra("thermal", path)[0].unit == unit


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ndsi", "found the channel name 'ndsi', which is computed from other channels"),
        ("aspect_sin", "found the channel name 'aspect_sin', which is computed from other channels"),
        ("elevation", "expected elevation as a DEM, not as a channel"),
        ("blue", "found the channel name 'blue', which is that of a band"),
        ("a b", "found the channel name 'a b'; expected letters, digits and underscores"),
    ],
)
def test_names_that_mean_something_else_are_refused(tmp_path: Path, name: str, message: str) -> None:
    path = write(tmp_path / "a.tif", np.ones((8, 8), dtype=np.float32))
    with pytest.raises(SceneError, match=message):
        describe_extra(name, path)


def test_a_raster_without_a_value_for_the_scene_is_refused(tmp_path: Path) -> None:
    empty = write(tmp_path / "a.tif", np.full((8, 8), np.nan, dtype=np.float32))
    with pytest.raises(SceneError, match=r"a\.tif: found no valid pixel for 'velocity'"):
        describe_extra("velocity", empty)
    with pytest.raises(SceneError, match=r"a\.tif: found 1 bands; expected 'velocity' in band 2"):
        describe_extra("velocity", empty, 2)
    far = write(tmp_path / "far.tif", np.ones((8, 8), dtype=np.float32), transform=(30, 0, 600000, 0, -30, 3000000))
    with pytest.raises(SceneError, match="found a file that misses the scene's ground"):
        describe_extra("velocity", far, over=SCENE)
    several = np.ones((8, 8), dtype=np.float32)
    several[0, :2] = -9999, -32768
    with pytest.raises(SceneError, match="all of which may mean no data"):
        describe_extra("velocity", write(tmp_path / "b.tif", several))
