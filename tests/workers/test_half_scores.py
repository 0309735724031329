"""The array of scores by each half of the passes: written by shards, merged once, whatever is done twice."""

import io
from collections.abc import Sequence

import numpy as np
import pytest

from catalog.records import Shard, ShardKind
from imagery.store import RasterStore
from models.measures import MEASURES
from services import raster_keys
from workers import half_scores

SCORING = 3


@pytest.fixture
def store(tmp_path) -> RasterStore:
    return RasterStore(str(tmp_path / "store"))


def shard(first_row: int, stage: int = 0, kind: ShardKind = ShardKind.MONTE_CARLO) -> Shard:
    return Shard(scoring_id=SCORING, scene_id=1, stage=stage, first_row=first_row, kind=kind)


def write(store: RasterStore, of: Shard, patches: Sequence[int], shift: float = 0.0) -> None:
    """Store halves that tell their patch and measure: the first is the id plus a tenth for each measure, and so on."""
    halves = {
        patch: tuple({name: patch + i / 10 + half + shift for i, name in enumerate(MEASURES)} for half in (0, 100))
        for patch in patches
    }
    half_scores.write_part(store, of, halves)


def test_parts_are_merged_in_the_order_of_the_patches(store):
    parts = [shard(0), shard(64), shard(0, stage=1)]
    for of, patches in zip(parts, ([5, 1], [9], [2, 7]), strict=True):
        write(store, of, patches)
    half_scores.merge(store, SCORING, [*parts, shard(0, kind=ShardKind.SCREENING)])
    found = half_scores.read(store, SCORING, np.array([1, 2, 5, 7, 9]))
    assert found["patch_id"].tolist() == [1, 2, 5, 7, 9]
    np.testing.assert_allclose(found["entropy_top10"], [[i, i + 100] for i in (1, 2, 5, 7, 9)])
    np.testing.assert_allclose(found["mutual_information"][:, 0], [1.2, 2.2, 5.2, 7.2, 9.2], rtol=1e-6)
    files = [path for path in (store.uri(raster_keys.scoring(SCORING)),) for path in _files(path)]
    assert files == ["half-scores.npy"]


def _files(folder: str) -> list[str]:
    from pathlib import Path

    return [path.name for path in Path(folder).rglob("*") if path.is_file() and path.suffix != ".sha256"]


def test_later_stages_and_shards_done_again_are_added(store):
    write(store, shard(0), [1, 2])
    half_scores.merge(store, SCORING, [shard(0)])
    half_scores.merge(store, SCORING, [shard(0)])  # nothing is new
    write(store, shard(0), [1, 2], shift=0.5)  # an attempt that was taken for dead ends late
    write(store, shard(0, stage=1), [4])
    half_scores.merge(store, SCORING, [shard(0), shard(0, stage=1)])
    found = half_scores.read(store, SCORING, np.array([1, 2, 4]))
    assert found["entropy_top10"][:, 0].tolist() == [1.5, 2.5, 4.0]


def stop_after(patched: pytest.MonkeyPatch, deleted: int) -> None:
    """Let the deletion after so many files fail, as when the worker is killed then."""
    delete, calls = RasterStore.delete, []

    def stopping(self: RasterStore, key: str) -> None:
        if len(calls) == deleted:
            raise InterruptedError
        calls.append(key)
        delete(self, key)

    patched.setattr(RasterStore, "delete", stopping)


@pytest.mark.parametrize("deleted", [0, 1])
def test_rows_of_a_later_stage_stay_when_a_merge_is_interrupted(store, monkeypatch, deleted):
    """Patch 2 was scored in both stages; the row of the second stage is shifted by 0.5."""
    parts = [shard(0), shard(0, stage=1)]
    write(store, parts[0], [1, 2])
    write(store, parts[1], [2], shift=0.5)
    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        stop_after(patched, deleted)
        half_scores.merge(store, SCORING, parts)
    half_scores.merge(store, SCORING, parts)
    found = half_scores.read(store, SCORING, np.array([1, 2]))
    assert found["entropy_top10"][:, 0].tolist() == [1.0, 2.5]


@pytest.mark.parametrize("deleted", [0, 1, 2])
def test_a_merge_that_was_interrupted_is_merged_again(store, monkeypatch, deleted):
    parts = [shard(0), shard(32)]
    for of, patches in zip(parts, ([1], [2]), strict=True):
        write(store, of, patches)
    with monkeypatch.context() as patched:
        stop_after(patched, deleted)
        if deleted < 2:
            with pytest.raises(InterruptedError):
                half_scores.merge(store, SCORING, parts)
        else:
            half_scores.merge(store, SCORING, parts)
    half_scores.merge(store, SCORING, parts)
    assert half_scores.read(store, SCORING, np.array([1, 2]))["patch_id"].tolist() == [1, 2]
    assert _files(store.uri(raster_keys.scoring(SCORING))) == ["half-scores.npy"]


def test_patches_without_half_scores_are_noticed(store):
    assert half_scores.read(store, SCORING, np.array([1])) is None  # no file
    write(store, shard(0), [1, 3, 5])
    half_scores.merge(store, SCORING, [shard(0)])
    assert half_scores.read(store, SCORING, np.array([1, 2])) is None
    assert half_scores.read(store, SCORING, np.array([1, 6])) is None
    assert half_scores.read(store, SCORING, np.array([3, 5]))["patch_id"].tolist() == [3, 5]  # a scene was removed
    assert len(half_scores.read(store, SCORING, np.array([], dtype=np.int64))) == 0


def test_a_file_with_other_measures_does_not_count(store):
    file = io.BytesIO()
    np.save(file, np.array([(1, (0.5, 0.5))], dtype=[("patch_id", "<i8"), ("margin", "<f4", (2,))]))
    store.put(raster_keys.half_scores(SCORING), file.getvalue())
    assert half_scores.read(store, SCORING, np.array([1])) is None
    write(store, shard(0), [1])
    half_scores.merge(store, SCORING, [shard(0)])
    assert half_scores.read(store, SCORING, np.array([1]))["patch_id"].tolist() == [1]


def test_no_file_is_unpickled(store):
    file = io.BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    store.put(raster_keys.half_scores(SCORING), file.getvalue())
    with pytest.raises(ValueError, match="allow_pickle=False"):
        half_scores.read(store, SCORING, np.array([1]))
