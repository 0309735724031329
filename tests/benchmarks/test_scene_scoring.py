import pytest

from benchmarks.scene_scoring import (
    ALONE,
    EVERYTHING,
    ONE,
    ONE_SCREENING,
    THREADS,
    TWO,
    TWO_SCREENING,
    check_shards,
    comparisons,
)
from tests.workers.rows import tiled

ROW_PIXELS = 5 * 32**2  # of the scene's four rows of patches


def test_a_scene_that_two_workers_cannot_share_well_is_refused(catalog, tmp_path):
    tiled(catalog, tmp_path / "a.tif")
    check_shards(catalog, 1, ROW_PIXELS)
    with pytest.raises(ValueError, match="found 2 shards of about 10240 pixels"):
        check_shards(catalog, 2, 2 * ROW_PIXELS)


def test_overheads_are_ratios_to_the_passes_alone():
    seconds = {ALONE: [2.0, 4.0, 4.0], EVERYTHING: [3.0, 5.0, 4.0], ONE: [4.0, 8.0, 4.0], TWO: [2.0, 4.0, 2.0]}
    screening = {ONE_SCREENING: [2.0, 2.0, 2.0], TWO_SCREENING: [1.0, 2.0, 1.0]}
    assert comparisons({**seconds, **screening, THREADS: [2.0, 5.0, 4.0]}) == {
        "everything, over the passes alone": 1.25,
        "one worker of one thread, over the passes alone": 2.0,
        "two threads, times as fast as one": 1.6,
        "one worker with a screening pass, times as fast": 2.0,
        "two workers with a screening pass, times as fast": 2.0,
    }
