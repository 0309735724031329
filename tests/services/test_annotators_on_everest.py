"""A careful and a careless annotator on honeypots of the demonstration scene: how many honeypots tell them apart?

The careful one draws every edge up to a pixel off. The careless one draws it two pixels off, and in every third patch
overlooks the debris.
"""

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import shift

from imagery import everest
from imagery.classes import BACKGROUND, DEBRIS_COVERED_ICE, GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.grid import tile
from imagery.masks import rasterize_outlines
from services.label_agreement import Comparison, compare
from services.mask_counts import count

SIDE, TEAMS = 64, 40


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The true masks of the pool, cut into the patches of the demonstration."""
    folder: Path = tmp_path_factory.mktemp("everest")
    scene = everest.prepare(folder)
    source = describe(scene.bands, everest.REGIONS["pool"])
    truth = rasterize_outlines(scene.outlines, source.grid, GLACIER_SCHEME)
    return [truth[window.slices] for window in tile(source.grid.width, source.grid.height, SIDE)]


def draw(truth: np.ndarray, off_px: int, overlooks: bool, generator: np.random.Generator) -> np.ndarray:
    """Draw a mask whose edges lie up to so many pixels beside the true ones."""
    drawn = shift(truth, generator.integers(-off_px, off_px + 1, 2), order=0, mode="nearest")
    if overlooks:
        drawn[drawn == DEBRIS_COVERED_ICE.value] = BACKGROUND
    return drawn


def answer(windows: list[np.ndarray], honeypots: int, careful: bool, generator: np.random.Generator) -> Comparison:
    chosen = generator.choice(len(windows), honeypots, replace=False)
    counts = []
    for number in chosen:
        overlooks = not careful and generator.random() < 1 / 3
        drawn = draw(windows[number], 1 if careful else 2, overlooks, generator)
        counts.append(count(windows[number], drawn, len(GLACIER_SCHEME.classes)))
    found = compare(counts)
    assert found is not None
    return found


def told_apart(windows: list[np.ndarray], honeypots: int) -> tuple[float, float]:
    """The share of teams whose careless member has the lower agreement, and surely: the intervals do not overlap."""
    generator = np.random.default_rng(0)
    lower = surely = 0
    for _ in range(TEAMS):
        one, other = (answer(windows, honeypots, careful, generator).agreement for careful in (True, False))
        assert one is not None and other is not None
        lower += other.value < one.value
        surely += (other.high or 1.0) < (one.low or 0.0)
    return lower / TEAMS, surely / TEAMS


@pytest.mark.parametrize(("honeypots", "lower", "surely"), [(5, 0.95, 0.175), (10, 1.0, 0.35), (30, 1.0, 0.975)])
def test_the_more_honeypots_the_surer_the_careless_annotator_is_found(
    windows: list[np.ndarray], honeypots: int, lower: float, surely: float
) -> None:
    """The figures of docs/quality.md, with some room for other releases of NumPy."""
    assert told_apart(windows, honeypots) == (pytest.approx(lower, abs=0.1), pytest.approx(surely, abs=0.1))
