"""The pages' functions that need no browser."""

from typing import Any

import numpy as np
import pytest

from services.scene_uploads import ENDINGS
from tests.page_code import run_page_code

SIDE = 120
BRUSH = 'export { Grid, brushCentre } from "./map/correct/grid";'
FOOTPRINT = """
const grid = new page.Grid(sent.side, sent.side);
const [from, to] = [sent.from, sent.to].map((place) => page.brushCentre(place, sent.diameter));
grid.paint(from, to, sent.diameter, 1);
return [...grid.values];
"""


def footprint(diameter: int, start: tuple[float, float], end: tuple[float, float]) -> np.ndarray[Any, Any]:
    """The pixels that a brush paints between two places, given as row and column."""
    sent = {"side": SIDE, "from": start, "to": end, "diameter": diameter}
    return np.array(run_page_code(BRUSH, FOOTPRINT, sent)).reshape(SIDE, SIDE)


@pytest.mark.parametrize(
    ("diameter", "pixels"),
    # A disc of this diameter holds as many centres of pixels: 2 x 2; 3 x 3; 4 x 4 and 5 x 5 without their corners.
    [(1, 1), (2, 4), (3, 9), (4, 12), (5, 21), (8, None), (12, None), (96, None)],
)
@pytest.mark.parametrize("place", [(60.2, 60.9), (59.6, 61.4)])
def test_a_brush_paints_as_many_pixels_across_as_its_size_says(
    diameter: int, pixels: int | None, place: tuple[float, float]
) -> None:
    painted = footprint(diameter, place, place)
    assert (np.count_nonzero(painted.any(axis=0)), np.count_nonzero(painted.any(axis=1))) == (diameter, diameter)
    assert pixels is None or painted.sum() == pixels
    assert painted.sum() == pytest.approx(np.pi * diameter**2 / 4, rel=0.3, abs=2)
    rows, columns = np.nonzero(painted)
    for found, pointed in zip((rows, columns), place, strict=True):
        assert abs(found.mean() + 0.5 - pointed) <= 0.5  # under the pointer


@pytest.mark.parametrize("diameter", [1, 2, 3, 4, 5, 8])
def test_a_stroke_is_as_wide_as_its_brush(diameter: int) -> None:
    painted = footprint(diameter, (60.3, 30.3), (60.3, 80.3))
    assert np.count_nonzero(painted, axis=0)[40:70].tolist() == [diameter] * 30
    upright = footprint(diameter, (30.3, 60.3), (80.3, 60.3))
    np.testing.assert_array_equal(upright, painted.T)


CAUSES = 'export { byCause, sentence } from "./map/fault_note";'
AS_SHOWN = """
const asked = [];
const faults = sent.map(([title, reason, isTried], place) => {
  return { title, reason, isTried, again: () => asked.push(place) };
});
const causes = page.byCause(faults);
causes.at(-1)?.again();
return [causes.map(({ titles, reason, isTried }) => [titles, page.sentence(reason), isTried]), asked];
"""


def test_what_could_not_be_loaded_is_told_once_for_each_cause() -> None:
    faults = [
        ("True colour", "/data/a.tif: found no such file", False),
        ("Labels", "the server does not answer", True),
        ("True colour", "/data/a.tif: found no such file", True),  # another tile
        ("Outlines", "the server does not answer", True),
    ]
    causes, asked = run_page_code(CAUSES, AS_SHOWN, faults)
    assert causes == [
        [["True colour"], "/data/a.tif: found no such file.", False],
        [["Labels", "Outlines"], "The server does not answer.", True],
    ]
    assert asked == [1, 3]  # of the last cause: all that it concerns


PICTURE = 'export { Api } from "./api";'
LOADED = """
const asked = [];
globalThis.createImageBitmap = async (blob) => blob.text();
globalThis.fetch = async (path) => {
  asked.push(path);
  const [status, headers] = sent[Math.min(asked.length, sent.length) - 1];
  if (status === 0) throw new TypeError("Failed to fetch");
  return new Response("drawn", { status, headers });
};
try {
  return [await new page.Api("").picture("/tile"), asked.length];
} catch (error) {
  return [error.message, asked.length];
}
"""
BUSY = [503, {"Retry-After": "0"}]
WITHOUT_REASON = "the server answered with status {}, and does not say why"


@pytest.mark.parametrize(
    ("answers", "outcome", "times"),
    [
        ([[200, {}]], "drawn", 1),
        ([BUSY, BUSY, [200, {}]], "drawn", 3),
        ([BUSY], WITHOUT_REASON.format(503), 3),
        ([[503, {}]], WITHOUT_REASON.format(503), 1),
        ([[500, {"Retry-After": "0"}]], WITHOUT_REASON.format(500), 1),
        ([[0, {}]], "the server does not answer", 1),
    ],
    ids=str,
)
def test_a_picture_is_asked_for_again_only_if_the_server_says_when(
    answers: list[Any], outcome: str, times: int
) -> None:
    assert run_page_code(PICTURE, LOADED, answers) == [outcome, times]


NAMES = 'export { plainNames } from "./upload";'


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (["B04.tif", "B05.tif"], ["B04.tif", "B05.tif"]),
        (["2019_красный.tif", "2019_зелёный.tif"], ["2019__.tif", "2019__-2.tif"]),
        (["S2 (1).tif", "S2_1_.tif", "s2_1_.TIF"], ["S2_1_.tif", "S2_1_-2.tif", "s2_1_-3.TIF"]),
        (["снег", "лёд"], ["file", "file-2"]),
        (["снег.tif", "лёд.tif", ".DS_Store"], ["file.tif", "file-2.tif", "DS_Store"]),
    ],
)
def test_no_two_files_of_an_upload_get_one_name(given: list[str], sent: list[str]) -> None:
    assert run_page_code(NAMES, "return page.plainNames(sent.map((name) => ({ name })));", given) == sent


CHOSEN = 'export { sortOut, wholes } from "./scene/chosen";'


def test_files_that_the_server_does_not_take_are_left_out_of_an_upload() -> None:
    taken = ["LC08_B4.TIF", "LC08_MTL.txt", "LC08_ANG.txt", "ice.shp", "снег.tif"]
    others = ["LC08_thumb_large.jpeg", ".DS_Store", "ice.sbn", "ice.qpj", "LC08", ".tif"]
    sort_out = """
    const found = page.sortOut(sent.names.map((name) => ({ name })), sent.endings);
    return [found.taken.map(({ name }) => name), found.leftOut];
    """
    sent = {"names": [*others, *taken], "endings": list(ENDINGS)}
    assert run_page_code(CHOSEN, sort_out, sent) == [taken, others]


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (["ice.dbf", "ice.prj", "ice.SHP", "ice.shx", "ice.shp.xml"], ["ice.SHP"]),
        (["readme.txt", "ice.gpkg"], ["ice.gpkg"]),
        (["ice.shp", "ice.gpkg"], ["ice.shp", "ice.gpkg"]),
        (["clean.shp", "clean.dbf", "debris.shp", "debris.dbf"], ["clean.shp", "debris.shp"]),
        (["ice.dbf", "ice.shx"], ["ice.dbf"]),
    ],
)
def test_the_parts_of_a_shapefile_are_one_file(chosen: list[str], found: list[str]) -> None:
    sent = {"names": chosen, "endings": [".gpkg", ".shp", ".shx", ".dbf", ".prj", ".cpg"]}
    assert run_page_code(CHOSEN, "return page.wholes(sent.names, sent.endings);", sent) == found
