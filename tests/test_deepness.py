"""The champion in the QGIS plugin Deepness: the same classes as ours, from the numbers that QGIS shows."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import rasterio
import torch
from numpy.typing import NDArray

from catalog.errors import ConflictError
from imagery import everest
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, SceneSource
from imagery.shown_bands import ShownBand, shown_bands
from models.bundle import read_card, write_bundle
from models.heads import Head, logits_per_network
from models.input_channels import InputChannel
from models.segmenter import GlacierSegmenter, build_segmenter
from models.unet import UNetConfig
from services.deepness import deepness_graph, input_bands
from tests.deepness import Deepness, Tile
from tests.imagery.forge import write_geotiff
from tests.models.cards import CLASSES, origin
from tests.real_qgis import in_qgis, needs_qgis

BANDS = ("red", "green", "blue", "nir")
TILE_PX = 128
SCALE, OFFSET = 2.75e-5, -0.2  # of Landsat Collection 2, level 2
GAP = np.s_[100:180, 300:420]  # where the 16-bit scene has no data


@pytest.fixture(scope="module")
def eight_bit(tmp_path_factory: pytest.TempPathFactory) -> SceneSource:
    """The Everest scene, 8 bit, in two files."""
    return describe(everest.prepare(tmp_path_factory.mktemp("everest")).bands)


@pytest.fixture(scope="module")
def reflectance(eight_bit: SceneSource) -> NDArray[np.float32]:
    with SceneReader(eight_bit) as reader:
        return reader.read(BANDS, eight_bit.grid.window) / np.float32(255)


def sixteen_bit(
    folder: Path, reflectance: NDArray[np.float32], *, tagged: bool = False, gap: Tile = GAP
) -> SceneSource:
    """The same ground as the uint16 numbers of a Landsat product, with a gap whose number is 0."""
    numbers = np.round((reflectance - OFFSET) / SCALE).astype(np.uint16)
    numbers[(slice(None), *gap)] = 0
    path = write_geotiff(folder / "scene.tif", numbers, descriptions=BANDS, nodata=0)
    if tagged:
        with rasterio.open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = [SCALE] * 4, [OFFSET] * 4
    bands = [
        BandSource(name, str(path), index, SCALE, OFFSET, unit="reflectance") for index, name in enumerate(BANDS, 1)
    ]
    return describe(bands)


def network(source: SceneSource, channels: Sequence[str], head: Head = "multiclass") -> GlacierSegmenter:
    """A network whose fresh weights divide the scene into three classes, of the scene's own statistics."""
    with SceneReader(source) as reader:
        values = reader.read(channels, source.grid.window)
    mean, std = (part.tolist() for part in (np.nanmean(values, (1, 2)), np.nanstd(values, (1, 2))))
    config = UNetConfig(in_channels=len(channels), classes=logits_per_network(head, 3), depth=2, width=8)
    precedence = None if head == "multiclass" else (2, 1)
    return build_segmenter(channels, mean, std, config, 3, head, precedence=precedence)


def opened(folder: Path, segmenter: GlacierSegmenter, source: SceneSource) -> tuple[Deepness, tuple[ShownBand, ...]]:
    """Write a version and its file for Deepness; return what the plugin makes of it, and the bands that it needs."""
    inputs = tuple(InputChannel(name=name, unit="1") for name in segmenter.channels)
    classes = CLASSES if segmenter.classes == 3 else (CLASSES[0], "glacier")
    labels = tuple(ranked(item, segmenter.precedence) for item in origin().label_classes)
    changes = {"input_channels": inputs, "classes": classes, "label_classes": labels}
    write_bundle(folder / "bundle", segmenter, origin().model_copy(update=changes))
    card = json.loads(read_card(folder / "bundle").model_dump_json())
    names = input_bands(segmenter.channels, source.raster_names)
    with SceneReader(source) as reader:
        bands = shown_bands(reader, names)
    content = deepness_graph((folder / "bundle" / "model.onnx").read_bytes(), card, bands, 30.0, TILE_PX)
    onnx.checker.check_model(onnx.load_model_from_string(content), full_check=True)
    (folder / "deepness.onnx").write_bytes(content)
    return Deepness(folder / "deepness.onnx"), bands


def ranked(item: Any, precedence: Sequence[int]) -> Any:
    rank = 1 + precedence.index(item.value) if item.value else 0
    return item.model_copy(update={"precedence": rank})


def shown_by_qgis(source: SceneSource, names: Sequence[str]) -> NDArray[Any]:
    """Return (C, H, W) numbers as QGIS hands them out: as stored, but for the scale and offset that a file declares."""
    layers = []
    for name in names:
        (band,) = (band for band in source.bands if band.name == name)
        with rasterio.open(band.path) as dataset:
            stored = dataset.read(band.index)
            scale, offset = dataset.scales[band.index - 1], dataset.offsets[band.index - 1]
            scaled = np.where(stored == dataset.nodata, 0.0, stored * scale + offset)
            layers.append(stored if (scale, offset) == (1.0, 0.0) else scaled.astype(np.float32))
    return np.stack(layers)


def agreement(folder: Path, segmenter: GlacierSegmenter, source: SceneSource, threshold: float = 0.5) -> float:
    """Return the share of pixels with data whose class is the same in Deepness and in our network.

    Beyond the edge of a file QGIS hands out the number that it declares for no data. Where it declares none, the
    numbers are undefined; then only tiles that lie in the scene are compared.
    """
    deepness, bands = opened(folder, segmenter, source)
    shown = shown_by_qgis(source, [band.name for band in bands])
    with SceneReader(source) as reader:
        values = reader.read(segmenter.channels, source.grid.window)
    beyond = ((0, 0), (0, TILE_PX), (0, TILE_PX))
    padded = np.pad(values, beyond, constant_values=np.nan), np.pad(shown, beyond)

    def ours(tile: Tile) -> NDArray[np.uint8]:
        (probabilities,) = segmenter.probabilities(torch.from_numpy(padded[0][(slice(None), *tile)].copy())[None])
        return segmenter.decide(probabilities.numpy())

    def theirs(tile: Tile) -> NDArray[np.int64]:
        return deepness.classify(np.moveaxis(padded[1][(slice(None), *tile)], 0, -1), threshold)

    shape = source.grid.window.shape
    if not all(band.missing for band in bands):
        shape = deepness.whole_tiles(shape)
        values = values[:, : shape[0], : shape[1]]
    expected, found = deepness.map(shape, ours), deepness.map(shape, theirs)
    valid = ~np.isnan(values).any(axis=0)
    shares = np.bincount(expected[valid], minlength=segmenter.classes) / valid.sum()
    assert np.sort(shares)[-2] > 0.02  # one class only would agree without any network
    return float((expected == found)[valid].mean())


def test_8_bit_numbers_of_the_everest_scene_give_our_classes(tmp_path: Path, eight_bit: SceneSource) -> None:
    channels = ("nir", "red", "green")  # in another order than in the scene
    assert agreement(tmp_path, network(eight_bit, channels), eight_bit) >= 0.999


@pytest.mark.parametrize("tagged", [False, True])
def test_16_bit_numbers_of_the_everest_scene_give_our_classes(
    tmp_path: Path, reflectance: NDArray[np.float32], tagged: bool
) -> None:
    """The scale is the product's, or the file declares it, so that QGIS applies it; there is a gap in the data."""
    source = sixteen_bit(tmp_path, reflectance, tagged=tagged)
    assert agreement(tmp_path, network(source, BANDS), source) >= 0.999


@pytest.mark.parametrize("head", ["multiclass", "binary", "two_binaries"])
def test_each_head_and_a_computed_index_give_our_classes(
    tmp_path: Path, reflectance: NDArray[np.float32], head: Head
) -> None:
    source = sixteen_bit(tmp_path, reflectance[:, :260, :300])
    segmenter = network(source, ("red", "ndvi", "ndwi"), head)
    assert input_bands(segmenter.channels, source.raster_names) == ("red", "nir", "green")
    assert agreement(tmp_path, segmenter, source) >= 0.999


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.9])
def test_no_threshold_changes_the_class(tmp_path: Path, reflectance: NDArray[np.float32], threshold: float) -> None:
    source = sixteen_bit(tmp_path, reflectance[:, :260, :300])
    assert agreement(tmp_path, network(source, BANDS), source, threshold) >= 0.999


def test_the_metadata_say_what_the_plugin_fills_its_form_with(tmp_path: Path, eight_bit: SceneSource) -> None:
    deepness, _ = opened(tmp_path, network(eight_bit, BANDS), eight_bit)
    assert deepness.class_names == list(GLACIER_SCHEME.names)
    assert deepness.stated == {
        "model_type": "Segmentor",
        "class_names": {str(value): name for value, name in enumerate(GLACIER_SCHEME.names)},
        "resolution": 3000.0,  # centimetres
        "tile_size": TILE_PX,
        "tiles_overlap": 25,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "bands": list(BANDS),
    }
    assert deepness.input_shape == [1, 4, TILE_PX, TILE_PX]


@pytest.mark.parametrize(("content", "why"), [(b"<html>Bad gateway</html>", ".+"), (b"", "no operations")])
def test_a_file_that_is_no_onnx_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ConflictError, match=rf"not a valid ONNX file \({why}\); serve a version whose files are whole"):
        deepness_graph(content, {}, (), 30.0)


def test_a_wrong_scale_is_noticed(tmp_path: Path, reflectance: NDArray[np.float32]) -> None:
    """What the file of another product would do: the tests above can fail."""
    source = sixteen_bit(tmp_path, reflectance[:, :260, :300])
    segmenter = network(source, BANDS)
    other = replace(source, bands=tuple(replace(band, scale=1e-4, offset=0.0) for band in source.bands))
    deepness, _ = opened(tmp_path, segmenter, other)
    with SceneReader(source) as reader:
        (probabilities,) = segmenter.probabilities(torch.from_numpy(reader.read(BANDS, source.grid.window))[None])
    shown = np.moveaxis(shown_by_qgis(source, BANDS)[:, :TILE_PX, :TILE_PX], 0, -1)
    ours = segmenter.decide(probabilities.numpy())[:TILE_PX, :TILE_PX]
    assert (deepness.classify(shown, 0.5) == ours).mean() < 0.99


@pytest.mark.slow
@needs_qgis
@pytest.mark.parametrize("tagged", [False, True])
def test_a_real_qgis_hands_out_the_numbers_that_these_tests_say(
    tmp_path: Path, reflectance: NDArray[np.float32], tagged: bool
) -> None:
    """As stored, or as the scale that the file declares says; the number for no data as stored, and beyond the edge."""
    source = sixteen_bit(tmp_path, reflectance[:, 90:130, 290:340], tagged=tagged, gap=np.s_[10:20, 10:20])
    found = in_qgis(tmp_path, "read", Path(source.bands[0].path))
    numbers = np.array(found["numbers"]).reshape(found["shape"])
    shown = shown_by_qgis(source, BANDS)
    assert (shown == 0).any()
    np.testing.assert_allclose(numbers[:, :, :-3], shown, rtol=1e-6, atol=1e-7)
    assert (numbers[:, :, -3:] == 0).all()
