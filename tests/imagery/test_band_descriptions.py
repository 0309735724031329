"""Descriptions of bands as people's stacks carry them, in real files; truth is that of `product_forge`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import rasterio

from imagery.band_descriptions import contradicts, read_description
from imagery.errors import SceneError
from imagery.products.recognise import recognise
from imagery.units import REFLECTANCE
from tests.imagery.product_forge import SIX, check_truth, stored, write


def stack(folder: Path, descriptions: Sequence[str], name: str = "scene.tif", dtype: str = "uint16") -> Path:
    array = np.stack([stored(band, 1e-4, 0, dtype=dtype) for band in SIX])
    return write(folder / name, array[: len(descriptions)], descriptions=descriptions, scales=1e-4)


@pytest.mark.parametrize(
    ("text", "words", "wavelength_um"),
    [
        ("SWIR 1", ("swir1",), None),
        ("SWIR1 (1.6um)", ("swir1",), 1.6),
        ("SWIR (1.6 \u00b5m)", ("swir1",), 1.6),
        ("SWIR-2 2200 nm", ("swir2",), 2.2),
        ("Short-wave infrared 2", ("swir2",), None),
        ("Red (0.66)", ("red",), 0.66),
        ("Red (665)", ("red",), 0.665),
        ("B4 - Red", ("b4", "red"), None),
        ("Band 4 (Red)", ("red",), None),
        ("Near Infrared (0.85 - 0.88)", ("nir",), 0.865),
        ("nir (0.8650 Micrometers)", ("nir",), 0.865),
        ("sr_band5", ("sr_band5",), None),
        ("Vegetation Red Edge 2", ("rededge2",), None),
        ("Red Edge (0.705)", ("rededge1",), 0.705),
        ("Coastal aerosol", ("coastal",), None),
        ("Narrow NIR", ("nir_narrow",), None),
        ("B11", ("b11",), None),
        ("SWIR", (), None),  # the first or the second?
        ("Red Edge", (), None),
        ("Red Edge (0.72)", (), 0.72),  # between the first, at 0.704, and the second, at 0.7405
        ("Mid infrared", (), None),
        ("red difference", (), None),
        ("nir1", (), None),
        ("NIR (2019)", ("nir",), None),  # a year
        ("B5 [2019-2021]", ("b5",), None),
        ("SWIR1 (1610)", ("swir1",), 1.61),
        ("SWIR2 (2202)", ("swir2",), 2.202),
        ("SWIR (1550-1750)", ("swir1",), 1.65),
        ("NIR (0.86) (2019)", ("nir",), 0.86),
        ("NIR (500 m)", (), None),  # the pixel size
        ("Band 5 - 1.55-1.75 um", (), 1.65),
        ("Band 1 - 1.55 um", (), 1.55),
        ("SWIR1, 5 - 1.55-1.75 um", (), 1.65),
        ("SWIR1, 1 - 1.55 um", (), 1.55),
        ("SWIR band 1.6 um", ("swir1",), 1.6),
    ],
)
def test_words_and_wavelengths_of_descriptions(text: str, words: tuple[str, ...], wavelength_um: float | None) -> None:
    found = read_description(text)
    assert found.words == words
    assert found.wavelength_um == (None if wavelength_um is None else pytest.approx(wavelength_um))


@pytest.mark.parametrize(
    "descriptions",
    [
        ("Blue", "Green", "Red", "NIR", "SWIR 1", "SWIR 2"),
        ("B2 - Blue", "B3 - Green", "B4 - Red", "B5 - Near Infrared", "B6 - SWIR 1", "B7 - SWIR 2"),
        ("Band 1 Blue", "Band 2 Green", "Band 3 Red", "Band 4 NIR", "Band 5 SWIR1", "Band 7 SWIR2"),
        ("Blue (0.48)", "Green (0.56)", "Red (0.66)", "NIR (0.85 - 0.88)", "SWIR (1.6um)", "SWIR (2.2um)"),
    ],
)
def test_a_stack_is_named_by_its_descriptions_and_says_how(tmp_path: Path, descriptions: Sequence[str]) -> None:
    product = recognise(str(stack(tmp_path, descriptions)))
    assert [band.name for band in product.bands] == list(SIX)
    check_truth(product.bands, 1e-4)
    told = [note for note in product.notes if note.startswith("the descriptions of the bands were understood so")]
    assert f"{descriptions[4]!r} is swir1" in told[0]
    assert not [note for note in product.notes if "wavelength" in note]


@pytest.mark.parametrize("unclear", ["SWIR", "Mid infrared", "B4 - Red, Green"])
def test_a_description_of_two_meanings_is_refused(tmp_path: Path, unclear: str) -> None:
    with pytest.raises(SceneError, match=f"found the band '{unclear}'; expected our names"):
        recognise(str(stack(tmp_path, ("blue", "green", "red", "nir", unclear))))


@pytest.mark.parametrize(
    ("text", "sensor"),
    [("NIR/SWIR1", "planetscope-4-band"), ("NIR/yellow", "landsat-8-oli"), ("B8A red", "landsat-8-oli")],
)
def test_a_word_that_the_sensor_lacks_is_refused(tmp_path: Path, text: str, sensor: str) -> None:
    path = str(stack(tmp_path, ("blue", "green", "red" if "NIR" in text else "nir", text)))
    with pytest.raises(SceneError, match=f"found the band '{text}'; expected"):
        recognise(path, sensor=sensor)


def test_several_words_are_told_and_may_differ_in_how_much_they_say(tmp_path: Path) -> None:
    product = recognise(str(stack(tmp_path, ("B4 - Red", "nir", "B10 Thermal Infrared"))), sensor="landsat-8-oli")
    assert [band.name for band in (*product.bands, *product.extras)] == ["red", "nir", "thermal1"]
    told = "the descriptions of the bands were understood so: 'B4 - Red' is red, 'B10 Thermal Infrared' is thermal1"
    assert told in product.notes


def test_years_in_brackets_are_no_wavelengths(tmp_path: Path) -> None:
    for names in (("blue", "green", "red", "nir", "swir1"), ("B2", "B3", "B4", "B8", "B8A")):
        path = stack(tmp_path, [f"{name} (2019)" for name in names], f"{names[0]}.tif")
        product = recognise(str(path))
        assert [band.name for band in product.bands][:4] == list(SIX[:4])
        assert not [note for note in product.notes if "wavelength" in note]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("SWIR 1", "SWIR 1"),
        ("thermal-infrared", "thermal-infrared"),
        ("coastal_blue", "Coastal_Blue"),
        ("ultra blue", "ULTRA BLUE"),
        ("B6", "b6"),
        ("velocity_mean", "velocity_mean"),
        ("velocity_mean", "velocity"),
    ],
)
def test_a_channel_that_is_declared_is_nothing_else(tmp_path: Path, text: str, name: str) -> None:
    path = stack(tmp_path, ("blue", "green", "red", text))
    product = recognise(str(path), sensor="landsat-8-oli", extra=[name])
    assert [band.name for band in product.bands] == ["blue", "green", "red"]
    assert [band.name for band in product.extras] == [name.lower()]
    assert not [note for note in product.notes if "understood so" in note and text == name]


def test_designations_and_wavelengths_tell_the_sensor(tmp_path: Path) -> None:
    oli = ("B2 (0.48)", "B3 (0.56)", "B4 (0.655)", "B5 (0.865)")  # on Landsat 7, B2 lies at 0.56
    product = recognise(str(stack(tmp_path, oli)))
    assert (product.sensor, [band.name for band in product.bands]) == ("landsat-8-oli", list(SIX[:4]))
    with pytest.raises(SceneError, match="found the bands B2, B3, B4, B5, which mean other colours on different"):
        recognise(str(stack(tmp_path, ("B2", "B3", "B4", "B5"), "plain.tif")))


@pytest.mark.parametrize("tags", ["imagery", "envi", "description"])
def test_a_wavelength_that_contradicts_the_name_is_told(tmp_path: Path, tags: str) -> None:
    red = "red (1.61um)" if tags == "description" else "red"
    path = stack(tmp_path, ("blue", "green", red, "nir"))
    with rasterio.open(path, "r+") as file:
        if tags == "imagery":  # GDAL 3.10 and later
            file.update_tags(1, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="0.482")
            file.update_tags(3, ns="IMAGERY", CENTRAL_WAVELENGTH_UM="1.61")
        elif tags == "envi":
            file.update_tags(1, wavelength="482", wavelength_units="Nanometers")
            file.update_tags(3, wavelength="1.61", wavelength_units="Micrometers")
    doubts = [note for note in recognise(str(path)).notes if "wavelength" in note]
    assert doubts == [
        f"{path}, band 3: the wavelength 1.61 um is not that of red, as which it is taken (0.592 to 0.705 um): check "
        "which band it is"
    ]


def test_files_of_one_band_are_compared_with_their_wavelengths(tmp_path: Path) -> None:
    for name in SIX:
        path = write(tmp_path / "scene" / f"{name}.tif", stored(name, 1e-4, 0), scales=1e-4)
        with rasterio.open(path, "r+") as file:
            file.update_tags(1, wavelength="2.2" if name == "swir1" else "", wavelength_units="Micrometers")
    doubts = [note for note in recognise(str(tmp_path / "scene")).notes if "wavelength" in note]
    assert len(doubts) == 1
    assert "swir1.tif, band 1: the wavelength 2.2 um is not that of swir1" in doubts[0]


def test_no_band_of_a_sensor_contradicts_its_own_wavelength() -> None:
    assert not contradicts("nir", None, 0.842)  # ESA's for B8, whose table has 0.8328
    assert contradicts("nir", "landsat-8-oli", 0.74)
    assert not contradicts("coherence", None, 0.74)


def test_the_order_of_bands_without_descriptions_is_shown(tmp_path: Path) -> None:
    array = np.stack([stored(name, 1, 0, dtype="float32") for name in ("blue", *SIX)])
    product = recognise(str(write(tmp_path / "scene.tif", array)), sensor="landsat-8-oli")
    assert (
        "no descriptions tell the bands apart; by their places, as landsat-8-oli is usually stacked, band 1 is "
        "coastal, band 2 is blue, band 3 is green, band 4 is red, band 5 is nir, band 6 is swir1, band 7 is "
        "swir2: check the order"
    ) in product.notes


@pytest.mark.parametrize(
    ("descriptions", "message"),
    [
        (
            [f"Band {number}" for number in range(7, 0, -1)],
            r"count the bands in another order than the file's \(Band 7",
        ),
        (["", "red", "", "", "", "", ""], "found band 2 described as 'red', which is red, and by its place blue"),
        (["Red", "Red", "", "", "", "", ""], "found band 1 described as 'Red', which is red, and by its place coastal"),
    ],
)
def test_descriptions_that_contradict_the_order_are_refused(
    tmp_path: Path, descriptions: Sequence[str], message: str
) -> None:
    array = np.stack([stored(name, 1, 0, dtype="float32") for name in ("blue", *SIX)])
    with pytest.raises(SceneError, match=message):
        recognise(str(write(tmp_path / "scene.tif", array, descriptions=descriptions)), sensor="landsat-8-oli")


def test_a_stack_named_as_by_espa_has_the_scale_of_its_data_type(tmp_path: Path) -> None:
    names = tuple(f"sr_band{number}" for number in range(2, 8))
    array = np.stack([stored(name, 1e-4, 0, fill=-9999, dtype="int16") for name in SIX])
    product = recognise(str(write(tmp_path / "a.tif", array, descriptions=names)), sensor="landsat-8-oli")
    assert product.kind == "Landsat Collection 1 surface reflectance"
    assert {(band.scale, band.offset, band.nodata, band.unit) for band in product.bands} == {
        (1e-4, 0, -9999, REFLECTANCE)
    }
    check_truth(product.bands, 1e-4)
    with pytest.raises(SceneError, match="whose numbers mean other colours on Landsat 4 to 7"):
        recognise(str(tmp_path / "a.tif"))
