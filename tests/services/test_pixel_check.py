"""What a sample of a scene's pixels tells before the scene is registered."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.scene_source import BandSource, QualityBand, SceneSource
from imagery.units import REFLECTANCE
from services.pixel_check import check_pixels
from tests.imagery.forge import write_geotiff

QA_PIXEL = "landsat-c2-qa-pixel"


@pytest.fixture
def source(tmp_path: Path) -> SceneSource:
    """40 x 50 pixels: 10 columns of fill (0), 10 of cloud, 5 of snow; the rest is clear. Numbers 4,000 are .4."""
    red = np.full((1, 40, 50), 4000, np.uint16)
    red[:, :, :10] = 0
    flags = np.full((1, 40, 50), 1 << 6, np.uint16)
    flags[:, :, :10], flags[:, :, 10:20], flags[:, :, 20:25] = 1, 1 << 3, 1 << 5
    band = BandSource("red", str(write_geotiff(tmp_path / "red.tif", red)), 1, 1e-4, 0.0, 0.0, REFLECTANCE)
    quality = QualityBand("quality", str(write_geotiff(tmp_path / "qa.tif", flags)), 1, QA_PIXEL, ("cloud", "fill"))
    return describe([band], quality=[quality])


def test_fill_is_a_share_of_the_scene_and_cloud_of_what_has_data(source: SceneSource) -> None:
    pixels, cloud_share, doubts = check_pixels(source)
    assert (pixels.no_data, pixels.usable) == (0.2, 0.6)
    assert cloud_share == 0.25
    assert (pixels.flags["cloud"], pixels.flags["snow"], pixels.flags["cirrus"]) == (0.25, 0.125, 0)
    assert doubts == []


def test_flags_that_do_not_mask_are_counted_but_leave_pixels_usable(source: SceneSource) -> None:
    (quality,) = source.quality
    pixels, cloud_share, _ = check_pixels(replace(source, quality=(replace(quality, masked=()),)))
    assert (pixels.usable, cloud_share) == (0.8, 0.25)


def test_without_a_quality_band_nothing_is_said_of_clouds(source: SceneSource) -> None:
    pixels, cloud_share, _ = check_pixels(replace(source, quality=()))
    assert (pixels.flags, cloud_share) == ({}, None)


def test_stored_numbers_that_are_said_to_be_reflectance_are_refused(source: SceneSource) -> None:
    (band,) = source.bands
    with pytest.raises(SceneError, match="found median values of 4000 in red; expected reflectance, 0 to 1"):
        check_pixels(replace(source, bands=(replace(band, scale=1.0),)))


def test_numbers_that_become_negative_reflectance_are_refused(source: SceneSource) -> None:
    (band,) = source.bands
    with pytest.raises(SceneError, match=r"found median values of -0.2 in red; expected reflectance, 0 to 1"):
        check_pixels(replace(source, bands=(replace(band, scale=1e-8, offset=-0.2),)))


def test_a_band_that_covers_less_than_the_others_is_doubted(source: SceneSource, tmp_path: Path) -> None:
    (red,) = source.bands
    part = write_geotiff(tmp_path / "nir.tif", np.full((1, 20, 50), 4000, np.uint16))
    green = replace(red, name="green")
    nir = replace(red, name="nir", path=str(part))
    _, _, doubts = check_pixels(describe([red, green, nir]))
    assert len(doubts) == 1
    assert "most bands have data on 80 % of the scene, but nir on 50 %" in doubts[0]


def test_fill_that_nobody_stated_is_doubted(source: SceneSource, tmp_path: Path) -> None:
    (red,) = source.bands
    numbers = np.full((1, 40, 50), 4000, np.uint16)
    numbers[:, :4] = 65535  # a tenth, 6.5 as reflectance
    path = write_geotiff(tmp_path / "full.tif", numbers)
    _, _, doubts = check_pixels(describe([replace(red, path=str(path))]))
    assert len(doubts) == 1
    assert "reflectance is below -0.3 or above 2 on some usable pixels (10 % in red)" in doubts[0]


def test_qa60_that_marks_nothing_is_doubted(source: SceneSource, tmp_path: Path) -> None:
    for cloud, doubted in ((1 << 10, False), (0, True)):
        flags = np.zeros((1, 40, 50), np.uint16)
        flags[:, :, 20:30] = cloud
        path = write_geotiff(tmp_path / f"{cloud}.tif", flags)
        quality = QualityBand("qa60", str(path), 1, "sentinel-2-qa60", ("cloud",))
        _, _, doubts = check_pixels(replace(source, quality=(quality,)))
        assert [doubt.startswith("qa60 marks no cloud at all") for doubt in doubts] == [True] * doubted


def test_a_further_channel_that_covers_a_part_is_doubted(source: SceneSource, tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "coherence.tif", np.full((1, 10, 50), 0.5, np.float32))
    scene = describe(source.bands, extras=[BandSource("coherence", str(path), 1)])
    _, _, doubts = check_pixels(scene)
    assert doubts == ["coherence: has data on 25 % of the usable pixels; a network is given its mean on the rest"]


def test_reflectance_that_was_scaled_twice_is_doubted(source: SceneSource) -> None:
    (band,) = source.bands
    _, _, doubts = check_pixels(replace(source, bands=(replace(band, scale=1e-8),)))
    assert doubts == ["all bands are darker than 0.001 in the median: are they scaled twice?"]


def test_a_scene_of_dark_bands_only_is_doubted(source: SceneSource) -> None:
    (band,) = source.bands
    _, _, doubts = check_pixels(replace(source, bands=(replace(band, scale=2e-5),)))  # 4,000 become 0.08
    assert len(doubts) == 1
    assert "99 % of the reflectances of all bands lie below 0.08; expected some above 0.1" in doubts[0]
    assert check_pixels(replace(source, bands=(replace(band, scale=3e-5),)))[2] == []


def test_many_pixels_brighter_than_any_ground_are_doubted_with_the_scale(source: SceneSource, tmp_path: Path) -> None:
    (red,) = source.bands
    for columns, doubted in ((1, True), (0, False)):
        numbers = np.full((1, 40, 50), 4000, np.uint16)
        numbers[:, :, :columns] = 0.5 * 65535  # reflectance 3.3 if taken x 1e-4, on 2 % of the pixels
        numbers[:, 0, 0] = 30000  # one pixel in 2,000
        path = write_geotiff(tmp_path / f"{columns}.tif", numbers)
        _, _, doubts = check_pixels(describe([replace(red, path=str(path))]))
        assert ["check the scale: the Copernicus Browser" in doubt for doubt in doubts] == [True] * doubted


def test_a_scene_without_any_usable_pixel_is_refused(source: SceneSource) -> None:
    (band,) = source.bands
    with pytest.raises(SceneError, match=r"no pixel|no data|valid"):
        check_pixels(replace(source, bands=(replace(band, nodata=4000.0),)))


@pytest.mark.parametrize(("fill", "scale", "offset"), [(0, 1e-4, 0.0), (65535, 2.75e-5, -0.2), (-0.2, 1.0, 0.0)])
def test_one_number_in_all_bands_is_doubted(tmp_path: Path, fill: float, scale: float, offset: float) -> None:
    """Of 2,000 pixels, 100 are stored as the fill in all bands, which no file and no source declares."""
    numbers = np.random.default_rng(0).uniform(0.1, 0.9, (3, 40, 50))
    stored = (numbers if scale == 1 else np.round((numbers - offset) / scale)).astype(np.float32)
    stored[:, :2] = fill
    path = str(write_geotiff(tmp_path / "a.tif", stored if scale == 1 else stored.astype(np.uint16)))
    names = ("green", "red", "nir")
    bands = [BandSource(name, path, i, scale, offset, None, REFLECTANCE) for i, name in enumerate(names, start=1)]
    doubt = check_pixels(describe(bands))[2][-1]
    assert doubt.startswith(f"5 % of the usable pixels are stored as {fill:g} in all bands")
    assert check_pixels(describe(bands, nodata=fill))[2] == []


def test_the_number_that_the_user_states_replaces_a_guess(source: SceneSource) -> None:
    (band,) = source.bands
    assert describe([replace(band, nodata=0.0)], nodata=4000).bands[0].nodata == 4000


SCORE, PROBABILITY = "cloud-score-plus", "sentinel-2-cloud-probability"


@pytest.mark.parametrize(
    ("table", "times", "dtype", "fault"),
    [
        (SCORE, 1.0, "float32", None),
        (SCORE, 100.0, "uint8", "found scores up to 100; expected 0 (cloud) to 1 (clear)"),
        (SCORE, 10000.0, "uint16", "found scores up to 10000; expected 0"),
        (PROBABILITY, 100.0, "uint8", None),
        (PROBABILITY, 100.0, "float32", None),
        (PROBABILITY, 1.0, "float32", "found probabilities up to 1; expected per cent, 0 to 100"),
        (PROBABILITY, 255.0, "uint8", "found probabilities up to 255; expected per cent, 0 to 100"),
        ("cloud-mask", 1.0, "float32", "found fractions; expected the whole numbers of flags"),
        ("cloud-mask", 2.0, "uint8", None),
    ],
)
def test_flags_on_another_scale_are_refused_if_they_mask_and_doubted_if_not(
    source: SceneSource, tmp_path: Path, table: str, times: float, dtype: str, fault: str | None
) -> None:
    """Shares of 0 to 1, stored in several ways."""
    shares = np.linspace(0, 1, 40 * 50).reshape(1, 40, 50)
    path = write_geotiff(tmp_path / "flags.tif", (shares * times).astype(dtype))
    quality = QualityBand("flags", str(path), 1, table, ("cloud",))
    if fault is None:
        assert check_pixels(replace(source, quality=(quality,)))[2] == []
        return
    with pytest.raises(SceneError, match=f"{re.escape(fault)}.*mask none of its flags, cloud"):
        check_pixels(replace(source, quality=(quality,)))
    (doubt,) = check_pixels(replace(source, quality=(replace(quality, masked=()),)))[2]
    assert fault in doubt
