"""Strokes give the same map in the page as on the server, and in the page within the time of a glance."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.strokes import Stroke, as_probabilities, repaint

WEB = Path(__file__).parents[2] / "web"
PROGRAM = """
import { buildSync } from "esbuild";
import { readFileSync } from "node:fs";
const options = { bundle: true, format: "esm", write: false };
const lines = 'export { repaint } from "./strokes"; export { Grid } from "./grid";';
const stdin = { contents: lines, resolveDir: "src/map/correct", loader: "ts" };
const code = buildSync({ stdin, ...options }).outputFiles[0].text;
const { Grid, repaint } = await import("data:text/javascript," + encodeURIComponent(code));
const found = JSON.parse(readFileSync(0, "utf8")).map(({ height, width, guides, shown, classes, strokes }) => {
  const grid = new Grid(height, width, Uint8Array.from(shown));
  const run = () => repaint(Float32Array.from(guides, (value) => value ?? NaN), grid, classes, strokes);
  const map = run();
  const began = performance.now();
  run();
  return { map: [...map.values], ms: performance.now() - began };
});
console.log(JSON.stringify(found));
"""


@pytest.fixture(scope="module")
def node() -> str:
    # The one that `make setup` installs beside Python comes first.
    found = shutil.which("node", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if found is None or not (WEB / "node_modules").is_dir():
        pytest.skip("no Node.js, or no packages of the pages (npm ci in web/)")
    return found


def case(seed: int, height: int, width: int, bands: int, strokes: list[tuple[int, list[int]]]) -> dict[str, Any]:
    """A window of smooth tones with noise, of three classes by tone; a tenth of one band has no data."""
    generator = np.random.default_rng(seed)
    rows, columns = np.indices((height, width))
    tone = np.sin(rows / 9 + seed) + np.cos(columns / 7)
    scales = np.arange(1, bands + 1)[:, None, None]
    guides = (tone * scales + generator.normal(0, 0.2, (bands, height, width))).astype(np.float32)
    if bands:
        guides[0, : height // 10] = np.nan
    shown = np.digitize(tone, [-0.5, 0.7]).astype(np.uint8)
    return {"guides": guides, "shown": shown, "classes": 3, "strokes": strokes}


def line(row: int, first: int, last: int, width: int) -> list[int]:
    return [row * width + column for column in range(first, last + 1)]


CASES = {
    "a click": case(0, 40, 50, 4, [(0, [20 * 50 + 25])]),
    "no bands": case(1, 40, 50, 0, [(2, line(10, 5, 30, 50))]),
    "strokes that overlap": case(2, 64, 64, 6, [(0, line(30, 4, 50, 64)), (2, line(30, 20, 30, 64))]),
    "more pixels than are used": case(
        3,
        48,
        96,
        3,
        [
            (1, [*line(10, 0, 95, 96), *line(11, 0, 95, 96)]),
            (0, [*line(30, 0, 95, 96), *line(31, 0, 95, 96), *line(32, 0, 95, 96)]),
        ],
    ),
    "a window of 512": case(4, 512, 512, 6, [(2, line(200, 150, 210, 512))]),
}


@pytest.fixture(scope="module")
def in_the_page(node: str) -> dict[str, dict[str, Any]]:
    sent = [
        {
            "height": item["shown"].shape[0],
            "width": item["shown"].shape[1],
            "guides": [None if np.isnan(value) else float(value) for value in item["guides"].ravel()],
            "shown": item["shown"].ravel().tolist(),
            "classes": item["classes"],
            "strokes": [{"value": value, "pixels": pixels} for value, pixels in item["strokes"]],
        }
        for item in CASES.values()
    ]
    program = [node, "--input-type=module", "-e", PROGRAM]
    answer = subprocess.run(program, input=json.dumps(sent), capture_output=True, text=True, cwd=WEB, check=True)
    return dict(zip(CASES, json.loads(answer.stdout), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_the_page_repaints_as_the_server_does(in_the_page: dict[str, dict[str, Any]], name: str) -> None:
    item = CASES[name]
    width = item["shown"].shape[1]
    drawn = [Stroke(value, np.array([divmod(pixel, width) for pixel in pixels])) for value, pixels in item["strokes"]]
    guides = [item["guides"]] if len(item["guides"]) else []
    expected = repaint(guides, as_probabilities(item["shown"], item["classes"]), drawn)
    assert (expected != item["shown"]).any()
    found = np.array(in_the_page[name]["map"]).reshape(expected.shape)
    # numpy counts with 32 bits, JavaScript with 64: a pixel on the very edge may differ.
    assert (found != expected).sum() <= expected.size / 10_000
