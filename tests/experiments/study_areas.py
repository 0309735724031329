"""Study areas, a recorded progress and small options, for the tests of this room."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.areas import StudyArea
from experiments.division import Division, Place
from experiments.study import Choices, Study, open_study
from experiments.study_data import StudyData
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.grid import Grid
from imagery.masks import mask_to_geotiff
from imagery.scene_source import BandSource
from tests.imagery.forge import BAND_NAMES, NORTH_UP, UTM_45N, write_geotiff

PATCH = 32
CPU = torch.device("cpu")
SMALL = Choices("default", depth=2, width=4, steps=3, seeds=2, patch_size_px=PATCH, split="fishnet")


def paint(
    folder: Path, truth: NDArray[np.uint8], name: str = "painted", bands: NDArray[Any] | None = None
) -> StudyArea:
    """Write an area with a given truth; its four bands say the class plainly, unless they are given too, (4, H, W)."""
    height, width = truth.shape
    a, b, c, d, e, f = NORTH_UP
    if bands is None:
        bands = np.stack([np.where(truth == UNKNOWN, 9, truth) * 60.0 + 20 * (i + 1) for i in range(4)])
    path = write_geotiff(folder / f"{name}.tif", bands.astype(np.float32), descriptions=BAND_NAMES)
    map_path = folder / f"{name}_truth.tif"
    map_path.write_bytes(mask_to_geotiff(truth, Grid(UTM_45N, (a, b, c, d, e, f), width, height), GLACIER_SCHEME))
    sources = [BandSource(band, str(path), index) for index, band in enumerate(BAND_NAMES, start=1)]
    return StudyArea(name, describe(sources), str(map_path), None)


def half_ice(height: int, width: int) -> NDArray[np.uint8]:
    """A truth in which every window of 32 px is half ice: its western quarter clean, the next debris-covered."""
    truth = np.zeros((height, width), np.uint8)
    column = np.arange(width) % PATCH
    truth[:, column < 8] = CLEAN_ICE.value
    truth[:, (column >= 8) & (column < 16)] = DEBRIS_COVERED_ICE.value
    return truth


def covered(places: Sequence[Place], area: StudyArea) -> NDArray[np.int64]:
    """Count how many of the windows hold each pixel of an area, (H, W)."""
    count = np.zeros((area.source.grid.height, area.source.grid.width), np.int64)
    for place in places:
        if place.area.name == area.name:
            count[place.window.slices] += 1
    return count


def judged(study: Study, part: str = "test") -> list[int]:
    """Pixels of each window of a part that have a class."""
    return [int((mask != UNKNOWN).sum()) for mask in study.masks(part)]


@dataclass
class RecordedProgress:
    """A progress that records its calls."""

    ended: list[tuple[str, bool]] = field(default_factory=list)
    steps: list[tuple[int, int]] = field(default_factory=list)
    begun: int = 0

    def begin(self, trials: int) -> None:
        self.begun += trials

    def start(self, name: str) -> None:
        """Not recorded."""

    def step(self, done: int, steps: int) -> None:
        self.steps.append((done, steps))

    def end(self, name: str, known: bool) -> None:
        self.ended.append((name, known))

    @property
    def computed(self) -> list[str]:
        """Names of the trials that were not known."""
        return [name for name, known in self.ended if not known]


@contextmanager
def opened(
    areas: Sequence[StudyArea], folder: Path, choices: Choices = SMALL, progress: RecordedProgress | None = None
) -> Iterator[Study]:
    """A study on the CPU, its results in a folder."""
    with open_study(areas, choices, folder, CPU, progress or RecordedProgress()) as study:
        yield study


def data_of(study: Study) -> StudyData:
    """Return the data that a study computes on."""
    return study._data


def parts(division: Division) -> dict[str, int]:
    """Number of windows by part."""
    return {name: len(places) for name, places in division.named().items()}
