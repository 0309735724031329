"""The client in ``docs/web-tool.md`` is run as it stands there, against files as the server hands them out."""

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

from models.bundle import CARD_FILE, ONNX_FILE, write_bundle
from tests.imagery.forge import forge_scene
from tests.models.cards import CLASSES, origin
from tests.models.networks import CHANNELS, small_segmenter

GUIDE = Path(__file__).parents[1] / "docs" / "web-tool.md"
FILES = {"/api/v1/models/latest/card": CARD_FILE, "/api/v1/models/latest/onnx": ONNX_FILE}
TOKEN = "a reader's token"


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


@pytest.mark.slow
def test_the_documented_client_maps_as_the_network_does(tmp_path: Path):
    segmenter = small_segmenter()
    write_bundle(tmp_path / "bundle", segmenter, origin())
    scene = forge_scene(tmp_path / "scene.tif", nodata_columns=10)
    (client,) = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)

    with serving(tmp_path / "bundle") as url:
        variables = {"API": url, "TOKEN": TOKEN, "SCENE": str(scene.path), "TARGET": str(tmp_path / "map.tif")}
        command = [sys.executable, "-c", client]
        done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)

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
