"""Sentinel-2 products, with the traps of their offset; truth is that of `tests.imagery.product_forge`."""

import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from imagery.errors import SceneError
from imagery.products.recognise import recognise
from imagery.products.sentinel2 import guess_offset, offset_by_pixels
from imagery.units import Level
from tests.imagery.product_forge import MSI, SAFE, check_truth, sentinel_2, sentinel_xml, stored, write

BEFORE = "S2B_MSIL2A_20200812T045659_N0214_R119_T45RVL_20200812T072345"
OWN = SAFE.replace("N0400", "N9999")
LEVEL_1C = SAFE.replace("MSIL2A", "MSIL1C")


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sentinel_2(tmp_path_factory.mktemp("s2"), xml=sentinel_xml("2A", "04.00", -1000))


def test_level_2a_is_read_as_its_metadata_say(safe: Path) -> None:
    product = recognise(str(safe))
    assert (product.kind, product.sensor, product.level) == ("Sentinel-2 Level-2A", "sentinel-2-msi", Level.SURFACE)
    check_truth(product.bands, 1e-4)
    assert product.acquired == datetime(2022, 10, 15, 4, 57, 41, 24000, tzinfo=UTC)
    assert (product.sun_elevation_deg, product.cloud_percent, product.product_id) == (48.5, 31.25, SAFE)
    assert [(band.name, band.table) for band in product.quality] == [("scl", "sentinel-2-scl")]


def test_bands_of_10_m_come_first_and_coarser_copies_are_left_out(safe: Path) -> None:
    product = recognise(str(safe))
    assert [band.name for band in product.bands] == [
        *("blue", "green", "red", "nir"),
        *("nir_narrow", "swir1", "swir2"),
        "coastal",
    ]
    assert product.bands[0].path.endswith("B02_10m.jp2")
    (copy,) = [item for item in product.left_out if "B02_20m" in item[0]]
    assert copy[1] == "a coarser copy of B02 at 10 m"


@pytest.mark.parametrize(
    ("name", "baseline", "add", "stated"),
    [
        pytest.param(SAFE, "04.00", 1000, -1000, id="from baseline 04.00 on"),
        pytest.param(BEFORE, "02.14", 0, None, id="before"),
        pytest.param(OWN, "99.99", 1000, -1000, id="made by the user's own processor"),
        pytest.param(BEFORE.replace("N0214", "N0500"), "05.00", 1000, -1000, id="old scene, processed again"),
    ],
)
def test_the_offset_follows_the_metadata_whatever_the_date(
    tmp_path: Path, name: str, baseline: str, add: int, stated: int | None
) -> None:
    product = recognise(
        str(sentinel_2(tmp_path, name=name, add=add, xml=sentinel_xml("2A", baseline, stated), ending="tif"))
    )
    check_truth(product.bands, 1e-4)


@pytest.mark.parametrize("number", ["13", "1" * 5000])
def test_an_offset_of_a_band_that_there_is_not_is_not_used(tmp_path: Path, number: str) -> None:
    offset = f'<BOA_ADD_OFFSET band_id="{number}">-7</BOA_ADD_OFFSET>'
    xml = sentinel_xml("2A", "04.00", -1000).replace("<BOA_ADD_OFFSET", f"{offset}<BOA_ADD_OFFSET", 1)
    check_truth(recognise(str(sentinel_2(tmp_path, xml=xml, ending="tif"))).bands, 1e-4)


@pytest.mark.parametrize(("name", "add"), [(SAFE, 1000), (BEFORE, 0), (OWN, 1000), (OWN, 0)])
def test_without_metadata_the_offset_follows_the_baseline_or_else_the_pixels(
    tmp_path: Path, name: str, add: int
) -> None:
    product = recognise(str(sentinel_2(tmp_path, name=name, add=add, ending="tif")))
    check_truth(product.bands, 1e-4)
    assert any("offset" in note for note in product.notes)


def test_level_1c_has_cirrus_beside_its_bands_and_masks_of_cloud(tmp_path: Path) -> None:
    product = recognise(str(sentinel_2(tmp_path, name=LEVEL_1C, xml=sentinel_xml("1C", "04.00", -1000))))
    assert (product.kind, product.level) == ("Sentinel-2 Level-1C", Level.TOP_OF_ATMOSPHERE)
    check_truth(product.bands, 1e-4)
    assert [band.name for band in product.extras] == ["cirrus"]
    assert [(band.name, band.index, band.table) for band in product.quality] == [
        ("msk_classi_opaque", 1, "sentinel-2-msk-classi"),
        ("msk_classi_cirrus", 2, "sentinel-2-msk-classi-cirrus"),
    ]


def test_the_names_of_2015_are_read(tmp_path: Path) -> None:
    tile = tmp_path / "S2A_OPER_PRD_MSIL1C_PDMC_20160605T153030_R105_V20160605T114353_20160605T114353.SAFE"
    images = tile / "GRANULE" / "S2A_OPER_MSI_L1C_TL_EPA__20160605T113933_A000734_T45RVL_N02.02" / "IMG_DATA"
    for field, name in MSI.items():
        file = f"S2A_OPER_MSI_L1C_TL_EPA__20160605T113933_A000734_T45RVL_{field}.tif"
        write(images / file, stored(name, 1e-4, 0), size=10)
    (tile / "S2A_OPER_MTD_SAFL1C_PDMC_20160605T153030.xml").write_text(sentinel_xml("1C", "02.02", None))
    product = recognise(str(tile))
    assert product.level is Level.TOP_OF_ATMOSPHERE
    check_truth(product.bands, 1e-4)


@pytest.mark.parametrize(
    ("period", "sensing_time", "acquired", "acquired_by"),
    [
        ("V20150804T103006_20150804T103006", "2015-08-04T10:30:26.463Z", (10, 30, 26, 463_000), None),
        ("V20150804T103006_20150804T103006", None, (10, 30, 6, 0), None),
        (None, "2015-08-04T10:30:26.463Z", (10, 30, 26, 463_000), None),
        (None, None, None, "the names of its files, which tell when they were processed"),
    ],
)
def test_until_2016_the_names_of_files_tell_when_they_were_processed_not_sensed(
    tmp_path: Path,
    period: str | None,
    sensing_time: str | None,
    acquired: tuple[int, int, int, int] | None,
    acquired_by: str | None,
) -> None:
    granule = tmp_path / "S2A_OPER_MSI_L1C_TL_EPA__20160926T203129_A000606_T32TNS_N02.04"
    if period:
        safe = tmp_path / f"S2A_OPER_PRD_MSIL1C_PDMC_20160926T210452_R108_{period}.SAFE"
        granule = safe / "GRANULE" / granule.name
    for field, name in MSI.items():
        file = f"S2A_OPER_MSI_L1C_TL_EPA__20160926T203129_A000606_T32TNS_{field}.tif"
        write(granule / "IMG_DATA" / file, stored(name, 1e-4, 0), size=10)
    if sensing_time:
        xml = granule / "S2A_OPER_MTD_L1C_TL_EPA__20160926T203129_A000606_T32TNS.xml"
        xml.write_text(f"<t><General_Info><SENSING_TIME>{sensing_time}</SENSING_TIME></General_Info></t>")
    product = recognise(str(granule))
    processed = datetime(2016, 9, 26, 20, 31, 29, tzinfo=UTC)
    assert product.acquired == (datetime(2015, 8, 4, *acquired, tzinfo=UTC) if acquired else processed)
    assert product.acquired_by == acquired_by


def test_loose_files_with_the_products_names_are_read(tmp_path: Path) -> None:
    for field, name in MSI.items():
        size = 10 if field in {"B02", "B03", "B04", "B08"} else 20
        write(tmp_path / f"T45RVL_20221015T045741_{field}_{size}m.tif", stored(name, 1e-4, -0.1), size=size)
    product = recognise(str(tmp_path))
    assert (product.level, product.acquired) == (Level.SURFACE, datetime(2022, 10, 15, 4, 57, 41, tzinfo=UTC))
    check_truth(product.bands, 1e-4)
    assert any("-1000 is used, as no number lies below 1000" in note for note in product.notes)


def test_bands_that_are_not_there_are_said(tmp_path: Path) -> None:
    for field, name in MSI.items():
        if field != "B08":
            write(tmp_path / f"T45RVL_20221015T045741_{field}_20m.tif", stored(name, 1e-4, -0.1), size=20)
    assert any("found no file of nir; the product has them" in note for note in recognise(str(tmp_path)).notes)


def test_a_zip_as_downloaded_is_read_in_place(tmp_path: Path, safe: Path) -> None:
    archive = tmp_path / f"{SAFE}.SAFE.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for member in safe.rglob("*.*"):
            if member.is_file():
                file.write(member, member.relative_to(safe.parent))
    product = recognise(str(archive))
    assert product.product_id == SAFE
    check_truth(product.bands, 1e-4)


def test_a_granule_stands_for_itself_and_takes_the_baseline_from_its_parents_name(safe: Path) -> None:
    (granule,) = (safe / "GRANULE").iterdir()
    product = recognise(str(granule))
    assert product.product_id == SAFE
    check_truth(product.bands, 1e-4)


def test_several_tiles_are_refused(tmp_path: Path) -> None:
    for tile in ("T45RVL", "T45RVM"):
        write(tmp_path / f"{tile}_20221015T045741_B02_10m.tif", np.ones((4, 4), np.uint16))
    with pytest.raises(SceneError, match=r"found the tiles T45RVL, T45RVM; expected one: give the folder of one"):
        recognise(str(tmp_path))


def test_two_products_of_a_tile_are_refused_with_their_folders(tmp_path: Path) -> None:
    for name, add in ((BEFORE, 0), (SAFE, 1000)):
        sentinel_2(tmp_path, name=name, add=add, ending="tif")
    with pytest.raises(SceneError, match=rf"found 2 products of T45RVL; .* '.*{SAFE}.SAFE', '.*{BEFORE}.SAFE'"):
        recognise(str(tmp_path))
    check_truth(recognise(str(tmp_path / f"{BEFORE}.SAFE")).bands, 1e-4)


def test_two_levels_of_a_product_are_refused(tmp_path: Path) -> None:
    for name in (SAFE, LEVEL_1C):
        sentinel_2(tmp_path, name=name, ending="tif")
    with pytest.raises(SceneError, match="found 2 products of T45RVL"):
        recognise(str(tmp_path))
    loose = tmp_path / "loose"
    for file in ("T45RVL_20221015T045741_B02_10m.tif", "T45RVL_20221015T045741_B03.tif"):
        write(loose / file, stored("blue", 1e-4, -0.1), size=10)
    with pytest.raises(SceneError, match=r"B02_10m.tif, named as in Level-2A, and .*B03.tif, as in Level-1C"):
        recognise(str(loose))


@pytest.mark.parametrize("second", ["B02", "B03"])
def test_loose_files_of_two_days_are_refused_whether_bands_repeat_or_not(tmp_path: Path, second: str) -> None:
    for day, field in (("20181026", "B02"), ("20230815", second)):
        write(tmp_path / f"T45RVL_{day}T044110_{field}_10m.tif", stored("blue", 1e-4, 0), size=10)
    with pytest.raises(SceneError, match=r"T45RVL_20181026T044110, T45RVL_20230815T044110; expected one: put each"):
        recognise(str(tmp_path))


def test_a_band_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    for ending in ("jp2", "tif"):
        sentinel_2(tmp_path, ending=ending)
    with pytest.raises(SceneError, match=r"B02_10m.jp2 and .*B02_10m.tif, which are the same band"):
        recognise(str(tmp_path))


def test_metadata_of_another_day_are_not_used(tmp_path: Path) -> None:
    for field, name in MSI.items():
        write(tmp_path / f"T45RVL_20221015T045741_{field}_20m.tif", stored(name, 1e-4, -0.1), size=20)
    uri = f"<Product_Info><PRODUCT_URI>{BEFORE}.SAFE</PRODUCT_URI>"
    (tmp_path / "MTD_MSIL2A.xml").write_text(sentinel_xml("2A", "02.14", None).replace("<Product_Info>", uri))
    product = recognise(str(tmp_path))
    check_truth(product.bands, 1e-4)  # by the pixels, which include the offset
    assert (product.product_id, product.acquired) == (None, datetime(2022, 10, 15, 4, 57, 41, tzinfo=UTC))
    assert any(f"found the metadata of {BEFORE}, not of T45RVL of 20221015" in note for note in product.notes)


def test_metadata_of_two_products_beside_loose_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "T45RVL_20221015T045741_B02_10m.tif", stored("blue", 1e-4, -0.1), size=10)
    for level in ("1C", "2A"):
        (tmp_path / f"MTD_MSIL{level}.xml").write_text(sentinel_xml(level, "04.00", -1000))
    with pytest.raises(SceneError, match=r"found the metadata MTD_MSIL1C.xml, MTD_MSIL2A.xml; expected those of one"):
        recognise(str(tmp_path))


def test_the_pixels_tell_whether_they_include_the_offset() -> None:
    reflectances = np.repeat([0.01, 0.02, 0.3, 0.6], 300)
    assert offset_by_pixels(reflectances * 1e4) == 0
    assert offset_by_pixels(reflectances * 1e4 + 1000) == -1000
    assert offset_by_pixels(np.full(1200, 900.0)) == 0
    few_dark = np.concatenate([np.full(990, 3000.0), np.full(10, 900.0)])
    assert offset_by_pixels(few_dark) is None  # 1 %: noise below 0, or little shade


def test_without_short_wave_infrared_bright_snow_does_not_tell_that_the_offset_is_included(tmp_path: Path) -> None:
    snow = np.full(1200, 7000.0)
    assert offset_by_pixels(snow, infrared=False) is None
    assert offset_by_pixels(np.full(1200, 900.0), infrared=False) == 0
    assert guess_offset(snow, date(2018, 10, 26), infrared=False)[0] == 0
    assert guess_offset(snow, None, infrared=False)[0] == -1000
    for name, fields, offset in (("rgb", ("B2", "B3", "B4", "B8"), 0), ("swir", ("B2", "B3", "B8A", "B11"), -0.1)):
        numbers = np.full((4, 96, 96), 7000, np.uint16)
        file = write(tmp_path / f"S2A_MSIL2A_20181026_{name}.tif", numbers, descriptions=fields)
        assert {band.offset for band in recognise(str(file)).bands} == {offset}


def test_where_pixels_do_not_tell_the_day_does_and_it_is_said() -> None:
    unclear = np.concatenate([np.full(990, 3000.0), np.full(10, 900.0)])
    after, note = guess_offset(unclear, datetime(2022, 1, 25, tzinfo=UTC))
    before, _ = guess_offset(unclear, datetime(2022, 1, 24, tzinfo=UTC))
    assert (after, before) == (-1000, 0)
    assert "check it" in note
