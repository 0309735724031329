"""The prediction of a whole scene: its classes in memory, and the bins of its probabilities in a temporary file."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from imagery.classes import UNKNOWN
from imagery.scene_source import SceneSource
from models.area_error import CELL_PX, ZONE_PX
from models.calibration import probability_bins
from models.segmenter import GlacierSegmenter
from workers.windows import predict_probability_strips

_ROWS: Final = 8 * CELL_PX  # rows worked on together: of 8000 columns their sums take 120 MB


@dataclass(frozen=True)
class RowsOfCells:
    """Whole rows of cells of a predicted scene.

    Attributes:
        first: Row of the scene of the first row; a multiple of `models.area_error.CELL_PX`.
        classes: (h, W) classes of these rows, and of up to `ZONE_PX` further rows above and below.
        rows: The rows of ``classes`` that are meant.
        bins: (K, rows, W) bins of the classes' probabilities (`models.calibration`).
    """

    first: int
    classes: NDArray[np.uint8]
    rows: slice
    bins: NDArray[np.uint8]


class PredictedScene:
    """The prediction of a scene.

    Attributes:
        classes: (H, W) class values, `UNKNOWN` where there are no data.
        count: K, the number of classes of the head.
    """

    def __init__(self, classes: NDArray[np.uint8], count: int, file: IO[bytes]) -> None:
        self.classes = classes
        self.count = count
        self._file = file

    def rows_of_cells(self) -> Iterator[RowsOfCells]:
        """Yield the scene from the first row to the last."""
        height, width = self.classes.shape
        self._file.seek(0)
        for first in range(0, height, _ROWS):
            count = min(_ROWS, height - first)
            above = min(ZONE_PX, first)
            stored = np.frombuffer(self._file.read(count * self.count * width), dtype=np.uint8)
            yield RowsOfCells(
                first,
                self.classes[first - above : first + count + ZONE_PX],
                slice(above, above + count),
                np.moveaxis(stored.reshape(count, self.count, width), 1, 0),
            )


@contextmanager
def predict_scene_once(
    segmenter: GlacierSegmenter, source: SceneSource, patch_size: int, batch_size: int, folder: Path
) -> Iterator[PredictedScene]:
    """Predict a scene and keep what its areas and its confidence are computed from.

    Memory grows with the scene by one byte a pixel; the file by one byte a pixel and class.

    Args:
        segmenter: The network, on its device.
        source: The scene.
        patch_size: Side of the windows, pixels.
        batch_size: Most windows predicted together.
        folder: Where the temporary file is made; it is gone when the context ends.

    Raises:
        SceneError: As `workers.windows.predict_probability_strips`.
    """
    classes = np.empty((source.grid.height, source.grid.width), dtype=np.uint8)
    with tempfile.TemporaryFile(dir=folder) as file:
        for row, strip, probabilities in predict_probability_strips(segmenter, source, patch_size, batch_size, UNKNOWN):
            classes[row : row + len(strip)] = strip
            file.write(np.moveaxis(probability_bins(probabilities), 0, 1).tobytes())
        yield PredictedScene(classes, segmenter.classes, file)
