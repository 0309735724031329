from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp

from imagery.band_names import bands_of_file
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource, QualityBand
from imagery.sensors import SENSORS
from imagery.valid_pixels import check_has_data
from tests.imagery.forge import BAND_NAMES, NORTH_UP, forge_scene, write_geotiff

RAMP = np.arange(2 * 6 * 8, dtype=np.int16).reshape(2, 6, 8)


def _one_band(path: Path, name: str = "red", index: int = 1) -> BandSource:
    return BandSource(name, str(path), index)


def test_a_scene_is_read_where_and_as_it_was_written(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", RAMP, descriptions=["red", "nir"])
    source = describe(bands_of_file(str(path), None))
    assert (source.grid.height, source.grid.width, source.grid.crs) == (6, 8, "EPSG:32645")
    with SceneReader(source) as reader:
        pixels = reader.read(["nir", "red"], Window(1, 2, 3, 4))
    assert pixels.dtype == np.float32
    np.testing.assert_array_equal(pixels, RAMP[::-1, 1:4, 2:6])


def test_a_region_moves_the_grid_and_what_is_read_by_the_same_offset(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", RAMP, descriptions=["red", "nir"])
    source = describe(bands_of_file(str(path), None), region=Window(2, 3, 4, 5))
    assert source.offset == (2, 3)
    assert source.grid.bounds == (478000.0 + 90, 3108140.0 - 180, 478000.0 + 240, 3108140.0 - 60)
    with SceneReader(source) as reader:
        np.testing.assert_array_equal(reader.read(["red"], Window(1, 1, 2, 2)), RAMP[:1, 3:5, 4:6])


def test_bands_may_lie_in_several_files(tmp_path: Path) -> None:
    red = write_geotiff(tmp_path / "red.tif", RAMP[0])
    nir = write_geotiff(tmp_path / "nir.tif", RAMP[1].astype(np.float32))
    source = describe([_one_band(red), _one_band(nir, "nir")])
    with SceneReader(source) as reader:
        np.testing.assert_array_equal(reader.read(["nir", "red"], source.grid.window), RAMP[::-1])


def test_an_index_is_read_like_a_band(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", RAMP, descriptions=["red", "nir"])
    with SceneReader(describe(bands_of_file(str(path), None))) as reader:
        pixels = reader.read(["ndvi", "red"], Window(0, 1, 1, 1))
    assert pixels[:, 0, 0].tolist() == pytest.approx([(49 - 1) / (49 + 1), 1])


def test_declared_given_and_non_finite_nodata_are_nan_in_their_own_band_only(tmp_path: Path) -> None:
    pixels = np.ones((2, 1, 4), dtype=np.float32)
    pixels[0, 0, :3] = [-9999, np.inf, np.nan]
    pixels[1, 0, 3] = 7
    path = write_geotiff(tmp_path / "a.tif", pixels, nodata=-9999, descriptions=["red", "nir"])
    source = describe(bands_of_file(str(path), None), nodata=7)
    with SceneReader(source) as reader:
        read = reader.read(["red", "nir"], source.grid.window)
        valid = reader.valid_mask(source.grid.window)
    np.testing.assert_array_equal(np.isnan(read[:, 0]), [[True, True, True, False], [False, False, False, True]])
    assert not valid.any()


def test_an_alpha_band_masks_every_band_and_is_none_itself(tmp_path: Path) -> None:
    stack = np.full((3, 2, 2), 255, dtype=np.uint8)
    stack[2, 0, 1] = 0
    path = write_geotiff(tmp_path / "a.tif", stack, alpha=True, descriptions=["red", "nir", "alpha"])
    bands = bands_of_file(str(path), None)
    assert [band.name for band in bands] == ["red", "nir"]
    source = describe(bands)
    with SceneReader(source) as reader:
        np.testing.assert_array_equal(reader.valid_mask(source.grid.window), [[True, False], [True, True]])


def test_near_infrared_that_gdal_takes_for_alpha_is_data(tmp_path: Path) -> None:
    stack = np.full((4, 2, 2), 9, dtype=np.uint8)
    stack[3, 0, 0] = 0
    described = write_geotiff(tmp_path / "a.tif", stack, descriptions=BAND_NAMES)
    plain = write_geotiff(tmp_path / "b.tif", stack)
    for path in (described, plain):
        with rasterio.open(path) as dataset:
            assert dataset.colorinterp[3] == ColorInterp.alpha  # what the default of the format makes of it
    assert [band.name for band in bands_of_file(str(described), None)] == list(BAND_NAMES)
    claimed = tuple(BandSource(name, str(plain), index) for index, name in enumerate(BAND_NAMES, start=1))
    for bands in (bands_of_file(str(described), None), claimed):
        source = describe(bands)
        with SceneReader(source) as reader:
            np.testing.assert_array_equal(reader.read(BAND_NAMES, source.grid.window), stack)


def test_a_mask_beside_the_pixels_is_heeded(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", RAMP, descriptions=["red", "nir"])
    with rasterio.open(path, "r+") as dataset:
        dataset.write_mask(np.arange(48).reshape(6, 8) < 40)
    source = describe(bands_of_file(str(path), None))
    with SceneReader(source) as reader:
        valid = reader.valid_mask(source.grid.window)
    assert valid[:5].all()
    assert not valid[5].any()


def test_a_float64_value_beyond_float32_is_invalid(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.array([[1e300, 2.0]]))
    source = describe([_one_band(path)])
    with SceneReader(source) as reader:
        np.testing.assert_array_equal(reader.read(["red"], source.grid.window), [[[np.nan, 2.0]]])


def test_a_decimated_read_covers_the_whole_scene_within_the_side(tmp_path: Path) -> None:
    gradient = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    source = describe([_one_band(write_geotiff(tmp_path / "a.tif", gradient))])
    with SceneReader(source) as reader:
        thin = reader.read_decimated(["red"], 50)
    assert thin.shape == (1, 25, 50)
    assert thin.min() < 4
    assert thin.max() > 195


def test_band_names_come_from_descriptions_then_from_the_sensor(tmp_path: Path) -> None:
    seven = np.ones((7, 2, 2), dtype=np.uint8)
    plain = write_geotiff(tmp_path / "plain.tif", seven)
    assert [band.name for band in bands_of_file(str(plain), "landsat-8-oli")][3:5] == ["red", "nir"]
    fields = write_geotiff(tmp_path / "fields.tif", seven[:2], descriptions=["B5", "B2"])
    assert [band.name for band in bands_of_file(str(fields), "landsat-8-oli")] == ["nir", "blue"]
    assert [band.name for band in bands_of_file(str(fields), "landsat-7-etm+")] == ["swir1", "green"]


@pytest.mark.parametrize("sensor", [name for name in SENSORS if name.startswith("landsat")])
@pytest.mark.parametrize("field", ["BQA", "QA_PIXEL"])
def test_the_quality_band_of_either_landsat_collection_is_named_alike(tmp_path: Path, sensor: str, field: str) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((2, 2, 2), dtype=np.uint16), descriptions=["B3", field])
    assert bands_of_file(str(path), sensor)[1].name == "quality"


@pytest.mark.parametrize(
    ("sensor", "count", "last"),
    [("landsat-7-etm+", 8, "swir2"), ("landsat-7-etm+", 10, "quality"), ("sentinel-2-msi", 12, "swir2")],
)
def test_a_file_is_named_by_the_count_of_the_stack_or_of_the_whole_table(
    tmp_path: Path, sensor: str, count: int, last: str
) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((count, 2, 2), dtype=np.int16))
    names = [band.name for band in bands_of_file(str(path), sensor)]
    assert (len(names), names[-1]) == (count, last)
    assert ("cirrus" in names) is False


def test_bands_that_cannot_be_named_are_an_error(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((3, 2, 2), dtype=np.uint8), descriptions=["red", "red", "nir"])
    with pytest.raises(
        SceneError, match=r"found 3 bands without distinct descriptions; expected 7 or 12 \(landsat-8-oli\)"
    ):
        bands_of_file(str(path), "landsat-8-oli")
    with pytest.raises(SceneError, match="or a sensor"):
        bands_of_file(str(path), None)


def test_an_unknown_channel_or_a_window_beyond_the_scene_is_an_error(tmp_path: Path) -> None:
    with SceneReader(describe(forge_scene(tmp_path / "a.tif").bands)) as reader:
        with pytest.raises(SceneError, match=r"'swir1'; expected one of red, green, blue, nir, ndvi, ndwi"):
            reader.read(["swir1"], Window(0, 0, 1, 1))
        with pytest.raises(SceneError, match="inside 100 rows x 160 columns"):
            reader.read(["red"], Window(90, 0, 11, 10))


def test_a_truncated_file_is_found_out_before_it_is_used(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(1, 255, (4, 300, 300), dtype=np.uint8)
    path = write_geotiff(tmp_path / "a.tif", noise, descriptions=BAND_NAMES, compress="deflate")
    source = describe(bands_of_file(str(path), None))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(SceneError, match=r"truncated|no readable raster"):
        check_has_data(source)


def test_a_file_without_a_place_on_earth_is_refused(tmp_path: Path) -> None:
    ones = np.ones((4, 4), dtype=np.uint8)
    with pytest.raises(SceneError, match="no coordinate reference system"):
        describe([_one_band(write_geotiff(tmp_path / "crs.tif", ones, crs=None))])
    counting = (None, (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, -1, 0), (1, 0, 0, 0, -1, 4))
    for number, transform in enumerate(counting):
        with pytest.raises(SceneError, match="no geotransform"):
            describe([_one_band(write_geotiff(tmp_path / f"transform{number}.tif", ones, transform=transform))])
    local = 'LOCAL_CS["map",UNIT["metre",1]]'
    with pytest.raises(SceneError, match=r"local\.tif: found the coordinate reference system 'map', which has no"):
        describe([_one_band(write_geotiff(tmp_path / "local.tif", ones, crs=local))])
    with pytest.raises(SceneError, match=r"far\.tif: .*has no place in EPSG:4326"):
        far = (1e9, 0.0, 1e12, 0.0, -1e9, 1e12)
        describe([_one_band(write_geotiff(tmp_path / "far.tif", ones, transform=far))])


def test_wrong_bands_are_refused(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", RAMP)
    with pytest.raises(SceneError, match="found 2 bands; expected band 3 for 'red'"):
        describe([_one_band(path, index=3)])
    with pytest.raises(SceneError, match="each only once"):
        describe([_one_band(path), _one_band(path, index=2)])
    with pytest.raises(SceneError, match="at least one"):
        describe([])
    with pytest.raises(SceneError, match="names of indices"):
        describe([_one_band(path, "ndvi")])
    spectrum = write_geotiff(tmp_path / "complex.tif", np.ones((2, 2), dtype=np.complex64))
    with pytest.raises(SceneError, match="found complex64 in band 1; expected real numbers"):
        describe([_one_band(spectrum)])


def test_a_region_beyond_the_files_and_a_useless_nodata_are_refused(tmp_path: Path) -> None:
    band = _one_band(write_geotiff(tmp_path / "a.tif", RAMP))
    with pytest.raises(SceneError, match="inside 6 rows x 8 columns"):
        describe([band], region=Window(0, 0, 7, 8))
    with pytest.raises(SceneError, match="nodata value nan"):
        describe([band], nodata=float("nan"))


def test_a_scene_of_nothing_but_nodata_is_refused(tmp_path: Path) -> None:
    stack = np.zeros((2, 5, 5), dtype=np.uint8)
    stack[0, 0, 0] = stack[1, 4, 4] = 9  # no pixel is valid in both bands
    path = write_geotiff(tmp_path / "a.tif", stack, nodata=0, descriptions=["red", "nir"])
    source = describe(bands_of_file(str(path), None))
    with pytest.raises(SceneError, match="found no pixel of 5 rows x 5 columns that is valid in all of red, nir;"):
        check_has_data(source)
    stack[1, 0, 0] = 9
    write_geotiff(path, stack, nodata=0, descriptions=["red", "nir"])
    check_has_data(source)


def test_a_band_without_any_valid_pixel_is_named(tmp_path: Path) -> None:
    stack = np.zeros((2, 5, 5), dtype=np.uint8)
    stack[0] = 9
    path = write_geotiff(tmp_path / "a.tif", stack, nodata=0, descriptions=["red", "nir"])
    with pytest.raises(SceneError, match=r"valid in all of red, nir \(nir without any valid pixel\); expected some"):
        check_has_data(describe(bands_of_file(str(path), None)))


def test_a_file_that_was_replaced_by_another_grid_is_noticed(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", RAMP)
    source = describe([_one_band(path)])
    write_geotiff(path, RAMP, crs="EPSG:32646")
    with pytest.raises(SceneError, match="register it as a new scene"), SceneReader(source):
        pass


def test_a_giant_block_is_refused_before_it_is_read(tmp_path: Path) -> None:
    # Never filled in, so the file has some hundred bytes; one tile would take 1.6 GB to decompress.
    path, side = tmp_path / "a.tif", 39936
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint8", "sparse_ok": True}
    profile |= {"tiled": True, "blockxsize": side, "blockysize": side, "compress": "deflate", "crs": "EPSG:32645"}
    with rasterio.open(path, "w", transform=rasterio.Affine(*NORTH_UP), **profile):
        pass
    with pytest.raises(SceneError, match=r"blocks of 1\.5 GiB; expected at most 1 GiB"):
        describe([_one_band(path)])


def test_the_reader_closes_its_files(tmp_path: Path) -> None:
    reader = SceneReader(describe(forge_scene(tmp_path / "a.tif").bands))
    with reader:
        files = list(reader._files.values())
        assert [file.dataset.closed for file in files] == [False]
    assert all(file.dataset.closed for file in files)


@pytest.mark.parametrize(("pixel", "metres"), [(0.00027, "0.000269 x 0.000269"), (30_000.0, r"3e\+04 x 3e\+04")])
def test_pixels_of_an_impossible_size_are_refused(tmp_path: Path, pixel: float, metres: str) -> None:
    """Degrees in a file that says metres, and millimetres."""
    transform = (pixel, 0.0, 86.7, 0.0, -pixel, 28.1)
    path = str(write_geotiff(tmp_path / "a.tif", np.ones((8, 8), np.uint8), transform=transform))
    with pytest.raises(
        SceneError, match=rf"^{path}: found pixels of {metres}.* m on the ground; expected 0\.005 to 10000 m"
    ):
        describe([BandSource("red", path, 1)])


@pytest.mark.parametrize("grey", [True, False])
def test_a_picture_with_a_colour_table_is_no_measurement(tmp_path: Path, grey: bool) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.arange(64, dtype=np.uint8).reshape(8, 8), descriptions=["red"])
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {value: (value, value, value if grey else 0, 255) for value in range(256)})
    bands, dem = bands_of_file(str(path), None), ElevationSource((BandSource("elevation", str(path), 1, unit="m"),))
    plain = write_geotiff(tmp_path / "b.tif", np.ones((8, 8), dtype=np.uint8))
    of_plain = [BandSource("red", str(plain), 1)]
    if grey:  # the numbers are shades
        assert describe(bands, dem=dem).bands == bands
        return
    with pytest.raises(SceneError, match=r"a\.tif: found a colour table in band 1 \(red\), whose numbers stand for"):
        describe(bands)
    with pytest.raises(SceneError, match=r"a\.tif: found a colour table in band 1 \(elevation\)"):
        describe(of_plain, dem=dem)
    assert describe(of_plain, quality=[QualityBand("classes", str(path), 1)]).quality  # flags are classes
