"""The description of a scene as JSON: what is stored is read back exactly, also if an earlier version stored it."""

import json
from dataclasses import replace
from typing import Any

import pytest

from imagery.border import BorderSource
from imagery.errors import SceneError
from imagery.grid import Grid
from imagery.scene_source import BandSource, ElevationSource, FileGrid, QualityBand, SceneSource
from imagery.units import REFLECTANCE, Level

SOURCE = SceneSource(
    bands=(
        BandSource("red", "/scenes/rgb.tif", 1, 2.75e-5, -0.2, 0.0, REFLECTANCE),
        BandSource("pan", "/scenes/b8.tif", 2, unit=REFLECTANCE),
    ),
    grid=Grid("EPSG:32645", (30.0, 0.0, 478000.1, 0.0, -30.0, 3108140.3), 160, 100),
    offset=(5, 7),
    level=Level.SURFACE,
    resampled=(
        FileGrid("/scenes/b8.tif", Grid("EPSG:32645", (15.0, 0.0, 478000.0, 0.0, -15.0, 3108140.0), 320, 200)),
        FileGrid("/scenes/dem.tif", Grid("EPSG:4326", (1 / 3600, 0.0, 86.7, 0.0, -1 / 3600, 28.2), 3600, 1800)),
    ),
    extras=(BandSource("coherence", "/scenes/coherence.tif", 1, unit="1"),),
    quality=(QualityBand("quality", "/scenes/qa.tif", 1, "landsat-c2-qa-pixel", ("cloud", "cirrus")),),
    dem=ElevationSource((BandSource("elevation", "/scenes/dem.tif", 1, unit="m"),)),
    border=BorderSource("/scenes/border.gpkg"),
)
PLAIN = SceneSource((BandSource("red", "a.tif", 1),), Grid("EPSG:32645", (1, 0, 0, 0, -1, 0), 2, 3), (0, 0))


@pytest.mark.parametrize("source", [SOURCE, PLAIN, replace(SOURCE, border_sha256="ab" * 32)])
def test_a_source_survives_json_exactly(source: SceneSource) -> None:
    again = SceneSource.from_json(json.loads(json.dumps(source.to_json())))
    assert again == source
    assert repr(again.bands) == repr(source.bands)
    assert isinstance(again.bands, tuple)
    assert hash(again) == hash(source)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The JSON of SOURCE with another value at a path like "grid.width"; None removes the key."""
    document: dict[str, Any] = json.loads(json.dumps(SOURCE.to_json()))
    *parents, key = path.split(".")
    inner: Any = document
    for parent in parents:
        inner = inner[int(parent)] if parent.isdigit() else inner[parent]
    if value is None:
        del inner[key]
    else:
        inner[key] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("extra", 1, r"found the unknown key 'extra' in scene; expected only known ones"),
        ("grid.colour", 1, r"found the unknown key 'colour' in scene\.grid"),
        ("bands.1.extra", 1, r"found the unknown key 'extra' in scene\.bands\.1"),
        ("border.colour", "red", r"found the unknown key 'colour' in scene\.border"),
        ("resampled.0.grid.extra", 1, r"found the unknown key 'extra' in scene\.resampled\.0\.grid"),
        ("grid", None, r"found no key 'grid' in scene; expected the key 'grid'"),
        ("grid.width", None, r"found no key 'width' in scene\.grid; expected the key 'width'"),
        ("dem.tiles.0.path", None, r"found no key 'path' in scene\.dem\.tiles\.0"),
        (
            "bands.0.nodata",
            "none",
            r"found 'none' as 'nodata' in scene\.bands\.0; expected otherwise \(Input should be a valid number",
        ),
        ("offset", [1], r"found no key 1 in scene\.offset"),
        ("grid.width", 0, r"scene\.grid: found a grid of 0 x 100 pixels; expected at least 1 x 1"),
        ("grid.transform", [30.0, 0.0, 0.0, 60.0, 0.0, 0.0], r"scene\.grid: found the geotransform .* an invertible"),
    ],
)
def test_json_that_is_no_scene_is_refused_with_the_place_of_the_fault(path: str, value: Any, message: str) -> None:
    with pytest.raises(SceneError, match=message):
        SceneSource.from_json(changed(path, value))


@pytest.mark.parametrize("document", [[], "scene", {}])
def test_json_that_is_no_object_or_empty_is_refused(document: Any) -> None:
    with pytest.raises(SceneError, match="found"):
        SceneSource.from_json(document)
