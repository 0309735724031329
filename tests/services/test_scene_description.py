"""What is read from, and doubted about, the files of a scene that a request names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from numpy.typing import NDArray

from catalog.settings import Settings
from imagery.classes import GLACIER_SCHEME
from imagery.errors import OutlineError, SceneError
from imagery.projection import reproject
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from services.scene_description import DescribedScene, describe_scene
from services.scene_files import AnyFile
from services.scene_request import SceneRequest
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff, write_polygons
from tests.imagery.product_forge import landsat_level_2, write

SIDE = 64
BANDS = ("blue", "green", "red", "nir")
# Metres: 3000 in the west, 3 m more with every column.
RAMP = np.tile(3000 + 3 * np.arange(SIDE, dtype=np.float64), (SIDE, 1))
FOOT = 0.3048
AT = "2018-10-26T04:41:10.123456Z"

Describe = Callable[..., DescribedScene]


@pytest.fixture
def describe(tmp_path: Path) -> Describe:
    """Describe files as a scene of the pool, in digital numbers."""
    settings = Settings(var_dir=tmp_path / "var", scene_root=tmp_path, patch_size_px=32)

    def call(**request: Any) -> DescribedScene:
        body = {"role": "pool", "name": "a", "unit": "digital number", **request}
        return describe_scene(settings, SceneRequest(**body), AnyFile(), GLACIER_SCHEME)

    return call


def colours() -> NDArray[np.float32]:
    """Four bands without fill: 1000 and more, 1 more with every pixel."""
    return (1000 + np.arange(4 * SIDE * SIDE, dtype=np.float32)).reshape(4, SIDE, SIDE)


def read(scene: DescribedScene, channel: str) -> NDArray[np.float32]:
    source = SceneSource.from_json(scene.scene.source)
    with SceneReader(source) as reader:
        pixels: NDArray[np.float32] = reader.read([channel], source.grid.window)[0]
    return pixels


def in_stack(folder: Path, numbers: NDArray[Any], **declared: Any) -> dict[str, Any]:
    """Elevation as the last band of a file."""
    stack = np.concatenate([colours(), numbers[None]]).astype(np.float32)
    path = write_geotiff(folder / "stack.tif", stack, descriptions=(*BANDS, "elevation"))
    with rasterio.open(path, "r+") as dataset:
        for name, value in declared.items():
            setattr(dataset, name, (*getattr(dataset, name)[:4], value))
    return {"path": str(path)}


def in_folder(folder: Path, numbers: NDArray[Any], **declared: Any) -> dict[str, Any]:
    """Elevation as a file of its own in a folder of bands."""
    (folder / "bands").mkdir()
    for band, pixels in zip(BANDS, colours(), strict=True):
        write_geotiff(folder / "bands" / f"a_{band}.tif", pixels)
    _elevation(folder / "bands" / "a_elevation.tif", numbers, declared)
    return {"path": str(folder / "bands")}


def band_by_band(folder: Path, numbers: NDArray[Any], **declared: Any) -> dict[str, Any]:
    """Elevation as a band that is named in the request."""
    path = write_geotiff(folder / "colours.tif", colours())
    dem = _elevation(folder / "dem.tif", numbers, declared)
    bands = [{"name": name, "path": str(path), "index": index} for index, name in enumerate(BANDS, start=1)]
    return {"bands": [*bands, {"name": "elevation", "path": dem}]}


def _elevation(path: Path, numbers: NDArray[Any], declared: dict[str, Any]) -> str:
    write_geotiff(path, numbers.astype(np.float32))
    with rasterio.open(path, "r+") as dataset:
        for name, value in declared.items():
            setattr(dataset, name, (value,))
    return str(path)


@pytest.mark.parametrize("write", [in_stack, in_folder, band_by_band])
class TestElevationAmongTheBands:
    """It is examined as a DEM beside the bands is."""

    def test_scale_and_unit_of_its_file_count(
        self, tmp_path: Path, describe: Describe, write: Callable[..., Any]
    ) -> None:
        found = describe(**write(tmp_path, RAMP / FOOT * 10, units="feet", scales=0.1))
        np.testing.assert_allclose(read(found, "elevation"), RAMP, atol=1e-2)
        assert any("elevation is in 'feet'; it is converted to metres" in note for note in found.summary.notes)
        assert not any("is taken as elevation" in note for note in found.summary.notes)

    def test_voids_are_missing_and_said(self, tmp_path: Path, describe: Describe, write: Callable[..., Any]) -> None:
        numbers = RAMP.copy()
        numbers[:16] = 0
        request = write(tmp_path, numbers, units="m")
        with pytest.raises(SceneError, match=r"found elevation for 75 % of the scene's valid ground"):
            describe(**request)
        found = describe(**request, allow_partial_dem=True)
        assert np.isnan(read(found, "elevation")[:16]).all()
        assert any("25 % of its pixels are 0, while all other ground is above" in note for note in found.summary.notes)


def test_a_dem_that_is_named_counts_instead_of_the_elevation_among_the_bands(
    tmp_path: Path, describe: Describe
) -> None:
    request = in_stack(tmp_path, np.full((SIDE, SIDE), 1e6))
    with pytest.raises(SceneError, match="found no elevation for the scene"):
        describe(**request)
    dem = _elevation(tmp_path / "dem.tif", RAMP, {"units": "m"})
    found = describe(**request, dem={"path": dem})
    np.testing.assert_array_equal(read(found, "elevation"), RAMP.astype(np.float32))


def test_elevation_models_of_different_height_systems_are_doubted(tmp_path: Path, describe: Describe) -> None:
    scene = str(write_geotiff(tmp_path / "scene.tif", colours(), descriptions=BANDS))
    gap = np.where(np.arange(SIDE) < 30, np.nan, RAMP - 30)
    dems = [
        _elevation(tmp_path / name, numbers, {"units": "m"})
        for name, numbers in (("ellipsoid.tif", gap), ("sea.tif", RAMP))
    ]
    found = describe(path=scene, dem=[{"path": path} for path in dems])
    (note,) = (note for note in found.summary.notes if "differ where they overlap" in note)
    assert "sea.tif lies 30 m above those named before it" in note


def test_a_scene_whose_place_on_the_earth_is_not_known_is_doubted(tmp_path: Path, describe: Describe) -> None:
    for crs, doubted in (("EPSG:4214", True), ("EPSG:4326", False)):  # Beijing 1954, which nobody can place in Nepal
        place = {"crs": crs, "transform": (0.0003, 0.0, 86.78, 0.0, -0.0003, 28.1)}
        path = write_geotiff(tmp_path / "stack.tif", colours(), descriptions=BANDS, **place)
        notes = describe(path=str(path)).summary.notes
        assert doubted == any(note.startswith("no transformation from the datum 'Beijing 1954'") for note in notes)


def inventory(path: Path) -> str:
    """Squares of 10 x 10 pixels of 2000, 2003 and without a date, side by side in the scene's corner."""
    x, y = NORTH_UP[2], NORTH_UP[5]
    shapes = [shapely.box(x + 300 * place, y - 300, x + 300 * (place + 1), y) for place in range(3)]
    columns = [np.array(["2000-10-30", "2003-08-13", None], object)]
    wkb = shapely.to_wkb(shapes)
    pyogrio.raw.write(path, wkb, field_data=columns, fields=["src_date"], geometry_type="Polygon", crs=UTM_45N)
    return str(path)


def test_outlines_of_a_period_are_told_in_numbers_and_stored_with_it(describe: Describe, tmp_path: Path) -> None:
    scene = str(write_geotiff(tmp_path / "scene.tif", colours(), descriptions=BANDS))
    outlines = {"path": inventory(tmp_path / "inventory.gpkg"), "class": "clean ice"}
    every = describe(path=scene, outlines=[outlines])
    assert [(item.pixels, item.polygons) for item in every.summary.classes] == [(300, 3)]
    assert (every.scene.outlines[0]["drawn_from"], every.scene.outlines[0]["drawn_to"]) == (None, None)
    for name in ("outlines", "prior_outlines"):
        found = describe(path=scene, **{name: [outlines | {"drawn_from": "2001", "drawn_to": "2005"}]})
        part = found.summary if name == "outlines" else found.summary.prior_outlines
        assert [(item.pixels, item.polygons) for item in part.classes] == [(100, 1)]
        (layer,) = part.outlines
        assert (layer.drawn_from, layer.drawn_to) == ("2001", "2005")
        assert layer.notes == [
            "only those of the period 2001 to 2005; left out: 1 of other dates (2000-10-30) and 1 without a date"
        ]
    assert found.summary.prior_outlines.date == "2003-08-13"  # of those that are used
    with pytest.raises(OutlineError, match="found no outlines near the scene"):
        describe(path=scene, outlines=[outlines | {"drawn_to": "1990"}])
    with pytest.raises(ValueError, match="found a period from 2005 to 2001; expected it to begin before it ends"):
        describe(path=scene, outlines=[outlines | {"drawn_from": "2005", "drawn_to": "2001"}])


def test_polygons_inside_of_another_of_their_class_are_doubted_as_rock_islands(
    describe: Describe, tmp_path: Path
) -> None:
    scene = str(write_geotiff(tmp_path / "scene.tif", colours(), descriptions=BANDS))
    x, y = NORTH_UP[2], NORTH_UP[5]
    shapes = [shapely.box(x, y - 1200, x + 1200, y), shapely.box(x + 300, y - 600, x + 600, y - 300)]
    path = tmp_path / "ice.gpkg"
    no_fields: dict[str, Any] = {"field_data": [], "fields": []}
    pyogrio.raw.write(path, shapely.to_wkb(shapes), geometry_type="Polygon", crs=UTM_45N, **no_fields)
    (layer,) = describe(path=scene, outlines=[{"path": str(path), "class": "clean ice"}]).summary.outlines
    assert layer.notes == [
        "1 of its polygons lie inside of another of clean ice and count as that: if they are rock islands, cut them "
        "out as holes (QGIS: Difference), or map them to the background by a field"
    ]


def two_sizes(folder: Path, **sizes: float) -> list[dict[str, str]]:
    """Bands over one ground, in pixels of some sizes; the files are those of one band each."""
    for name, size in sizes.items():
        side = round(64 * 20 / size)
        numbers = 1000 + np.arange(side * side, dtype=np.float32).reshape(side, side)
        write(folder / f"a_{name}.tif", numbers, size=size)
    return [{"name": name, "path": str(folder / f"a_{name}.tif")} for name in sizes]


def test_the_first_band_that_is_named_sets_the_grid_and_the_region(describe: Describe, tmp_path: Path) -> None:
    swir, nir = two_sizes(tmp_path, swir1=20, nir=10)
    region = {"row_off": 8, "col_off": 16, "height": 32, "width": 32}
    found = describe(bands=[swir, nir], region=region)
    assert (found.summary.pixel_size, [band.name for band in found.summary.bands]) == ((20, 20), ["swir1", "nir"])
    with rasterio.open(swir["path"]) as dataset:
        np.testing.assert_array_equal(read(found, "swir1"), dataset.read(1)[8:40, 16:48])
    assert describe(bands=[nir, swir], region=region).summary.pixel_size == (10, 10)
    flags = {"name": "scl", "path": str(write(tmp_path / "scl.tif", np.full((32, 32), 4, np.uint8), size=40))}
    assert describe(bands=[flags, swir, nir], region=region).summary.pixel_size == (20, 20)


def test_the_first_band_that_is_named_may_be_no_band_of_the_stack(describe: Describe, tmp_path: Path) -> None:
    pan, red = two_sizes(tmp_path, B8=10, B4=20)
    request: dict[str, Any] = {"bands": [pan, red], "sensor": "landsat-8-oli"}
    found = describe(**request)
    assert found.summary.pixel_size == (20, 20)
    (note,) = (note for note in found.summary.notes if "sets the grid" in note)
    assert note == "B8, the first band named, is none that sets the grid: the grid is that of a_B4.tif"
    region = {"row_off": 0, "col_off": 0, "height": 32, "width": 32}
    with pytest.raises(
        SceneError, match=r"found a region in pixels of .*a_B8.tif.*expected it in pixels of .*a_B4.tif"
    ):
        describe(**request, region=region)
    assert describe(bands=[red, pan], sensor="landsat-8-oli", region=region).summary.pixel_size == (20, 20)


def test_the_file_whose_pixels_a_region_of_a_folder_counts_is_told(describe: Describe, tmp_path: Path) -> None:
    (tmp_path / "bands").mkdir()
    two_sizes(tmp_path / "bands", swir1=20, nir=10)
    region = {"row_off": 0, "col_off": 0, "height": 32, "width": 32}
    for part in ({}, {"region": region}):
        found = describe(path=str(tmp_path / "bands"), **part)
        assert found.summary.pixel_size == (10, 10)
        assert any("the region is in pixels of a_nir.tif" in note for note in found.summary.notes) == bool(part)


@pytest.mark.parametrize(
    ("stated", "kept"),
    [
        ("2018-10-26", "2018-10-26T04:41:10.123456Z"),
        ("2018-10-25", "2018-10-26T04:41:10.123456Z"),  # in Hawaii
        ("2018-10-25T23:00:00-10:00", "2018-10-26T04:41:10.123456Z"),
        ("2018-10-27", None),
        ("2018-10-24", None),
        ("2019-10-26", None),
    ],
)
def test_a_day_that_the_product_does_not_state_is_refused(
    describe: Describe, tmp_path: Path, stated: str, kept: str | None
) -> None:
    request = {"path": str(landsat_level_2(tmp_path / "l2")), "acquired": stated}
    if kept is None:
        with pytest.raises(SceneError, match=f"found the date {stated}, as stated, and {AT} in the product"):
            describe(**request)
    else:
        assert describe(**request).scene.acquired == kept


def test_a_stated_moment_makes_the_day_that_metadata_state_more_exact(describe: Describe, tmp_path: Path) -> None:
    path = str(landsat_level_2(tmp_path / "l2", metadata=False))
    assert describe(path=path).scene.acquired == "2018-10-26"
    assert describe(path=path, acquired="2018-10-26T04:41:00Z").scene.acquired == "2018-10-26T04:41:00Z"
    with pytest.raises(SceneError, match="found the date 2018-10-27T04:41:00Z, as stated, and 2018-10-26 in the"):
        describe(path=path, acquired="2018-10-27T04:41:00Z")


@pytest.mark.parametrize(
    ("stated", "kept", "note"),
    [
        (None, "2018-10-26", "the date 2018-10-26 follows from the name a_20181026.tif"),
        ("2018-10-26", "2018-10-26", None),
        (
            *("2018-10-27", "2018-10-27"),
            "taken on 2018-10-27 as stated, though 2018-10-26 follows from the name a_20181026.tif",
        ),
    ],
)
def test_a_date_that_follows_from_a_name_yields_to_one_that_is_stated(
    describe: Describe, tmp_path: Path, stated: str | None, kept: str, note: str | None
) -> None:
    path = str(write_geotiff(tmp_path / "a_20181026.tif", colours(), descriptions=BANDS))
    found = describe(path=path, acquired=stated)
    assert found.scene.acquired == kept
    assert [text for text in found.summary.notes if "2018-10-26" in text] == ([note] if note else [])


@pytest.mark.parametrize(
    ("dark", "fields", "stated", "offset"),
    [
        (0, ("B2", "B3", "B4", "B8"), None, -0.1),
        (0, ("B2", "B3", "B4", "B8"), "2018-10-26", 0.0),
        (41, ("B2", "B3", "B4", "B8", "B11", "B12"), None, 0.0),
        (41, ("B2", "B3", "B4", "B8", "B11", "B12"), "2023-08-01", -0.1),
        (41, ("B2", "B3", "B4", "B8", "B11", "B12"), "2023-08-01T04:41:00Z", -0.1),
    ],
)
def test_the_day_that_is_stated_decides_about_the_offset_of_sentinel_2(
    describe: Describe, tmp_path: Path, dark: int, fields: tuple[str, ...], stated: str | None, offset: float
) -> None:
    """Pixels do not tell: no snow below 1000 without short-wave infrared, or 1 % of 4096 pixels."""
    numbers = np.arange(3000, 3000 + SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)
    numbers.flat[:dark] = 900
    file = str(write_geotiff(tmp_path / "area.tif", np.stack([numbers] * len(fields)), descriptions=fields))
    bands = [{"name": name, "path": file, "index": index} for index, name in enumerate(fields, start=1)]
    for named in ({"path": file}, {"bands": bands}):
        found = describe(**named, unit=None, sensor="sentinel-2-msi", level="surface", acquired=stated)
        assert {band.offset for band in found.summary.bands} == {offset}


def test_fill_that_is_stated_is_no_pixel_where_the_offset_of_sentinel_2_is_judged(
    describe: Describe, tmp_path: Path
) -> None:
    numbers = np.full((6, SIDE, SIDE), 4000, np.uint16) + np.arange(SIDE, dtype=np.uint16)
    numbers[:, :8] = 1  # an eighth, and all that lies below 1000
    fields = ("B2", "B3", "B4", "B8", "B11", "B12")
    file = str(write_geotiff(tmp_path / "area.tif", numbers, descriptions=fields))
    for stated, offset in ((None, 0.0), (1, -0.1)):
        found = describe(path=file, unit=None, nodata=stated)
        assert {band.offset for band in found.summary.bands} == {offset}


def test_what_a_border_leaves_out_or_repairs_is_told(describe: Describe, tmp_path: Path) -> None:
    scene = str(write_geotiff(tmp_path / "scene.tif", colours(), descriptions=BANDS))
    x, y = NORTH_UP[2], NORTH_UP[5]
    bow = shapely.Polygon([(x, y), (x + 600, y - 600), (x + 600, y), (x, y - 600)])
    line = shapely.LineString([(x, y), (x + 600, y - 600)])
    folder = tmp_path / "borders"
    folder.mkdir()
    border = write_polygons(folder / "border.gpkg", {"border": [bow, line]})
    notes = [
        note
        for note in describe(path=scene, border={"path": str(border)}).summary.notes
        if note.startswith("border border.gpkg: ")
    ]
    assert len(notes) == 2
    assert "invalid outlines: 1 repaired, 0 dropped for having no area; Self-intersection (1)" in notes[0]
    assert notes[1].endswith("left out because they are no polygons: LineString (1); the first is feature 2")


def test_glaciers_that_are_gone_are_told_of_a_layer_that_is_named_for_a_class(
    describe: Describe, tmp_path: Path
) -> None:
    scene = str(write_geotiff(tmp_path / "scene.tif", colours(), descriptions=BANDS))
    x, y = NORTH_UP[2], NORTH_UP[5]
    path = tmp_path / "glims.gpkg"
    fields: dict[str, Any] = {"fields": ["glac_stat"], "field_data": [np.array(["gone"], dtype=object)]}
    pyogrio.raw.write(
        path, shapely.to_wkb([shapely.box(x, y - 600, x + 600, y)]), geometry_type="Polygon", crs=UTM_45N, **fields
    )
    by_field = {"class_field": "glac_stat", "classes": {"gone": "clean ice"}}
    for named in ({"class": "clean ice"}, by_field):
        notes = describe(path=scene, outlines=[{"path": str(path), **named}]).summary.notes
        assert [note for note in notes if "1 features are of glaciers that are gone" in note]


def test_the_centre_of_a_scene_across_the_antimeridian_lies_on_it(describe: Describe, tmp_path: Path) -> None:
    """The pixel in the middle of the scene lies on both sides of 180 degrees."""
    x, y = shapely.get_coordinates(reproject(shapely.Point(180.0, -17.0), "EPSG:4326", "EPSG:32701"))[0]
    place = (30.0, 0.0, x - 30 * (SIDE / 2 + 0.5), 0.0, -30.0, y + 30 * (SIDE / 2 + 0.5))
    path = write_geotiff(tmp_path / "scene.tif", colours(), descriptions=BANDS, crs="EPSG:32701", transform=place)
    lon, lat = describe(path=str(path)).summary.center
    assert (abs(lon), lat) == pytest.approx((180.0, -17.0), abs=1e-4)
