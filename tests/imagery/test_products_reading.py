"""From a product to the numbers that a network gets: recognised, described, read by `SceneReader`."""

import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rasterio.shutil import copy

from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.products.product import Product
from imagery.products.recognise import recognise
from imagery.quality import FLAG_TABLES
from imagery.scene_reader import SceneReader
from imagery.scene_source import QualityBand
from imagery.sensors import FLAG_TABLE_OF
from tests.imagery.product_forge import (
    FILL,
    HLS_L30,
    SAFE,
    SIX,
    TRUTH,
    hls,
    landsat_level_1,
    landsat_level_2,
    sentinel_2,
    sentinel_xml,
    stored,
    write,
)


def l30(folder: Path) -> Path:
    return hls(folder / HLS_L30, HLS_L30, {"B02": "blue", "B03": "green", "B04": "red", "B05": "nir", "B06": "swir1"})


def vrt(folder: Path) -> Path:
    numbers = np.stack([stored(name, 2.75e-5, -0.2) for name in SIX])
    names = ("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7")
    stack = write(folder / "stack.tif", numbers, descriptions=names)
    copy(str(stack), str(folder / "scene.vrt"), driver="VRT")
    return folder / "scene.vrt"


def zipped(folder: Path) -> Path:
    landsat_level_1(folder / "l1")
    return Path(shutil.make_archive(str(folder / "scene"), "zip", folder / "l1"))


def safe(folder: Path) -> Path:
    return sentinel_2(folder, name=SAFE, xml=sentinel_xml("2A", "04.00", -1000))


@pytest.mark.parametrize("make", [landsat_level_1, landsat_level_2, safe, l30, vrt, zipped])
def test_channels_and_indices_are_those_of_the_true_reflectance(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    product = recognise(str(make(tmp_path)))
    source = describe(
        product.bands, level=product.level, extras=product.extras, quality=product.quality, dem=product.dem
    )
    with SceneReader(source) as reader:
        pixels = reader.read(("green", "swir1", "ndsi"), source.grid.window)
    step = pixels.shape[1] // len(FILL)
    green, swir1, ndsi = (channel[::step, ::step][~FILL] for channel in pixels)
    np.testing.assert_allclose(green, TRUTH["green"][~FILL], atol=1e-4)
    if step == 1:  # 20 m bands of Sentinel-2 are interpolated onto 10 m
        np.testing.assert_allclose(swir1, TRUTH["swir1"][~FILL], atol=1e-4)
        true = (TRUTH["green"] - TRUTH["swir1"]) / (TRUTH["green"] + TRUTH["swir1"])
        np.testing.assert_allclose(ndsi, true[~FILL], atol=0.01)
    assert np.isnan(pixels[0][::step, ::step][FILL]).all()


def test_ice_in_shade_has_the_ndsi_of_ice_in_the_sun(tmp_path: Path) -> None:
    def ndsi(product: Product) -> float:
        source = describe(product.bands, level=product.level)
        with SceneReader(source) as reader:
            return float(reader.read(("ndsi",), source.grid.window)[0, 5, 70])  # row 0, column 4: ice in shade

    product = recognise(str(landsat_level_2(tmp_path)))
    assert ndsi(product) == pytest.approx(0.83, abs=0.01)  # (.13 - .012) / (.13 + .012)
    assert ndsi(product.as_digital_numbers()) == pytest.approx(0.22, abs=0.01)  # the offset dilutes it


def test_every_quality_band_of_the_sensors_can_be_decoded() -> None:
    assert set(FLAG_TABLE_OF.values()) == set(FLAG_TABLES)


def test_cloud_of_a_recognised_product_becomes_unknown(tmp_path: Path) -> None:
    product = recognise(str(landsat_level_2(tmp_path)))
    quality = [QualityBand(band.name, band.path, band.index, band.table, ("cloud",)) for band in product.quality]
    source = describe(product.bands, level=product.level, quality=quality)
    with SceneReader(source) as reader:
        valid = reader.valid_mask(source.grid.window)
    assert not valid[:20, 20:40].any()
    assert valid[20:, 8:].all()


@pytest.mark.parametrize(
    ("archive", "member"),
    [("a.tar", "Gletscher_ö.tif"), ("a.tar", f"{'a' * 120}.tif"), ("a.zip", "in\\a.tif"), ("a}b.zip", "a.tif")],
)
def test_an_archive_with_names_that_gdal_cannot_read_has_to_be_extracted(
    tmp_path: Path, archive: str, member: str
) -> None:
    file, path = write(tmp_path / "a.tif", np.ones((1, 8, 8), np.uint8), descriptions=("red",)), tmp_path / archive
    if path.suffix == ".tar":
        with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(file, member)
    else:
        with zipfile.ZipFile(path, "w") as zipped_files:
            zipped_files.write(file, member)
    with pytest.raises(SceneError, match=r"found no readable raster .*: extract the archive and give the folder"):
        recognise(str(path))
