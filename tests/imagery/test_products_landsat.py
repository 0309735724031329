"""Landsat folders as USGS delivers them; truth is that of `tests.imagery.product_forge`."""

import math
import re
import tarfile
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from imagery.errors import SceneError
from imagery.products.product import Product
from imagery.products.recognise import recognise
from imagery.sensors import SURFACE_TEMPERATURE
from imagery.units import DIGITAL_NUMBER, KELVIN, REFLECTANCE, Level
from tests.imagery.product_forge import (
    ETM,
    L1TP,
    L2SP,
    OLI,
    SIDE,
    SUN_DEG,
    SURFACE,
    check_truth,
    landsat_level_1,
    landsat_level_2,
    mtl,
    stored,
    values,
    write,
)

L7 = "LE07_L1TP_140041_20051031_20200913_02_T1"


@pytest.fixture(scope="module")
def level_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return landsat_level_1(tmp_path_factory.mktemp("l1"))


@pytest.fixture(scope="module")
def level_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return landsat_level_2(tmp_path_factory.mktemp("l2"))


def names(product: Product) -> list[str]:
    return [band.name for band in product.bands]


def test_level_1_becomes_reflectance_corrected_for_the_sun(level_1: Path) -> None:
    product = recognise(str(level_1))
    assert (product.kind, product.sensor) == ("Landsat Collection 2 L1TP", "landsat-8-oli")
    assert product.level is Level.TOP_OF_ATMOSPHERE
    assert names(product) == ["blue", "green", "red", "nir", "swir1", "swir2"]
    check_truth(product.bands, 2e-5)
    assert product.acquired == datetime(2018, 10, 26, 4, 41, 10, 123456, tzinfo=UTC)
    assert (product.sun_elevation_deg, product.cloud_percent) == (SUN_DEG, 12.5)
    assert (product.product_id, product.scene_name) == (L1TP, "lc08-l1tp-140041-20181026-20200830-02-t1")
    assert [(band.name, band.table, band.masked) for band in product.quality] == [
        ("quality", "landsat-c2-qa-pixel", ())
    ]


def test_pan_and_thermal_bands_are_extras_with_their_units(level_1: Path) -> None:
    extras = {band.name: band for band in recognise(str(level_1)).extras}
    assert set(extras) == {"pan", "thermal1"}
    assert extras["pan"].unit == REFLECTANCE
    # Radiance: 25,000 x 3.342E-4 + 0.1.
    np.testing.assert_allclose(values(extras["thermal1"]), 8.455)


@pytest.mark.parametrize("form", ["json", "xml"])
def test_every_form_of_the_metadata_tells_the_same(tmp_path: Path, level_1: Path, form: str) -> None:
    folder = landsat_level_1(tmp_path, form=form)
    assert [band.scale for band in recognise(str(folder)).bands] == [
        band.scale for band in recognise(str(level_1)).bands
    ]


def test_what_is_not_used_is_said_with_the_reason(level_1: Path) -> None:
    ((name, reason),) = recognise(str(level_1)).left_out
    assert name == f"{L1TP}_SZA.TIF"
    assert "angles" in reason


def test_without_metadata_reflectance_of_oli_is_uncorrected_for_the_sun(tmp_path: Path) -> None:
    product = recognise(str(landsat_level_1(tmp_path, form=None)))
    assert product.level is Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED
    check_truth(product.bands, 2e-5, times=math.sin(math.radians(SUN_DEG)))
    assert "too low by its sine" in product.notes[0]
    assert product.acquired == date(2018, 10, 26)


def test_level_2_has_the_factors_of_its_own_group_and_not_those_of_level_1(level_2: Path) -> None:
    product = recognise(str(level_2))
    assert (product.kind, product.level) == ("Landsat Collection 2 L2SP", Level.SURFACE)
    check_truth(product.bands, 2e-5)
    (temperature,) = product.extras
    assert (temperature.name, temperature.unit) == (SURFACE_TEMPERATURE, KELVIN)
    np.testing.assert_allclose(values(temperature), 35000 * 0.00341802 + 149.0)


def test_level_2_needs_no_metadata(tmp_path: Path) -> None:
    product = recognise(str(landsat_level_2(tmp_path, metadata=False)))
    check_truth(product.bands, 2e-5)
    assert product.level is Level.SURFACE


def landsat_7(folder: Path, product: str = L7) -> Path:
    for field, name in ETM.items():
        write(folder / f"{product}_{field}.TIF", np.clip(stored(name, 1 / 300, -0.02), 0, 255).astype(np.uint8))
    write(folder / f"{product}_B6_VCID_1.TIF", np.full((SIDE, SIDE), 130, np.uint8))
    return folder


def test_landsat_7_without_metadata_stays_digital_numbers_and_says_so(tmp_path: Path) -> None:
    product = recognise(str(landsat_7(tmp_path)))
    assert (product.sensor, product.level) == ("landsat-7-etm+", None)
    assert {(band.unit, band.scale, band.offset, band.nodata) for band in product.bands} == {(DIGITAL_NUMBER, 1, 0, 0)}
    assert "Put the product's MTL.txt beside them" in product.notes[0]
    assert "clouds and shadows are not masked" in product.notes[1]


def test_landsat_7_with_metadata_is_reflectance(tmp_path: Path) -> None:
    folder = landsat_7(tmp_path)
    (folder / f"{L7}_MTL.txt").write_text(mtl(L7, bands=tuple(ETM), sun=30.0))
    product = recognise(str(folder))
    # (2e-5 x Q - 0.1) / sin(30 degrees)
    assert {(round(band.scale, 9), round(band.offset, 9)) for band in product.bands} == {(4e-5, -0.2)}


def test_files_that_lost_the_products_name_take_it_from_the_folder(tmp_path: Path) -> None:
    folder = landsat_level_2(tmp_path / L2SP, metadata=False)
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.removeprefix(f"{L2SP}_"))
    product = recognise(str(folder))
    assert product.product_id == L2SP
    check_truth(product.bands, 2e-5)


def test_metadata_of_another_product_are_not_used(tmp_path: Path) -> None:
    folder = landsat_level_1(tmp_path, form=None)
    other = L1TP.replace("20181026", "20181111")
    (folder / "MTL.txt").write_text(mtl(other, sun=10.0))
    product = recognise(str(folder))
    assert product.level is Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED
    assert f"is the metadata of {other}" in product.notes[0]


def test_flags_of_another_collection_are_not_decoded(tmp_path: Path) -> None:
    folder = landsat_level_1(tmp_path)
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.replace("_02_T1", "_01_T1"))
    product = recognise(str(folder))
    assert product.quality == ()
    reasons = {name.rpartition("_")[2]: reason for name, reason in product.left_out}
    assert reasons["PIXEL.TIF"] == "flags of Collection 2, which this product is not of"
    assert any("found no BQA file" in note for note in product.notes)


BEFORE = "LC81400412018299LGN00"  # day 299 is 26 October


def before_the_collections(folder: Path, scene: str = BEFORE) -> Path:
    """A Landsat 8 folder as delivered until 2016; 20480 is clear, 53248 cloud (bits 14 and 15)."""
    for field, name in OLI.items():
        write(folder / f"{BEFORE}_{field}.TIF", stored(name, 2e-5, -0.1, times=math.sin(math.radians(SUN_DEG))))
    write(folder / f"{BEFORE}_BQA.TIF", np.where(SURFACE == 1, 23552, 20480).astype(np.uint16))
    group = mtl(scene).replace("LEVEL1_RADIOMETRIC_RESCALING", "RADIOMETRIC_RESCALING")
    (folder / f"{BEFORE}_MTL.txt").write_text(group.replace("LANDSAT_PRODUCT_ID", "LANDSAT_SCENE_ID"))
    return folder


def test_scenes_before_the_collections_have_their_metadata_and_bits_of_their_own(tmp_path: Path) -> None:
    product = recognise(str(before_the_collections(tmp_path)))
    assert (product.kind, product.sensor) == ("Landsat Level-1 from before the collections", "landsat-8-oli")
    assert (product.level, product.product_id) == (Level.TOP_OF_ATMOSPHERE, BEFORE)
    check_truth(product.bands, 2e-5)
    assert [band.table for band in product.quality] == ["landsat-8-pre-collection-bqa"]


def test_metadata_of_another_scene_before_the_collections_are_not_used(tmp_path: Path) -> None:
    product = recognise(str(before_the_collections(tmp_path, "LC81400412018283LGN00")))
    assert product.level is Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED
    assert product.acquired == date(2018, 10, 26)


@pytest.mark.parametrize(
    ("scene", "field", "table"),
    [
        (BEFORE, "BQA", "landsat-8-pre-collection-bqa"),
        (BEFORE, "QA_PIXEL", None),
        ("LC08_L1TP_140041_20181026_20181114_01_T1", "BQA", "landsat-c1-bqa"),
        (L1TP, "BQA", None),
        ("LC08_140041_20181026", "BQA", "landsat-c1-bqa"),
    ],
)
def test_flags_in_one_file_are_decoded_by_the_generation_that_its_name_tells(
    tmp_path: Path, scene: str, field: str, table: str | None
) -> None:
    bands = np.stack([*(stored(name, 1, 0, dtype="float32") for name in OLI.values()), np.full((SIDE, SIDE), 20480.0)])
    file = write(tmp_path / f"{scene}.tif", bands.astype(np.float32), descriptions=(*OLI, field))
    product = recognise(str(file))
    assert [band.table for band in product.quality] == ([table] if table else [])
    usual = {"QA_PIXEL": "Collection 2", "BQA": "Collection 1"}[field]
    label = f"band 7 ({field})"
    assert product.left_out == (() if table else ((label, f"flags of {usual}, which this product is not of"),))
    assert any("found no band of clouds that is decoded" in note for note in product.notes) == (table is None)


ESPA = "LC08_L1TP_140041_20181026_20181114_01_T1"
ARD = "LC08_AK_005008_20181026_20190101_C01_V01"


def collection_1_surface(folder: Path, band: str, flags: str) -> Path:
    """Surface reflectance x 10,000 with fill -9999, and flags 322 (clear) and 480 (cloud)."""
    for field, name in OLI.items():
        write(folder / f"{band}{field[1:]}.tif", stored(name, 1e-4, 0, fill=-9999, dtype="int16"), nodata=-9999)
    write(folder / f"{flags}.tif", np.where(SURFACE == 1, 480, 322).astype(np.uint16), nodata=1)
    return folder


@pytest.mark.parametrize(
    ("product_id", "band", "flags"),
    [(ESPA, f"{ESPA}_sr_band", f"{ESPA}_pixel_qa"), (ARD, f"{ARD}_SRB", f"{ARD}_PIXELQA")],
    ids=["ESPA", "ARD"],
)
def test_surface_reflectance_of_collection_1_is_read(tmp_path: Path, product_id: str, band: str, flags: str) -> None:
    product = recognise(str(collection_1_surface(tmp_path / "order", band, flags)))
    assert (product.kind, product.level) == ("Landsat Collection 1 surface reflectance", Level.SURFACE)
    assert (product.product_id, product.sensor, product.acquired) == (product_id, "landsat-8-oli", date(2018, 10, 26))
    check_truth(product.bands, 1e-4)
    assert [(flag.name, flag.table) for flag in product.quality] == [("pixel_qa", "landsat-c1-pixel-qa")]


def test_surface_reflectance_of_collection_1_beside_level_1_is_refused(tmp_path: Path) -> None:
    folder = collection_1_surface(tmp_path, f"{ESPA}_sr_band", f"{ESPA}_pixel_qa")
    write(folder / f"{ESPA}_B4.TIF", stored("red", 2e-5, -0.1))
    with pytest.raises(SceneError, match=r"surface reflectance \(SR_BAND2, .*\) and Level-1 \(B4\); expected one"):
        recognise(str(folder))


def test_a_day_that_does_not_exist_is_taken_from_the_name(tmp_path: Path) -> None:
    folder = landsat_level_1(tmp_path)
    metadata = folder / f"{L1TP}_MTL.txt"
    metadata.write_text(metadata.read_text().replace("2018-10-26", "2018-13-45"))
    assert recognise(str(folder)).acquired == date(2018, 10, 26)


def test_tags_that_contradict_the_metadata_are_overruled_and_said(tmp_path: Path) -> None:
    folder = landsat_level_2(tmp_path)
    write(folder / f"{L2SP}_SR_B4.TIF", stored("red", 2.75e-5, -0.2), nodata=0, scales=1e-4, offsets=0.0)
    product = recognise(str(folder))
    check_truth(product.bands, 2e-5)
    assert any(
        "tags say x 0.0001 +0, the product says x 2.75e-05 -0.2, which is used" in note for note in product.notes
    )


def test_metadata_do_not_hold_for_numbers_stretched_to_8_bits(tmp_path: Path) -> None:
    folder = landsat_level_2(tmp_path)
    for field, name in OLI.items():
        write(folder / f"{L2SP}_SR_{field}.TIF", stored(name, 1 / 255, 0.0, dtype="uint8"), nodata=0)
    product = recognise(str(folder))
    assert (product.level, {band.unit for band in product.bands}) == (None, {DIGITAL_NUMBER})
    write(folder / f"{L2SP}_SR_B4.TIF", stored("red", 2.75e-5, -0.2), nodata=0)
    with pytest.raises(SceneError, match=r"found reflectance and digital numbers \(blue, green, nir, swir1, swir2\)"):
        recognise(str(folder))


def test_fractions_are_not_scaled_again(tmp_path: Path) -> None:
    folder = landsat_level_2(tmp_path)
    for field, name in OLI.items():
        write(folder / f"{L2SP}_SR_{field}.TIF", stored(name, 1.0, 0.0, dtype="float32"), nodata=0)
    product = recognise(str(folder))
    check_truth(product.bands, 1e-6)
    assert any("holds fractions already" in note for note in product.notes)


def test_numbers_that_cannot_be_of_the_product_are_said(tmp_path: Path) -> None:
    folder = landsat_level_2(tmp_path)
    # As after a conversion to reflectance x 10,000: at 2.75e-5 - 0.2 nearly all would be negative.
    for field, name in OLI.items():
        write(folder / f"{L2SP}_SR_{field}.TIF", stored(name, 1e-4, 0.0), nodata=0)
    assert any("expected 0 to 1" in note for note in recognise(str(folder)).notes)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_read_in_place(tmp_path: Path, level_1: Path, kind: str) -> None:
    archive = tmp_path / f"{L1TP}.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            for member in level_1.iterdir():
                file.write(member, f"{L1TP}/{member.name}")
    else:
        with tarfile.open(archive, "w") as tar:
            for member in level_1.iterdir():
                tar.add(member, f"./{member.name}")
    product = recognise(str(archive))
    assert product.level is Level.TOP_OF_ATMOSPHERE
    check_truth(product.bands, 2e-5)


def test_a_compressed_archive_is_refused_with_the_command(tmp_path: Path) -> None:
    archive = tmp_path / f"{L1TP}.tar.gz"
    with tarfile.open(archive, "w:gz"):
        pass
    with pytest.raises(SceneError, match=f"mkdir {L1TP} && tar -xf {L1TP}.tar.gz -C {L1TP}"):
        recognise(str(archive))


def test_the_metadata_file_stands_for_its_folder(level_1: Path) -> None:
    assert recognise(str(level_1 / f"{L1TP}_MTL.txt")).product_id == L1TP


def test_one_band_of_a_product_is_refused_with_the_folder(level_2: Path) -> None:
    with pytest.raises(
        SceneError,
        match=re.escape(
            "found one band (SR_B4) of a product in several files; expected the whole product: give its folder, "
            f"'{level_2}'"
        ),
    ):
        recognise(str(level_2 / f"{L2SP}_SR_B4.TIF"))


def test_two_products_in_a_folder_are_refused_with_the_command(tmp_path: Path) -> None:
    landsat_level_1(tmp_path)
    landsat_level_2(tmp_path)
    with pytest.raises(SceneError, match=f"found 2 products.*mkdir {L1TP} && mv {L1TP}_"):
        recognise(str(tmp_path))


def test_of_two_products_in_folders_of_their_own_one_is_to_be_given(tmp_path: Path) -> None:
    landsat_level_1(tmp_path / "first")
    landsat_level_2(tmp_path / "second")
    with pytest.raises(SceneError, match=r"found 2 products.*give one of the folders '.*/first', '.*/second'"):
        recognise(str(tmp_path))


@pytest.mark.parametrize("craft", ["LM05", "LT08"])
def test_sensors_without_a_table_are_refused(tmp_path: Path, craft: str) -> None:
    write(tmp_path / f"{craft}_L1TP_140041_19850101_20200913_02_T1_B4.TIF", np.ones((4, 4), np.uint8))
    with pytest.raises(SceneError, match=f"of {craft}; expected one of LC08"):
        recognise(str(tmp_path))


def test_a_scene_taken_at_night_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="sun elevation of -12 degrees; expected a scene taken by day"):
        recognise(str(landsat_level_1(tmp_path, sun=-12.0)))


@pytest.mark.parametrize(("form", "content"), [("txt", "<html>"), ("json", "{"), ("xml", "<a>"), ("json", "[1]")])
def test_unreadable_metadata_are_refused(tmp_path: Path, form: str, content: str) -> None:
    folder = landsat_level_1(tmp_path, form=None)
    (folder / f"{L1TP}_MTL.{form}").write_text(content)
    with pytest.raises(SceneError, match=f"MTL.{form}.*download"):
        recognise(str(folder))


def test_xml_that_expands_entities_is_refused(tmp_path: Path) -> None:
    folder = landsat_level_1(tmp_path, form=None)
    (folder / f"{L1TP}_MTL.xml").write_text('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>')
    with pytest.raises(SceneError, match="no readable XML"):
        recognise(str(folder))


def test_a_statement_that_contradicts_the_product_is_refused(level_2: Path) -> None:
    with pytest.raises(SceneError, match="found a product of landsat-8-oli; expected sentinel-2-msi, as stated"):
        recognise(str(level_2), sensor="sentinel-2-msi")
    with pytest.raises(SceneError, match="found reflectance surface; expected top of atmosphere, as stated"):
        recognise(str(level_2), level=Level.TOP_OF_ATMOSPHERE)
    with pytest.raises(SceneError, match=r"unknown sensor 'landsat-8'; .* \(did you mean landsat-8-oli"):
        recognise(str(level_2), sensor="landsat-8")


def test_digital_numbers_remain_possible(level_2: Path) -> None:
    product = recognise(str(level_2)).as_digital_numbers()
    assert product.level is None
    assert {(band.scale, band.offset, band.unit) for band in product.bands} == {(1, 0, DIGITAL_NUMBER)}
    assert product.extras[0].unit == KELVIN
    assert "as asked" in product.notes[-1]


@pytest.mark.parametrize("level", ["L1GT", "L1GS"])
def test_a_scene_without_ground_control_points_is_noted(tmp_path: Path, level_1: Path, level: str) -> None:
    expected = f"is {level}, placed without ground control points"
    assert not any(expected in note for note in recognise(str(level_1)).notes)
    named = L1TP.replace("L1TP", level).replace("_T1", "_T2")
    for field in ("B3", "B4"):
        write(tmp_path / "l1" / f"{named}_{field}.TIF", stored("red", 2e-5, -0.1))
    assert f"{named} {expected}" in " ".join(recognise(str(tmp_path / "l1")).notes)
    stack = np.stack([stored(name, 2e-5, -0.1) for name in ("green", "red")])
    file = write(tmp_path / f"{named}.tif", stack, descriptions=("B3", "B4"))
    assert f"{named} {expected}" in " ".join(recognise(str(file)).notes)
    landsat_level_2(tmp_path / "l2")
    group, end = "LEVEL1_PROCESSING_RECORD", "END_GROUP = LANDSAT_METADATA_FILE"
    record = f'GROUP = {group}\n  PROCESSING_LEVEL = "{level}"\nEND_GROUP = {group}\n'
    metadata = tmp_path / "l2" / f"{L2SP}_MTL.txt"
    metadata.write_text(metadata.read_text().replace(end, record + end))
    assert f"{L2SP} {expected}" in " ".join(recognise(str(tmp_path / "l2")).notes)
