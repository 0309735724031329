"""Files that would make GDAL, PROJ or SQLite fetch an address, open another file, or compute without end."""

import json
import os
import socket
import sqlite3
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from imagery.crs_grids import grid_paths
from imagery.errors import OutlineError, SceneError
from imagery.gdal_limits import limited_pyogrio
from imagery.grid import Grid, Window, count_tiles, tile
from imagery.raster_file import check_files_below, grid_of, open_raster, read_window
from imagery.vectors import read_layer
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff, write_polygons

GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
SQUARE = shapely.box(NORTH_UP[2], NORTH_UP[5] - 900, NORTH_UP[2] + 900, NORTH_UP[5])
RING = [[86.78, 28.08], [86.79, 28.08], [86.79, 28.09], [86.78, 28.08]]
PIXELS = np.ones((1, 64, 64), dtype=np.uint16)
GRID_FILE = "/nowhere/shift.gsb"
WITH_GRID = f"+proj=longlat +ellps=intl +nadgrids={GRID_FILE} +no_defs +type=crs"


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """An address, and what has been sent to it."""
    received: list[bytes] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(1)
                    received.append(connection.recv(100))
                    connection.sendall(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x", received
        server.shutdown(socket.SHUT_RDWR)


def _geojson(path: Path, crs: object) -> Path:
    geometry = {"type": "Polygon", "coordinates": [RING]}
    features = [{"type": "Feature", "properties": {}, "geometry": geometry}]
    path.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": features}))
    return path


def _network_link(url: str) -> bytes:
    return (
        f'<?xml version="1.0"?><!DOCTYPE kml SYSTEM "{url}" [<!ENTITY x SYSTEM "{url}">]><kml><Document>'
        f"<NetworkLink><Link><href>{url}</href></Link></NetworkLink><Placemark><name>&x;</name><Polygon>"
        "<outerBoundaryIs><LinearRing><coordinates>86.78,28.08 86.79,28.08 86.79,28.09 86.78,28.08</coordinates>"
        "</LinearRing></outerBoundaryIs></Polygon></Placemark></Document></kml>"
    ).encode()


VECTORS: dict[str, tuple[str, Callable[[str], bytes]]] = {
    "link": ("a.geojson", lambda url: json.dumps({"type": "link", "properties": {"href": url}}).encode()),
    "link behind a long member": (
        "a.geojson",
        lambda url: json.dumps({"properties": {"pad": "x" * 300, "href": url}, "type": "LINK"}).encode(),
    ),
    "url": ("a.geojson", lambda url: json.dumps({"properties": {"p": "x" * 300, "url": url}, "type": "url"}).encode()),
    "network link and entities": ("a.kml", _network_link),
    "web feature service": (
        "a.kml",
        lambda url: f"<OGRWFSDataSource><URL>{url}</URL></OGRWFSDataSource><!-- <kml > -->".encode(),
    ),
}


@pytest.mark.parametrize("name", VECTORS)
def test_no_vector_file_makes_a_connection(tmp_path: Path, listener: tuple[str, list[bytes]], name: str) -> None:
    url, received = listener
    file, content = VECTORS[name]
    written = content(url)
    if file.endswith(".geojson"):
        _geojson(tmp_path / file, json.loads(written))
        with pytest.raises(OutlineError, match="where a coordinate reference system may be a link"):
            read_layer(str(tmp_path / file), None, GRID)
    else:
        (tmp_path / file).write_bytes(written)
        try:
            read_layer(str(tmp_path / file), None, GRID)
        except OutlineError as error:
            assert str(tmp_path / file) in str(error)
    assert received == []


def test_the_libraries_themselves_make_no_connection(tmp_path: Path, listener: tuple[str, list[bytes]]) -> None:
    """The checks before GDAL are not the only ones: GDAL is asked directly."""
    url, received = listener
    pyogrio = limited_pyogrio()
    for text in (
        lambda: pyogrio.read_info(_geojson(tmp_path / "a.geojson", {"type": "link", "properties": {"href": url}})),
        lambda: pyogrio.read_info(f"/vsicurl/{url}"),
        lambda: pyogrio.read_info(f"WFS:{url}"),
    ):
        with suppress(pyogrio.errors.DataSourceError):
            text()
    for name in (f"/vsicurl/{url}", f"/vsicurl_streaming/{url}", f"WMS:{url}", url):
        with pytest.raises(rasterio.RasterioIOError):
            rasterio.open(name)
    assert received == []
    with pytest.raises(SceneError, match="found no readable raster"):
        open_raster(f"{url}.tif")  # one address that the caller has permitted
    assert received


def _vrt(source: str, more: str = "") -> str:
    return (
        f'<VRTDataset rasterXSize="64" rasterYSize="64">{more}<VRTRasterBand dataType="UInt16" band="1"><SimpleSource>'
        f'<SourceFilename relativeToVRT="0">{source}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>'
        "</VRTRasterBand></VRTDataset>"
    )


def _overviews(url: str) -> str:
    return f'<Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/{url}</MDI></Metadata>'


BESIDE: dict[str, tuple[str, Callable[[str], str], str]] = {
    "overviews that are a VRT": ("a.tif.ovr", lambda url: _vrt(f"/vsicurl/{url}"), "overviews or a mask .* no TIFF"),
    "a mask that is a VRT": ("a.tif.msk", lambda url: _vrt(f"/vsicurl/{url}"), "overviews or a mask .* no TIFF"),
    "metadata": (
        "a.tif.aux.xml",
        lambda url: f"<PAMDataset>{_overviews(url)}</PAMDataset>",
        "names another file as its overviews",
    ),
    "a grid file": ("a.prj", lambda _: WITH_GRID, "names the file '/nowhere/shift.gsb'"),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("nested", [False, True])
def test_files_beside_a_raster_lead_nowhere(
    tmp_path: Path, listener: tuple[str, list[bytes]], name: str, nested: bool
) -> None:
    url, received = listener
    path = write_geotiff(tmp_path / "a.tif", PIXELS)
    beside, content, message = BESIDE[name]
    (tmp_path / beside).write_text(content(url))
    if nested:
        path = tmp_path / "mosaic.vrt"
        path.write_text(_vrt(str(tmp_path / "a.tif")))
    with pytest.raises(SceneError, match=message):
        open_raster(str(path))
    assert received == []


def test_metadata_inside_a_raster_lead_nowhere(tmp_path: Path, listener: tuple[str, list[bytes]]) -> None:
    url, received = listener
    path = write_geotiff(tmp_path / "a.tif", PIXELS)
    with rasterio.open(path, "r+") as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=f"/vsicurl/{url}")
    (tmp_path / "b.vrt").write_text(_vrt(str(write_geotiff(tmp_path / "b.tif", PIXELS)), _overviews(url)))
    (tmp_path / "c.vrt").write_text(_vrt(str(path)))
    for name in ("a.tif", "b.vrt"):
        with pytest.raises(SceneError, match="name a file of overviews"):
            open_raster(str(tmp_path / name))
    with pytest.raises(SceneError, match="name a file of overviews"):
        check_files_below(str(tmp_path / "c.vrt"), tmp_path)
    with open_raster(str(tmp_path / "c.vrt")) as dataset:
        read_window(dataset, [1], Window(0, 0, 64, 64), (8, 8))
    assert received == []


def test_overviews_and_masks_beside_a_raster_are_read(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS)
    write_geotiff(tmp_path / "a.tif.ovr", PIXELS[:, :32, :32])
    (tmp_path / "a.tif.aux.xml").write_text("<PAMDataset><Metadata><MDI key='k'>v</MDI></Metadata></PAMDataset>")
    with open_raster(str(path)) as dataset:
        assert dataset.overviews(1) == [2]


@pytest.mark.parametrize("beside", ["a.tif.aux.xml", "a.tif.ovr", "a.tfw"])
def test_a_pipe_beside_a_raster_is_refused(tmp_path: Path, beside: str) -> None:
    path = write_geotiff(tmp_path / "a.tif", PIXELS)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / beside).symlink_to(tmp_path / "pipe")
    with pytest.raises(SceneError, match="which is no file"):
        open_raster(str(path))


def test_a_link_beside_a_raster_stays_below_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    path = write_geotiff(root / "a.tif", PIXELS)
    (root / "a.tif.msk").symlink_to(write_geotiff(tmp_path / "secret.tif", PIXELS))
    with pytest.raises(SceneError, match="leads out of the scene root"):
        check_files_below(str(path), root)


@pytest.mark.parametrize("part", ["dbf", "cpg", "qix"])
def test_a_pipe_in_place_of_a_part_of_a_shapefile_is_refused(tmp_path: Path, part: str) -> None:
    path = write_polygons(tmp_path / "a.shp", {"a": [SQUARE]})
    path.with_suffix(f".{part}").unlink(missing_ok=True)
    os.mkfifo(path.with_suffix(f".{part}"))
    with pytest.raises(OutlineError, match="which is no file"):
        read_layer(str(path), None, GRID)


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.geojson")
    with pytest.raises(OutlineError, match="found no file, but a pipe"):
        read_layer(str(tmp_path / "a.geojson"), None, GRID)


def test_a_crs_that_names_a_file_is_refused_by_every_format(tmp_path: Path) -> None:
    geojson = _geojson(tmp_path / "a.geojson", {"type": "name", "properties": {"name": WITH_GRID}})
    shapefile = write_polygons(tmp_path / "a.shp", {"a": [SQUARE]})
    shapefile.with_suffix(".prj").write_text(WITH_GRID)
    geopackage = write_polygons(tmp_path / "g.gpkg", {"a": [SQUARE]})
    with closing(sqlite3.connect(geopackage)) as database, database:
        database.execute("UPDATE gpkg_spatial_ref_sys SET definition = ?", (WITH_GRID,))
    for path in (geojson, shapefile, geopackage):
        with pytest.raises(OutlineError, match=r"nowhere|coordinate reference system may"):
            read_layer(str(path), None, GRID)
    write_geotiff(tmp_path / "b.tif", PIXELS)
    (tmp_path / "b.vrt").write_text(_vrt(str(tmp_path / "b.tif"), f"<SRS>{WITH_GRID}</SRS>"))
    with pytest.raises(SceneError, match="names the file '/nowhere/shift"):
        grid_of(open_raster(str(tmp_path / "b.vrt")))


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("+proj=merc +nadgrids=@null", []),
        ("+proj=longlat +nadgrids=ntf_r93.gsb", []),
        (WITH_GRID, [GRID_FILE]),
        ("+init=/tmp/epsg:4326", ["/tmp/epsg:4326"]),
        ('EXTENSION["PROJ4_GRIDS","/a/b"]', ["/a/b"]),
        ('PARAMETERFILE["Latitude and longitude difference file","http://a/b"]', ["http://a/b"]),
        ('GEOGCS["WGS 84 / x"]', []),
    ],
)
def test_paths_of_grid_files_are_found_in_the_text_of_a_crs(text: str, paths: list[str]) -> None:
    assert grid_paths(text) == paths


ENDLESS = "CREATE VIEW v AS WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS fid FROM c"


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        (ENDLESS, "the view 'v'"),
        ("CREATE VIRTUAL TABLE v USING fts4(x)", "the virtual table 'v'"),
        ("ALTER TABLE a ADD COLUMN big TEXT AS (hex(zeroblob(300000000)))", "the generated column 'big' of 'a'"),
    ],
)
def test_a_geopackage_that_computes_is_refused(tmp_path: Path, sql: str, message: str) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [SQUARE]})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(sql)
    with pytest.raises(OutlineError, match=message):
        read_layer(str(path), None, GRID)


def _forge_schema(path: Path, sql: str, name: str, /, **values: object) -> None:
    """Run a statement, and change what the table of tables says of a table or view."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute(sql)
        for column, value in values.items():
            database.execute(f"UPDATE sqlite_master SET {column} = ? WHERE name = ?", (value, name))  # noqa: S608


@pytest.mark.parametrize("kind", ["VIEW", "View"])
def test_a_view_whose_type_is_written_in_capitals_is_refused(tmp_path: Path, kind: str) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [SQUARE]})
    _forge_schema(path, ENDLESS, "v", type=kind)
    with pytest.raises(OutlineError, match="the view 'v'"):
        read_layer(str(path), None, GRID)


@pytest.mark.parametrize("values", [{"type": "TABLE"}, {"rootpage": 17}, {"type": "Table", "rootpage": 17}])
def test_a_virtual_table_that_claims_to_be_a_plain_one_is_refused(tmp_path: Path, values: dict[str, object]) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [SQUARE]})
    _forge_schema(path, "CREATE VIRTUAL TABLE v USING fts4(x)", "v", **values)
    with pytest.raises(OutlineError, match="the virtual table 'v'"):
        read_layer(str(path), None, GRID)


def test_a_generated_column_of_a_table_whose_type_is_written_in_capitals_is_refused(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [SQUARE]})
    _forge_schema(path, "ALTER TABLE a ADD COLUMN big TEXT AS (hex(zeroblob(300000000)))", "a", type="TABLE")
    with pytest.raises(OutlineError, match="the generated column 'big' of 'a'"):
        read_layer(str(path), None, GRID)


def test_sql_that_makes_neither_table_nor_index_nor_trigger_is_refused(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [SQUARE]})
    _forge_schema(path, ENDLESS, "v", sql=ENDLESS.replace("CREATE VIEW", "CREATE/**/VIEW"))
    with pytest.raises(OutlineError, match="'v', which is no table, index or trigger"):
        read_layer(str(path), None, GRID)


def test_indexes_triggers_and_spatial_indexes_are_taken(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"a": [SQUARE]})
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE notes (name TEXT PRIMARY KEY, note TEXT UNIQUE)")
        database.execute("CREATE UNIQUE INDEX by_note ON notes (note, name)")
        kinds = database.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()
        tree = database.execute("SELECT sql FROM sqlite_master WHERE name = 'rtree_a_geom'").fetchone()
    assert kinds[0] > 0
    assert tree[0].startswith("CREATE VIRTUAL TABLE")
    assert len(read_layer(str(path), None, GRID).polygons) == 1


def test_an_archive_of_a_high_ratio_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.geojson", b" " * (32 << 20))  # a thousand times its packed size
    with pytest.raises(OutlineError, match=r"found 32 MiB of vector files packed into [\d,]+ bytes"):
        read_layer(str(tmp_path / "a.zip"), None, GRID)


@pytest.mark.parametrize(("width", "height", "size", "overlap"), [(100, 70, 32, 0), (64, 64, 64, 0), (99, 50, 32, 31)])
def test_tiles_are_counted_without_making_them(width: int, height: int, size: int, overlap: int) -> None:
    assert count_tiles(width, height, size, overlap) == len(tile(width, height, size, overlap))
