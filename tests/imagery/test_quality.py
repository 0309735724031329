"""Flags of quality bands: their decoding, and scenes read with some of them masked."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from catalog.settings import MaskedFlag, Settings
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.quality import FLAG_TABLES, MASKABLE, SNOW, mask_flags, raised, unknown_pixels
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource, QualityBand, SceneSource
from imagery.units import METRE
from imagery.valid_pixels import check_has_data
from tests.imagery.forge import NORTH_UP, write_geotiff

DEFAULT = ("fill", "cloud", "cloud shadow", "cirrus")

# Numbers of real products and the flags that they mean; USGS publishes those of Landsat with their interpretation.
MEANINGS = [
    ("landsat-c2-qa-pixel", 1, {"fill"}),
    ("landsat-c2-qa-pixel", 21824, set()),  # clear
    ("landsat-c2-qa-pixel", 21952, {"water"}),
    ("landsat-c2-qa-pixel", 21826, {"dilated cloud"}),
    ("landsat-c2-qa-pixel", 22280, {"cloud", "possible cloud"}),
    ("landsat-c2-qa-pixel", 23888, {"cloud shadow"}),
    ("landsat-c2-qa-pixel", 30048, {SNOW}),
    ("landsat-c2-qa-pixel", 54596, {"cirrus"}),
    ("landsat-c2-qa-pixel", 5440, set()),  # clear, Landsat 4-7
    ("landsat-c1-bqa", 1, {"fill"}),
    ("landsat-c1-bqa", 672, set()),  # clear, Landsat 4-7
    ("landsat-c1-bqa", 676, {"saturated"}),
    ("landsat-c1-bqa", 752, {"cloud", "possible cloud"}),
    ("landsat-c1-bqa", 928, {"cloud shadow"}),
    ("landsat-c1-bqa", 1696, {SNOW}),
    ("landsat-c1-bqa", 6816, {"cirrus"}),
    # USGS, Landsat 8 Data Users Handbook 1.0: 20480 is clear, 23552 snow, 28672 cirrus, 53248 cloud, 36864 maybe cloud.
    ("landsat-8-pre-collection-bqa", 1, {"fill"}),
    ("landsat-8-pre-collection-bqa", 20480, set()),
    ("landsat-8-pre-collection-bqa", 23552, {SNOW}),
    ("landsat-8-pre-collection-bqa", 28672, {"cirrus"}),
    ("landsat-8-pre-collection-bqa", 36864, {"possible cloud"}),
    ("landsat-8-pre-collection-bqa", 53248, {"cloud", "possible cloud"}),
    # USGS, Landsat 8 Collection 1 Land Surface Reflectance Code Product Guide, table of values of pixel_qa.
    ("landsat-c1-pixel-qa", 1, {"fill"}),
    ("landsat-c1-pixel-qa", 322, set()),
    ("landsat-c1-pixel-qa", 328, {"cloud shadow"}),
    ("landsat-c1-pixel-qa", 336, {SNOW}),
    ("landsat-c1-pixel-qa", 480, {"cloud", "possible cloud"}),
    ("landsat-c1-pixel-qa", 834, {"cirrus"}),
    ("sentinel-2-scl", 0, {"fill"}),
    ("sentinel-2-scl", 2, {"dark"}),
    ("sentinel-2-scl", 3, {"cloud shadow"}),
    ("sentinel-2-scl", 5, set()),
    ("sentinel-2-scl", 8, {"cloud"}),
    ("sentinel-2-scl", 9, {"cloud", "high-probability cloud"}),
    ("sentinel-2-scl", 10, {"cirrus"}),
    ("sentinel-2-scl", 11, {SNOW}),
    ("sentinel-2-cloud-probability", 34, set()),
    ("sentinel-2-cloud-probability", 64, {"possible cloud"}),
    ("sentinel-2-cloud-probability", 65, {"cloud", "possible cloud"}),
    ("sentinel-2-msk-classi", 1, {"cloud"}),
    ("sentinel-2-msk-classi-cirrus", 1, {"cirrus"}),
    ("sentinel-2-qa60", 1024, {"cloud"}),
    ("sentinel-2-qa60", 2048, {"cirrus"}),
    ("hls-fmask", 255, {"fill", "cloud", "dilated cloud", "cloud shadow", SNOW, "water"}),
    ("hls-fmask", 64, set()),  # clear land, low aerosol
    ("hls-fmask", 66, {"cloud"}),
    ("hls-fmask", 68, {"dilated cloud"}),
    ("hls-fmask", 72, {"cloud shadow"}),
    ("hls-fmask", 80, {SNOW}),
    ("hls-fmask", 96, {"water"}),
    ("cloud-mask", 0, set()),
    ("cloud-mask", 1, {"cloud"}),
    ("cloud-mask", 100_000, {"cloud"}),
    ("cloud-mask", -1, set()),
]


# A set is written in another order in every process, and so the names of the tests would be.
def _name(value: object) -> str:
    return "" if isinstance(value, set) else str(value)


@pytest.mark.parametrize(("table", "number", "flags"), MEANINGS, ids=_name)
def test_numbers_of_products_mean_what_their_guides_say(table: str, number: int, flags: set[str]) -> None:
    stored = np.array([number])
    assert {flag for flag in FLAG_TABLES[table] if raised(stored, table, flag)[0]} == flags
    for flag in set(FLAG_TABLES[table]) - {SNOW}:
        assert unknown_pixels(stored, table, [flag])[0] == (flag in flags)


def test_every_flag_but_snow_can_be_chosen_in_the_settings() -> None:
    assert set(get_args(MaskedFlag)) == set(MASKABLE)
    assert tuple(Settings.model_fields["masked_flags"].default) == DEFAULT


def test_ice_is_never_masked_and_unknown_flags_are_refused() -> None:
    scl = QualityBand("SCL", "/scl.tif", 1, "sentinel-2-scl")
    with pytest.raises(SceneError, match="found 'snow' among the flags to mask; expected others: it marks ice"):
        mask_flags([scl], ["cloud", SNOW])
    with pytest.raises(SceneError, match="found the flag 'clouds'; expected one of fill"):
        mask_flags([scl], ["clouds"])
    with pytest.raises(SceneError, match="found 'snow' among the flags"):
        unknown_pixels(np.array([11]), "sentinel-2-scl", [SNOW])
    with pytest.raises(SceneError, match="found the flag table 'scl'; expected one of landsat-c2-qa-pixel"):
        mask_flags([replace(scl, table="scl")], ["cloud"])
    with pytest.raises(SceneError, match="found the flag 'dilated cloud' for 'sentinel-2-scl'; expected one of fill"):
        unknown_pixels(np.array([9]), "sentinel-2-scl", ["dilated cloud"])


def test_each_band_masks_those_of_the_chosen_flags_that_it_has() -> None:
    scl = QualityBand("SCL", "/scl.tif", 1, "sentinel-2-scl")
    probability = QualityBand("MSK_CLDPRB", "/p.tif", 1, "sentinel-2-cloud-probability")
    radsat = QualityBand("QA_RADSAT", "/r.tif", 1)
    masked = [band.masked for band in mask_flags([scl, probability, radsat], ["cloud", "cirrus", "dilated cloud"])]
    assert masked == [("cloud", "cirrus"), ("cloud",), ()]


@pytest.fixture
def cloudy(tmp_path: Path) -> SceneSource:
    """8 x 8 pixels of reflectance, with SCL of 60 m: cloud in one pixel, snow in another, and an elevation model."""
    numbers = np.full((2, 8, 8), 3000, np.uint16)
    bands = write_geotiff(tmp_path / "bands.tif", numbers)
    scl = np.full((4, 4), 5, np.uint8)
    scl[1, 2], scl[3, 3] = 9, 11
    a, b, c, d, e, f = NORTH_UP
    coarse = write_geotiff(tmp_path / "scl.tif", scl, transform=(2 * a, b, c, d, 2 * e, f), nodata=0)
    relief = write_geotiff(tmp_path / "dem.tif", np.tile(np.arange(8, dtype=np.float32) * 30, (8, 1)))
    return describe(
        [BandSource(name, str(bands), index, 1e-4, -0.1) for index, name in enumerate(("green", "swir1"), start=1)],
        quality=mask_flags([QualityBand("SCL", str(coarse), 1, "sentinel-2-scl")], DEFAULT),
        dem=ElevationSource((BandSource("elevation", str(relief), 1, unit=METRE),)),
    )


def valid(source: SceneSource) -> NDArray[np.bool_]:
    with SceneReader(source) as reader:
        return reader.valid_mask(source.grid.window)


def test_pixels_under_masked_flags_are_unknown_in_every_channel(cloudy: SceneSource) -> None:
    clear = np.ones((8, 8), bool)
    clear[2:4, 4:6] = False  # the nearest pixel of the coarser file, never a mixture
    with SceneReader(cloudy) as reader:
        channels = reader.read(["green", "ndsi", "elevation", "slope"], cloudy.grid.window)
        np.testing.assert_array_equal(reader.read(["green"], Window(2, 4, 3, 4))[0], channels[0, 2:5, 4:8])
    np.testing.assert_array_equal(~np.isnan(channels), np.tile(clear, (4, 1, 1)))
    np.testing.assert_allclose(channels[0][clear], 0.2, rtol=1e-5)
    np.testing.assert_allclose(channels[3][clear], 45, atol=0.05)  # also beside the cloud
    np.testing.assert_array_equal(valid(cloudy), clear)


def test_pixels_beyond_the_file_of_flags_are_unknown(cloudy: SceneSource, tmp_path: Path) -> None:
    left = write_geotiff(tmp_path / "left.tif", np.full((8, 6), 5, np.uint8))
    quality = QualityBand("SCL", str(left), 1, "sentinel-2-scl", ("cloud",))
    narrow = describe(cloudy.bands, quality=[quality])
    np.testing.assert_array_equal(valid(narrow), np.tile(np.arange(8) < 6, (8, 1)))


def test_flags_that_are_not_decoded_mask_nothing(cloudy: SceneSource, tmp_path: Path) -> None:
    flags = np.array([[1, 672]], np.uint16).repeat(4, axis=1).repeat(8, axis=0)
    path = write_geotiff(tmp_path / "qa.tif", flags, nodata=1)
    source = describe([*cloudy.bands, BandSource("BQA", str(path), 1)])
    assert valid(source).all()
    with SceneReader(source) as reader:  # as a channel, it has its nodata value as before
        np.testing.assert_array_equal(np.isnan(reader.read(["BQA"], source.grid.window)[0]), flags == 1)


def test_fill_counts_though_the_file_calls_it_nodata(cloudy: SceneSource, tmp_path: Path) -> None:
    flags = np.full((8, 8), 21824, np.uint16)
    flags[:, 5:] = 1
    path = write_geotiff(tmp_path / "qa.tif", flags, nodata=1)
    qa = QualityBand("QA_PIXEL", str(path), 1, "landsat-c2-qa-pixel")
    filled = describe(cloudy.bands, quality=mask_flags([qa], DEFAULT))
    np.testing.assert_array_equal(valid(filled), flags != 1)
    # A file of clouds that declares "clear" as nodata is clear there.
    clouds = np.zeros((8, 8), np.uint8)
    clouds[0] = 1
    mask = write_geotiff(tmp_path / "clouds.tif", clouds, nodata=0)
    quality = mask_flags([QualityBand("cloud_mask", str(mask), 1, "cloud-mask")], DEFAULT)
    np.testing.assert_array_equal(valid(describe(cloudy.bands, quality=quality)), clouds == 0)


def test_a_gap_in_elevation_or_extras_hides_nothing(cloudy: SceneSource, tmp_path: Path) -> None:
    coherence = np.full((8, 8), 0.5, np.float32)
    coherence[0] = np.nan
    extra = BandSource("coherence", str(write_geotiff(tmp_path / "c.tif", coherence)), 1, unit="1")
    source = describe(cloudy.bands, extras=[extra])
    assert valid(source).all()
    channels = ("elevation", "coherence", "swir1", "ndsi")
    assert source.measured(channels) == (2, 3)
    assert source.measured(channels[:2]) == (0, 1)


@pytest.mark.parametrize("coarse", [False, True])
def test_categories_of_a_thinned_scene_are_those_of_real_pixels(tmp_path: Path, coarse: bool) -> None:
    """Trap: overviews of flags are often averages, in which 9 (cloud) and 1 are 5 (soil)."""
    side = 512 if coarse else 1024
    scl = np.where(np.indices((side, side)).sum(axis=0) % 2, 9, 1).astype(np.uint8)
    a, b, c, d, e, f = NORTH_UP
    step = 1024 // side
    path = write_geotiff(tmp_path / "scl.tif", scl, transform=(step * a, b, c, d, step * e, f))
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4, 8], Resampling.average)
    red = write_geotiff(tmp_path / "red.tif", np.ones((1024, 1024), np.uint8))
    source = describe(
        [BandSource("red", str(red), 1)], quality=[QualityBand("SCL", str(path), 1, "sentinel-2-scl", ("cloud",))]
    )
    with SceneReader(source) as reader:
        thinned = reader.read_decimated(["SCL", "red"], 128)
    clear = ~np.isnan(thinned[0])
    assert set(np.unique(thinned[0][clear])) <= {1}
    np.testing.assert_array_equal(clear, ~np.isnan(thinned[1]))
    rows = ((np.arange(128) + 0.5) * 8).astype(int) // step  # the pixel under the centre of each larger one
    np.testing.assert_array_equal(clear, scl[np.ix_(rows, rows)] == 1)


def test_a_band_that_cannot_be_decoded_is_refused_before_it_is_read(cloudy: SceneSource) -> None:
    (scl,) = cloudy.quality
    for wrong in (replace(scl, table="no-such-table"), replace(scl, masked=("clouds",)), replace(scl, masked=(SNOW,))):
        with pytest.raises(SceneError, match="found"):
            describe(cloudy.bands, quality=[wrong])


def test_a_scene_of_cloud_alone_is_refused_with_the_choice_of_flags(cloudy: SceneSource, tmp_path: Path) -> None:
    overcast = write_geotiff(tmp_path / "scl.tif", np.full((8, 8), 9, np.uint8))
    quality = mask_flags([QualityBand("SCL", str(overcast), 1, "sentinel-2-scl")], DEFAULT)
    with pytest.raises(SceneError, match="check the nodata value, the region, the border and the masked flags"):
        check_has_data(describe(cloudy.bands, quality=quality))


def test_cloud_score_plus_is_a_share_not_an_integer() -> None:
    scores = np.array([0.0, 0.59, 0.6, 1.0, np.nan], np.float32)
    assert unknown_pixels(scores, "cloud-score-plus", ("cloud",)).tolist() == [True, True, False, False, False]
