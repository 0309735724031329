"""Simulations: their regions, what they say, how long they take, and that they resume."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import SceneRole
from experiments import simulation, simulation_regions
from experiments.cells import Cells, Unit
from experiments.learning_loop import EVERY_PATCH
from experiments.simulation import Simulation, estimate_seconds
from experiments.simulation_findings import findings_of, over_seeds
from experiments.simulation_regions import in_strips, registered_region
from imagery.classes import CLEAN_ICE, GLACIER_SCHEME, UNKNOWN
from imagery.errors import SceneError
from tests.experiments.study_areas import half_ice, paint
from tests.experiments.tiny_region import TINY, tiny_region
from tests.imagery.forge import BAND_NAMES
from tests.workers.rows import tiled


def simulated(folder: Path, *names: str, seeds: int = 2) -> Simulation:
    return Simulation(tiny_region(), names, seeds, TINY, folder)


def a_run(learner: Sequence[float], pixels: Sequence[int]) -> list[dict[str, float]]:
    return [
        {"labels": 2 * number, "edited_pixels": spent, "learner_mean_iou": iou, "served_mean_iou": 0.4}
        for number, (iou, spent) in enumerate(zip(learner, pixels, strict=True), start=1)
    ]


def made_up_cells() -> Cells:
    """Two seeds in which a strategy is better than random by .2 and by .1 in both chosen rounds."""
    pixels = (100, 200, 300)
    cells = {
        ("tiny", "entropy_top10", 0): a_run((0.4, 0.7, 0.8), pixels),
        ("tiny", "entropy_top10", 1): a_run((0.4, 0.6, 0.7), pixels),
    }
    for seed in (0, 1):
        cells["tiny", "random", seed] = a_run((0.4, 0.5, 0.6), pixels)
        cells["tiny", EVERY_PATCH, seed] = a_run((0.9,), (0,))
    return cells


def test_scenes_take_the_parts_of_their_roles(catalog: Catalog, tmp_path: Path) -> None:
    for index, (name, role) in enumerate(
        [("a", SceneRole.POOL), ("b", SceneRole.POOL), ("c", SceneRole.VALIDATION), ("d", SceneRole.TEST)]
    ):
        tiled(catalog, tmp_path / f"{name}.tif", role, offset_px=index * 200)
    region, areas = registered_region(catalog, [], 32)
    assert [area.name for area in areas] == ["a-pool", "b-pool", "c-validation", "d-test"]
    assert {part: len(rasters) for part, rasters in region.parts.items()} == {"pool": 2, "validation": 1, "test": 1}
    assert len(region.masks("pool")) == 2 * 4 * 5  # 100 x 160 px in patches of 32
    assert set(BAND_NAMES) <= set(region.channels)


def test_without_a_scene_of_each_role_it_is_said_what_is_expected(catalog: Catalog, tmp_path: Path) -> None:
    tiled(catalog, tmp_path / "khumbu.tif")
    with pytest.raises(ConflictError, match=r"found outlines for khumbu-pool \(pool\); expected scenes with outlines"):
        registered_region(catalog, [], 32)
    with pytest.raises(ConflictError, match="cut into three strips: khumbu-pool"):
        registered_region(catalog, [], 32)


def test_a_single_named_scene_is_cut_into_strips(catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "khumbu.tif")
    region, _ = registered_region(catalog, [scene.name], 32)
    assert {part: raster.shape for part, (raster,) in region.parts.items()} == {
        "test": (100, 40),
        "pool": (100, 80),
        "validation": (100, 40),
    }
    strips = [region.parts[part][0].truth for part in ("test", "pool", "validation")]
    np.testing.assert_array_equal(np.concatenate(strips, axis=1), forged.truth)


def test_pixels_without_data_are_masked_and_unknown(tmp_path: Path) -> None:
    truth = half_ice(64, 160)
    bands = np.full((4, 64, 160), 50.0, dtype=np.float32)
    bands[:, 3, 5] = np.nan
    (ground,) = in_strips(paint(tmp_path, truth, bands=bands), GLACIER_SCHEME, 32).parts["test"]
    assert not ground.unmasked[3, 5]
    assert ground.truth[3, 5] == UNKNOWN
    assert (~ground.unmasked).sum() == 1


def test_a_strip_of_background_only_is_refused(tmp_path: Path) -> None:
    truth = np.zeros((64, 160), dtype=np.uint8)
    truth[:, :100] = CLEAN_ICE.value
    with pytest.raises(SceneError, match="background only in the validation region of painted; expected some pixels"):
        in_strips(paint(tmp_path, truth), GLACIER_SCHEME, 32)


def test_scenes_that_do_not_fit_into_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    area = paint(tmp_path, half_ice(64, 160))
    monkeypatch.setattr(simulation_regions, "MOST_VALUES", 64 * 159 * 4)
    with pytest.raises(SceneError, match="register smaller parts"):
        in_strips(area, GLACIER_SCHEME, 32)


def test_a_pool_with_fewer_patches_than_labels_is_refused(tmp_path: Path) -> None:
    simulated(tmp_path, "random").check()
    many = replace(simulated(tmp_path, "random"), config=replace(TINY, round_size=4))
    with pytest.raises(ConflictError, match="found 12 patches of 32 px in the pool of tiny; expected more than 12"):
        many.check()


def test_differences_have_intervals_over_the_seeds(tmp_path: Path) -> None:
    found = findings_of(simulated(tmp_path, "random", "entropy_top10"), made_up_cells())
    (row,) = found.tables[0].rows
    assert row.name == "entropy_top10"
    learner = row.values["learner, at equal labels"]
    # .2 and .1: mean .15, standard deviation .0707, and t = 12.706 with one degree of freedom.
    assert (learner.value, learner.spread) == pytest.approx((0.15, 0.0707), abs=1e-4)
    assert (learner.low, learner.high) == pytest.approx((0.15 - 0.6353, 0.15 + 0.6353), abs=1e-3)
    assert row.values["served version, at equal edited pixels"].value == 0.0
    by_title = {table.title: table for table in found.tables}
    assert by_title["Mean IoU of the learner, by labels"].columns == ("2 labels", "4 labels", "6 labels")
    assert by_title["Mean IoU of the learner, by edited pixels"].columns == ("100", "200", "300")
    assert "12 patches of the pool reaches a mean IoU of 0.900" in " ".join(found.notes)


def test_one_seed_has_no_interval() -> None:
    assert str(over_seeds([0.3])) == "Estimate(value=0.3, spread=nan, low=nan, high=nan, blocks=None)"


def test_the_time_is_that_of_all_rounds_over_the_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    this = simulated(tmp_path, "random", "entropy_top10")
    assert estimate_seconds(this, this.missing(1), 1) > 0
    monkeypatch.setattr(simulation, "_seconds_of_a_round", lambda _: (3.0, 2.0))
    units = [Unit("tiny", seed, this.names) for seed in range(2)]
    # The start 1 x 2; random 2 x 2; entropy 2 x (2 + 3); every patch 3 x 2.
    assert estimate_seconds(this, units, 1) == 2 * 22
    assert estimate_seconds(this, units, 8) == 22


def test_an_interrupted_simulation_goes_on_from_its_cells(tmp_path: Path) -> None:
    this, seen = simulated(tmp_path, "random", "entropy_top10", seeds=1), list[int]()
    assert this.run([Unit("tiny", 0, ("random",))], 1, seen.append) == []
    assert seen[-1] == 1
    assert this.missing(1) == [Unit("tiny", 0, ("entropy_top10", EVERY_PATCH))]
    assert replace(this, config=replace(TINY, steps=3)).cells() == {}
    other = replace(this.region, parts={**this.region.parts, "test": this.region.parts["validation"]})
    assert replace(this, region=other).cells() == {}
