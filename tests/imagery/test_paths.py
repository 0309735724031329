"""A local path means the file of that name, whatever rasterio, pyogrio, GDAL and fsspec would read into it."""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from imagery import everest
from imagery.band_names import bands_of_file
from imagery.border import BorderSource
from imagery.classes import GLACIER_SCHEME
from imagery.describe_elevation import describe_dem
from imagery.describe_scene import describe
from imagery.errors import OutlineError, SceneError
from imagery.grid import Grid
from imagery.maps import read_map
from imagery.masks import OutlineLayer, mask_to_geotiff, rasterize_outlines
from imagery.outlines import ClassLayer, write_class_layers
from imagery.paths import is_address, name_for_rasterio
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource
from imagery.store import RasterStore
from imagery.synthetic import write_scene
from imagery.vectors import read_layer
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff, write_polygons

GRID = Grid(UTM_45N, NORTH_UP, 8, 6)
WEST = shapely.box(NORTH_UP[2], NORTH_UP[5] - 180, NORTH_UP[2] + 120, NORTH_UP[5])  # the left half of GRID

# One for each thing that a library reads into a name.
STEMS = [
    "!new",
    "glaciers!2020",
    "a;b",
    "a?b=c",
    "a#b",
    "100%20",
    "2013-10-30T04:41:00Z",
    "zip+file",
    "zip:a!b",
    "s3:bucket",
    "GTIFF_DIR:1:a",
    "a::b",
    "Gletscher (Übersicht) с ледником 氷河",
    "~",
    "[a]*{b}",
    "a,b 'c' \"d\" $HOME",
    "trailing. ",
    "tab\tand\nnewline",
]


@pytest.fixture(params=["absolute", "relative"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder in which the tests make files, as the beginning of a path."""
    monkeypatch.chdir(tmp_path)
    return f"{tmp_path}/" if request.param == "absolute" else ""


def _path(folder: str, stem: str, ending: str) -> str:
    """A path with the stem as the name of both a folder and a file in it."""
    os.makedirs(f"{folder}{stem}", exist_ok=True)  # noqa: PTH103
    return f"{folder}{stem}/{stem}{ending}"


@pytest.mark.parametrize("stem", STEMS)
def test_rasters_are_read_by_their_literal_path(folder: str, stem: str) -> None:
    path, dem = _path(folder, stem, ".tif"), _path(folder, stem, "-dem.tif")
    write_geotiff(Path("red.tif"), np.arange(48, dtype=np.uint8).reshape(1, 6, 8), descriptions=["red"])
    write_geotiff(Path("dem.tif"), np.full((3, 4), 5000.0), transform=(60.0, 0, NORTH_UP[2], 0, -60.0, NORTH_UP[5]))
    Path("red.tif").rename(path)
    Path("dem.tif").rename(dem)
    source = describe(bands_of_file(path, None), dem=ElevationSource(describe_dem([dem])[0]))
    with SceneReader(source) as reader:
        red, elevation = reader.read(["red", "elevation"], source.grid.window)
    np.testing.assert_array_equal(red, np.arange(48).reshape(6, 8))
    np.testing.assert_array_equal(elevation, 5000)


@pytest.mark.parametrize("ending", [".gpkg", ".geojson", ".shp"])
@pytest.mark.parametrize("stem", STEMS)
def test_outlines_and_borders_are_read_by_their_literal_path(folder: str, stem: str, ending: str) -> None:
    write_polygons(Path(f"plain-name{ending}"), {"plain-name": [WEST]})
    path = _path(folder, stem, ending)
    for part in Path().glob("plain-name.*"):
        part.rename(path.removesuffix(ending) + part.suffix)
    write_geotiff(Path("red.tif"), np.ones((6, 8), dtype=np.uint8))
    mask = rasterize_outlines([OutlineLayer(path, None, "clean ice")], GRID, GLACIER_SCHEME)
    assert mask.sum(axis=0).tolist() == [6, 6, 6, 6, 0, 0, 0, 0]
    source = describe([BandSource("red", "red.tif", 1)], border=BorderSource(path))
    with SceneReader(source) as reader:
        np.testing.assert_array_equal(reader.valid_mask(source.grid.window), mask == 1)


@pytest.mark.parametrize("stem", STEMS)
def test_the_store_reads_and_writes_below_its_literal_root(folder: str, stem: str) -> None:
    root = f"{folder}{stem}"
    store = RasterStore(root)
    store.put("maps/1.tif", mask_to_geotiff(np.ones((6, 8), dtype=np.uint8), GRID, GLACIER_SCHEME))
    assert (Path(root).absolute() / "maps" / "1.tif").is_file()
    np.testing.assert_array_equal(read_map(store.uri("maps/1.tif"), GRID.window), 1)


@pytest.mark.parametrize("stem", ["glaciers!2020", "a;b", "a?b=c"])
def test_layers_of_classes_are_written_to_their_literal_path(folder: str, stem: str) -> None:
    path = _path(folder, stem, ".gpkg")
    for _ in range(2):  # the second replaces the first
        write_class_layers(Path(path), [ClassLayer(name, "clean ice", [WEST]) for name in ("a", "b")], UTM_45N)
    assert len(read_layer(path, "b", GRID).polygons) == 1
    assert list(Path(path).parent.glob("*.gpkg")) == [Path(path)]


def test_example_scenes_are_written_into_a_folder_with_an_exclamation_mark(tmp_path: Path) -> None:
    folder = tmp_path / "!new;folder"
    scene, demo = write_scene(folder / "synthetic", 128, 128, 0), everest.prepare(folder / "everest")
    assert rasterize_outlines(scene.outlines, describe(scene.bands).grid, GLACIER_SCHEME).any()
    assert rasterize_outlines(demo.outlines, describe(demo.bands).grid, GLACIER_SCHEME).any()
    assert [item.name for item in tmp_path.iterdir()] == [folder.name]


@pytest.fixture
def write_ahead(tmp_path: Path) -> Iterator[Path]:
    """A GeoPackage as another program holds it open: changes stand in a log beside it."""
    path = write_polygons(tmp_path / "glaciers.gpkg", {"glaciers": [WEST]})
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    connection.execute("UPDATE gpkg_contents SET description = 'changed'")
    connection.commit()
    yield path
    connection.close()


def test_a_geopackage_that_is_open_elsewhere_is_read(write_ahead: Path) -> None:
    assert len(read_layer(str(write_ahead), None, GRID).polygons) == 1


def test_addresses_that_gdal_reads_still_are_addresses(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.ones((1, 6, 8), dtype=np.uint8), descriptions=["red"])
    for address in (f"file://{path}", f"/vsisubfile/0,{path}"):
        assert is_address(address)
        with SceneReader(describe(bands_of_file(address, None))) as reader:
            assert reader.valid_mask(GRID.window).all()
    with rasterio.MemoryFile(path.read_bytes()) as memory:
        assert bands_of_file(memory.name, None)[0].name == "red"
    assert name_for_rasterio("s3://bucket/a!b.tif") == "s3://bucket/a!b.tif"


def test_a_local_file_goes_before_an_address_of_the_same_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("https:").mkdir()
    path = write_geotiff(Path("a.tif"), np.ones((1, 6, 8), dtype=np.uint8), descriptions=["red"])
    path.rename("https:/a.tif")
    assert bands_of_file("https://a.tif", None)[0].name == "red"


@pytest.mark.parametrize(
    "path",
    ["missing!.tif", "null\0byte.tif", "x" * 5000 + ".tif", os.fsdecode(b"latin-\xfc.tif")],
)
def test_a_raster_that_cannot_be_there_is_refused_as_missing(path: str) -> None:
    with pytest.raises(SceneError, match="found no such file"):
        bands_of_file(path, None)


@pytest.mark.parametrize(
    "path",
    ["missing!.gpkg", "null\0byte.gpkg", "x" * 5000 + ".gpkg", os.fsdecode(b"latin-\xfc.gpkg")],
)
def test_outlines_that_cannot_be_there_are_refused_as_missing(path: str) -> None:
    with pytest.raises(OutlineError, match="found no readable file"):
        read_layer(path, None, GRID)


def test_a_name_that_is_not_utf8_is_refused_with_advice(tmp_path: Path) -> None:
    raster = Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xfc.tif"))
    outlines = Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xfc.gpkg"))
    write_geotiff(tmp_path / "a.tif", np.ones((6, 8), dtype=np.uint8)).rename(raster)
    write_polygons(tmp_path / "a.gpkg", {"a": [WEST]}).rename(outlines)
    with pytest.raises(SceneError, match="its name is not valid UTF-8: rename it"):
        bands_of_file(str(raster), None)
    with pytest.raises(OutlineError, match="its name is not valid UTF-8: rename it"):
        read_layer(str(outlines), None, GRID)
