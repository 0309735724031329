"""What is read from, or guessed about, files of elevation."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer

from imagery.describe_elevation import check_coverage, describe_dem, elevation_coverage, notes_on_steps
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff

RELIEF = Path(__file__).parents[1] / "data" / "relief"
SIDE = 40
# Metres: 3000 in the west, 3 m more with every column.
RAMP = np.tile(3000 + 3 * np.arange(SIDE, dtype=np.float64), (SIDE, 1))


def dem(folder: Path, stored: NDArray[Any], *, tags: dict[str, str] | None = None, **declared: Any) -> str:
    """Write a DEM; `declared` are a nodata value and the dataset's attributes (scales, offsets, units)."""
    options = {key: declared.pop(key) for key in ("nodata", "crs", "transform") if key in declared}
    path = write_geotiff(folder / "dem.tif", stored, **options)
    with rasterio.open(path, "r+") as dataset:
        for name, value in declared.items():
            setattr(dataset, name, (value,))
        dataset.update_tags(1, **(tags or {}))
    return str(path)


def read(folder: Path, tiles: tuple[BandSource, ...]) -> NDArray[np.float32]:
    """Elevation (SIDE, SIDE) on a scene whose grid is that of `dem`."""
    red = write_geotiff(folder / "red.tif", np.ones((SIDE, SIDE), dtype=np.uint8))
    source = describe([BandSource("red", str(red), 1)], dem=ElevationSource(tiles))
    with SceneReader(source) as reader:
        pixels: NDArray[np.float32] = reader.read(["elevation"], source.grid.window)[0]
    return pixels


@pytest.mark.parametrize(
    ("stored", "declared"),
    [
        (RAMP.astype(np.float32), {}),
        ((RAMP * 100).astype(np.int32), {"scales": 0.01, "units": "metre"}),
        (((RAMP - 3000) * 10).astype(np.uint16), {"scales": 0.1, "offsets": 3000.0}),
        ((RAMP / 0.3048).astype(np.float32), {"units": "ft"}),
        ((RAMP / 0.3048 * 10).astype(np.int32), {"scales": 0.1, "units": "feet"}),
        ((RAMP / 1200 * 3937).astype(np.float32), {"units": "US survey foot"}),
        ((RAMP / 1200 * 3937).astype(np.float32), {"tags": {"units": "us-ft"}}),
        ((RAMP * 100).astype(np.int32), {"tags": {"UNITTYPE": "cm"}}),
        (((RAMP - 3000) * 10).astype(np.int16), {"tags": {"scale_factor": "0.1", "add_offset": "3000"}}),
        ((RAMP / 0.3048).astype(np.float32), {"crs": "EPSG:32645+8228"}),  # NAVD88 height (ft)
    ],
    ids=[
        "metres",
        "scaled",
        "offset",
        "feet",
        "scaled feet",
        "survey feet",
        "tag",
        "centimetres",
        "items",
        "vertical CRS",
    ],
)
def test_scale_offset_and_unit_of_a_file_make_metres(
    tmp_path: Path, stored: NDArray[Any], declared: dict[str, Any]
) -> None:
    tiles, _ = describe_dem([dem(tmp_path, stored, **declared)])
    assert tiles[0].unit == "m"
    np.testing.assert_allclose(read(tmp_path, tiles), RAMP, atol=0.11)


@pytest.mark.parametrize(
    ("unit", "metres"),
    [
        *(("m a.s.l.", 1), ("m.a.s.l.", 1), ("m amsl", 1), ("meters above mean sea level", 1), ("metre (EGM96)", 1)),
        *(("m above WGS 84 ellipsoid", 1), ("Meters (EGM2008 height)", 1), ("feet above mean sea level", 0.3048)),
    ],
)
def test_a_reference_may_follow_the_unit(tmp_path: Path, unit: str, metres: float) -> None:
    tiles, notes = describe_dem([dem(tmp_path, RAMP.astype(np.float32), units=unit)])
    assert tiles[0].scale == metres
    assert notes == (() if metres == 1 else (f"dem.tif: elevation is in {unit!r}; it is converted to metres",))


@pytest.mark.parametrize("unit", ["m/s", "m s-1", "above sea level", "km/h", "m a year"])
def test_other_units_that_begin_like_metres_are_refused(tmp_path: Path, unit: str) -> None:
    with pytest.raises(SceneError, match=f"found elevation in '{unit}'; expected m, ft"):
        describe_dem([dem(tmp_path, RAMP.astype(np.float32), units=unit)])


def test_two_units_that_contradict_each_other_are_told(tmp_path: Path) -> None:
    """The band says metres, and the CRS has heights in US survey feet (NAVD88)."""
    path = dem(tmp_path, RAMP.astype(np.float32), crs="EPSG:32645+6360", units="m")
    tiles, notes = describe_dem([path])
    np.testing.assert_allclose(read(tmp_path, tiles), RAMP, atol=1e-3)
    assert any("is in 'm' by its band, which is used, and its vertical coord" in note for note in notes)
    tiles, notes = describe_dem([path], unit="ft")
    np.testing.assert_allclose(read(tmp_path, tiles), RAMP * 0.3048, atol=1e-3)
    assert not any("by its band" in note for note in notes)


def test_a_scale_that_may_make_metres_of_the_unit_already_is_doubted(tmp_path: Path) -> None:
    path = dem(tmp_path, (RAMP * 100).astype(np.int32), scales=0.01, units="cm")
    tiles, notes = describe_dem([path])
    np.testing.assert_allclose(read(tmp_path, tiles), RAMP / 100, atol=1e-3)
    assert any(
        "numbers are multiplied by 0.01 as its tags say, and again because of its unit" in note for note in notes
    )
    tiles, notes = describe_dem([path], unit="m")
    np.testing.assert_allclose(read(tmp_path, tiles), RAMP, atol=1e-3)
    assert notes == ()


@pytest.mark.parametrize("unit", ["unknown", "None", " n/a "])
def test_a_unit_that_is_said_to_be_unknown_is_none(tmp_path: Path, unit: str) -> None:
    _, notes = describe_dem([dem(tmp_path, RAMP.astype(np.float32), units=unit)])
    assert notes == ("dem.tif: it does not say the unit of its elevations, which are taken as metres",)


def test_what_the_user_states_comes_before_what_the_file_declares(tmp_path: Path) -> None:
    path = dem(tmp_path, (RAMP * 10).astype(np.int32), scales=0.01, units="ft")
    tiles, notes = describe_dem([path], scale=0.1, unit="m")
    np.testing.assert_allclose(read(tmp_path, tiles), RAMP, atol=1e-3)
    assert notes == ()


@pytest.mark.parametrize(
    ("void", "dtype"),
    [
        (-9999, np.int16),
        (-10000, np.int16),
        (-32768, np.int16),
        (-32767, np.float32),
        (65535, np.uint16),
        (float(np.finfo(np.float32).min), np.float32),
        (-3.402823061e38, np.float32),
        (1e20, np.float64),
        (-777, np.int16),
        (0, np.int16),
    ],
)
def test_undeclared_voids_are_missing_and_said(tmp_path: Path, void: float, dtype: type) -> None:
    stored: NDArray[Any] = RAMP.astype(dtype)
    stored[5:9, 5:9] = void
    tiles, notes = describe_dem([dem(tmp_path, stored, units="m")])
    missing = np.zeros((SIDE, SIDE), dtype=bool)
    missing[5:9, 5:9] = True
    np.testing.assert_array_equal(np.isnan(read(tmp_path, tiles)), missing)
    (note,) = notes
    assert note.startswith("dem.tif: 1 % of its pixels are ")
    assert "taken as no data, which it does not declare" in note


def test_a_scale_of_all_bands_of_a_file_is_not_that_of_its_elevation(tmp_path: Path) -> None:
    stack = np.stack([np.full_like(RAMP, 2000), RAMP]).astype(np.int16)
    path = write_geotiff(tmp_path / "stack.tif", stack, descriptions=("red", "elevation"))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(scale_factor="0.0001")
    tiles, notes = describe_dem([str(path)], index=2, unit="m")
    np.testing.assert_array_equal(read(tmp_path, tiles), RAMP.astype(np.float32))
    assert notes == ("stack.tif: scale 0.0001 and offset 0 of the file are not applied to elevation",)


def test_an_item_that_is_no_scale_is_refused_unless_the_scale_is_stated(tmp_path: Path) -> None:
    path = dem(tmp_path, RAMP.astype(np.float32), units="m", tags={"SCALE": "1:50000"})
    with pytest.raises(SceneError, match="found the metadata item scale='1:50000'; expected a number"):
        describe_dem([path])
    np.testing.assert_array_equal(read(tmp_path, describe_dem([path], scale=1, offset=0)[0]), RAMP.astype(np.float32))


def test_nan_and_declared_voids_need_no_guess(tmp_path: Path) -> None:
    stored = RAMP.astype(np.float32)
    stored[5, 5], stored[6, 6] = np.nan, -9999
    tiles, notes = describe_dem([dem(tmp_path, stored, units="m", nodata=-9999)])
    assert np.argwhere(np.isnan(read(tmp_path, tiles))).tolist() == [[5, 5], [6, 6]]
    assert notes == ()


def test_a_void_number_that_would_be_a_possible_elevation_is_missing_too(tmp_path: Path) -> None:
    stored = (RAMP * 100).astype(np.int32)
    stored[5, 5] = -9999  # -99.99 m
    tiles, _ = describe_dem([dem(tmp_path, stored, scales=0.01, units="m")])
    assert np.argwhere(np.isnan(read(tmp_path, tiles))).tolist() == [[5, 5]]


def test_zero_is_elevation_where_the_ground_comes_near_the_sea_or_the_user_states_the_nodata_value(
    tmp_path: Path,
) -> None:
    coast = np.maximum(RAMP - 3060, 0).astype(np.int16)
    for stored, stated in ((coast, None), (np.where(RAMP < 3030, 0, RAMP).astype(np.int16), -9999.0)):
        tiles, notes = describe_dem([dem(tmp_path, stored, units="m")], nodata=stated)
        assert (read(tmp_path, tiles)[:, :10] == 0).all()
        assert notes == ()


@pytest.mark.parametrize(
    ("stored", "declared", "message"),
    [
        (
            (RAMP + 2000) / 0.3048,
            {},
            r"found impossible elevations of 16404.* m in 100\.0 % .* expected -500 to 12500 m: state the unit",
        ),
        (RAMP * 10, {}, "found impossible elevations of 30000 to 31170 m"),
        (RAMP, {"units": "furlong"}, "found elevation in 'furlong'; expected m, ft, US survey foot"),
        (np.full((SIDE, SIDE), -9999.0), {}, "found no elevation for the scene"),
        (np.full((SIDE, SIDE), np.nan), {}, "found no elevation for the scene"),
    ],
    ids=["feet", "decimetres", "unknown unit", "voids only", "nan only"],
)
def test_impossible_elevations_are_refused(
    tmp_path: Path, stored: NDArray[np.float64], declared: dict[str, Any], message: str
) -> None:
    path = dem(tmp_path, stored.astype(np.float32), **declared)
    with pytest.raises(SceneError, match=message):
        describe_dem([path])


def test_elevations_above_mount_everest_are_doubtful(tmp_path: Path) -> None:
    _, notes = describe_dem([dem(tmp_path, (RAMP / 0.3048).astype(np.float32))])
    assert notes[1] == "dem.tif: elevations reach 10226 m, above Mount Everest: check their unit (feet?)"


def test_a_few_wild_pixels_are_missing_and_counted(tmp_path: Path) -> None:
    stored = np.tile(RAMP, (3, 1)).astype(np.float32)  # 4800 pixels
    stored[0, 0], stored[7, 7] = -1500, 13000
    tiles, notes = describe_dem([dem(tmp_path, stored, units="m")])
    assert notes == (
        "dem.tif: 2 of 4800 pixels sampled are impossible elevations (-1500 to 13000 m): taken as no data",
    )
    assert np.isnan(read(tmp_path, tiles)).sum() == 2


def test_guesses_and_omissions_are_told_once_for_all_files(tmp_path: Path) -> None:
    paths = []
    for number, east in enumerate((0, 600, 90000)):
        moved = (30.0, 0.0, NORTH_UP[2] + east, 0.0, -30.0, NORTH_UP[5])
        paths.append(str(write_geotiff(tmp_path / f"{number}.tif", RAMP.astype(np.int16), transform=moved)))
    tiles, notes = describe_dem(paths, Grid(UTM_45N, NORTH_UP, SIDE, SIDE))
    assert [tile.path for tile in tiles] == paths[:2]
    assert notes == (
        "0.tif, 1.tif: it does not say the unit of its elevations, which are taken as metres",
        "2.tif: left out: it misses the scene's ground",
    )
    with pytest.raises(SceneError, match=r"found no elevation for the scene \(2\.tif: left out: it misses"):
        describe_dem(paths[2:], Grid(UTM_45N, NORTH_UP, SIDE, SIDE))
    with pytest.raises(SceneError, match=r"0\.tif: found 1 bands; expected elevation in band 2"):
        describe_dem(paths, index=2)


def test_a_map_in_feet_makes_the_guess_of_metres_doubtful(tmp_path: Path) -> None:
    path = dem(tmp_path, RAMP.astype(np.int16), crs="EPSG:2263", transform=(100, 0, 980000, 0, -100, 200000))
    _, notes = describe_dem([path])
    assert notes == (
        "dem.tif: it does not say the unit of its elevations, which are taken as metres (its map is in US survey foot: "
        "check it)",
    )


def test_the_height_system_is_told_if_the_file_names_it(tmp_path: Path) -> None:
    _, notes = describe_dem([dem(tmp_path, RAMP.astype(np.float32), crs="EPSG:32645+5773", units="m")])
    assert notes == ("dem.tif: heights are above EGM96 height, as the file says",)


@pytest.mark.parametrize(("higher", "told"), [(30.0, True), (-30.0, True), (5.0, False)])
def test_a_step_between_two_models_is_told(tmp_path: Path, higher: float, told: bool) -> None:
    """The second fills the right quarter of the first, above or below by as much everywhere."""
    gap = np.where(np.arange(SIDE) < 30, RAMP, -9999.0).astype(np.float32)
    first = write_geotiff(tmp_path / "first.tif", gap, nodata=-9999)
    second = write_geotiff(tmp_path / "second.tif", (RAMP + higher).astype(np.float32))
    tiles, _ = describe_dem([str(first), str(second)])
    red = write_geotiff(tmp_path / "red.tif", np.ones((SIDE, SIDE), dtype=np.uint8))
    source = describe([BandSource("red", str(red), 1)], dem=ElevationSource(tiles))
    notes = notes_on_steps(source)
    side = "above" if higher > 0 else "below"
    assert [f"second.tif lies 30 m {side} those named before it, in the median" in note for note in notes] == [
        True
    ] * told
    assert notes_on_steps(replace(source, dem=ElevationSource(tiles[:1]))) == []


def test_a_large_file_is_sampled_all_over(tmp_path: Path) -> None:
    stored = np.full((2100, 2100), 3000, dtype=np.int16)
    stored[-100:, -100:] = -9999
    tiles, notes = describe_dem([dem(tmp_path, stored, units="m")])
    assert tiles[0].nodata == -9999
    assert "pixels are -9999" in notes[0]


@pytest.mark.parametrize("name", ["oetztal.tif", "exploradores.tif"])
def test_real_models_are_taken_as_they_are(tmp_path: Path, name: str) -> None:
    tiles, notes = describe_dem([str(RELIEF / name)])
    assert (tiles[0].scale, tiles[0].offset, tiles[0].nodata) == (1, 0, None)
    assert len(notes) == 1  # the unit
    with rasterio.open(RELIEF / name) as dataset:
        known = dataset.read_masks(1) > 0
        options = {"crs": dataset.crs, "transform": dataset.transform}
        grid_like = write_geotiff(tmp_path / "red.tif", np.ones(dataset.shape, dtype=np.uint8), **options)
    source = describe([BandSource("red", str(grid_like), 1)], dem=ElevationSource(tiles))
    with SceneReader(source) as reader:
        elevation, slope = reader.read(["elevation", "slope"], source.grid.window)
    np.testing.assert_array_equal(np.isnan(elevation), ~known)
    assert 10 < np.nanmean(slope) < 40
    assert np.nanmax(slope) < 85
    coverage = elevation_coverage(source)
    assert coverage.share == pytest.approx(known.mean(), abs=1e-6)
    assert np.nanmin(elevation) <= coverage.lowest_m < coverage.highest_m <= np.nanmax(elevation)


def test_elevation_of_a_part_of_the_scene_is_refused_unless_gaps_are_allowed(tmp_path: Path) -> None:
    bands = np.ones((SIDE, SIDE), dtype=np.uint8)
    bands[:, 30:] = 0  # a quarter of the scene is fill, and needs no elevation
    red = write_geotiff(tmp_path / "red.tif", bands, nodata=0)
    part = write_geotiff(tmp_path / "part.tif", RAMP[:, :15].astype(np.int16))
    source = describe([BandSource("red", str(red), 1)], dem=ElevationSource(describe_dem([str(part)])[0]))
    with pytest.raises(SceneError, match=r"part\.tif: found elevation for 50 % of .* expected at least 99 %: add the"):
        check_coverage(source)
    assert check_coverage(source, allow_partial_dem=True).share == 0.5
    rest = tuple(
        tile
        for col in (0, 15)
        for moved in [tuple(Affine(*NORTH_UP) @ Affine.translation(col, 0))[:6]]
        for tile in describe_dem([str(write_geotiff(tmp_path / f"{col}.tif", RAMP.astype(np.int16), transform=moved))])[
            0
        ]
    )
    assert check_coverage(describe([BandSource("red", str(red), 1)], dem=ElevationSource(rest))).share == 1
    none = write_geotiff(tmp_path / "none.tif", np.where(bands == 0, RAMP, -9999).astype(np.int16), nodata=-9999)
    source = describe([BandSource("red", str(red), 1)], dem=ElevationSource(describe_dem([str(none)])[0]))
    with pytest.raises(SceneError, match="found elevation for 0 %"):
        check_coverage(source, allow_partial_dem=True)


def test_an_srtm_tile_as_downloaded_is_taken(tmp_path: Path) -> None:
    heights = np.full((1201, 1201), 3000, dtype=">i2")  # as the format has it: big-endian, voids -32768
    heights[:, 600:] = -32768
    (tmp_path / "N28E086.hgt").write_bytes(heights.tobytes())
    tiles, _ = describe_dem([str(tmp_path / "N28E086.hgt")])
    side = 1 / 1200
    red = write_geotiff(
        tmp_path / "red.tif",
        np.ones((40, 40), dtype=np.uint8),
        crs="EPSG:4326",
        transform=(side, 0, 86.4, 0, -side, 28.9),
    )
    source = describe([BandSource("red", str(red), 1)], dem=ElevationSource(tiles))
    with SceneReader(source) as reader:
        elevation, slope = reader.read(["elevation", "slope"], source.grid.window)
    assert (elevation == 3000).all()
    assert (slope == 0).all()


@pytest.mark.parametrize("void", [-1, -100, 9999, 1])
def test_a_repeated_number_far_from_all_others_is_no_elevation(tmp_path: Path, void: float) -> None:
    stored = RAMP.astype(np.int16)
    stored[:5, :5] = void
    tiles, notes = describe_dem([dem(tmp_path, stored)])
    assert any(f"1.6 % of its pixels are {void:g}: taken as no data" in note for note in notes)
    elevation = read(tmp_path, tiles)
    assert np.isnan(elevation[:5, :5]).all()
    np.testing.assert_allclose(elevation[5:], RAMP[5:])


def test_a_single_low_pixel_and_the_sea_below_a_cliff_stay(tmp_path: Path) -> None:
    stored = RAMP.astype(np.int16)
    stored[0, 0] = 2000
    assert describe_dem([dem(tmp_path, stored)])[0][0].nodata is None
    coast = np.where(np.arange(SIDE) < 5, 0, np.arange(SIDE) * 20)[None].repeat(SIDE, axis=0)
    assert describe_dem([dem(tmp_path, coast.astype(np.int16))])[0][0].nodata is None


def test_a_picture_of_the_relief_is_doubted(tmp_path: Path) -> None:
    shade = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE)).astype(np.uint8)
    assert any("hillshade" in note for note in describe_dem([dem(tmp_path, shade)])[1])


@pytest.mark.parametrize("nodata", [None, -9999])
def test_a_virtual_mosaic_is_one_model_and_its_gaps_are_no_data(tmp_path: Path, nodata: int | None) -> None:
    """The mosaic has the west half only; where it states no nodata value, GDAL reads 0 in the east."""
    west = dem(tmp_path, RAMP[:, : SIDE // 2].astype(np.float32))
    size = f'xSize="{SIDE // 2}" ySize="{SIDE}"'
    vrt = tmp_path / "mosaic.vrt"
    vrt.write_text(
        f'<VRTDataset rasterXSize="{SIDE}" rasterYSize="{SIDE}"><SRS>{UTM_45N}</SRS><GeoTransform>'
        f"{NORTH_UP[2]}, {NORTH_UP[0]}, 0, {NORTH_UP[5]}, 0, {NORTH_UP[4]}</GeoTransform>"
        '<VRTRasterBand dataType="Float32" band="1">'
        + (f"<NoDataValue>{nodata}</NoDataValue>" if nodata else "")
        + f'<SimpleSource><SourceFilename relativeToVRT="1">{Path(west).name}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="0" yOff="0" {size}/>'
        "</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    tiles, _ = describe_dem([str(vrt)])
    elevation = read(tmp_path, tiles)
    np.testing.assert_allclose(elevation[:, : SIDE // 2], RAMP[:, : SIDE // 2])
    assert np.isnan(elevation[:, SIDE // 2 :]).all()


def test_a_scene_near_the_pole_has_the_relief_of_a_model_in_degrees(tmp_path: Path) -> None:
    """Elevation rises by 200 m a degree of latitude, 1.79 m a kilometre: the slope is 0.1 degrees everywhere."""
    step = 1 / 30
    latitudes = -60 - (np.arange(900) + 0.5) * step
    stored = np.tile((2000 + 200 * (latitudes + 90))[:, None], (1, 1800)).astype(np.float32)
    transform = (step, 0.0, 140.0, 0.0, -step, -60.0)
    path = write_geotiff(tmp_path / "dem.tif", stored, crs="EPSG:4326", transform=transform)
    to_polar = Transformer.from_crs("EPSG:4326", "EPSG:3031", always_xy=True)
    x, y = to_polar.transform(170.0, -88.0)
    grid = (30.0, 0.0, x - 600, 0.0, -30.0, y + 600)
    red = write_geotiff(tmp_path / "red.tif", np.ones((SIDE, SIDE), np.uint8), crs="EPSG:3031", transform=grid)
    bands = [BandSource("red", str(red), 1)]
    tiles, _ = describe_dem([str(path)], describe(bands).grid)
    with SceneReader(describe(bands, dem=ElevationSource(tiles))) as reader:
        elevation, slope = reader.read(["elevation", "slope"], reader.source.grid.window)
    middle = grid[2] + 15 + 30 * np.arange(SIDE), grid[5] - 15 - 30 * np.arange(SIDE)
    _, latitude = to_polar.transform(*np.meshgrid(*middle), direction="INVERSE")
    np.testing.assert_allclose(elevation, 2000 + 200 * (latitude + 90), atol=0.05)
    np.testing.assert_allclose(slope, np.degrees(np.arctan(200 / 111_690)), rtol=1e-3)


def test_elevation_that_was_not_described_is_refused(tmp_path: Path) -> None:
    path = dem(tmp_path, (RAMP * 100).astype(np.int32), scales=0.01)
    red = str(write_geotiff(tmp_path / "red.tif", np.ones((SIDE, SIDE), np.uint16)))
    with pytest.raises(SceneError, match="found elevation in the unit 'digital number'; expected 'm': describe_dem"):
        describe([BandSource("red", red, 1)], dem=ElevationSource((BandSource("elevation", path, 1),)))


def test_integers_without_a_scale_are_no_reflectance(tmp_path: Path) -> None:
    red = str(write_geotiff(tmp_path / "red.tif", np.ones((SIDE, SIDE), np.uint16)))
    with pytest.raises(
        SceneError, match=r"found integers \(uint16\) in band 1, said to be reflectance without a scale"
    ):
        describe([BandSource("red", red, 1, unit="reflectance")])
