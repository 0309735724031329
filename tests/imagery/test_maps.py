from pathlib import Path

import numpy as np
import pytest

from imagery.cog import float_map_writer
from imagery.errors import SceneError
from imagery.grid import Grid, Window
from imagery.maps import read_map
from tests.imagery.forge import NORTH_UP, UTM_45N

MAP = np.arange(35, dtype=np.float32).reshape(5, 7)


def test_a_window_of_a_map_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with float_map_writer(path, Grid(UTM_45N, NORTH_UP, width=7, height=5), "entropy (nats)") as write:
        write(0, MAP)
    np.testing.assert_array_equal(read_map(str(path), Window(1, 2, 3, 4)), MAP[1:4, 2:6])


def test_a_window_beyond_the_map_or_a_missing_map_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with float_map_writer(path, Grid(UTM_45N, NORTH_UP, width=7, height=5), "entropy (nats)") as write:
        write(0, MAP)
    with pytest.raises(SceneError, match="inside 5 rows x 7 columns"):
        read_map(str(path), Window(3, 0, 3, 7))
    with pytest.raises(SceneError, match="no such file"):
        read_map(str(tmp_path / "b.tif"), Window(0, 0, 1, 1))
