"""What a sample of a scene's pixels tells before the scene is registered."""

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


def test_reflectance_that_was_scaled_twice_is_doubted(source: SceneSource) -> None:
    (band,) = source.bands
    _, _, doubts = check_pixels(replace(source, bands=(replace(band, scale=1e-8),)))
    assert doubts == ["all bands are darker than 0.001 in the median: are they scaled twice?"]


def test_a_scene_without_any_usable_pixel_is_refused(source: SceneSource) -> None:
    (band,) = source.bands
    with pytest.raises(SceneError, match=r"no pixel|no data|valid"):
        check_pixels(replace(source, bands=(replace(band, nodata=4000.0),)))
