"""Formats of raster files, the masks that they declare, and files behind an address."""

import functools
import http.server
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.control import GroundControlPoint

from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.raster_file import check_files_below, grid_of, open_raster
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource
from tests.imagery.forge import NORTH_UP, UTM_45N, write_geotiff

NUMBERS = np.arange(1, 65, dtype=np.uint16).reshape(8, 8)


def read(path: Path, nodata: float | None = None) -> NDArray[np.float32]:
    source = describe([BandSource("red", str(path), 1, nodata=nodata)])
    with SceneReader(source) as reader:
        return reader.read(["red"], source.grid.window)[0]


def write(path: Path, array: NDArray[np.generic], driver: str, crs: str = UTM_45N, **options: object) -> Path:
    """Write one band in a format that GDAL makes by copying."""
    tif = write_geotiff(path.with_suffix(".copied"), array, crs=crs, **options)
    rasterio.shutil.copy(
        tif, path, driver=driver, **({"QUALITY": "100", "REVERSIBLE": "YES"} if "JP2" in driver else {})
    )
    tif.unlink()
    return path


def mosaic(path: Path, source: str, **changes: str) -> Path:
    """Write a VRT of one band over one file, as gdalbuildvrt does."""
    parts = {"relative": "1", "kind": "SimpleSource", "dataset": "", "band": "", "more": ""} | changes
    a, b, c, d, e, f = NORTH_UP
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"{parts["dataset"]}><SRS>{UTM_45N}</SRS>'
        f"<GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}</GeoTransform>"
        f'<VRTRasterBand dataType="UInt16" band="1"{parts["band"]}><NoDataValue>9</NoDataValue>{parts["more"]}'
        f'<{parts["kind"]}><SourceFilename relativeToVRT="{parts["relative"]}">{source}</SourceFilename>'
        f'<SourceBand>1</SourceBand><SrcRect xOff="0" yOff="0" xSize="8" ySize="8"/>'
        f'<DstRect xOff="0" yOff="0" xSize="8" ySize="8"/></{parts["kind"]}></VRTRasterBand></VRTDataset>'
    )
    return path


def test_jpeg_2000_is_read_with_the_fill_that_its_product_knows(tmp_path: Path) -> None:
    pixels = read(write(tmp_path / "T45RVL_B04.jp2", NUMBERS, "JP2OpenJPEG"), nodata=1)
    np.testing.assert_array_equal(pixels, np.where(NUMBERS == 1, np.nan, NUMBERS))


def test_an_ascii_grid_is_read_with_the_crs_beside_it(tmp_path: Path) -> None:
    path = write(tmp_path / "dem.asc", NUMBERS.astype(np.int32), "AAIGrid", nodata=64)
    np.testing.assert_array_equal(read(path), np.where(NUMBERS == 64, np.nan, NUMBERS))


def test_an_srtm_tile_is_placed_by_its_name(tmp_path: Path) -> None:
    heights = np.full((1201, 1201), 5000, dtype=">i2")
    heights[0, 0] = -32768
    (tmp_path / "N27E086.hgt").write_bytes(heights.tobytes())
    with open_raster(str(tmp_path / "N27E086.hgt")) as dataset:
        assert dataset.bounds == pytest.approx((86 - 1 / 2400, 27 - 1 / 2400, 87 + 1 / 2400, 28 + 1 / 2400))
    pixels = read(tmp_path / "N27E086.hgt")
    assert np.isnan(pixels[0, 0])
    assert (pixels.ravel()[1:] == 5000).all()


def test_a_mosaic_is_read_with_its_own_nodata_value(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "tile.tif", NUMBERS)
    for vrt in (
        mosaic(tmp_path / "a.vrt", "tile.tif"),
        mosaic(tmp_path / "b.vrt", str(tmp_path / "tile.tif"), relative="0"),
        mosaic(tmp_path / "c.vrt", "a.vrt", kind="ComplexSource"),
    ):
        np.testing.assert_array_equal(read(vrt), np.where(NUMBERS == 9, np.nan, NUMBERS))


def test_what_gdal_itself_writes_as_a_mosaic_is_read(tmp_path: Path) -> None:
    tif = write_geotiff(tmp_path / "tile.tif", NUMBERS, nodata=9)
    rasterio.shutil.copy(tif, tmp_path / "copy.vrt", driver="VRT")
    np.testing.assert_array_equal(read(tmp_path / "copy.vrt"), np.where(NUMBERS == 9, np.nan, NUMBERS))


REFUSED = [
    ({"source": "/vsicurl/http://127.0.0.1:9/a.tif", "relative": "0"}, "expected a local file"),
    ({"source": "http://127.0.0.1:9/a.tif", "relative": "0"}, "expected an absolute path"),
    ({"source": "GTIFF_DIR:1:tile.tif", "relative": "0"}, "expected an absolute path"),
    ({"source": "missing.tif"}, "missing.tif: found no such file"),
    ({"source": "wms.xml"}, "wms.xml: found an XML or HTML file"),
    ({"source": "itself.vrt"}, "found VRTs of VRTs, 4 levels deep; expected at most 3"),
    ({"kind": "KernelFilteredSource"}, "found KernelFilteredSource in a VRT"),
    ({"kind": "ArraySource"}, "found ArraySource in a VRT"),
    ({"dataset": ' subClass="VRTWarpedDataset"'}, "found a VRTWarpedDataset; expected a mosaic"),
    ({"dataset": ' subClass="VRTProcessedDataset"'}, "found a VRTProcessedDataset"),
    ({"band": ' subClass="VRTDerivedRasterBand"'}, "found a band of class VRTDerivedRasterBand"),
    ({"band": ' subClass="VRTRawRasterBand"'}, "found a band of class VRTRawRasterBand"),
    ({"more": "<PixelFunctionType>sqrt</PixelFunctionType>"}, "found PixelFunctionType"),
    ({"more": "<PixelFunctionCode>import os</PixelFunctionCode>"}, "found PixelFunctionCode"),
    ({"more": "<MaskBand><VRTRasterBand>" * 9 + "</VRTRasterBand></MaskBand>" * 9}, "nested more than 8 deep"),
    ({"more": "<broken>"}, "not well-formed XML"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_a_vrt_that_does_more_than_compose_local_rasters_is_refused(
    tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    write_geotiff(tmp_path / "tile.tif", NUMBERS)
    (tmp_path / "wms.xml").write_text("<GDAL_WMS></GDAL_WMS>")
    path = mosaic(tmp_path / "itself.vrt", **({"source": "tile.tif"} | changes))
    with pytest.raises(SceneError, match=message):
        open_raster(str(path))


def test_a_vrt_with_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.vrt"
    path.write_text('<VRTDataset ><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>&b;</VRTDataset>')
    with pytest.raises(SceneError, match="found a document type declaration"):
        open_raster(str(path))


def test_the_files_of_a_vrt_lie_below_the_root_of_the_caller(tmp_path: Path) -> None:
    root = tmp_path / "scenes"
    root.mkdir()
    write_geotiff(tmp_path / "secret.tif", NUMBERS)
    write_geotiff(root / "tile.tif", NUMBERS)
    check_files_below(str(root / "tile.tif"), root)
    check_files_below(str(mosaic(root / "inside.vrt", "tile.tif")), root)
    (root / "link.tif").symlink_to(tmp_path / "secret.tif")
    mosaic(root / "a.vrt", "../secret.tif")
    mosaic(root / "b.vrt", "a.vrt")
    mosaic(root / "c.vrt", "link.tif")
    mosaic(root / "d.vrt", "/nowhere/a.tif", relative="0")  # nobody learns whether a file outside exists
    for name in "abcd":
        with pytest.raises(SceneError, match="outside the scene root of this server"):
            check_files_below(str(root / f"{name}.vrt"), root)


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"", "an empty file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 or netCDF file .convert"),
        (b"EHFA_HEADER_TAG\0", "an Erdas Imagine file .convert"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"not a raster", "a file of another format"),
    ],
)
def test_other_files_are_named_in_the_message(tmp_path: Path, start: bytes, found: str) -> None:
    (tmp_path / "a.tif").write_bytes(start)
    with pytest.raises(SceneError, match=rf"a.tif: found {found}.*; expected a GeoTIFF, JPEG 2000, VRT"):
        open_raster(str(tmp_path / "a.tif"))


def test_pixels_are_invalid_where_all_bands_have_their_nodata_values(tmp_path: Path) -> None:
    stack = np.full((3, 2, 4), 7, np.uint8)
    stack[:, 0, 0] = 1, 2, 3
    stack[:, 1, 1] = 1, 2, 7  # only some
    path = write_geotiff(tmp_path / "a.tif", stack)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(NODATA_VALUES="1 2 3")
    expected = np.ones((2, 4), bool)
    expected[0, 0] = False
    np.testing.assert_array_equal(~np.isnan(read(path)), expected)


@pytest.mark.parametrize("internal", ["YES", "NO"])
def test_a_mask_counts_beside_a_nodata_value(tmp_path: Path, internal: str) -> None:
    path = tmp_path / "a.tif"
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=internal):
        write_geotiff(path, NUMBERS, nodata=9)
        with rasterio.open(path, "r+") as dataset:
            dataset.write_mask((NUMBERS != 20).astype(np.uint8) * 255)
    assert path.with_name("a.tif.msk").exists() == (internal == "NO")
    np.testing.assert_array_equal(np.isnan(read(path)), (NUMBERS == 9) | (NUMBERS == 20))


def test_huge_numbers_are_no_data_though_the_tag_has_too_few_digits(tmp_path: Path) -> None:
    heights = np.full((2, 2), 5000, np.float32)
    heights[0, 0] = np.finfo(np.float32).min
    pixels = read(write_geotiff(tmp_path / "dem.tif", heights, nodata=-3.4e38))
    np.testing.assert_array_equal(np.isnan(pixels), heights < 0)


def test_nodata_is_compared_with_stored_numbers_before_scaling(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.array([[16777217, 16777216, 20_000_000]], np.int32))
    source = describe([BandSource("red", str(path), 1, scale=1e-6, offset=-10, nodata=16777217)])
    with SceneReader(source) as reader:
        pixels = reader.read(["red"], source.grid.window)[0, 0]
    np.testing.assert_allclose(pixels, [np.nan, 6.777216, 10], rtol=1e-6)  # float32 holds the first two as one


def test_the_advice_for_ground_control_points_works_as_printed(tmp_path: Path) -> None:
    x, y = NORTH_UP[2], NORTH_UP[5]
    corners = [GroundControlPoint(row, col, x + 30 * col, y - 30 * row) for row, col in ((0, 0), (8, 0), (0, 8))]
    profile = {"driver": "GTiff", "height": 8, "width": 8, "count": 1, "dtype": "uint16"}
    path = tmp_path / "it's here.tif"
    with rasterio.open(path, "w", gcps=corners, crs=UTM_45N, **profile) as dataset:
        dataset.write(NUMBERS[None])
    with pytest.raises(SceneError, match="only 3 ground control points; expected a geotransform: warp it") as caught:
        read(path)
    _, gdalwarp, _, rio, _ = str(caught.value).split("`")
    assert shlex.split(gdalwarp) == ["gdalwarp", str(path), str(tmp_path / "it's here_warped.tif")]
    program, *arguments = shlex.split(rio)
    subprocess.run([Path(sys.executable).with_name(program), *arguments], check=True)
    np.testing.assert_array_equal(read(tmp_path / "it's here_warped.tif"), NUMBERS)


class _Ranges(http.server.SimpleHTTPRequestHandler):
    """Serves files and parts of files, and counts the bytes."""

    sent = 0
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        content = Path(self.translate_path(self.path))
        if not content.is_file():
            self.send_error(404)
            return
        data = content.read_bytes()
        first, last = (self.headers.get("Range") or f"bytes=0-{len(data) - 1}").removeprefix("bytes=").split("-")
        part = data[int(first) : int(last or len(data)) + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
        type(self).sent += len(part)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    _Ranges.sent, _Ranges.asked = 0, []
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(_Ranges, directory=str(tmp_path))
    ) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_of_a_file_behind_an_address_only_the_window_is_fetched(tmp_path: Path, address: str) -> None:
    noise = np.random.default_rng(0).integers(1, 60000, (2048, 2048), dtype=np.uint16)
    tif = write_geotiff(tmp_path / "whole.tif", noise)
    rasterio.shutil.copy(tif, tmp_path / "cog.tif", driver="COG", BLOCKSIZE="256", OVERVIEWS="NONE")
    size = (tmp_path / "cog.tif").stat().st_size
    source = describe([BandSource("red", f"{address}/cog.tif", 1)])
    with SceneReader(source) as reader:
        pixels = reader.read(["red"], Window(1000, 1200, 64, 64))[0]
    np.testing.assert_array_equal(pixels, noise[1000:1064, 1200:1264])
    assert _Ranges.sent < 0.1 * size
    assert set(_Ranges.asked) == {"/cog.tif"}  # no folder, no file beside it


@pytest.mark.parametrize(
    ("crs", "corner", "pixel", "message"),
    [
        ("EPSG:4326", (478000.0, 3108140.0), 30.0, r"x 478015 to 478225 and y .* in WGS 84; expected longitude and"),
        ("EPSG:4326", (86.7, 95.0), 0.0003, r"x 86\.7002 to 86\.7023 and y 94\.9977 to 94\.9998 in WGS 84"),
        ("EPSG:4978", (478000.0, 3108140.0), 30.0, r"'WGS 84', which has no place on Earth \(Geocentric CRS\)"),
        (
            'LOCAL_CS["mine",UNIT["metre",1]]',
            (0.0, 0.0),
            30.0,
            r"'mine', which has no place on Earth \(Engineering CRS\)",
        ),
    ],
    ids=["metres as degrees", "latitude 95", "geocentric", "local"],
)
def test_a_place_that_is_not_on_the_earth_is_refused(
    tmp_path: Path, crs: str, corner: tuple[float, float], pixel: float, message: str
) -> None:
    transform = (pixel, 0.0, corner[0], 0.0, -pixel, corner[1])
    path = write_geotiff(tmp_path / "a.tif", np.ones((8, 8), np.uint8), crs=crs, transform=transform)
    with open_raster(str(path)) as dataset, pytest.raises(SceneError, match=rf"^{path}: found .*{message}.*gdal_edit"):
        grid_of(dataset)


@pytest.mark.parametrize("west", [-180.125, -0.125])  # longitudes from -180 or from 0
def test_a_grid_of_the_globe_may_be_centred_on_the_poles(tmp_path: Path, west: float) -> None:
    transform = (0.25, 0.0, west, 0.0, -0.25, 90.125)
    path = write_geotiff(tmp_path / "a.tif", np.ones((721, 1440), np.uint8), crs="EPSG:4326", transform=transform)
    with open_raster(str(path)) as dataset:
        assert grid_of(dataset).transform == transform


@pytest.mark.parametrize("nodata", ["", "<NoDataValue>9</NoDataValue>"])
def test_a_mask_of_one_band_of_a_virtual_raster_counts(tmp_path: Path, nodata: str) -> None:
    write_geotiff(tmp_path / "a.tif", np.stack([NUMBERS, NUMBERS]))
    masks = np.stack([NUMBERS != 20, NUMBERS != 30]).astype(np.uint8) * 255
    write_geotiff(tmp_path / "mask.tif", masks)
    part = 'xOff="0" yOff="0" xSize="8" ySize="8"'

    def source(name: str, index: int) -> str:
        return (
            f'<SimpleSource><SourceFilename relativeToVRT="1">{name}</SourceFilename><SourceBand>{index}</SourceBand>'
            f"<SrcRect {part}/><DstRect {part}/></SimpleSource>"
        )

    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{index}">{nodata}{source("a.tif", index)}<MaskBand><VRTRasterBand '
        f'dataType="Byte">{source("mask.tif", index)}</VRTRasterBand></MaskBand></VRTRasterBand>'
        for index in (1, 2)
    )
    a, b, c, d, e, f = NORTH_UP
    path = tmp_path / "a.vrt"
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><SRS>{UTM_45N}</SRS><GeoTransform>{c}, {a}, {b}, {f}, {d}, {e}'
        f"</GeoTransform>{bands}</VRTDataset>"
    )
    _check_masks_of_bands(path, NUMBERS == 9 if nodata else np.zeros_like(NUMBERS, bool))


def test_a_mask_file_with_a_mask_for_each_band_counts(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "a.tif", np.stack([NUMBERS, NUMBERS]))
    masks = np.stack([NUMBERS != 20, NUMBERS != 30]).astype(np.uint8) * 255
    mask = write_geotiff(tmp_path / "mask.tif", masks)
    with rasterio.open(mask, "r+") as dataset:
        dataset.update_tags(INTERNAL_MASK_FLAGS_1="0", INTERNAL_MASK_FLAGS_2="0")
    mask.rename(tmp_path / "a.tif.msk")
    _check_masks_of_bands(path, np.zeros_like(NUMBERS, bool))


def _check_masks_of_bands(path: Path, nodata: NDArray[np.bool_]) -> None:
    """Check that the first band lacks the number 20, the second 30, and both what the file declares as no data."""
    source = describe([BandSource("red", str(path), 1), BandSource("nir", str(path), 2)])
    with SceneReader(source) as reader:
        red, nir = np.isnan(reader.read(["red", "nir"], source.grid.window))
    np.testing.assert_array_equal(red, nodata | (NUMBERS == 20))
    np.testing.assert_array_equal(nir, nodata | (NUMBERS == 30))
