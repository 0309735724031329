import json
from pathlib import Path

import numpy as np
import pytest

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import JobKind, Scene, SceneRole, SceneState
from experiments import areas
from experiments.areas import StudyArea, example_area, registered_areas
from imagery import everest, everest_files
from imagery.channels import CHANNEL_SETS, FURTHER_TERRAIN
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from services.experiment_options import EXAMPLES, Example
from tests.imagery.forge import BAND_NAMES, forge_scene
from tests.workers.rows import context_of, finish, register, tiled
from workers.tile_scene import tile_scene


def truth_of(area: StudyArea) -> np.ndarray:
    return read_map(area.truth, area.source.grid.window)


def test_registered_scenes_come_with_their_truth(catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "khumbu.tif")
    (area,) = registered_areas(catalog, [])
    assert (area.name, area.source, area.acquired) == (scene.name, describe(forged.bands), None)
    np.testing.assert_array_equal(truth_of(area), forged.truth)


def test_scenes_are_chosen_by_name_in_the_order_of_their_registration(catalog: Catalog, tmp_path: Path) -> None:
    made = [tiled(catalog, tmp_path / f"{name}.tif", offset_px=i * 200)[0].name for i, name in enumerate("cab")]
    assert made == ["c-pool", "a-pool", "b-pool"]
    assert [area.name for area in registered_areas(catalog, [])] == made
    assert [area.name for area in registered_areas(catalog, ["b-pool", "c-pool"])] == ["c-pool", "b-pool"]


def test_the_role_of_a_scene_in_the_loop_does_not_matter(catalog: Catalog, tmp_path: Path) -> None:
    for index, role in enumerate(SceneRole):
        tiled(catalog, tmp_path / "scene.tif", role, offset_px=index * 200)
    assert len(registered_areas(catalog, [])) == len(SceneRole)


def test_trap_scenes_that_overlap_are_refused(catalog: Catalog, tmp_path: Path) -> None:
    """A window that trains a network in one scene would judge it in the other."""
    for name, offset_px in (("west", 0), ("east", 160), ("over-both", 159)):
        tiled(catalog, tmp_path / f"{name}.tif", offset_px=offset_px)
    assert len(registered_areas(catalog, ["west-pool", "east-pool"])) == 2  # side by side
    with pytest.raises(ConflictError, match="found the scenes west-pool and over-both-pool, which overlap"):
        registered_areas(catalog, ["west-pool", "over-both-pool"])
    with pytest.raises(ConflictError, match="name scenes that do not overlap"):
        registered_areas(catalog, [])


def test_scenes_without_outlines_are_left_out(catalog: Catalog, tmp_path: Path) -> None:
    tiled(catalog, tmp_path / "good.tif")
    blank = register(catalog, forge_scene(tmp_path / "blank.tif", offset_px=200), outlines=False)
    tile_scene(work := context_of(catalog, JobKind.TILE_SCENE, str(blank)), blank)
    finish(work)
    register(catalog, forge_scene(tmp_path / "waiting.tif", offset_px=400))
    assert [area.name for area in registered_areas(catalog, [])] == ["good-pool"]
    message = r"named blank-pool, nobody, waiting-pool; such scenes are: good-pool"
    with pytest.raises(ConflictError, match=message):
        registered_areas(catalog, ["waiting-pool", "good-pool", "nobody", "blank-pool"])


def test_a_rejected_scene_is_left_out(catalog: Catalog, tmp_path: Path) -> None:
    scene, _ = tiled(catalog, tmp_path / "scene.tif")
    with catalog.database.write() as session:
        session.get_one(Scene, scene.id).state = SceneState.REJECTED
    with pytest.raises(ConflictError, match="no registered scene with outlines"):
        registered_areas(catalog, [])


def test_without_any_scene_the_error_says_what_to_do(catalog: Catalog) -> None:
    with pytest.raises(ConflictError, match="register one with its outlines, or take an example: everest, synthetic"):
        registered_areas(catalog, [])
    with pytest.raises(ConflictError, match="named khumbu; such scenes are: none"):
        registered_areas(catalog, ["khumbu"])


def test_the_everest_example_has_four_bands_and_all_classes(tmp_path: Path) -> None:
    area = example_area("everest", tmp_path)
    assert (area.name, area.acquired) == ("everest", everest.ACQUIRED)
    assert area.source.band_names == BAND_NAMES
    truth = truth_of(area)
    assert truth.shape == (655, 800)
    assert set(np.unique(truth)) == {item.value for item in GLACIER_SCHEME.classes}


def test_the_synthetic_example_has_all_channels_of_baraka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(areas, "SYNTHETIC_SIDE_PX", 128)
    area = example_area("synthetic", tmp_path)
    assert area.name == "synthetic"
    assert set(CHANNEL_SETS["baraka"]) == set(area.source.channel_names) - set(FURTHER_TERRAIN)
    assert truth_of(area).shape == (128, 128)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Example) -> None:
    monkeypatch.setattr(areas, "SYNTHETIC_SIDE_PX", 128)
    first = example_area(name, tmp_path)
    written = Path(first.truth).stat().st_mtime_ns
    assert example_area(name, tmp_path) == first
    assert Path(first.truth).stat().st_mtime_ns == written


def test_an_example_that_another_release_described_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(areas, "SYNTHETIC_SIDE_PX", 128)
    first = example_area("synthetic", tmp_path)
    (stored,) = tmp_path.rglob("area.json")
    document = json.loads(stored.read_text())
    document["source"]["former"] = 0
    stored.write_text(json.dumps(document))
    assert example_area("synthetic", tmp_path) == first


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_that_lost_a_file_is_made_again_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: Example
) -> None:
    """So that what was computed on it stays known."""
    monkeypatch.setattr(areas, "SYNTHETIC_SIDE_PX", 128)
    pixels, truths, made = [], [], []
    for _ in range(2):
        area = example_area(name, tmp_path)
        with SceneReader(area.source) as reader:
            pixels.append(reader.read(area.source.channel_names, area.source.grid.window))
        truths.append(truth_of(area))
        made.append(area)
        Path(area.truth).unlink()
    assert made[0] == made[1]
    np.testing.assert_array_equal(*pixels)
    np.testing.assert_array_equal(*truths)


def test_examples_have_a_caution_about_their_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(areas, "SYNTHETIC_SIDE_PX", 128)
    cautions = [example_area(name, tmp_path).caution for name in ("everest", "synthetic")]
    assert cautions == [areas.EVEREST_CAUTION, areas.SYNTHETIC_CAUTION]


def test_without_the_wheel_of_everest_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(everest_files, "find_spec", lambda _: None)
    with pytest.raises(SceneError, match="pip install --no-deps geoutils"):
        example_area("everest", tmp_path)
