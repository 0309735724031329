"""HLS, Earth Engine, Baraka's tile and plain rasters; truth is that of `tests.imagery.product_forge`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

from imagery.errors import SceneError
from imagery.products.product import unique
from imagery.products.recognise import recognise
from imagery.sensors import SURFACE_TEMPERATURE
from imagery.units import DIGITAL_NUMBER, KELVIN, REFLECTANCE, Level
from tests.imagery.product_forge import (
    HLS_L30,
    HLS_S30,
    SIDE,
    SIX,
    check_truth,
    hls,
    qa_pixel,
    stored,
    values,
    write,
)

L30 = {"B02": "blue", "B03": "green", "B04": "red", "B05": "nir", "B06": "swir1", "B07": "swir2"}
S30 = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir1", "B12": "swir2", "B05": "red"}


def stack(scale: float, offset: float, names: Sequence[str] = SIX, **options: Any) -> NDArray[Any]:
    return np.stack([stored(name, scale, offset, **options) for name in names])


@pytest.mark.parametrize("tags", [True, False])
def test_hls_of_landsat_has_near_infrared_in_b05(tmp_path: Path, tags: bool) -> None:
    folder = hls(tmp_path / HLS_L30, HLS_L30, L30, tags=tags)
    write(folder / f"{HLS_L30}.B10.tif", np.full((SIDE, SIDE), -1050, np.int16), nodata=-9999)
    product = recognise(str(folder))
    assert (product.kind, product.sensor, product.level) == ("HLS L30 2.0", "landsat-8-oli", Level.SURFACE)
    check_truth(product.bands, 1e-4)
    assert product.acquired == datetime(2018, 10, 26, 4, 41, 10, tzinfo=UTC)
    assert product.cloud_percent == (7 if tags else None)
    assert [(band.name, band.table) for band in product.quality] == [("fmask", "hls-fmask")]
    (thermal,) = product.extras
    assert (thermal.name, thermal.unit) == ("thermal1", KELVIN)
    np.testing.assert_allclose(values(thermal), 262.65)  # -10.50 degrees Celsius


NINE = "HLS.L30.T45RVL.2023165T044110.v2.0"
OF_8, OF_9 = (f"LC0{craft}_L1TP_140041_20230614_20230620_02_T1" for craft in (8, 9))


@pytest.mark.parametrize(
    ("scenes", "sensor", "note"),
    [
        (OF_8, "landsat-8-oli", None),
        (OF_9, "landsat-9-oli-2", None),
        (f"{OF_8}; {OF_9}", "landsat-8-oli", "made of scenes of Landsat 8 and of Landsat 9; taken as landsat-8-oli"),
        ("", "landsat-8-oli", "from 31 October 2021 on, of Landsat 9, whose bands are the same; nothing tells which"),
    ],
)
def test_the_tags_of_hls_tell_landsat_8_from_9(tmp_path: Path, scenes: str, sensor: str, note: str | None) -> None:
    folder = hls(tmp_path / NINE, NINE, L30)
    for path in folder.glob("*.B*.tif"):
        with rasterio.open(path, "r+") as file:
            file.update_tags(LANDSAT_PRODUCT_ID=scenes)
    product = recognise(str(folder))
    assert product.sensor == sensor
    told = [text for text in product.notes if "Landsat" in text]
    assert len(told) == (note is not None)
    assert note is None or note in told[0]
    check_truth(product.bands, 1e-4)
    if note:
        stated = recognise(str(folder), sensor="landsat-9-oli-2")
        assert stated.sensor == "landsat-9-oli-2"
        assert any("taken as landsat-9-oli-2" in text for text in stated.notes) == bool(scenes)
    else:
        with pytest.raises(SceneError, match=f"found a product of {sensor}; expected"):
            recognise(str(folder), sensor="landsat-8-oli" if sensor.startswith("landsat-9") else "landsat-9-oli-2")


def test_hls_from_before_landsat_9_is_of_landsat_8(tmp_path: Path) -> None:
    folder = hls(tmp_path / HLS_L30, HLS_L30, L30)
    assert not any("Landsat 9" in note for note in recognise(str(folder)).notes)
    with pytest.raises(SceneError, match="found a product of landsat-8-oli; expected landsat-9-oli-2"):
        recognise(str(folder), sensor="landsat-9-oli-2")


@pytest.mark.parametrize("flags", [True, False])
@pytest.mark.parametrize(("day", "doubted"), [("20230614", True), ("20181026", False)])
def test_a_stack_of_hls_may_be_of_landsat_9(tmp_path: Path, flags: bool, day: str, doubted: bool) -> None:
    numbers = stack(1e-4, 0, fill=-9999, dtype="int16")
    if flags:
        numbers = np.concatenate([numbers, np.full((1, SIDE, SIDE), 64, np.int16)])
    path = write(tmp_path / f"HLS_L30_{day}.tif", numbers, nodata=-9999, descriptions=(*L30, "Fmask")[: len(numbers)])
    product = recognise(str(path))
    assert product.sensor == "landsat-8-oli"
    assert any("from 31 October 2021 on, of Landsat 9" in note for note in product.notes) == doubted


def test_hls_of_sentinel_2_has_a_red_edge_in_b05(tmp_path: Path) -> None:
    product = recognise(str(hls(tmp_path / "granule", HLS_S30, S30)))
    assert product.sensor == "sentinel-2-msi"
    assert [band.name for band in product.bands] == ["blue", "green", "red", "rededge1", "nir", "swir1", "swir2"]
    check_truth(product.bands, 1e-4)


def test_hls_in_one_file_is_read_by_its_name_and_descriptions(tmp_path: Path) -> None:
    numbers = stack(1e-4, 0.0, fill=-9999, dtype="int16")
    path = write(tmp_path / f"{HLS_L30}.tif", numbers, nodata=-9999, descriptions=tuple(L30), scales=1e-4)
    check_truth(recognise(str(path)).bands, 1e-4)


def test_a_band_that_hls_lacks_is_left_out_and_not_named(tmp_path: Path) -> None:
    numbers = stack(1e-4, 0.0, ("blue", "green", "red", "red"), fill=-9999, dtype="int16")
    described = ("B02", "B03", "Red light", "Panchromatic")
    path = write(tmp_path / f"{HLS_S30}.tif", numbers, nodata=-9999, descriptions=described, scales=1e-4)
    product = recognise(str(path))
    assert product.left_out == (("band 4 (Panchromatic)", "not a band of HLS S30"),)
    assert "the descriptions of the bands were understood so: 'Red light' is red" in product.notes


def test_one_band_of_hls_is_refused_with_the_folder(tmp_path: Path) -> None:
    folder = hls(tmp_path / "granule", HLS_L30, L30)
    with pytest.raises(SceneError, match=r"found one band \(B04\) of a product .* give its folder, '.*granule'"):
        recognise(str(folder / f"{HLS_L30}.B04.tif"))


def test_hls_files_that_lost_their_names_take_them_from_the_folder(tmp_path: Path) -> None:
    folder = hls(tmp_path / HLS_L30, HLS_L30, L30)
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.removeprefix(f"{HLS_L30}."))
    check_truth(recognise(str(folder)).bands, 1e-4)


SR_OLI = ("SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B6", "SR_B7")
SR_TM = ("SR_B1", "SR_B2", "SR_B3", "SR_B4", "SR_B5", "SR_B7")


def test_earth_engines_surface_reflectance_is_scaled_and_its_flags_are_found(tmp_path: Path) -> None:
    numbers = np.concatenate([stack(2.75e-5, -0.2), [np.full((SIDE, SIDE), 40000, np.uint16)], [qa_pixel()]])
    path = write(tmp_path / "LC08_140041_20181026.tif", numbers, descriptions=(*SR_OLI, "ST_B10", "QA_PIXEL"))
    product = recognise(str(path))
    assert (product.sensor, product.level, product.acquired) == ("landsat-8-oli", Level.SURFACE, date(2018, 10, 26))
    check_truth(product.bands, 2e-5)  # zero is fill, though the file does not say so
    assert [(band.name, band.index, band.unit) for band in product.extras] == [(SURFACE_TEMPERATURE, 7, KELVIN)]
    assert [(band.index, band.table) for band in product.quality] == [(8, "landsat-c2-qa-pixel")]


def test_a_float_export_of_unscaled_numbers_is_scaled_and_of_fractions_is_not(tmp_path: Path) -> None:
    unscaled = write(tmp_path / "a.tif", stack(2.75e-5, -0.2).astype(np.float32), descriptions=SR_OLI)
    fractions = write(tmp_path / "b.tif", stack(1.0, 0.0, dtype="float64"), descriptions=SR_OLI)
    check_truth(recognise(str(unscaled)).bands, 2e-5)
    product = recognise(str(fractions))
    check_truth(product.bands, 1e-6)
    assert (product.level, product.bands[0].unit) == (Level.SURFACE, REFLECTANCE)
    assert any("holds fractions already" in note for note in product.notes)


def test_numbers_that_differ_between_sensors_need_the_sensor(tmp_path: Path) -> None:
    path = write(tmp_path / "export.tif", stack(2.75e-5, -0.2), descriptions=SR_TM)
    with pytest.raises(SceneError, match="expected to be told the sensor: --sensor landsat-5-tm"):
        recognise(str(path))
    check_truth(recognise(str(path), sensor="landsat-5-tm").bands, 2e-5)
    named = write(tmp_path / "LT05_140041_19901026.tif", stack(2.75e-5, -0.2), descriptions=SR_TM)
    check_truth(recognise(str(named)).bands, 2e-5)


def test_a_sensor_that_lacks_the_bands_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "export.tif", stack(2.75e-5, -0.2), descriptions=SR_OLI)
    with pytest.raises(SceneError, match="which landsat-5-tm does not have"):
        recognise(str(path), sensor="landsat-5-tm")


def test_earth_engines_top_of_atmosphere_is_reflectance_as_it_is(tmp_path: Path) -> None:
    bands = np.concatenate([stack(1.0, 0.0, dtype="float32"), np.full((2, SIDE, SIDE), 270, np.float32)])
    names = ("B2", "B3", "B4", "B5", "B6", "B7", "B10", "QA_PIXEL")
    product = recognise(str(write(tmp_path / "LC08_140041_20181026.tif", bands, descriptions=names)))
    assert product.level is Level.TOP_OF_ATMOSPHERE
    check_truth(product.bands, 1e-6)
    assert [(band.name, band.unit) for band in product.extras] == [("thermal1", KELVIN)]


LEVEL_2_NUMBERS = np.concatenate([stack(2.75e-5, -0.2), [qa_pixel()]])
LEVEL_1_NUMBERS = np.concatenate([stack(2e-5, -0.1), [qa_pixel()]])
WITH_QA = ("B2", "B3", "B4", "B5", "B6", "B7", "QA_PIXEL")


@pytest.mark.parametrize("bands", [6, 7])
def test_level_2_that_lost_its_bands_names_is_told_by_the_products_name(tmp_path: Path, bands: int) -> None:
    file = tmp_path / "LC08_L2SP_140041_20181026_20200830_02_T1_stack.tif"
    product = recognise(str(write(file, LEVEL_2_NUMBERS[:bands], descriptions=WITH_QA[:bands])))
    assert (product.kind, product.level) == ("Landsat Collection 2 surface reflectance", Level.SURFACE)
    check_truth(product.bands, 2e-5)


@pytest.mark.parametrize("name", ["LC08_L1TP_140041_20181026_20200830_02_T1_stack.tif", "LC08_140041_20181026.tif"])
def test_level_1_is_told_by_the_products_name_or_that_of_earth_engine(tmp_path: Path, name: str) -> None:
    product = recognise(str(write(tmp_path / name, LEVEL_1_NUMBERS, descriptions=WITH_QA)))
    assert product.level is Level.TOP_OF_ATMOSPHERE_SUN_UNCORRECTED
    check_truth(product.bands, 2e-5)


def test_integers_of_an_unknown_level_need_the_level(tmp_path: Path) -> None:
    file = str(write(tmp_path / "LC08_clip.tif", LEVEL_2_NUMBERS, descriptions=WITH_QA))
    with pytest.raises(SceneError, match=r"scaled differently in Level-1 and Level-2; .*--level surface for Level-2"):
        recognise(file)
    check_truth(recognise(file, level=Level.SURFACE).bands, 2e-5)
    product = recognise(file, level=Level.TOP_OF_ATMOSPHERE)
    assert (product.level, {band.unit for band in product.bands}) == (None, {DIGITAL_NUMBER})
    write(Path(file), LEVEL_2_NUMBERS, descriptions=WITH_QA, scales=2.75e-5, offsets=-0.2)
    assert recognise(file).level is Level.SURFACE


def test_names_of_bands_that_contradict_the_level_in_the_products_name_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "LC08_L1TP_140041_20181026_20200830_02_T1.tif"
    write(file, stack(2.75e-5, -0.2), descriptions=SR_OLI)
    with pytest.raises(SceneError, match=r"named as surface reflectance, in LC08_L1TP_.*, a Level-1 product"):
        recognise(str(file))
    check_truth(recognise(str(file), level=Level.SURFACE).bands, 2e-5)


@pytest.mark.parametrize(("offset", "words"), [(0.0, "0 is used, as numbers below 1000 are common"), (-0.1, "-1000")])
def test_sentinel_2_of_either_collection_is_told_by_its_pixels(tmp_path: Path, offset: float, words: str) -> None:
    numbers = np.concatenate([stack(1e-4, offset), np.full((2, SIDE, SIDE), 4, np.uint16)])
    names = ("B2", "B3", "B4", "B8", "B11", "B12", "SCL", "MSK_CLDPRB")
    product = recognise(str(write(tmp_path / "20221015T045741_T45RVL.tif", numbers, descriptions=names)))
    assert (product.sensor, product.level) == ("sentinel-2-msi", Level.SURFACE)
    check_truth(product.bands, 1e-4)
    assert any(words in note for note in product.notes)
    assert [band.table for band in product.quality] == ["sentinel-2-scl", "sentinel-2-cloud-probability"]


@pytest.mark.parametrize("added", [0.0, 0.1])
def test_fractions_that_include_sentinel_2s_offset_are_doubted(tmp_path: Path, added: float) -> None:
    """Stored numbers of baseline 04.00 divided by 10,000, from which 1000 had to be taken first, are 0.1 too high."""
    names = ("B2", "B3", "B4", "B8", "B11", "B12")
    numbers = stack(1, -added, fill=np.nan, dtype="float32")
    product = recognise(str(write(tmp_path / "S2A_20221015T045741.tif", numbers, descriptions=names)))
    check_truth([replace(band, offset=-added) for band in product.bands], 1e-6)
    assert {(band.scale, band.offset) for band in product.bands} == {(1.0, 0.0)}
    assert any("hardly any reflectance is below 0.1" in note for note in product.notes) == (added > 0)


def test_an_image_of_a_composite_has_marks_around_its_names(tmp_path: Path) -> None:
    names = tuple(f"{name}_median" for name in SR_OLI)
    check_truth(recognise(str(write(tmp_path / "a.tif", stack(2.75e-5, -0.2), descriptions=names))).bands, 2e-5)


def test_descriptions_in_words_are_understood_if_both_words_are(tmp_path: Path) -> None:
    words = ("Blue (B2)", "Green (B3)", "B4 - Red", "NIR (B5)", "SWIR1 (B6)", "SWIR2 (B7)")
    path = write(tmp_path / "a.tif", stack(2.75e-5, -0.2), descriptions=words, scales=2.75e-5, offsets=-0.2, nodata=0)
    check_truth(recognise(str(path), sensor="landsat-8-oli").bands, 2e-5)
    with pytest.raises(SceneError, match=r"found the band 'Blue \(B2\)'"):  # B2 of Landsat 7 is green
        recognise(str(path), sensor="landsat-7-etm+")


def test_an_export_in_several_parts_is_refused_with_the_command(tmp_path: Path) -> None:
    for part in ("0000000000-0000000000", "0000000000-0000008192"):
        write(tmp_path / f"scene-{part}.tif", stack(2.75e-5, -0.2), descriptions=SR_OLI)
    with pytest.raises(SceneError, match=r"in several parts .*gdalbuildvrt scene.vrt"):
        recognise(str(tmp_path))


def test_a_file_for_each_band_as_earth_engine_zips_them(tmp_path: Path) -> None:
    for field, name in zip(SR_OLI, SIX, strict=True):
        write(tmp_path / f"LC08_140041_20181026.{field}.tif", stored(name, 2.75e-5, -0.2))
    write(tmp_path / "dem.tif", np.ones((4, 4), np.float32))
    product = recognise(str(tmp_path))
    check_truth(product.bands, 2e-5)
    assert product.left_out == (("dem.tif", "its name ends with no band's designation"),)


def baraka(dtype: str = "float32") -> NDArray[Any]:
    tile = np.full((15, SIDE, SIDE), 90, dtype)
    tile[0], tile[2], tile[9] = 60, 70, 672
    tile[10:13] = 0.3
    tile[13], tile[14] = 5200, 12.5
    tile[:10, :, :8] = 0
    return tile


def test_barakas_tile_is_known_by_its_15_bands(tmp_path: Path) -> None:
    path = write(tmp_path / "LE07_140041_20051012.tif", baraka())
    product = recognise(str(path))
    assert (product.kind, product.sensor) == ("tile of Baraka et al. (HKH Glacier Mapping)", "landsat-7-etm+")
    assert (product.acquired, product.level) == (date(2005, 10, 12), None)
    assert [(band.name, band.index) for band in product.bands] == [
        *(("blue", 1), ("green", 2), ("red", 3), ("nir", 4), ("swir1", 5)),
        *(("thermal_low", 6), ("thermal_high", 7), ("swir2", 8)),
    ]
    assert {(band.unit, band.nodata) for band in product.bands} == {(DIGITAL_NUMBER, 0)}
    assert [(band.index, band.table) for band in product.quality] == [(10, "landsat-c1-bqa")]
    assert product.dem is not None
    assert product.dem.tiles[0].index == 14
    assert [name for name, _ in product.left_out] == [
        "band 11 (ndvi)",
        "band 12 (ndsi)",
        "band 13 (ndwi)",
        "band 15 (slope)",
    ]


def test_15_bands_of_another_kind_are_not_barakas(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="found 15 bands without distinct descriptions"):
        recognise(str(write(tmp_path / "a.tif", np.full((15, 32, 32), 900, np.uint16))))


@pytest.mark.parametrize(
    ("names", "sensor"), [(("B02", "B03", "B04", "B08"), None), (("red", "green", "blue", "nir"), None)]
)
def test_a_tagged_raster_is_reflectance(tmp_path: Path, names: tuple[str, ...], sensor: str | None) -> None:
    known = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir"}
    numbers = stack(1e-4, -0.1, [known.get(name, name) for name in names])
    path = write(tmp_path / "a.tif", numbers, descriptions=names, scales=1e-4, offsets=-0.1, nodata=0)
    product = recognise(str(path), sensor=sensor)
    check_truth([*product.bands], 1e-4)
    assert product.bands[0].unit == REFLECTANCE
    assert any("taken as of the surface" in note or "taken as surface" in note for note in product.notes)


def test_the_scaling_of_landsat_tells_which_sensor_and_level(tmp_path: Path) -> None:
    names = tuple(f"B{number}" for number in range(2, 8))
    path = write(tmp_path / "a.tif", stack(2.75e-5, -0.2), descriptions=names, scales=2.75e-5, offsets=-0.2, nodata=0)
    product = recognise(str(path))
    assert (product.sensor, product.level) == ("landsat-8-oli", Level.SURFACE)
    check_truth(product.bands, 2e-5)


@pytest.mark.parametrize(("dtype", "fill"), [("uint16", 0), ("int16", -9999)])
def test_fill_that_the_file_does_not_declare_follows_from_the_sensor(tmp_path: Path, dtype: str, fill: int) -> None:
    path = write(tmp_path / "a.tif", stack(1e-4, 0.0, fill=fill, dtype=dtype), descriptions=SIX, scales=1e-4)
    check_truth(recognise(str(path), sensor="landsat-8-oli").bands, 1e-4)


@pytest.mark.parametrize(
    ("dtype", "fill", "words"),
    [("uint16", 0, "pixels are 0 in all bands"), ("int16", -9999, "pixels are -9999"), ("float32", -9999, "are -9999")],
)
def test_fill_that_nothing_declares_is_found_and_said(tmp_path: Path, dtype: str, fill: int, words: str) -> None:
    scale = 1.0 if dtype == "float32" else 1e-4
    path = write(tmp_path / "a.tif", stack(scale, 0.0, fill=fill, dtype=dtype), descriptions=SIX, scales=scale)
    product = recognise(str(path), level=Level.SURFACE)
    check_truth(product.bands, 1e-4)
    assert any(words in note and "taken as no data" in note for note in product.notes)


def test_zero_is_ground_where_a_file_declares_another_number(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", stack(1e-4, 0.0), descriptions=SIX, scales=1e-4, nodata=65535)
    assert recognise(str(path)).bands[0].nodata is None
    dark = np.where(np.arange(6)[:, None, None] == 3, 0, 500) * np.ones((1, SIDE, SIDE))  # one band is black: no fill
    path = write(tmp_path / "b.tif", dark.astype(np.uint16), descriptions=SIX, scales=1e-4)
    assert recognise(str(path)).bands[0].nodata is None


def test_metadata_items_count_as_tags(tmp_path: Path) -> None:
    items = {"scale_factor": "0.0001", "add_offset": "0.0", "_FillValue": "-9999"}
    numbers = stack(1e-4, 0.0, fill=-9999, dtype="int16")
    product = recognise(str(write(tmp_path / "a.tif", numbers, descriptions=SIX, tags=items)))
    check_truth(product.bands, 1e-4)


def test_a_scale_that_cannot_be_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", stack(1e-4, 0.0), descriptions=SIX, scales=0.01)
    assert any("expected 0 to 1" in note for note in recognise(str(path)).notes)


def test_what_is_said_of_several_bands_of_a_file_is_one_note() -> None:
    notes = unique(["a.tif, band 1: too bright", None, "a.tif, band 2: too bright", "b.tif, band 1: too bright", "c"])
    assert notes == ("a.tif, bands 1, 2: too bright", "b.tif, band 1: too bright", "c")


def test_fractions_with_a_scale_are_not_scaled_again(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", stack(1.0, 0.0, fill=np.nan, dtype="float32"), descriptions=SIX, scales=1e-4)
    product = recognise(str(path))
    check_truth(product.bands, 1e-6)
    assert any("holds fractions already" in note for note in product.notes)


def test_numbers_without_tags_stay_digital_numbers_unless_the_level_is_stated(tmp_path: Path) -> None:
    integers = write(tmp_path / "a.tif", stack(1e-4, 0.0), descriptions=SIX)
    fractions = write(tmp_path / "b.tif", stack(1.0, 0.0, fill=np.nan, dtype="float32"), descriptions=SIX)
    for path in (integers, fractions):
        product = recognise(str(path))
        assert (product.level, product.bands[0].unit, product.bands[0].scale) == (None, DIGITAL_NUMBER, 1.0)
        assert any("digital numbers" in note for note in product.notes)
    stated = recognise(str(fractions), level=Level.SURFACE)
    assert (stated.level, stated.bands[0].unit) == (Level.SURFACE, REFLECTANCE)


def test_a_name_outside_the_tables_is_refused_unless_declared(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", stack(1e-4, 0.0, ("red", "nir", "green")), descriptions=("red", "nir", "coherence")
    )
    with pytest.raises(SceneError, match=r"found the band 'coherence'; .*declare it as a further channel"):
        recognise(str(path))
    product = recognise(str(path), extra=["coherence"])
    assert [band.name for band in product.extras] == ["coherence"]


def test_elevation_and_what_is_computed_are_sorted_out(tmp_path: Path) -> None:
    names = ("red", "nir", "ndvi", "elevation", "slope", "QA_PIXEL")
    product = recognise(str(write(tmp_path / "a.tif", np.ones((6, 16, 16), np.uint16), descriptions=names)))
    assert [band.name for band in product.bands] == ["red", "nir"]
    assert product.dem is not None
    assert product.dem.tiles[0].index == 4
    assert [name for name, _ in product.left_out] == ["band 3 (ndvi)", "band 5 (slope)"]


def test_reflectance_and_digital_numbers_do_not_mix_in_a_scene(tmp_path: Path) -> None:
    write(tmp_path / "red.tif", stored("red", 1e-4, 0), scales=1e-4)
    write(tmp_path / "nir.tif", stored("nir", 1e-4, 0))
    with pytest.raises(SceneError, match=r"reflectance and digital numbers \(nir\) in one scene"):
        recognise(str(tmp_path))


def test_a_file_named_like_a_band_that_holds_several_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a_red.tif", stack(1e-4, 0, ("red", "nir")))
    write(tmp_path / "a_nir.tif", stored("nir", 1e-4, 0))
    with pytest.raises(SceneError, match=r"a_red.tif: found 2 bands; expected one"):
        recognise(str(tmp_path))


def test_the_finest_band_of_a_folder_gives_the_grid(tmp_path: Path) -> None:
    write(tmp_path / "a_B11.tif", stored("swir1", 1e-4, 0), size=20)
    write(tmp_path / "a_B8A.tif", stored("nir", 1e-4, 0), size=20)
    write(tmp_path / "a_B02.tif", np.kron(stored("blue", 1e-4, 0), np.ones((2, 2), np.uint16)), size=10)
    assert [band.name for band in recognise(str(tmp_path)).bands] == ["blue", "swir1", "nir_narrow"]


def test_the_finest_band_is_the_finest_on_the_ground(tmp_path: Path) -> None:
    write(tmp_path / "a_B02.tif", stored("blue", 1e-4, 0), size=10)
    write(tmp_path / "a_B03.tif", stored("green", 1e-4, 0), size=10)
    degrees = stored("swir1", 1e-4, 0)
    write(tmp_path / "a_B11.tif", degrees, size=20)
    with rasterio.open(tmp_path / "a_B11.tif") as file:
        profile = {**file.profile, "crs": "EPSG:4326", "transform": Affine(0.0002, 0, 86.7, 0, -0.0002, 28.1)}
    with rasterio.open(tmp_path / "a_B11.tif", "w", **profile) as file:  # 20 m from west to east, 22 m from north
        file.write(degrees, 1)
    product = recognise(str(tmp_path), sensor="sentinel-2-msi")
    assert [band.name for band in product.bands] == ["blue", "green", "swir1"]


def test_a_projected_band_as_fine_as_the_others_does_not_give_the_grid(tmp_path: Path) -> None:
    for field in ("B02", "B03"):
        write(tmp_path / f"a_{field}.tif", stored("blue", 1e-4, 0), size=10)
    write(tmp_path / "a_B01.tif", stored("blue", 1e-4, 0), size=9.5)
    with rasterio.open(tmp_path / "a_B01.tif", "r+") as file:
        file.crs = "EPSG:32644"
    assert recognise(str(tmp_path), sensor="sentinel-2-msi").bands[0].name == "blue"


def test_tags_on_some_bands_only_are_refused_where_they_differ_from_the_usual_scaling(tmp_path: Path) -> None:
    fields = ("B2", "B3", "B4", "B8", "B11", "B12")
    file = write(tmp_path / "S2A_20230815.tif", stack(1e-4, -0.1), descriptions=fields)
    with rasterio.open(file, "r+") as dataset:
        dataset.scales, dataset.offsets = (1e-4,) * 3 + (1.0,) * 3, (-0.1,) * 3 + (0.0,) * 3
    with pytest.raises(
        SceneError, match=r"x 0.0001 -0.1 on blue\), and others without, for which x 0.0001 \+0 is usual"
    ):
        recognise(str(file))
    with rasterio.open(file, "r+") as dataset:
        dataset.offsets = (0.0,) * 6
    assert {(band.scale, band.offset) for band in recognise(str(file)).bands} == {(1e-4, 0.0)}


def test_s2_in_the_name_of_bands_that_landsat_has_needs_the_sensor(tmp_path: Path) -> None:
    landsat = ("B2", "B3", "B4", "B5", "B6", "B7")
    file = write(tmp_path / "glacier_S2_20181026.tif", stack(1e-4, 0), descriptions=landsat)
    with pytest.raises(SceneError, match=r"name holds S2, .* --sensor, one of sentinel-2-msi, landsat-4-tm"):
        recognise(str(file))
    assert recognise(str(file), sensor="landsat-8-oli").bands[3].name == "nir"
    for name in ("S2A_20181026.tif", "Sentinel-2_20181026.tif"):
        product = recognise(str(file.rename(tmp_path / name)))
        assert (product.bands[3].name, product.sensor) == ("rededge1", "sentinel-2-msi")
        assert "the sensor follows from the name; taken as sentinel-2-msi" in product.notes
        file = tmp_path / name
    ten = write(tmp_path / "S2_20181026.tif", stack(1e-4, 0, SIX[:4]), descriptions=("B2", "B3", "B4", "B8"))
    assert recognise(str(ten)).bands[3].name == "nir"


def test_several_scenes_in_a_folder_are_refused(tmp_path: Path) -> None:
    for day in ("20200101", "20200201"):
        write(tmp_path / f"{day}_red.tif", np.ones((4, 4), np.uint8))
    with pytest.raises(SceneError, match=r"20200101_red.tif, 20200201_red.tif, which are the same band"):
        recognise(str(tmp_path))


def test_bands_of_two_days_in_a_folder_are_refused_by_their_names(tmp_path: Path) -> None:
    names = ("LC08_140041_20181026_B2.tif", "LC08_140041_20181026_B3.tif", "LC08_140041_20190801_B4.tif")
    for name in names:
        write(tmp_path / name, stored("blue", 1, 0, dtype="float32"))
    with pytest.raises(SceneError, match=r"_B2.tif \(2018-10-26\), LC08_140041_20190801_B4.tif \(2019-08-01\); exp"):
        recognise(str(tmp_path))
    (tmp_path / names[2]).rename(tmp_path / "20100101_elevation.tif")
    product = recognise(str(tmp_path))
    assert ([band.name for band in product.bands], product.acquired) == (["blue", "green"], date(2018, 10, 26))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"x", r"expected a GeoTIFF, JPEG 2000, VRT"),
        ("a.tif", b"<html>not found</html>", r"found an XML or HTML file"),
        ("a.jp2", b"x", r"found a file of another format"),
        ("a.zip", b"x", r"the archive cannot be read"),
        ("a.tar", b"x", r"the archive cannot be read"),
        ("a.7z", b"x", r"found a compressed archive; .*unpack it"),
        ("a.json", b"{", r"found no readable JSON"),
        ("a.geojson", b'{"type": "FeatureCollection"}', r"found JSON of the type 'FeatureCollection'; expected a STAC"),
    ],
)
def test_what_is_no_product_is_refused_by_name(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SceneError, match=message) as caught:
        recognise(str(tmp_path / name))
    assert name in str(caught.value)


def test_an_empty_folder_a_missing_path_and_unknown_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SceneError, match="found no files"):
        recognise(str(tmp_path))
    with pytest.raises(SceneError, match="found no such file or folder"):
        recognise(str(tmp_path / "none"))
    write(tmp_path / "a.tif", np.ones((4, 4), np.uint8))
    write(tmp_path / "b.tif", np.ones((4, 4), np.uint8))
    with pytest.raises(SceneError, match=r"found a.tif, b.tif; expected a product of Landsat, Sentinel-2, HLS or Plan"):
        recognise(str(tmp_path))


@pytest.mark.parametrize("ending", ["_clip", " (1)", "_(UTM45)", "_doy2018299_aid0001_45N"])
def test_what_is_appended_to_the_names_of_all_files_is_left_out(tmp_path: Path, ending: str) -> None:
    folder = hls(tmp_path / "granule", HLS_L30, L30)
    for file in list(folder.iterdir()):
        file.rename(folder / f"HLSL30.020_{file.stem.rpartition('.')[2]}{ending}{file.suffix}")
    product = recognise(str(folder))
    assert (product.sensor, product.level) == ("landsat-8-oli", Level.SURFACE)
    check_truth(product.bands, 1e-4)
    assert [band.table for band in product.quality] == ["hls-fmask"]
    assert product.acquired == (date(2018, 10, 26) if "doy" in ending else None)


def test_the_name_of_the_image_before_all_bands_is_left_out(tmp_path: Path) -> None:
    names = [f"LC08_140041_20181026_SR_B{number}" for number in range(2, 8)]
    file = write(tmp_path / "a.tif", stack(2.75e-5, -0.2), descriptions=names)
    product = recognise(str(file))
    assert (product.sensor, product.level) == ("landsat-8-oli", Level.SURFACE)
    check_truth(product.bands, 2e-5)


@pytest.mark.parametrize(("dtype", "scale"), [("uint16", 1 / 65535), ("uint8", 1 / 255), ("float32", 1)])
def test_files_of_the_copernicus_browser_hold_shares_of_their_type(tmp_path: Path, dtype: str, scale: float) -> None:
    for designation, name in {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir1"}.items():
        file = f"2023-06-14-00_00_2023-06-14-23_59_Sentinel-2_L2A_{designation}_(Raw).tiff"
        write(tmp_path / "s2" / file, stored(name, scale, 0.0, dtype=dtype))
    product = recognise(str(tmp_path / "s2"))
    assert (product.sensor, product.level) == ("sentinel-2-msi", Level.SURFACE)
    assert product.acquired == date(2023, 6, 14)
    check_truth(product.bands, scale if scale < 1 else 1e-6)


@pytest.mark.parametrize(("product", "names"), [(HLS_L30, L30), (HLS_S30, ("B2", "B3", "B4", "B8"))])
def test_hls_of_earth_engine_is_surface_reflectance_in_fractions(
    tmp_path: Path, product: str, names: Sequence[str]
) -> None:
    described = [name.replace("B0", "B") for name in list(names)[:4]]
    bands = np.concatenate([stack(1, 0, SIX[:4], dtype="float32"), np.zeros((1, SIDE, SIDE), np.float32)])
    thermal = np.full((1, SIDE, SIDE), -10.5, np.float32)
    with_thermal = product == HLS_L30
    file = write(
        tmp_path / "export.tif",
        np.concatenate([bands, thermal]) if with_thermal else bands,
        descriptions=[*described, "Fmask", *(["B10"] if with_thermal else [])],
    )
    found = recognise(str(file))
    assert (found.kind, found.level) == ("HLS surface reflectance", Level.SURFACE)
    assert found.sensor == ("landsat-8-oli" if with_thermal else "sentinel-2-msi")
    check_truth(found.bands, 1e-6)
    for band in found.extras:
        assert (band.name, band.unit) == ("thermal1", KELVIN)
        np.testing.assert_allclose(values(band), 262.65)


@pytest.mark.parametrize(
    ("name", "table"), [("cs_cdf", "cloud-score-plus"), ("probability", "sentinel-2-cloud-probability")]
)
def test_cloud_bands_of_earth_engine_are_decoded(tmp_path: Path, name: str, table: str) -> None:
    bands = np.concatenate([stack(1, 0, dtype="float32"), np.full((1, SIDE, SIDE), 0.3, np.float32)])
    file = write(tmp_path / "S2_L2A.tif", bands, descriptions=["B2", "B3", "B4", "B8", "B11", "B12", name])
    assert [(band.name, band.table) for band in recognise(str(file)).quality] == [(name, table)]


@pytest.mark.parametrize(
    ("name", "fields", "dtype"),
    [
        ("S2A_20181026T044110.tif", ("B2", "B3", "B4", "B8", "B11", "B12"), "uint8"),
        (f"{HLS_S30}.tif", ("B02", "B03", "B04", "B08", "B11", "B12"), "uint8"),
        ("LC08_20181026.tif", SR_OLI, "uint8"),
        ("LC08_20181026.tif", SR_OLI, "int16"),  # as Collection 1 was stored; Collection 2 needs numbers above 32,767
    ],
)
def test_numbers_that_the_file_cannot_hold_are_not_scaled_by_the_products_constants(
    tmp_path: Path, name: str, fields: Sequence[str], dtype: str
) -> None:
    scale = 1 / 255 if dtype == "uint8" else 1e-4
    path = tmp_path / name
    product = recognise(str(write(path, stack(scale, 0.0, dtype=dtype), descriptions=fields, nodata=0)))
    assert product.level is None
    assert {(band.scale, band.offset, band.unit) for band in product.bands} == {(1.0, 0.0, DIGITAL_NUMBER)}
    assert any(f"holds {dtype}, and the product's numbers are" in note for note in product.notes)
    product = recognise(str(write(path, stack(scale, 0.0, dtype=dtype), descriptions=fields, nodata=0, scales=scale)))
    check_truth(product.bands, scale)
    assert product.level is Level.SURFACE


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32"])
def test_sentinel_2_is_scaled_in_every_type_that_holds_its_numbers(tmp_path: Path, dtype: str) -> None:
    fields = ("B2", "B3", "B4", "B8", "B11", "B12")
    file = write(tmp_path / "S2A_20181026.tif", stack(1e-4, 0.0, dtype=dtype), descriptions=fields)
    check_truth(recognise(str(file)).bands, 1e-4)


@pytest.mark.parametrize(("fill", "stated"), [(-9999, None), (-9999, -9999), (1, 1)])
def test_fill_that_the_file_does_not_declare_does_not_hide_sentinel_2s_offset(
    tmp_path: Path, fill: int, stated: float | None
) -> None:
    """It is 8 % of the pixels; of the others, which hold 1000 more than reflectance x 10,000, none is below 1000."""
    fields = ("B2", "B3", "B4", "B8", "B11", "B12")
    numbers = stack(1e-4, -0.1, fill=fill, dtype="int16")
    product = recognise(str(write(tmp_path / "a.tif", numbers, descriptions=fields)), nodata=stated)
    assert {(band.scale, band.offset) for band in product.bands} == {(1e-4, -0.1)}
    check_truth([replace(band, nodata=fill) for band in product.bands], 1e-4)
    assert any("-1000 is used, as no number lies below 1000" in note for note in product.notes)


@pytest.mark.parametrize(("fill", "stated"), [(-9999, None), (-1, -1)])
@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("S2A_20230815.tif", ("B2", "B3", "B4", "B8", "B11", "B12")),
        ("LC08_20181026.tif", SR_OLI),
        ("LC08_140041_20181026.tif", WITH_QA),
        ("S2_clip.tif", ("B2", "B3", "B4", "B8", "B11", "B12", "Fmask")),
    ],
)
def test_fractions_are_known_beside_fill_that_the_file_does_not_declare(
    tmp_path: Path, name: str, fields: Sequence[str], fill: int, stated: float | None
) -> None:
    bands = [*stack(1, 0, fill=fill, dtype="float32"), np.zeros((SIDE, SIDE), np.float32)]
    file = write(tmp_path / name, np.stack(bands[: len(fields)]), descriptions=fields)
    product = recognise(str(file), nodata=stated)
    assert {(band.scale, band.offset, band.unit) for band in product.bands} == {(1.0, 0.0, REFLECTANCE)}
    check_truth([replace(band, nodata=fill) for band in product.bands], 1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_fill_that_was_scaled_with_the_bands_is_fill(tmp_path: Path, dtype: str) -> None:
    scaled = np.round((stack(1, 0, dtype="float64") + 0.2) / 2.75e-5) * 2.75e-5 - 0.2
    scaled[:, :, :8] = -0.2
    names = [f"SR_B{number}" for number in range(2, 8)]
    product = recognise(str(write(tmp_path / "a.tif", scaled.astype(dtype), descriptions=names)))
    assert {(band.scale, band.offset) for band in product.bands} == {(1, 0)}
    check_truth(product.bands, 2e-5)
    assert any("-0.2 is taken as no data" in note for note in product.notes)
