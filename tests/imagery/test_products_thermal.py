"""Thermal bands that somebody changed: stretched to 8 bits, already in kelvin, scaled anew, beside reflectances."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from imagery.products.recognise import recognise
from imagery.units import DIGITAL_NUMBER, KELVIN, Level
from tests.imagery.product_forge import (
    FILL,
    HLS_L30,
    L2SP,
    OLI,
    SIX,
    hls,
    landsat_level_1,
    landsat_level_2,
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


@pytest.mark.parametrize(("number", "unit"), [(278.9, KELVIN), (2.789, DIGITAL_NUMBER)])
def test_an_export_of_earth_engine_is_in_kelvin_only_where_it_can_be(tmp_path: Path, number: float, unit: str) -> None:
    bands = np.stack([*(stored(name, 1, 0, dtype="float32") for name in OLI.values()), thermal(number, "float32")])
    names = (*(f"SR_{field}" for field in OLI), "ST_B10")
    product = recognise(str(write(tmp_path / "export.tif", bands, descriptions=names)))
    (found,) = product.extras
    assert (found.name, found.unit) == ("surface_temperature", unit)
    np.testing.assert_allclose(values(found)[~FILL], number, rtol=1e-6)


def test_a_thermal_band_of_numbers_in_a_stack_of_reflectances_is_a_further_channel(tmp_path: Path) -> None:
    bands = np.stack([*(stored(name, 1, 0, dtype="float32") for name in SIX), thermal(120, "float32")])
    file = write(tmp_path / "scene.tif", bands, descriptions=(*SIX, "thermal"))
    product = recognise(str(file), sensor="landsat-5-tm", level=Level.SURFACE)
    assert [band.name for band in product.bands] == list(SIX)
    assert [(band.name, band.unit) for band in product.extras] == [("thermal", DIGITAL_NUMBER)]
    assert "thermal: a further channel of digital numbers, beside reflectances" in product.notes
