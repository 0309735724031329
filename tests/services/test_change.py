"""What changed between two maps of as many classes as a scheme may have."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from imagery.classes import ClassScheme
from imagery.describe_scene import describe
from imagery.scene_source import BandSource
from services.change import DatedMap, compare
from tests.imagery.forge import write_geotiff

COUNT = 20  # the most that a scheme may have: 380 pairs of one class before and another after


def test_every_pair_of_twenty_classes_is_told_apart(tmp_path: Path) -> None:
    """Row and column of a pixel are its classes before and after, so that each pair has one pixel."""
    scheme = ClassScheme.model_validate(
        {
            "classes": [
                {"name": f"class {value}", "value": value, "colour": f"#0000{value:02x}"} for value in range(COUNT)
            ],
            "unknown": {"name": "cloud", "value": 255, "colour": "#ffffff"},
        }
    )
    pixels = np.random.default_rng(0).normal(size=(COUNT, COUNT)).astype(np.float32)
    source = describe([BandSource("nir", str(write_geotiff(tmp_path / "scene.tif", pixels)), 1)])
    before, after = (axis.astype(np.uint8) for axis in np.indices((COUNT, COUNT)))
    names = tuple(scheme.names)
    first, second = (DatedMap(name, None, source, of, names, "us") for name, of in (("a", before), ("b", after)))
    found = compare(first, second, scheme).ground
    assert {(piece.before, piece.after) for piece in found} == {(a, b) for a in names for b in names if a != b}
    assert Counter(piece.kind for piece in found) == {"gained": 19, "lost": 19, "converted": 19 * 18}
    assert [piece.area_km2 for piece in found] == pytest.approx([0.0009] * 380, rel=2e-3)
    a, _, c, _, e, f = source.grid.transform
    for piece in found:
        row, column = names.index(piece.before), names.index(piece.after)
        assert piece.polygon.bounds == (c + a * column, f + e * (row + 1), c + a * (column + 1), f + e * row)
