from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from experiments import pixel_trials
from experiments.areas import StudyArea
from experiments.study import Study
from imagery.describe_scene import describe
from imagery.synthetic import SyntheticScene, write_scene
from tests.experiments.study_areas import opened

SEED = 3  # its 256 x 256 px fill all parts of all divisions with windows of 32 px, some of both classes


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    """A synthetic scene of ten bands with elevation."""
    return write_scene(tmp_path_factory.mktemp("synthetic"), 256, 256, SEED)


@pytest.fixture(scope="session")
def area(scene: SyntheticScene) -> StudyArea:
    """The scene with its truth: 15 channels."""
    return StudyArea("synthetic", describe(scene.bands, dem=scene.dem), str(scene.truth), None)


@pytest.fixture(scope="session")
def visible_area(scene: SyntheticScene) -> StudyArea:
    """The same scene with the bands of the Everest example: four, no short-wave infrared, no elevation."""
    bands = [band for band in scene.bands if band.name in {"blue", "green", "red", "nir"}]
    return StudyArea("four bands", describe(bands), str(scene.truth), None)


@pytest.fixture(scope="session")
def few_pixels() -> Iterator[None]:
    """Fit classifiers of pixels to fewer of them, for time's sake."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_trials, "SAMPLED_PIXELS", 600)
        yield


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums of float32 depend on their number, which tests of other folders change."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def study(area: StudyArea, few_pixels: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    """A study of the area for all experiments, which so share their trials: two seeds, three steps."""
    with opened([area], tmp_path_factory.mktemp("trials")) as of_area:
        yield of_area


@pytest.fixture(scope="session")
def visible_study(
    visible_area: StudyArea, few_pixels: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Study]:
    """A study of the area with four bands."""
    with opened([visible_area], tmp_path_factory.mktemp("visible-trials")) as of_area:
        yield of_area


@pytest.fixture
def trials(tmp_path: Path) -> Path:
    """An empty folder for results."""
    return tmp_path / "trials"
