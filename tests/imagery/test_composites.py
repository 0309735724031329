import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagery.band_names import bands_of_file
from imagery.composites import composites_for, encode_png, message_tile, render, uncertainty_heatmap
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.scene_reader import SceneReader
from tests.imagery.forge import write_geotiff


@pytest.mark.parametrize(
    ("bands", "true_colour", "false_colour"),
    [
        (["red", "green", "blue", "nir", "swir1"], ("red", "green", "blue"), ("swir1", "nir", "red")),
        (["red", "green", "blue", "nir"], ("red", "green", "blue"), ("nir", "red", "green")),
        (["red", "green", "blue"], ("red", "green", "blue"), ("blue", "green", "red")),
        (["nir", "red"], ("nir", "red", "red"), ("red", "red", "nir")),
        (["pan"], ("pan", "pan", "pan"), ("pan", "pan", "pan")),
    ],
)
def test_every_scene_has_a_true_and_a_false_colour_view(
    bands: list[str], true_colour: tuple[str, ...], false_colour: tuple[str, ...]
) -> None:
    assert composites_for(bands) == {"true-colour": true_colour, "false-colour": false_colour}


def test_a_composite_stretches_each_channel_and_hatches_nodata(tmp_path: Path) -> None:
    stack = np.zeros((3, 3, 4), dtype=np.float32)
    stack[0] = [[0, 10, 20, 30]] * 3
    stack[1], stack[2] = 100, 5
    stack[2, 2, 3] = np.nan
    path = write_geotiff(tmp_path / "a.tif", stack, descriptions=["red", "green", "blue"])
    with SceneReader(describe(bands_of_file(str(path), None))) as reader:
        rgb = render(reader, Window(0, 0, 3, 4), ("red", "green", "blue"), [(10, 20), (0, 200), (5, 6)])
    assert rgb.shape == (3, 4, 3)
    assert rgb.dtype == np.uint8
    assert rgb[0, :, 0].tolist() == [0, 0, 255, 255]  # clipped below and above the stretch
    assert rgb[0, 0].tolist() == [0, 128, 0]
    assert len(set(rgb[2, 3].tolist())) == 1  # grey although red alone would be 255
    assert rgb[2, 3, 0] in (72, 120)


def test_the_heat_map_runs_from_dark_to_light_in_even_steps() -> None:
    entropy = np.linspace(0, np.log(3), 18, dtype=np.float32)[None]
    rgb = uncertainty_heatmap(entropy, float(np.log(3)))
    assert rgb[0, 0].tolist() == [0x00, 0x00, 0x04]
    assert rgb[0, 8].tolist() == [0xB0, 0x31, 0x5B]
    assert rgb[0, -1].tolist() == [0xFC, 0xFF, 0xA4]
    luminance = rgb[0].astype(float) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


def test_the_heat_map_agrees_with_matplotlibs_inferno() -> None:
    import matplotlib

    share = np.linspace(0, 1, 256, dtype=np.float32)
    expected = matplotlib.colormaps["inferno"](share)[:, :3] * 255
    assert np.abs(uncertainty_heatmap(share[None], 1.0)[0] - expected).max() < 6


def test_the_heat_map_hatches_what_has_no_data_and_needs_a_positive_maximum() -> None:
    rgb = uncertainty_heatmap(np.full((16, 16), np.nan, dtype=np.float32), 1.0)
    assert set(np.unique(rgb)) == {72, 120}
    with pytest.raises(ValueError, match="found a maximal entropy of 0"):
        uncertainty_heatmap(np.zeros((2, 2), dtype=np.float32), 0.0)


@pytest.mark.parametrize("shape", [(64, 64), (512, 512), (32, 48)])
def test_the_message_tile_has_the_size_asked_and_carries_writing(shape: tuple[int, int]) -> None:
    tile = message_tile(*shape)
    assert tile.shape == (*shape, 3)
    assert tile.dtype == np.uint8
    assert len(np.unique(tile.reshape(-1, 3), axis=0)) > 2
    assert (tile[0] == tile[0, 0]).all()  # the writing stays inside
    assert (tile[:, 0] == tile[0, 0]).all()


def test_a_png_is_lossless_and_of_the_windows_size() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(encode_png(rgb)))
    assert image.size == (11, 7)
    np.testing.assert_array_equal(np.asarray(image), rgb)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_only_rgb_of_eight_bit_makes_a_png(array: np.ndarray) -> None:
    with pytest.raises(SceneError, match="expected uint8 of shape"):
        encode_png(array)
