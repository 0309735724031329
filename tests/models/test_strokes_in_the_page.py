"""Strokes give the same map in the page as on the server, and in the page within the time of a glance."""

from statistics import median
from typing import Any, Final

import numpy as np
import pytest

from models.strokes import Stroke, as_probabilities, repaint
from tests.page_code import run_page_code

EXPORTS = 'export { repaint } from "./map/correct/strokes"; export { Grid } from "./map/correct/grid";'
MOST_MS: Final = 1000
"""Milliseconds of the processor: five times the aim (`benchmarks.stroke_latency`), since the machine may be busy."""
PROGRAM = """
return sent.map(({ height, width, guides, shown, classes, strokes }) => {
  const grid = new page.Grid(height, width, Uint8Array.from(shown));
  const run = () => page.repaint(Float32Array.from(guides, (value) => value ?? NaN), grid, classes, strokes);
  const map = run();
  const ms = [1, 2, 3].map(() => {
    const before = process.cpuUsage();
    run();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  });
  return { map: [...map.values], ms };
});
"""


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
def in_the_page() -> dict[str, dict[str, Any]]:
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
    return dict(zip(CASES, run_page_code(EXPORTS, PROGRAM, sent), strict=True))


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


@pytest.mark.parametrize("name", CASES)
def test_the_page_repaints_while_one_looks(in_the_page: dict[str, dict[str, Any]], name: str) -> None:
    assert 0 < median(in_the_page[name]["ms"]) < MOST_MS
