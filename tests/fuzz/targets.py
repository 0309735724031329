"""What reads data from outside, each as a function of bytes, with valid data to start from and the errors it may raise.

Any other exception, and the death of the process, is a finding.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import rasterio
import shapely
from pyarrow import parquet
from pydantic import ValidationError

from al_server.correction_schemas import CorrectionRequest
from al_server.sent_files import ending_of
from catalog.errors import ConflictError, InvalidInputError
from catalog.told_texts import MOST_CHARACTERS, told
from imagery.classes import GLACIER_SCHEME
from imagery.errors import OutlineError, SceneError
from imagery.gdal_limits import limited_pyogrio
from imagery.glims import DEBRIS, GLACIERS, IMAGES, SESSION
from imagery.glims_archives import check_archive
from imagery.grid import Grid
from imagery.label_polygons import JUDGED, read_label_polygons
from imagery.products.listing import list_files
from imagery.products.metadata import parse_mtl
from imagery.products.recognise import recognise
from imagery.raster_file import grid_of, open_raster, read_window
from imagery.shown_bands import ShownBand
from imagery.vectors import read_layer
from labeling.errors import EventError, RegionError
from labeling.events import AnnotationSaved, UnreadableEvent, parse_event
from labeling.interactive import parse_request, read_clicks
from labeling.regions import decode_result
from labeling.rle import decode_rle
from models.bundle import BundleError, read_bundle, write_bundle
from services.corrections import decode_runs
from services.deepness import deepness_graph
from services.image_urls import ImageUrls
from services.outgoing_events import check_address
from services.scene_files import BelowRoot
from services.signatures import SignatureError
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff
from tests.labeling import payloads
from tests.models.cards import origin
from tests.models.networks import small_segmenter

_GRID = Grid(UTM_45N, NORTH_UP, width=64, height=64)
_X, _Y = NORTH_UP[2], NORTH_UP[5]
_KML = b"""<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document><Placemark><Polygon>
<outerBoundaryIs><LinearRing><coordinates>86.78,28.08 86.79,28.08 86.79,28.09 86.78,28.08</coordinates></LinearRing>
</outerBoundaryIs></Polygon></Placemark></Document></kml>"""
_ITEM = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": "a",
    "geometry": None,
    "properties": {"datetime": "2020-01-01T00:00:00Z", "eo:cloud_cover": 3},
    "links": [{"rel": "self", "href": "http://127.0.0.1:9/a.json"}],
    "assets": {"red": {"href": "./a.tif", "eo:bands": [{"common_name": "red"}], "raster:bands": [{"scale": 0.1}]}},
}
_MTL = b"GROUP = L1\n  GROUP = IMAGE\n  CLOUD_COVER = 1.0\n  END_GROUP = IMAGE\nEND_GROUP = L1\nEND\n"


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        run: Reads bytes.
        seeds: Valid data.
        allowed: What it may raise.
    """

    run: Callable[[bytes], object]
    seeds: tuple[bytes, ...]
    allowed: tuple[type[Exception], ...]


def targets(folder: Path) -> dict[str, Target]:
    """Return all readers; they write their inputs to a folder."""
    return {
        **_rasters(folder),
        **_vectors(folder),
        **_label_studio(),
        **_labels(folder),
        **_models(folder),
        **_names(folder),
    }


def _rasters(folder: Path) -> dict[str, Target]:
    pixels = np.arange(2 * 64 * 64, dtype=np.uint16).reshape(2, 64, 64)
    plain = write_geotiff(folder / "plain.tif", pixels, descriptions=["red", "nir"]).read_bytes()
    tiled = folder / "tiled.tif"
    profile = {"driver": "GTiff", "width": 64, "height": 64, "count": 1, "dtype": "float32", "compress": "lzw"}
    profile |= {"tiled": True, "blockxsize": 16, "blockysize": 16, "crs": UTM_45N, "nodata": -1}
    with rasterio.open(tiled, "w", transform=rasterio.Affine(*NORTH_UP), **profile) as file:
        file.write(np.ones((1, 64, 64), dtype=np.float32))
    vrt = (
        b'<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:32645</SRS>'
        b"<GeoTransform>478000, 30, 0, 3106000, 0, -30</GeoTransform>"
        b'<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename relativeToVRT="1">plain.tif'
        b"</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )

    def read(data: bytes) -> None:
        path = folder / "fuzz.tif"
        path.write_bytes(data)
        with open_raster(str(path)) as dataset:
            grid = grid_of(dataset)
            window = grid.window
            read_window(dataset, [1], window, (min(window.height, 16), min(window.width, 16)))

    def product(data: bytes) -> None:
        path = folder / "item.json"
        path.write_bytes(data)
        recognise(str(path))

    def archive(data: bytes, ending: str) -> None:
        path = folder / f"product.{ending}"
        path.write_bytes(data)
        listing = list_files(str(path))
        listing.read(listing.members[0])

    name = "x/größe_MTL.txt"
    return {
        "product's zip": Target(lambda data: archive(data, "zip"), _zips(name, _MTL), (SceneError,)),
        "product's tar": Target(lambda data: archive(data, "tar"), _tars(name, _MTL), (SceneError,)),
        "GeoTIFF": Target(read, (plain, tiled.read_bytes()), (SceneError,)),
        "VRT": Target(read, (vrt,), (SceneError,)),
        "STAC item": Target(product, (json.dumps(_ITEM).encode(),), (SceneError,)),
        "Landsat metadata": Target(lambda data: parse_mtl(data, "x_MTL.txt"), (_MTL,), (SceneError,)),
    }


def _vectors(folder: Path) -> dict[str, Target]:
    pyogrio = limited_pyogrio()
    square = np.array([shapely.box(_X, _Y - 900, _X + 900, _Y).wkb], dtype=object)
    found: dict[str, Target] = {}

    def reader(path: Path) -> Callable[[bytes], None]:
        def read(data: bytes) -> None:
            path.write_bytes(data)
            read_layer(str(path), None, _GRID)

        return read

    for driver, ending in (("GPKG", "gpkg"), ("GeoJSON", "geojson"), ("FlatGeobuf", "fgb"), ("ESRI Shapefile", "shp")):
        path = folder / f"seed.{ending}"
        pyogrio.raw.write(
            str(path),
            geometry=square,
            field_data=[np.array(["clean ice"], dtype=object)],
            fields=["class"],
            geometry_type="Polygon",
            crs=UTM_45N,
            driver=driver,
        )
        found[driver] = Target(reader(path), (path.read_bytes(),), (OutlineError,))
    for part in ("shx", "dbf", "prj"):  # the other parts as they are
        path = folder / f"seed_{part}.shp"
        for ending in ("shp", "shx", "dbf", "prj"):
            path.with_suffix(f".{ending}").write_bytes((folder / f"seed.{ending}").read_bytes())

        def read_beside(data: bytes, path: Path = path, part: str = part) -> None:
            path.with_suffix(f".{part}").write_bytes(data)
            read_layer(str(path), None, _GRID)

        found[f"shapefile's .{part}"] = Target(
            read_beside, (path.with_suffix(f".{part}").read_bytes(),), (OutlineError,)
        )
    parts = {ending: (folder / f"seed.{ending}").read_bytes() for ending in ("shp", "shx", "dbf", "prj")}
    for part, seed in parts.items():

        def check_with(data: bytes, part: str = part) -> None:
            path = folder / "submission.zip"
            with zipfile.ZipFile(path, "w") as file:
                for layer in (GLACIERS, DEBRIS, IMAGES, SESSION):
                    for ending, content in (parts | {part: data}).items():
                        file.writestr(f"{layer}.{ending}", content)
            check_archive(str(path))

        found[f"submission's .{part}"] = Target(check_with, (seed,), (OutlineError,))
    geojson = (folder / "seed.geojson").read_bytes()
    table = folder / "seed.parquet"
    column = {"encoding": "WKB", "crs": None, "geometry_types": []}
    geo = {"version": "1.1.0", "primary_column": "g", "columns": {"g": {**column, "crs": "EPSG:32645"}}}
    parquet.write_table(
        pa.table({"g": pa.array(list(square), pa.binary())}).replace_schema_metadata({"geo": json.dumps(geo)}), table
    )
    return found | {
        "KML": Target(reader(folder / "seed.kml"), (_KML,), (OutlineError,)),
        "zip": Target(reader(folder / "seed.zip"), _zips("größe.geojson", geojson), (OutlineError,)),
        "GeoParquet": Target(reader(table), (table.read_bytes(),), (OutlineError,)),
    }


def _zips(name: str, content: bytes) -> tuple[bytes, ...]:
    """Return archives of a file and a folder, packed in different ways."""
    packed = []
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr(name, content)
            archive.mkdir("empty")
        packed.append(file.getvalue())
    return tuple(packed)


def _tars(name: str, content: bytes) -> tuple[bytes, ...]:
    """Return archives of a folder and a file, with the headers of different programs."""
    packed = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        file = io.BytesIO()
        with tarfile.TarFile(fileobj=file, mode="w", format=form) as archive:
            folder, member = tarfile.TarInfo("empty"), tarfile.TarInfo(name)
            folder.type, member.size = tarfile.DIRTYPE, len(content)
            archive.addfile(folder)
            archive.addfile(member, io.BytesIO(content))
        packed.append(file.getvalue())
    return tuple(packed)


def _label_studio() -> dict[str, Target]:
    brush = payloads.regions()[0]["value"]["rle"]
    size = {"height": payloads.HEIGHT, "width": payloads.WIDTH}

    def webhook(data: bytes) -> None:
        for event in parse_event(data, 1 << 20):
            assert event.dedupe_key
            if isinstance(event, AnnotationSaved):
                decode_result(event.result, **size, labels=payloads.LABELS)
            elif isinstance(event, UnreadableEvent):
                assert len(event.reason) < 1000, event.reason  # whatever the size of the field at fault

    def tell(data: bytes) -> None:
        text = told(data.decode("utf-8", "surrogateescape"))
        assert len(text) <= MOST_CHARACTERS
        assert told(text) == text  # nothing is left to take out

    def clicks(data: bytes) -> None:
        side = payloads.WIDTH
        read_clicks(parse_request(data).regions, height=side, width=side, labels=payloads.LABELS)

    click = payloads.click_request("8f0c", 40.0, 60.0, "clean ice", payloads.WIDTH)
    return {
        "RLE": Target(lambda data: decode_rle(list(data), **size), (bytes(brush),), (RegionError,)),
        "webhook": Target(webhook, (payloads.body(payloads.saved()),), (EventError, RegionError)),
        "text of an error": Target(tell, (b"a@b.org: http://c:d@e/f?g=h: found nothing",), ()),
        "clicks": Target(clicks, (json.dumps(click).encode(),), (EventError, RegionError)),
    }


def _labels(folder: Path) -> dict[str, Target]:
    """Return the readers of what annotators send beside Label Studio."""
    drawn, pyogrio = folder / "drawn.gpkg", limited_pyogrio()
    for layer, name in (("outlines", "clean ice"), (JUDGED, "")):
        pyogrio.raw.write(
            str(drawn),
            geometry=np.array([shapely.box(_X, _Y - 900, _X + 900, _Y).wkb], dtype=object),
            field_data=[np.array([name], dtype=object)],
            fields=["class"],
            layer=layer,
            geometry_type="Polygon",
            crs=UTM_45N,
            driver="GPKG",
        )
    packed = folder / "drawn.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.write(drawn, "drawn.gpkg")
    window = {"row_off": 0, "col_off": 0, "height": 2, "width": 3}
    correction = {"id": "1" * 32, **window, "runs": [1, 4, 255, 2], "shown": None, "seconds": 2.5}

    def polygons(data: bytes) -> None:
        path = folder / f"sent{ending_of(data)}"
        path.write_bytes(data)
        read_label_polygons(str(path), _GRID, GLACIER_SCHEME)

    def runs(data: bytes) -> None:
        try:
            given = json.loads(data)
        except (ValueError, RecursionError):  # is refused before (`al_server.requests`)
            return
        body = CorrectionRequest.model_validate(given)
        classes = decode_runs(body.runs, body.height, body.width, GLACIER_SCHEME)
        assert classes.shape == (body.height, body.width)

    return {
        "label polygons": Target(
            polygons, (drawn.read_bytes(), packed.read_bytes()), (OutlineError, InvalidInputError)
        ),
        "correction": Target(runs, (json.dumps(correction).encode(),), (ValidationError, InvalidInputError)),
    }


def _models(folder: Path) -> dict[str, Target]:
    bundle = folder / "bundle"
    write_bundle(bundle, small_segmenter(), origin())
    found = {}
    for name in ("card.json", "weights.safetensors"):
        copy = folder / f"bundle-{name}"
        copy.mkdir()
        for file in bundle.iterdir():
            (copy / file.name).write_bytes(file.read_bytes())

        def read(data: bytes, copy: Path = copy, name: str = name) -> None:
            (copy / name).write_bytes(data)
            read_bundle(copy)

        found[name] = Target(read, ((bundle / name).read_bytes(),), (BundleError,))
    card = json.loads((bundle / "card.json").read_text())
    bands = [ShownBand(name) for name in card["channels"]]

    def for_qgis(data: bytes) -> None:
        deepness_graph(data, card, bands, 30.0)

    found["model.onnx"] = Target(for_qgis, ((bundle / "model.onnx").read_bytes(),), (ConflictError,))
    return found


def _names(folder: Path) -> dict[str, Target]:
    (folder / "root").mkdir()
    write_geotiff(folder / "root" / "a.tif", np.ones((1, 64, 64), dtype=np.uint8))
    files = BelowRoot(folder / "root", ["data.example.org"])
    urls = ImageUrls("http://127.0.0.1:8000", "key", 60)
    signature = urls.url(7, "rgb").partition("signature=")[2]

    def check(data: bytes) -> None:
        urls.check(7, "rgb", data.decode("utf-8", "surrogateescape"))

    def path(data: bytes) -> None:
        found = files(data.decode("utf-8", "surrogateescape"))
        in_root = Path(found).is_relative_to(folder / "root")
        assert in_root or httpx.URL(found).host == "data.example.org", found  # by another parser than the reader's

    def address(data: bytes) -> None:
        url = data.decode("utf-8", "surrogateescape")
        check_address(url, ["hooks.example.org"])
        assert httpx.URL(url).host == "hooks.example.org"  # as who sends reads it

    return {
        "address of a subscriber": Target(address, (b"https://hooks.example.org/a?b=c",), (ConflictError,)),
        "signature": Target(check, (signature.encode(),), (SignatureError,)),
        "path of a scene": Target(path, (b"a.tif", b"../plain.tif", b"http://data.example.org/a.json"), (SceneError,)),
    }
