"""The client in ``docs/web-tool.md`` is run as it stands there, against files as the server hands them out."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch

from al_server.app import EXPOSED_HEADERS, OPEN_TO_ALL_ORIGINS
from al_server.version_schemas import ModelAnswer
from models.bundle import CARD_FILE, ONNX_FILE, write_bundle
from models.card import ModelCard
from models.input_channels import InputChannel
from models.segmenter import build_segmenter
from tests.imagery.forge import forge_scene, write_geotiff
from tests.models.cards import CLASSES, origin
from tests.models.networks import CHANNELS, small_segmenter

GUIDE = Path(__file__).parents[1] / "docs" / "web-tool.md"
FILES = {"/api/v1/models/latest/card": CARD_FILE, "/api/v1/models/latest/onnx": ONNX_FILE}
TOKEN = "a reader's token"


def test_the_table_of_the_card_has_all_its_members():
    table = GUIDE.read_text().partition("## The model card")[2].partition("## The ONNX graph")[0]
    first = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first))) == sorted(ModelCard.model_fields)


def test_the_example_of_a_version_has_all_its_members():
    (example,) = re.findall(r"^```json\n(\{\n  \"version\".*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert list(json.loads(example)) == list(ModelAnswer.model_fields)


def test_the_guide_says_what_pages_of_other_origins_may_call_and_read():
    told = GUIDE.read_text().partition("Browsers of any origin")[2].partition("\n## ")[0]
    named = re.findall(r"`(/api/[^`]+)`", told)
    assert len(named) == len(OPEN_TO_ALL_ORIGINS)
    for path in OPEN_TO_ALL_ORIGINS:
        assert any(re.match(path, name.replace("...", ".x")) for name in named), path
    assert sorted(re.findall(r"`((?:X-)?[A-Z][\w-]*)`", told)) == sorted(EXPOSED_HEADERS)


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Hand out a bundle at the addresses of the API, to whoever has the token."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            allowed = self.headers["Authorization"] == f"Bearer {TOKEN}"
            self.send_response(200 if allowed else 401)
            self.end_headers()
            self.wfile.write((folder / FILES[self.path]).read_bytes() if allowed else b"")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def run_client(folder: Path, scene: Path, target: Path) -> "subprocess.CompletedProcess[str]":
    """Run the documented client against a bundle."""
    (client,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    with serving(folder) as url:
        variables = {"API": url, "TOKEN": TOKEN, "SCENE": str(scene), "TARGET": str(target)}
        command = [sys.executable, "-c", client]
        return subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("format_version", [1, 2])
def test_the_documented_client_maps_as_the_network_does(tmp_path: Path, format_version: int):
    segmenter = small_segmenter()
    write_bundle(tmp_path / "bundle", segmenter, origin())
    if format_version == 1:  # as an earlier release wrote it
        card = json.loads((tmp_path / "bundle" / CARD_FILE).read_text())
        del card["input_channels"]
        (tmp_path / "bundle" / CARD_FILE).write_text(json.dumps(card | {"format_version": 1}))
    scene = forge_scene(tmp_path / "scene.tif", nodata_columns=10)
    done = run_client(tmp_path / "bundle", scene.path, tmp_path / "map.tif")

    assert done.returncode == 0, done.stderr
    with rasterio.open(scene.path) as dataset:
        raw = dataset.read([dataset.descriptions.index(channel) + 1 for channel in CHANNELS]).astype(np.float32)
        transform = dataset.transform
    raw[:, :, -10:] = np.nan
    expected = segmenter.probabilities(torch.from_numpy(raw)[None])[0].argmax(dim=0).numpy()
    expected[:, -10:] = 255
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert dataset.transform == transform
        assert (dataset.read(1) == expected).all()
    counts = "".join(f"{name}: {(expected == value).sum()} pixels\n" for value, name in enumerate(CLASSES))
    assert done.stdout == counts


@pytest.mark.slow
@pytest.mark.parametrize("tagged", [True, False])
def test_the_documented_client_converts_to_the_unit_of_the_card(tmp_path: Path, tagged: bool):
    """Reflectance .05 to .6 in a Landsat product's numbers, whose scale is in the file's tags or in the card only."""
    segmenter = build_segmenter(CHANNELS, (0.3, 0.3), (0.1, 0.1), small_segmenter().unet.config, seed=1)
    scale, offset = 2.75e-5, -0.2
    channels = tuple(InputChannel(name=name, unit="reflectance", scale=scale, offset=offset) for name in CHANNELS)
    changes = {"input_channels": channels, "levels": ("surface",)}
    write_bundle(tmp_path / "bundle", segmenter, origin().model_copy(update=changes))
    reflectance = np.random.default_rng(0).uniform(0.05, 0.6, (2, 32, 48))
    numbers = np.round((reflectance - offset) / scale).astype(np.uint16)
    path = write_geotiff(tmp_path / "scene.tif", numbers, descriptions=CHANNELS)
    if tagged:
        with rasterio.open(path, "r+") as dataset:
            dataset.scales, dataset.offsets = [scale] * 2, [offset] * 2
    done = run_client(tmp_path / "bundle", path, tmp_path / "map.tif")

    assert done.returncode == 0, done.stderr
    raw = torch.from_numpy(numbers.astype(np.float32) * np.float32(scale) + np.float32(offset))
    expected = segmenter.probabilities(raw[None])[0].argmax(dim=0).numpy()
    assert len(np.unique(expected)) > 1
    with rasterio.open(tmp_path / "map.tif") as dataset:
        assert (dataset.read(1) == expected).mean() > 0.999  # two classes may be equally probable
