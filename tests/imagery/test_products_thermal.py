"""Thermal bands that somebody changed: stretched to 8 bits, already in kelvin, scaled anew, beside reflectances."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

from imagery.products.recognise import recognise
from imagery.units import DIGITAL_NUMBER, KELVIN, Level
from tests.imagery.product_forge import (
    FILL,
    HLS_L30,
    L2SP,
    OLI,
    SIDE,
    SIX,
    check_truth,
    hls,
    landsat_level_1,
    landsat_level_2,
    qa_pixel,
    stored,
    values,
    write,
)


def thermal(number: float, dtype: str) -> NDArray[Any]:
    return np.where(FILL, 0, number).astype(dtype)


# A surface at 278.9 K: (278.9 - 149) / 0.00341802 = 38004.
@pytest.mark.parametrize(
    ("array", "tags", "unit", "value", "note"),
    [
        (thermal(38004, "uint16"), {}, KELVIN, 278.9, ""),
        (thermal(120, "uint8"), {}, DIGITAL_NUMBER, 120, "holds uint8, and the product's numbers are uint16"),
        (thermal(278.9, "float32"), {}, KELVIN, 278.9, "holds kelvin already, so the scaling"),
        (thermal(5.75, "float32"), {}, DIGITAL_NUMBER, 5.75, r"149 K, which no surface has.*-scale 1 -offset 273.15"),
        (thermal(5.75, "float32"), {"offsets": 273.15}, KELVIN, 278.9, r"tags \(x 1 \+273.15\) are used"),
        (thermal(2789, "uint16"), {"scales": 0.1}, KELVIN, 278.9, r"tags \(x 0.1 \+0\) are used"),
        (thermal(2789, "uint16"), {}, DIGITAL_NUMBER, 2789, "158.5 K, which no surface has"),
    ],
)
def test_surface_temperature_is_never_what_no_surface_has(
    tmp_path: Path, array: NDArray[Any], tags: dict[str, Any], unit: str, value: float, note: str
) -> None:
    folder = landsat_level_2(tmp_path)
    write(folder / f"{L2SP}_ST_B10.TIF", array, **tags)
    product = recognise(str(folder))
    (found,) = (band for band in product.extras if band.name == "surface_temperature")
    assert found.unit == unit
    np.testing.assert_allclose(values(found)[~FILL], value, rtol=1e-5)
    told = [text for text in product.notes if "ST_B10" in text]
    assert len(told) == bool(note)
    if note:
        assert re.search(note, told[0])


def test_the_fill_of_a_temperature_scaled_by_its_user_is_no_data(tmp_path: Path) -> None:
    folder = landsat_level_2(tmp_path)
    write(folder / f"{L2SP}_ST_B10.TIF", np.where(FILL, 149, 278.9).astype(np.float32))
    (found,) = (band for band in recognise(str(folder)).extras if band.name == "surface_temperature")
    assert np.isnan(values(found)[FILL]).all()
    np.testing.assert_allclose(values(found)[~FILL], 278.9, rtol=1e-6)


@pytest.mark.parametrize(
    ("number", "tags", "value"), [(5.75, {"offsets": 273.15}, 278.9), (2789, {"scales": 0.1}, 278.9)]
)
def test_the_fill_of_a_temperature_scaled_by_its_tags_is_that_of_the_product(
    tmp_path: Path, number: float, tags: dict[str, Any], value: float
) -> None:
    """Fill takes more than half of the scene: were it counted, the median would be 273.15 K or 0 K."""
    folder = landsat_level_2(tmp_path)
    fill = np.arange(SIDE)[None, :] < 60
    array = np.where(fill, 0, np.full((SIDE, SIDE), number)).astype(np.float32 if number < 100 else np.uint16)
    write(folder / f"{L2SP}_ST_B10.TIF", array, **tags)
    (found,) = (band for band in recognise(str(folder)).extras if band.name == "surface_temperature")
    assert (found.unit, found.nodata) == (KELVIN, 0)
    np.testing.assert_array_equal(np.isnan(values(found)), np.broadcast_to(fill, (SIDE, SIDE)))
    np.testing.assert_allclose(values(found)[:, 60:], value, rtol=1e-6)


def test_the_median_that_is_told_of_impossible_temperatures_is_not_that_of_the_fill(tmp_path: Path) -> None:
    folder = landsat_level_2(tmp_path)
    array = np.where(np.arange(SIDE)[None, :] < 60, 0, np.full((SIDE, SIDE), 2789)).astype(np.uint16)
    write(folder / f"{L2SP}_ST_B10.TIF", array)
    assert any("its numbers, 2789 in the median, 158.5 K" in note for note in recognise(str(folder)).notes)


def test_a_thermal_band_of_digital_numbers_with_tags_keeps_the_fill(tmp_path: Path) -> None:
    numbers = np.stack([*(stored(name, 2e-5, -0.1) for name in OLI.values()), thermal(25000, "uint16"), qa_pixel()])
    path = write(tmp_path / "LC08_140041_20181026.tif", numbers, descriptions=(*OLI, "B10", "QA_PIXEL"))
    with rasterio.open(path, "r+") as file:
        file.scales, file.offsets = (*[1.0] * 6, 3.342e-4, 1.0), (*[0.0] * 6, 0.1, 0.0)
    (found,) = recognise(str(path)).extras
    assert (found.name, found.scale, found.nodata) == ("thermal1", 3.342e-4, 0)


def test_a_level_1_thermal_band_stretched_to_8_bits_is_no_radiance(tmp_path: Path) -> None:
    folder = landsat_level_1(tmp_path)
    (file,) = folder.glob("*_B10.TIF")
    file.unlink()  # overwriting it, GDAL would delete the MTL, too
    write(file, thermal(120, "uint8"))
    product = recognise(str(folder))
    (found,) = (band for band in product.extras if band.name == "thermal1")
    assert (found.scale, found.offset, found.unit) == (1, 0, DIGITAL_NUMBER)
    assert any("B10.TIF, band 1: holds uint8" in note for note in product.notes)


def test_hls_with_a_stretched_thermal_band(tmp_path: Path) -> None:
    folder = hls(tmp_path / HLS_L30, HLS_L30, {"B02": "blue", "B03": "green", "B04": "red"})
    write(folder / f"{HLS_L30}.B10.tif", thermal(120, "uint8"))
    product = recognise(str(folder))
    assert [(band.name, band.offset, band.unit) for band in product.extras] == [("thermal1", 0, DIGITAL_NUMBER)]
    assert any("B10.tif, band 1: holds uint8" in note for note in product.notes)


def _range(low: float, high: float, dtype: str = "float32") -> NDArray[Any]:
    """Values that rise evenly from left to right; the middle half lies between the quartiles."""
    return np.broadcast_to(np.linspace(low, high, SIDE), (SIDE, SIDE)).astype(dtype)


# HLS stores 5.75 degrees Celsius, 278.9 K, as 575.
@pytest.mark.parametrize(
    ("array", "tags", "scale", "offset", "note"),
    [
        (thermal(278.9, "float32"), {}, 1, 0, r"holds kelvin already, so the scaling x 0.01 \+273.15 is not applied"),
        (thermal(5.75, "float32"), {}, 1, 273.15, "holds degrees Celsius already, so the scaling"),
        (_range(255.5, 290.5), {"scale_factor": "0.01", "add_offset": "0"}, 1, 0, "holds kelvin already"),
        (_range(-20.5, 15.5), {"scale_factor": "0.01", "add_offset": "0"}, 1, 273.15, "degrees Celsius already"),
        (_range(-20.5, 15.5), {"scale_factor": "1", "add_offset": "273.15"}, 1, 273.15, "tags say x 1"),
        (thermal(575, "float32"), {}, 0.01, 273.15, ""),
        # Resampled hundredths of -20 to 25 degrees: a median of 250, and one of 0, are no temperatures themselves.
        (_range(-2000, 2500.5), {"scale_factor": "0.01", "add_offset": "0"}, 0.01, 273.15, ""),
        (_range(-2000.5, 2000.5), {}, 0.01, 273.15, ""),
        (_range(-20, 15).round(), {}, 0.01, 273.15, ""),  # hundredths: whole numbers, of melting ice
        (_range(-2000, 2500, "int16"), {}, 0.01, 273.15, ""),
    ],
)
def test_hls_in_fractions_is_in_kelvin_or_degrees_celsius_already(
    tmp_path: Path, array: NDArray[Any], tags: dict[str, str], scale: float, offset: float, note: str
) -> None:
    folder = hls(tmp_path / HLS_L30, HLS_L30, {"B02": "blue", "B03": "green", "B04": "red"})
    write(folder / f"{HLS_L30}.B10.tif", array, tags=tags)
    product = recognise(str(folder))
    (found,) = product.extras
    assert (found.name, found.scale, found.offset, found.unit) == ("thermal1", scale, offset, KELVIN)
    told = [text for text in product.notes if "B10" in text]
    assert len(told) == bool(note)
    assert re.search(note, "".join(told))


def test_fill_that_was_scaled_with_hls_is_fill(tmp_path: Path) -> None:
    folder = hls(tmp_path / HLS_L30, HLS_L30, {"B02": "blue", "B03": "green"}, tags=False)
    fraction = stored("red", 1.0, 0.0, fill=-0.9999, dtype="float32")  # -9999 x 1e-4
    write(folder / f"{HLS_L30}.B04.tif", fraction)
    write(folder / f"{HLS_L30}.B10.tif", np.where(FILL, -99.99, 5.75).astype(np.float32))  # -9999 x 0.01
    product = recognise(str(folder))
    check_truth(product.bands, 1e-4)
    np.testing.assert_allclose(values(product.extras[0])[~FILL], 278.9, rtol=1e-6)
    assert np.isnan(values(product.extras[0])[FILL]).all()


@pytest.mark.parametrize(("number", "unit"), [(278.9, KELVIN), (2.789, DIGITAL_NUMBER)])
def test_an_export_of_earth_engine_is_in_kelvin_only_where_it_can_be(tmp_path: Path, number: float, unit: str) -> None:
    bands = np.stack([*(stored(name, 1, 0, dtype="float32") for name in OLI.values()), thermal(number, "float32")])
    names = (*(f"SR_{field}" for field in OLI), "ST_B10")
    product = recognise(str(write(tmp_path / "export.tif", bands, descriptions=names)))
    (found,) = product.extras
    assert (found.name, found.unit) == ("surface_temperature", unit)
    np.testing.assert_allclose(values(found)[~FILL], number, rtol=1e-6)


def test_a_file_of_thermal_bands_only_is_read(tmp_path: Path) -> None:
    file = write(tmp_path / "scene.tif", thermal(120, "uint8"), descriptions=("thermal",))
    product = recognise(str(file), sensor="landsat-5-tm")
    assert [(band.name, band.unit) for band in product.bands] == [("thermal", DIGITAL_NUMBER)]
    assert product.extras == ()


def test_a_thermal_band_of_numbers_in_a_stack_of_reflectances_is_a_further_channel(tmp_path: Path) -> None:
    bands = np.stack([*(stored(name, 1, 0, dtype="float32") for name in SIX), thermal(120, "float32")])
    file = write(tmp_path / "scene.tif", bands, descriptions=(*SIX, "thermal"))
    product = recognise(str(file), sensor="landsat-5-tm", level=Level.SURFACE)
    assert [band.name for band in product.bands] == list(SIX)
    assert [(band.name, band.unit) for band in product.extras] == [("thermal", DIGITAL_NUMBER)]
    assert "thermal: a further channel of digital numbers, beside reflectances" in product.notes
