import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagery.band_names import bands_of_file
from imagery.composites import (
    composites_for,
    encode_png,
    mark_frame,
    render,
    stretch_patch,
    uncertainty_heatmap,
)
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


def test_a_patch_is_spread_over_the_screen_whatever_the_scene_is_like() -> None:
    dark = np.linspace(0, 100, 1024, dtype=np.float32).reshape(1, 32, 32)
    shown = stretch_patch(dark, [(0.0, 500.0)])  # by the scene's stretch nothing would be lighter than a fifth
    assert 0.001 < (shown == 0).mean() < 0.01
    assert np.median(shown) == pytest.approx(0.42, abs=0.01)
    assert 0.001 < (shown == 1).mean() < 0.01  # the lightest half percent


def test_the_gamma_lightens_no_patch_beyond_what_looks_natural() -> None:
    values = np.zeros((1, 20, 20), dtype=np.float32)
    values[0, :4] = 1000.0
    values[0, 4:] = 10.0
    shown = stretch_patch(values, [(0.0, 1000.0)])
    assert np.median(shown) < 0.42


def test_noise_on_even_ground_is_not_stretched_to_contrast() -> None:
    even = 500 + np.random.default_rng(0).normal(0, 1, (1, 32, 32)).astype(np.float32)
    shown = stretch_patch(even, [(0.0, 1000.0)])
    assert shown.std() < 0.05  # against the least range of a tenth of the scene's


def test_a_channel_without_data_stays_without() -> None:
    pixels = np.stack([np.full((4, 4), np.nan), np.arange(16.0).reshape(4, 4)]).astype(np.float32)
    shown = stretch_patch(pixels, [(0.0, 1.0), (0.0, 16.0)])
    assert np.isnan(shown[0]).all()
    assert np.isfinite(shown[1]).all()
    assert np.isnan(stretch_patch(pixels[:1], [(0.0, 1.0)])).all()


def test_a_frame_hides_nothing_of_what_it_frames() -> None:
    marked = mark_frame(np.zeros((20, 20, 3), np.uint8), top=5, left=6, height=4, width=3)
    inside = marked[5:9, 6:9]
    assert not inside.any()
    assert (marked[4, 5:10] == (250, 204, 21)).all()
    assert (marked[9, 5:10] == (250, 204, 21)).all()


def test_a_png_is_lossless_and_of_the_windows_size() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)
    image = Image.open(io.BytesIO(encode_png(rgb)))
    assert image.size == (11, 7)
    np.testing.assert_array_equal(np.asarray(image), rgb)


@pytest.mark.parametrize("array", [np.zeros((4, 4), np.uint8), np.zeros((3, 4, 4), np.uint8), np.zeros((4, 4, 3))])
def test_only_rgb_of_eight_bit_makes_a_png(array: np.ndarray) -> None:
    with pytest.raises(SceneError, match="expected uint8 of shape"):
        encode_png(array)
