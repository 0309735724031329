"""Scenes that stay open: each lent to one thread at a time, and opened anew when a file has changed."""

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from imagery.describe_scene import describe
from imagery.errors import UnreadableFileError
from imagery.grid import Window
from imagery.reader_pool import ReaderPool
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, SceneSource
from tests.imagery.forge import write_geotiff

SIDE = 32
BANDS = ("red", "nir")
LONG_AGO = 1_600_000_000


def write(folder: Path, red: int, nir: int = 9) -> SceneSource:
    """Write a scene of two files, each of one value, that nobody has changed for long."""
    folder.mkdir(exist_ok=True)
    for name, value in (("red", red), ("nir", nir)):
        write_geotiff(folder / f"{name}.tif", np.full((1, SIDE, SIDE), value, dtype=np.uint8))
    leave_alone(folder)
    return describe([BandSource(name, str(folder / f"{name}.tif"), 1) for name in BANDS])


def leave_alone(folder: Path, since: int = LONG_AGO) -> None:
    for path in (*folder.iterdir(), folder):
        os.utime(path, (since, since))


def value(reader: SceneReader) -> float:
    return float(reader.read(["red"], Window(3, 4, 1, 1))[0, 0, 0])


@pytest.fixture
def pool() -> Iterator[ReaderPool]:
    made = ReaderPool(most=2)
    yield made
    made.close()


@pytest.fixture
def source(tmp_path: Path) -> SceneSource:
    return write(tmp_path / "scene", red=5)


def test_a_scene_stays_open_for_the_next_reading(pool: ReaderPool, source: SceneSource) -> None:
    with pool.reading(source) as first:
        assert value(first) == 5
    with pool.reading(source) as second:
        assert second is first
        assert value(second) == 5


def test_what_is_lent_is_not_lent_again(pool: ReaderPool, source: SceneSource) -> None:
    with pool.reading(source) as first, pool.reading(source) as second:
        assert second is not first
        assert value(first) == value(second) == 5


def test_a_file_that_was_written_anew_is_read_anew(pool: ReaderPool, source: SceneSource, tmp_path: Path) -> None:
    with pool.reading(source) as first:
        assert value(first) == 5
    write(tmp_path / "scene", red=6)  # of the same size and names
    leave_alone(tmp_path / "scene", since=LONG_AGO + 1)
    with pool.reading(source) as second:
        assert value(second) == 6


def test_a_file_that_was_exchanged_is_read_anew(pool: ReaderPool, source: SceneSource, tmp_path: Path) -> None:
    with pool.reading(source) as first:
        assert value(first) == 5
    write(tmp_path / "other", red=6)
    (tmp_path / "other" / "red.tif").replace(tmp_path / "scene" / "red.tif")
    leave_alone(tmp_path / "scene")  # size and times are what they were
    with pool.reading(source) as second:
        assert value(second) == 6


def test_a_file_that_appears_beside_a_scene_counts(pool: ReaderPool, source: SceneSource, tmp_path: Path) -> None:
    with pool.reading(source) as first:
        assert value(first) == 5
    nodata = '<PAMDataset><PAMRasterBand band="1"><NoDataValue>5</NoDataValue></PAMRasterBand></PAMDataset>'
    (tmp_path / "scene" / "red.tif.aux.xml").write_text(nodata)
    with pool.reading(source) as second:
        assert np.isnan(value(second))


def test_a_scene_whose_files_are_gone_is_refused(pool: ReaderPool, source: SceneSource, tmp_path: Path) -> None:
    with pool.reading(source) as first:
        assert value(first) == 5
    shutil.rmtree(tmp_path / "scene")
    with pytest.raises(UnreadableFileError, match="no such file"), pool.reading(source):
        pass


def test_a_scene_that_changed_a_moment_ago_is_not_kept(pool: ReaderPool, source: SceneSource, tmp_path: Path) -> None:
    os.utime(tmp_path / "scene" / "nir.tif")
    with pool.reading(source) as first:
        pass
    assert not first.files  # it is closed
    with pool.reading(source) as second:
        assert value(second) == 5


def test_only_the_latest_stay_open(source: SceneSource, tmp_path: Path) -> None:
    pool = ReaderPool(most=2)
    sources = [source, *(write(tmp_path / name, red=value) for name, value in (("b", 6), ("c", 7)))]
    readers = []
    for scene in sources:
        with pool.reading(scene) as reader:
            readers.append(reader)
    assert [bool(reader.files) for reader in readers] == [False, True, True]
    pool.close()
    assert not any(reader.files for reader in readers)


def test_a_scene_that_nobody_reads_is_closed(source: SceneSource, tmp_path: Path) -> None:
    pool = ReaderPool(most=2, idle_s=0.0)
    with pool.reading(source) as first:
        pass
    with pool.reading(write(tmp_path / "b", red=6)):
        assert not first.files
    pool.close()


def test_a_reader_is_closed_after_an_error(pool: ReaderPool, source: SceneSource) -> None:
    with pytest.raises(RuntimeError), pool.reading(source) as first:
        raise RuntimeError
    assert not first.files


def test_many_threads_read_what_one_reads(source: SceneSource, tmp_path: Path) -> None:
    pool = ReaderPool(most=3)
    sources = [source, *(write(tmp_path / name, red=value) for name, value in (("b", 6), ("c", 7)))]

    def read(number: int) -> float:
        with pool.reading(sources[number % 3]) as reader:
            return value(reader)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read, range(300))) == [5.0, 6.0, 7.0] * 100
    pool.close()
