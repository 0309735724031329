"""STAC items of several providers; truth is that of `tests.imagery.product_forge`."""

import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.products import stac_item
from imagery.products.recognise import recognise
from imagery.scene_reader import SceneReader
from imagery.sensors import SURFACE_TEMPERATURE
from imagery.units import REFLECTANCE, Level
from tests.imagery.forge import write_geotiff
from tests.imagery.product_forge import (
    L1TP,
    L2SP,
    MSI,
    OLI,
    SIDE,
    SUN_DEG,
    check_truth,
    landsat_level_1,
    landsat_level_2,
    stored,
    write,
)
from tests.imagery.range_server import bytes_sent, serve

COG = "image/tiff; application=geotiff; profile=cloud-optimized"


def item(assets: Mapping[str, Any], *, name: str = "S2A_T45RVL", version: str = "1.0.0", **properties: Any) -> str:
    return json.dumps(
        {
            "type": "Feature",
            "stac_version": version,
            "id": name,
            "geometry": None,
            "links": [],
            "properties": {"datetime": "2022-10-15T04:57:41Z"} | properties,
            "assets": assets,
        }
    )


def sentinel(
    folder: Path, *, add: int, keys: Mapping[str, str] | None = None, raster: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Assets of Sentinel-2 whose stored numbers are reflectance x 10,000 + `add`."""
    assets: dict[str, Any] = {}
    for field, name in MSI.items():
        write(folder / f"{field}.tif", stored(name, 1e-4, -add / 1e4), size=10)
        key = (keys or {}).get(field, field)
        assets[key] = {"href": f"./{field}.tif", "type": COG, "eo:bands": [{"name": key, "common_name": name}]}
        if raster:
            assets[key]["raster:bands"] = [raster]
    write(folder / "SCL.tif", np.full((SIDE, SIDE), 4, np.uint8), size=20)
    assets["scl"] = {"href": "./SCL.tif", "type": COG}
    assets["thumbnail"] = {"href": "./t.jpg", "type": "image/jpeg", "roles": ["thumbnail"]}
    return assets


def test_an_item_of_sentinel_2_states_scale_and_offset(tmp_path: Path) -> None:
    keys = {"B02": "blue", "B03": "green", "B04": "red", "B08": "nir", "B11": "swir16", "B12": "swir22"}
    assets = sentinel(tmp_path, add=1000, keys=keys, raster={"nodata": 0, "scale": 0.0001, "offset": -0.1})
    extra = {"platform": "sentinel-2a", "eo:cloud_cover": 3.5, "view:sun_elevation": 48.2}
    (tmp_path / "item.json").write_text(item(assets, **extra, **{"processing:level": "L2A"}))
    product = recognise(str(tmp_path / "item.json"))
    assert (product.sensor, product.level) == ("sentinel-2-msi", Level.SURFACE)
    check_truth(product.bands, 1e-4)
    assert product.acquired == datetime(2022, 10, 15, 4, 57, 41, tzinfo=UTC)
    assert (product.product_id, product.cloud_percent, product.sun_elevation_deg) == ("S2A_T45RVL", 3.5, 48.2)
    assert [(band.name, band.table) for band in product.quality] == [("scl", "sentinel-2-scl")]
    assert product.left_out == (("thumbnail", "a picture, metadata or a format that is not read"),)


@pytest.mark.parametrize("applied", [True, False])
def test_an_offset_that_the_pixels_contradict_is_not_applied_twice(tmp_path: Path, applied: bool) -> None:
    # earth-search states the offset -0.1 of files from which it was taken away already, whatever its flag says.
    assets = sentinel(tmp_path, add=0, raster={"nodata": 0, "scale": 0.0001, "offset": -0.1})
    text = item(assets, platform="sentinel-2b", **{"earthsearch:boa_offset_applied": applied})
    (tmp_path / "item.json").write_text(text)
    product = recognise(str(tmp_path / "item.json"))
    check_truth(product.bands, 1e-4)
    assert any("its pixels show 0, which is used" in note for note in product.notes) is not applied


@pytest.mark.parametrize(("baseline", "add"), [("05.09", 1000), ("02.14", 0)])
def test_without_raster_bands_the_baseline_tells_the_offset(tmp_path: Path, baseline: str, add: int) -> None:
    text = item(sentinel(tmp_path, add=add), platform="Sentinel-2A", **{"s2:processing_baseline": baseline})
    (tmp_path / "item.json").write_text(text)
    product = recognise(str(tmp_path / "item.json"))
    check_truth(product.bands, 1e-4)
    assert product.bands[0].unit == REFLECTANCE


def landsat(folder: Path, product: str, prefix: str) -> dict[str, Any]:
    assets = {
        name: {"href": f"./{product}_{prefix}{field}.TIF", "type": COG, "eo:bands": [{"name": f"OLI_{field}"}]}
        for field, name in OLI.items()
    }
    return assets | {"qa_pixel": {"href": f"./{product}_QA_PIXEL.TIF", "type": COG}}


def test_an_item_of_landsat_level_2_needs_no_scale(tmp_path: Path) -> None:
    landsat_level_2(tmp_path)
    assets = landsat(tmp_path, L2SP, "SR_") | {"lwir11": {"href": f"./{L2SP}_ST_B10.TIF", "type": COG}}
    text = item(assets, name=L2SP, platform="landsat-8", **{"landsat:correction": "L2SP"})
    (tmp_path / "item.json").write_text(text)
    product = recognise(str(tmp_path / "item.json"))
    assert (product.sensor, product.level) == ("landsat-8-oli", Level.SURFACE)
    check_truth(product.bands, 2e-5)
    assert [band.name for band in product.extras] == [SURFACE_TEMPERATURE]
    assert [(band.name, band.table) for band in product.quality] == [("quality", "landsat-c2-qa-pixel")]


def test_flags_of_another_collection_are_left_out_with_the_reason(tmp_path: Path) -> None:
    landsat_level_2(tmp_path)
    write(tmp_path / f"{L2SP}_BQA.TIF", np.full((SIDE, SIDE), 2720, np.uint16))
    older = {"bqa": {"href": f"./{L2SP}_BQA.TIF", "type": COG}}
    for assets in (older | landsat(tmp_path, L2SP, "SR_"), landsat(tmp_path, L2SP, "SR_") | older):
        (tmp_path / "item.json").write_text(item(assets, name=L2SP, platform="landsat-8"))
        product = recognise(str(tmp_path / "item.json"))
        assert [(band.name, band.table) for band in product.quality] == [("quality", "landsat-c2-qa-pixel")]
        assert product.left_out == (("bqa", "flags of Collection 1, which this product is not of"),)
    del assets["qa_pixel"]
    (tmp_path / "item.json").write_text(item(assets, name=L2SP, platform="landsat-8"))
    product = recognise(str(tmp_path / "item.json"))
    assert product.quality == ()
    assert product.left_out == (("bqa", "flags of Collection 1, which this product is not of"),)
    assert any("so clouds and shadows are not masked" in note for note in product.notes)


@pytest.mark.parametrize("href", ["s3://sentinel-s2-l2a/B04.jp2", "./not-downloaded.jp2", "https://192.0.2.1/B04.jp2"])
def test_an_asset_that_is_not_used_need_not_be_readable(tmp_path: Path, href: str) -> None:
    """Earth Search lists each band twice: as a GeoTIFF, and as ESA's JPEG 2000, which lies on S3."""
    assets = sentinel(tmp_path, add=0)
    copy = {"href": href, "type": "image/jp2", "eo:bands": [{"name": "red", "common_name": "red"}]}
    text = item({"red-jp2": copy} | assets, platform="sentinel-2a", **{"processing:level": "L2A"})
    (tmp_path / "item.json").write_text(text)
    product = recognise(str(tmp_path / "item.json"))
    check_truth(product.bands, 1e-4)
    assert ("red-jp2", "red once more") in product.left_out
    del assets["B04"]
    (tmp_path / "item.json").write_text(item({"red-jp2": copy} | assets, platform="sentinel-2a"))
    with pytest.raises(SceneError, match=r"found (the asset address|no file|the address)"):
        recognise(str(tmp_path / "item.json"))


def test_flags_that_are_left_out_need_not_be_readable(tmp_path: Path) -> None:
    landsat_level_2(tmp_path)
    older = {"bqa": {"href": f"s3://usgs-landsat/{L2SP}_BQA.TIF", "type": COG}}
    (tmp_path / "item.json").write_text(item(older | landsat(tmp_path, L2SP, "SR_"), name=L2SP, platform="landsat-8"))
    product = recognise(str(tmp_path / "item.json"))
    assert [(band.name, band.table) for band in product.quality] == [("quality", "landsat-c2-qa-pixel")]
    assert product.left_out == (("bqa", "flags of Collection 1, which this product is not of"),)


def test_a_thermal_band_of_which_an_item_states_the_scale_only_keeps_its_fill(tmp_path: Path) -> None:
    folder = landsat_level_1(tmp_path)
    name = L2SP.replace("L2SP", "L1TP")
    stated = {"raster:bands": [{"scale": 3.342e-4, "offset": 0.1}]}
    thermal = {"lwir11": {"href": f"{folder}/{name}_B10.TIF", "type": COG, **stated}}
    text = item(landsat(tmp_path, name, "") | thermal, name=name, platform="LANDSAT_8", **{"view:sun_elevation": 48})
    (tmp_path / "item.json").write_text(text)
    (found,) = recognise(str(tmp_path / "item.json")).extras
    assert (found.name, found.nodata) == ("thermal1", 0)


def test_an_item_of_landsat_level_1_states_the_height_of_the_sun(tmp_path: Path) -> None:
    landsat_level_1(tmp_path)
    name = L2SP.replace("L2SP", "L1TP")
    text = item(landsat(tmp_path, name, ""), name=name, platform="LANDSAT_8", **{"view:sun_elevation": SUN_DEG})
    (tmp_path / "item.json").write_text(text)
    product = recognise(str(tmp_path / "item.json"))
    assert product.level is Level.TOP_OF_ATMOSPHERE
    check_truth(product.bands, 2e-5)


def test_bands_of_stac_1_1_are_read(tmp_path: Path) -> None:
    write(tmp_path / "stack.tif", np.stack([stored(name, 1e-4, 0.0) for name in OLI.values()]))
    bands = [{"name": name, "raster:scale": 1e-4, "raster:offset": 0.0} for name in OLI.values()]
    asset = {"href": "stack.tif", "type": COG, "bands": bands, "nodata": 0}
    (tmp_path / "item.json").write_text(item({"data": asset}, version="1.1.0", platform="landsat-9"))
    product = recognise(str(tmp_path / "item.json"))
    check_truth(product.bands, 1e-4)
    assert product.sensor == "landsat-9-oli-2"
    assert any("taken as of the surface" in note for note in product.notes)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with serve(tmp_path, tmp_path / "log") as address:
        yield address


def test_addresses_are_read_only_where_this_is_permitted(tmp_path: Path, server: str) -> None:
    assets = sentinel(tmp_path, add=1000, raster={"nodata": 0, "scale": 0.0001, "offset": -0.1})
    (tmp_path / "item.json").write_text(item(assets, platform="sentinel-2a"))
    with pytest.raises(SceneError, match=r"found the address http://127\.0\.0\.1"):
        recognise(f"{server}/item.json")

    def loopback(href: str) -> str:
        if not href.startswith("http://127.0.0.1:"):
            raise SceneError(f"found {href}; expected an address on this machine")
        return href

    product = recognise(f"{server}/item.json", permit=loopback)
    assert {band.path.partition("/B")[0] for band in product.bands} == {f"/vsicurl/{server}"}
    check_truth(product.bands, 1e-4)
    for href in ("http://198.51.100.1/B04.tif", "s3://bucket/B04.tif", "/vsicurl/http://x/B04.tif"):
        (tmp_path / "evil.json").write_text(item({"B04": {"href": href, "type": COG}}, platform="sentinel-2a"))
        with pytest.raises(SceneError, match=r"expected an address on this machine|found the asset address"):
            recognise(f"{server}/evil.json", permit=loopback)


def test_of_an_item_on_a_server_only_the_parts_that_are_needed_are_fetched(tmp_path: Path, server: str) -> None:
    """A band of 1024 x 1024 random pixels in tiles of 128 is 2 MiB; a window of 64 px lies in one to four tiles."""
    noise = np.random.default_rng(0).integers(1001, 10_000, (1, 1024, 1024), dtype=np.uint16)
    tiled = {"tiled": True, "blockxsize": 128, "blockysize": 128}
    assets = {}
    for name, place in {"B03": 0, "B04": 1}.items():
        write_geotiff(tmp_path / f"{name}.tif", noise + place, **tiled)
        raster = [{"nodata": 0, "scale": 0.0001, "offset": -0.1}]
        assets[name] = {"href": f"{server}/{name}.tif", "type": COG, "raster:bands": raster}
    (tmp_path / "item.json").write_text(item(assets, platform="sentinel-2a"))
    product = recognise(f"{server}/item.json", permit=lambda href: href)
    source = describe(product.bands, level=product.level)
    before = bytes_sent(tmp_path / "log")
    with SceneReader(source) as reader:
        red = reader.read(["red"], Window(512, 512, 64, 64))[0]
    np.testing.assert_allclose(red, (noise[0, 512:576, 512:576] + 1) * 1e-4 - 0.1, atol=1e-6)
    assert 0 < bytes_sent(tmp_path / "log") - before < (tmp_path / "B04.tif").stat().st_size / 4


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"Content-Length: 100\r\n\r\n{", "Read timed out", id="one byte of 100"),
        pytest.param(b"Transfer-Encoding: chunked\r\n\r\n?\r\n", "Connection broken", id="a chunk of no size"),
    ],
)
def test_an_answer_that_breaks_off_is_refused(monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str) -> None:
    monkeypatch.setattr(stac_item, "_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        refused = threading.Event()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\n" + content)
                refused.wait(5)

        answered = pool.submit(answer)
        href = f"http://127.0.0.1:{listener.getsockname()[1]}/item.json"
        with pytest.raises(SceneError, match=rf"{href}: cannot be fetched \(.*{reason}.*expected a STAC item"):
            recognise(href, permit=lambda href: href)
        refused.set()
        answered.result()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "found JSON of the type 'list'; expected a STAC item"),
        (
            '{"type": "Collection", "stac_version": "1.0.0"}',
            "found JSON of the type 'Collection'; expected a STAC item",
        ),
        ('{"type": "Feature", "stac_version": "1.0.0", "assets": {}}', "found no readable STAC item"),
        (item({}, platform="sentinel-2a"), "expected at least one reflective band"),
        (item({}, platform="planetscope"), "found the platform 'planetscope'; expected Landsat 4 to 9"),
        (item({"B04": {"href": "B04.tif", "type": COG}}, platform="sentinel-2a"), "found no file 'B04.tif'"),
    ],
)
def test_what_is_no_item_of_a_known_sensor_is_refused(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "item.json").write_text(content)
    with pytest.raises(SceneError, match=re.escape(message)):
        recognise(str(tmp_path / "item.json"))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["id"], 5, "found the id 5; expected text"),
        (["id"], None, "found the id None; expected text"),
        (["id"], "\ud800", "surrogates not allowed"),
        (["assets", "B04", "type"], ["a"], "found the type of the asset 'B04' ['a']; expected text"),
        (["assets", "B04", "roles"], 5, "found the roles 5 of the asset 'B04'; expected a list"),
        (["assets", "B04", "roles"], ["data", 1], "found the role 1 of the asset 'B04' 1; expected text"),
        (["assets", "B04", "href"], "http://[::1.tif", "which cannot be read (Invalid IPv6 URL)"),
        (["assets", "B04", "href"], f"{'x' * 5000}.tif", "which cannot be read (File name too long)"),
        (
            ["assets", "B04"],
            {"href": "s3://b/B04.tif", "alternate": {"local": {"href": "http://[::1.tif"}}},
            "which cannot be read (Invalid IPv6 URL)",
        ),
        (["properties", "start_datetime"], "x", "ISO string too short"),
        (["properties", "start_datetime"], 5, "TypeError"),
        (["properties", "datetime"], "9999-12-31T24:00:00Z", "date value out of range"),
    ],
)
def test_a_value_of_another_kind_is_refused(tmp_path: Path, place: list[str], value: Any, message: str) -> None:
    period = {"datetime": None, "start_datetime": "2022-10-01T00:00:00Z", "end_datetime": "2022-10-31T00:00:00Z"}
    document = json.loads(item(sentinel(tmp_path, add=0), platform="sentinel-2a", **period))
    parent = document
    for key in place[:-1]:
        parent = parent[key]
    parent[place[-1]] = value
    (tmp_path / "item.json").write_text(json.dumps(document))
    with pytest.raises(SceneError, match=re.escape(message)):
        recognise(str(tmp_path / "item.json"))


@pytest.mark.parametrize("platform", ["landsat-9", "sentinel-2a"])
def test_an_asset_of_fewer_bands_than_stated_is_refused(tmp_path: Path, platform: str) -> None:
    write(tmp_path / "B04.tif", stored("red", 1e-4, 0.0))
    asset = {"href": "B04.tif", "type": COG, "eo:bands": [{"name": name} for name in ("red", "green", "blue")]}
    (tmp_path / "item.json").write_text(item({"data": asset}, platform=platform))
    with pytest.raises(SceneError, match=r"B04\.tif: found 1 of the 3 bands that the item states of the asset 'data'"):
        recognise(str(tmp_path / "item.json"))


@pytest.mark.parametrize("platform", ["landsat-9", "sentinel-2a"])
@pytest.mark.parametrize(("scale", "offset"), [(0, -0.1), (1e-320, 1e300)])
def test_a_scale_that_makes_no_numbers_is_refused(tmp_path: Path, platform: str, scale: float, offset: float) -> None:
    write(tmp_path / "B04.tif", stored("red", 1e-4, 0.0))
    asset = {"href": "B04.tif", "type": COG, "raster:bands": [{"scale": scale, "offset": offset}]}
    (tmp_path / "item.json").write_text(item({"red": asset}, platform=platform))
    with pytest.raises(SceneError, match=rf"found the scale {float(scale)} and the offset .* of red; expected a scale"):
        recognise(str(tmp_path / "item.json"))


def test_a_local_item_means_the_files_beside_it_whatever_its_link_says(tmp_path: Path) -> None:
    document = json.loads(item(sentinel(tmp_path, add=0), platform="sentinel-2a", **{"processing:level": "L2A"}))
    document["links"] = [{"rel": "self", "href": "https://example.org/cat/item.json"}]
    (tmp_path / "item.json").write_text(json.dumps(document))
    product = recognise(str(tmp_path / "item.json"))
    assert product.bands[0].path == str(tmp_path / "B02.tif")
    check_truth(product.bands, 1e-4)
    (tmp_path / "B02.tif").unlink()
    with pytest.raises(SceneError, match=r"found the address https://example.org/cat/B02.tif"):
        recognise(str(tmp_path / "item.json"))


def test_a_number_that_means_no_data_counts_without_a_scale(tmp_path: Path) -> None:
    assets = sentinel(tmp_path, add=0, raster={"nodata": -9999})
    for field, name in MSI.items():
        write(tmp_path / f"{field}.tif", stored(name, 1e-4, 0.0, fill=-9999, dtype="int16"), size=10)
    (tmp_path / "item.json").write_text(item(assets, platform="sentinel-2a", **{"processing:level": "L2A"}))
    check_truth(recognise(str(tmp_path / "item.json")).bands, 1e-4)


def test_other_addresses_of_an_asset_are_used_if_the_first_cannot_be_read(tmp_path: Path) -> None:
    assets = sentinel(tmp_path, add=0)
    for asset in assets.values():
        local = asset["href"]
        asset |= {"href": f"s3://bucket/{local}", "alternate": {"s3b": {"href": "s3://b/a"}, "local": {"href": local}}}
    (tmp_path / "item.json").write_text(item(assets, platform="sentinel-2a", **{"processing:level": "L2A"}))
    check_truth(recognise(str(tmp_path / "item.json")).bands, 1e-4)


def test_an_answer_to_a_search_is_read_if_it_has_one_item(tmp_path: Path) -> None:
    one = json.loads(item(sentinel(tmp_path, add=0), platform="sentinel-2a", **{"processing:level": "L2A"}))
    path = tmp_path / "answer.json"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [one]}))
    assert recognise(str(path)).product_id == "S2A_T45RVL"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [one, one | {"id": "other"}]}))
    with pytest.raises(SceneError, match=r"found 2 features \(S2A_T45RVL, other\); expected one STAC item"):
        recognise(str(path))


def test_a_folder_says_that_its_stac_item_knows_more(tmp_path: Path) -> None:
    (tmp_path / "item.json").write_text(item(sentinel(tmp_path, add=0), platform="sentinel-2a"))
    (reason,) = [reason for file, reason in recognise(str(tmp_path)).left_out if file == "item.json"]
    assert "give the item instead of the folder" in reason


def test_the_date_of_an_item_is_in_utc_and_certain_unless_it_is_a_period(tmp_path: Path) -> None:
    path = tmp_path / "item.json"
    assets = sentinel(tmp_path, add=0)
    path.write_text(item(assets, platform="sentinel-2a", datetime="2022-10-15T03:00:00+05:45"))
    product = recognise(str(path))
    assert (product.acquired, product.acquired_by) == (datetime(2022, 10, 14, 21, 15, tzinfo=UTC), None)
    period = {"start_datetime": "2022-10-01T00:00:00Z", "end_datetime": "2022-10-31T00:00:00Z"}
    path.write_text(item(assets, platform="sentinel-2a", datetime=None, **period))
    product = recognise(str(path))
    assert (product.acquired, product.acquired_by) == (datetime(2022, 10, 1, tzinfo=UTC), "the item's start_datetime")


@pytest.mark.parametrize(("stated", "offset"), [(None, -0.1), (date(2018, 10, 26), 0.0)])
def test_the_day_that_is_stated_of_an_item_of_a_period_decides_about_its_offset(
    tmp_path: Path, stated: date | None, offset: float
) -> None:
    """Bright snow without short-wave infrared does not tell it."""
    assets = {}
    for field in ("B02", "B04"):
        write(tmp_path / f"{field}.tif", np.full((SIDE, SIDE), 7000, np.uint16), size=10)
        assets[field] = {"href": f"./{field}.tif", "type": COG, "raster:bands": [{"nodata": 0}]}
    period = {"start_datetime": "2018-10-01T00:00:00Z", "end_datetime": "2018-10-31T00:00:00Z"}
    path = tmp_path / "item.json"
    path.write_text(item(assets, platform="sentinel-2a", datetime=None, **period))
    assert {band.offset for band in recognise(str(path), acquired=stated).bands} == {offset}


@pytest.mark.parametrize(("platform", "doubted"), [({}, True), ({"platform": "landsat-8"}, False)])
def test_an_item_of_hls_without_a_platform_may_be_of_landsat_9(
    tmp_path: Path, platform: dict[str, str], doubted: bool
) -> None:
    write(tmp_path / "B04.tif", stored("red", 1e-4, 0, fill=-9999, dtype="int16"), nodata=-9999)
    asset = {"href": "./B04.tif", "type": COG, "eo:bands": [{"name": "B04", "common_name": "red"}]}
    path = tmp_path / "item.json"
    path.write_text(item({"B04": asset}, name="HLS.L30.T45RVL.2022288T044110.v2.0", **platform))
    product = recognise(str(path))
    assert product.sensor == "landsat-8-oli"
    assert any("of Landsat 9" in note for note in product.notes) == doubted


def test_an_item_of_landsat_without_ground_control_points_is_noted(tmp_path: Path) -> None:
    product = L1TP.replace("L1TP", "L1GT").replace("_T1", "_T2")
    for field, name in OLI.items():
        write(tmp_path / f"{product}_{field}.TIF", stored(name, 2e-5, -0.1))
    path = tmp_path / "item.json"
    assets = landsat(tmp_path, product, "") | {}
    del assets["qa_pixel"]
    for more in ({}, {"landsat:correction": "L1GT"}):
        path.write_text(item(assets, name=product, platform="landsat-8", **more))
        assert any("is L1GT, placed without ground control" in note for note in recognise(str(path)).notes)
