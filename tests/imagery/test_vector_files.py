"""Which vector files are read, and how others are refused."""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyogrio
import pytest
import shapely
from pyarrow import parquet
from pyproj import CRS

from imagery.border import Border, BorderSource
from imagery.errors import OutlineError
from imagery.grid import Grid
from imagery.vector_files import choose_layer, filled_layers, open_vector
from imagery.vectors import read_layer
from tests.imagery.forge import NORTH_UP, UTM_45N, write_polygons

DATA = Path(__file__).parents[1] / "data"
GRID = Grid(UTM_45N, NORTH_UP, width=160, height=100)
X, Y = NORTH_UP[2], NORTH_UP[5]
SQUARE = shapely.box(X, Y - 900, X + 900, Y)  # 30 x 30 pixels
DEGREES = shapely.box(86.78, 28.08, 86.79, 28.09)


def _area_px(path: Path, layer: str | None = None) -> float:
    return float(sum(polygon.area for polygon in read_layer(str(path), layer, GRID).polygons)) / 900


def _zip(path: Path, members: Mapping[str, Path]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, file in members.items():
            archive.write(file, name)
    return path


def _shapefile(folder: Path, name: str = "ice", square: shapely.Polygon = SQUARE) -> dict[str, Path]:
    """Write a shapefile; return its parts by ending."""
    folder.mkdir(exist_ok=True)
    write_polygons(folder / f"{name}.shp", {name: [square]})
    return {part.suffix: part for part in folder.iterdir() if part.stem == name}


def _parquet(path: Path, wkb: list[bytes | None], crs: str | None = UTM_45N, **of_column: Any) -> Path:
    """Write GeoParquet by its specification."""
    column = {"encoding": "WKB", "crs": CRS(crs).to_json_dict() if crs else None, "geometry_types": []} | of_column
    geo = {"version": "1.1.0", "primary_column": "outline", "columns": {"outline": column}}
    table = pa.table({"outline": pa.array(wkb, pa.binary()), "class": pa.array(["clean ice"] * len(wkb))})
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    return path


def _parquet_of(path: Path, table: pa.Table, geo: bytes | None = None) -> None:
    """Write GeoParquet of another table, or with other metadata."""
    usual = parquet.read_table(_parquet(path, [SQUARE.wkb])).schema.metadata
    parquet.write_table(table.replace_schema_metadata(usual | ({b"geo": geo} if geo else {})), path)


@pytest.mark.parametrize(
    ("driver", "ending"),
    {"GPKG": "gpkg", "GeoJSON": "geojson", "ESRI Shapefile": "shp", "FlatGeobuf": "fgb", "KML": "kml"}.items(),
)
def test_every_format_is_read(tmp_path: Path, driver: str, ending: str) -> None:
    path = write_polygons(tmp_path / f"a.{ending}", {"a": [DEGREES]}, crs="EPSG:4326", driver=driver)
    # A hundredth of a degree at 28 degrees north: 1.1088 km by 0.9835 km.
    assert _area_px(path) == pytest.approx(1108.8 * 983.5 / 900, rel=2e-3)


def test_zipped_kml_is_read(tmp_path: Path) -> None:
    kml = write_polygons(tmp_path / "doc.kml", {"a": [DEGREES]}, crs="EPSG:4326", driver="KML")
    path = _zip(tmp_path / "a.kmz", {"doc.kml": kml})
    assert _area_px(path) == pytest.approx(1108.8 * 983.5 / 900, rel=2e-3)


def test_geoparquet_is_read_and_its_rows_without_polygons_are_named(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.parquet", [SQUARE.wkb, None, shapely.Point(X + 1, Y - 1).wkb])
    layer = read_layer(str(path), None, GRID)
    assert [polygon.area for polygon in layer.polygons] == [900 * 900]
    assert [(item.feature, item.reason) for item in layer.left_out] == [(2, "Point"), (1, "no geometry")]


def test_geoparquet_without_a_crs_member_is_in_degrees(tmp_path: Path) -> None:
    path = _parquet(tmp_path / "a.geoparquet", [DEGREES.wkb])
    table = parquet.read_table(path)
    geo = json.loads(table.schema.metadata[b"geo"])
    del geo["columns"]["outline"]["crs"]
    parquet.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}), path)
    assert read_layer(str(path), None, GRID).crs == "OGC:CRS84"


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (2**62, pa.timestamp("us")),
        (2**62, pa.timestamp("ms")),
        (2**62, pa.date64()),
        (0, pa.timestamp("us", "Foo/Bar")),
    ],
    ids=str,
)
def test_geoparquet_with_a_value_that_python_cannot_hold_is_refused(
    tmp_path: Path, number: int, kind: pa.DataType
) -> None:
    path = str(_parquet(tmp_path / "a.parquet", [SQUARE.wkb]))
    table = parquet.read_table(path)
    parquet.write_table(table.append_column("day", pa.array([number], pa.int64()).view(kind)), path)
    with open_vector(path) as file:
        header = choose_layer(path, file, None)
        for read in (lambda: file.attributes(header, ["day"]), lambda: file.read(header, [SQUARE.bounds], ["day"])):
            with pytest.raises(OutlineError, match=r"a\.parquet: found rows that cannot be read"):
                read()


@pytest.mark.parametrize("folder", ["", "region 13/"])
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_a_zipped_shapefile_is_read(tmp_path: Path, folder: str, change: Callable[[str], str]) -> None:
    parts = _shapefile(tmp_path / "parts")
    members = {folder + change(part.name): part for part in parts.values()}
    members["__MACOSX/._ice.shp"] = parts[".prj"]  # what macOS adds is no shapefile
    assert _area_px(_zip(tmp_path / "a.zip", members)) == 900


def test_of_several_files_in_an_archive_one_is_chosen_by_its_name(tmp_path: Path) -> None:
    small = shapely.box(X, Y - 300, X + 300, Y)
    parts = [*_shapefile(tmp_path / "a").values(), *_shapefile(tmp_path / "b", "debris", small).values()]
    path = _zip(tmp_path / "a.zip", {part.name: part for part in parts})
    assert (_area_px(path, "ice"), _area_px(path, "debris")) == (900, 100)
    with pytest.raises(OutlineError, match="found the layers ice, debris; expected one of them to be named"):
        read_layer(str(path), None, GRID)
    layers = write_polygons(tmp_path / "g.gpkg", {"one": [SQUARE], "two": [small]})
    assert _area_px(_zip(tmp_path / "b.zip", {"g.gpkg": layers}), "two") == 100


def test_real_inventories_are_read_from_an_archive(tmp_path: Path) -> None:
    parts = {part.name: part for part in DATA.glob("rgi_oetztal.*")}
    oetztal = Grid("EPSG:32632", (30.0, 0.0, 630000.0, 0.0, -30.0, 5200000.0), width=1000, height=1000)
    zipped = read_layer(str(_zip(tmp_path / "rgi.zip", parts)), None, oetztal)
    plain = read_layer(str(DATA / "rgi_oetztal.shp"), None, oetztal)
    assert len(plain.polygons) == len(zipped.polygons) > 10
    assert zipped.sha256 == plain.sha256


def _bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        info = zipfile.ZipInfo("b.geojson")
        info.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(info, b"{}")
        info.file_size = 1 << 34  # as it declares in the central directory


def _damaged(path: Path, at: slice) -> None:
    _zip(path, {part.name: part for part in _shapefile(path.parent / "parts").values()})
    data = bytearray(path.read_bytes())
    data[at] = bytes(255 - value for value in data[at])
    path.write_bytes(data)


def _nested(path: Path) -> None:
    inner = _zip(path.parent / "inner.zip", {"a.shp": _shapefile(path.parent / "parts")[".shp"]})
    _zip(path, {"inner.zip": inner})


HALF_A_CHARACTER = rb'{"primary_column": "outline", "columns": {"outline": {"encoding": "WKB", "crs": "\ud800"}}}'
FAULTY: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "bomb": ("a.zip", _bomb, r"found 16384 MiB of vector files packed into [\d,]+ bytes; expected at most 512 MiB"),
    "climbing names": (
        "a.zip",
        lambda path: _zip(path, {"../a.shp": _shapefile(path.parent / "parts")[".shp"]}),
        r"found a member named '\.\./a\.shp'; expected names inside the archive",
    ),
    "archive in an archive": ("a.zip", _nested, r"found the archive 'inner\.zip' in it"),
    "no shapefile": (
        "a.zip",
        lambda path: _zip(path, {"read me.txt": _shapefile(path.parent / "parts")[".prj"]}),
        r"found no vector file in it \(read me\.txt\); expected one of \.gpkg",
    ),
    "damaged": ("a.zip", lambda path: _damaged(path, slice(60, 90)), "found an archive that cannot be read"),
    "truncated": ("a.zip", lambda path: path.write_bytes(b"PK\3\4" + bytes(60)), "found an archive that cannot be"),
    "shapefile without .prj": (
        "a.zip",
        lambda path: _zip(
            path, {part.name: part for end, part in _shapefile(path.parent / "parts").items() if end != ".prj"}
        ),
        "found no coordinate reference system",
    ),
    "shapefile without .shx": (
        "a.zip",
        lambda path: _zip(path, {"a.shp": _shapefile(path.parent / "parts")[".shp"]}),
        r"found no \.shx file beside it",
    ),
    "XML that is no KML": ("a.kml", lambda path: path.write_text("<gpx></gpx>"), "expected a file in the format KML"),
    "KML that hides another format": (
        "a.kml",
        lambda path: path.write_text("<!-- <OGRVRTDataSource> --><kml></kml>"),
        "expected a file in the format KML",
    ),
    "Parquet without geometries": (
        "a.parquet",
        lambda path: parquet.write_table(pa.table({"a": [1]}), path),
        "found a Parquet file without the metadata of a geometry",
    ),
    "damaged Parquet": ("a.parquet", lambda path: path.write_bytes(b"PAR1 and no more"), "found a damaged Parquet"),
    "Parquet without a CRS": (
        "a.parquet",
        lambda path: _parquet(path, [SQUARE.wkb], None),
        "found no coordinate reference system",
    ),
    "Parquet of arrays": (
        "a.parquet",
        lambda path: _parquet(path, [SQUARE.wkb], encoding="polygon"),
        "encoding 'polygon' and planar edges; expected WKB and planar edges",
    ),
    "Parquet with metadata that are nested deeply": (
        "a.parquet",
        lambda path: _parquet_of(path, pa.table({"outline": [SQUARE.wkb]}), b"[" * 100_000),
        "found a damaged Parquet file; expected GeoParquet .maximum recursion",
    ),
    "Parquet with half a character as its CRS": (
        "a.parquet",
        lambda path: _parquet_of(path, pa.table({"outline": [SQUARE.wkb]}), HALF_A_CHARACTER),
        "found a damaged Parquet file; expected GeoParquet .*surrogates not allowed",
    ),
    "Parquet with numbers in place of geometries": (
        "a.parquet",
        lambda path: _parquet_of(path, pa.table({"outline": [5]})),
        r"found geometries of the type int64; expected bytes \(WKB\)",
    ),
    "Parquet with lists in place of geometries": (
        "a.parquet",
        lambda path: _parquet_of(path, pa.table({"outline": [[SQUARE.wkb]]})),
        r"found geometries of the type list<\w+: binary>; expected bytes \(WKB\)",
    ),
    "Parquet with text in place of geometries": (
        "a.parquet",
        lambda path: _parquet_of(path, pa.table({"outline": [SQUARE.wkb_hex]})),
        r"found geometries of the type string; expected bytes \(WKB\)",
    ),
    "Parquet with two columns of a name": (
        "a.parquet",
        lambda path: _parquet_of(path, pa.Table.from_arrays([[SQUARE.wkb], [1], [2]], ["outline", "a", "a"])),
        "found several columns named a; expected one of each name: rename them",
    ),
    "Parquet of nothing": ("a.parquet", lambda path: _parquet(path, []), "found no features in layer 'outline'"),
    "damaged FlatGeobuf": (
        "a.fgb",
        lambda path: path.write_bytes(b"fgb\x03fgb\x00" + bytes(100)),
        "",
    ),
    "folder": (
        "outlines",
        lambda path: (path.mkdir(), (path / "ice.gpkg").touch()),
        r"found a folder; expected one file: give the one that holds the polygons \(ice\.gpkg\)",
    ),
    "geodatabase": ("a.gdb", lambda path: path.mkdir(), r"found the ending '\.gdb'; expected one of .* ogr2ogr"),
}


@pytest.mark.parametrize("fault", FAULTY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # GDAL's own, about some of these files
def test_a_file_that_cannot_be_read_is_refused_by_its_name(tmp_path: Path, fault: str) -> None:
    name, write, message = FAULTY[fault]
    write(tmp_path / name)
    with pytest.raises(OutlineError, match=rf"^{tmp_path / name}: .*{message}"):
        read_layer(str(tmp_path / name), None, GRID)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "a.zip", {"ice.shp": _shapefile(tmp_path / "parts")[".shp"]})
    data = path.read_bytes()
    # The first bit of the flags, in the local header and in the central directory.
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = data.index(signature) + place
        data = data[:at] + bytes([data[at] | 1]) + data[at + 1 :]
    path.write_bytes(data)
    with pytest.raises(OutlineError, match=r"cannot be read; expected a zip file .*password"):
        read_layer(str(path), None, GRID)


def test_layers_that_hold_no_polygons_are_no_choice(tmp_path: Path) -> None:
    path = write_polygons(tmp_path / "a.gpkg", {"outlines": [SQUARE]})
    write_polygons(path, {"centerlines": [shapely.LineString([(X, Y), (X + 9, Y)])]})
    no_geometry = {"field_data": [np.array(["x"], object)], "fields": ["styleName"], "geometry_type": None}
    pyogrio.raw.write(path, None, layer="layer_styles", **no_geometry)  # as QGIS stores the colours of layers
    assert _area_px(path) == 900


def test_points_beside_polygons_in_an_archive_are_no_choice(tmp_path: Path) -> None:
    """GLIMS packs its outlines with the places of its images, each in a shapefile of its own."""
    folder = tmp_path / "parts"
    parts = list(_shapefile(folder, "glims_polygons").values())
    write_polygons(folder / "glims_image_info.shp", {"glims_image_info": [shapely.Point(X + 9, Y - 9)]})
    points = [part for part in folder.iterdir() if part.stem == "glims_image_info"]
    path = _zip(tmp_path / "glims.zip", {part.name: part for part in (*parts, *points)})
    assert filled_layers(str(path)) == ["glims_polygons"]
    assert _area_px(path) == _area_px(path, "glims_polygons") == 900
    only = _zip(tmp_path / "points.zip", {part.name: part for part in points})
    with pytest.raises(OutlineError, match="left out because they are no polygons: Point"):
        read_layer(str(only), None, GRID)


@pytest.mark.parametrize("layer", ['gla"cier', 'gla"""cier', "gla''cier", "gla cier"])
def test_a_layer_of_a_geopackage_may_have_any_name(tmp_path: Path, layer: str) -> None:
    assert _area_px(write_polygons(tmp_path / "a.gpkg", {layer: [SQUARE]})) == 900


def test_a_layer_with_features_is_chosen_among_empty_folders(tmp_path: Path) -> None:
    place = " ".join(f"{x},{y}" for x, y in DEGREES.exterior.coords)
    ring = f"<outerBoundaryIs><LinearRing><coordinates>{place}</coordinates></LinearRing></outerBoundaryIs>"
    full = f"<Folder><name>ice</name><Placemark><Polygon>{ring}</Polygon></Placemark></Folder>"
    path = tmp_path / "a.kml"
    path.write_text(
        f'<kml xmlns="http://www.opengis.net/kml/2.2"><Document><Folder><name>empty</name></Folder>{full}</Document></kml>'
    )
    assert _area_px(path) == pytest.approx(1209, abs=3)


def test_a_border_is_read_from_an_archive_too(tmp_path: Path) -> None:
    parts = _shapefile(tmp_path / "parts")
    path = _zip(tmp_path / "a.zip", {part.name: part for part in parts.values()})
    shutil.rmtree(tmp_path / "parts")
    assert Border(BorderSource(str(path)), GRID).inside(GRID.affine, (100, 160)).sum() == 900


def test_an_index_left_from_an_older_shapefile_hides_nothing(tmp_path: Path) -> None:
    """One glacier of 50 lay far away in the older file, by the index of which GDAL does not find it on the scene."""
    far = [shapely.box(X + 90_000 + 1000 * place, Y, X + 90_900 + 1000 * place, Y + 900) for place in range(50)]
    options = {"geometry_type": "Polygon", "crs": UTM_45N, "field_data": [np.arange(50)], "fields": ["number"]}
    pyogrio.raw.write(tmp_path / "old.shp", shapely.to_wkb(far), SPATIAL_INDEX="YES", **options)
    path = write_polygons(tmp_path / "ice.shp", {"ice": [SQUARE, *far[1:]]})
    shutil.copy(tmp_path / "old.qix", tmp_path / "ice.qix")
    read = pyogrio.raw.read(path, bbox=SQUARE.bounds, return_fids=True)
    assert read[1].tolist() == [], "GDAL trusts the index"
    assert _area_px(path) == 900


@pytest.mark.parametrize("ending", [".shp", ".SHP"])
def test_a_shapefile_with_an_index_is_read_as_without(tmp_path: Path, ending: str) -> None:
    squares = [SQUARE, shapely.box(X + 90_000, Y - 900, X + 90_900, Y)]
    options = {"geometry_type": "Polygon", "crs": UTM_45N, "fields": ["größe"], "encoding": "UTF-8"}
    values = [np.array(["groß", "klein"], dtype=object)]
    pyogrio.raw.write(
        tmp_path / "plain.shp", shapely.to_wkb(squares), field_data=values, SPATIAL_INDEX="YES", **options
    )
    for part in list(tmp_path.iterdir()):
        part.rename(tmp_path / f"a!b{part.suffix.upper() if ending.isupper() else part.suffix}")
    path = str(tmp_path / f"a!b{ending}")
    with open_vector(path) as file:
        header = choose_layer(path, file, None)
        found = file.read(header, [SQUARE.bounds], header.fields)
    indexed = read_layer(path, None, GRID)
    for part in list(tmp_path.iterdir()):
        if part.suffix.lower() == ".qix":
            part.unlink()
    assert (found.ids.tolist(), [list(column) for column in found.columns.values()]) == ([0], [["groß"]])
    assert indexed.sha256 == read_layer(path, None, GRID).sha256
