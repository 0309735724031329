"""What the QGIS plugin Deepness (release 0.7) does with an ONNX file, said again without QGIS.

After its ``model_base.py``, ``preprocessing_utils.py``, ``segmentor.py``, ``map_processor_segmentation.py`` and
``tile_params.py``. It reads tiles of numbers as QGIS hands them out and keeps the middle of each, where they overlap.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

Tile = tuple[slice, slice]


class Deepness:
    """A model that the plugin has opened, with the parameters that its metadata state."""

    def __init__(self, path: Path) -> None:
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        (only_input,) = self.session.get_inputs()
        (only_output,) = self.session.get_outputs()  # the releases before 0.7 take one only
        self.input_name, self.input_shape = only_input.name, only_input.shape
        assert len(only_output.shape) == 4
        assert only_output.shape[0] == 1
        assert only_output.shape[2] == only_output.shape[3]
        self.stated = {key: json.loads(text) for key, text in self.session.get_modelmeta().custom_metadata_map.items()}
        assert str(self.stated["model_type"]).capitalize() == "Segmentor"
        self.class_names = [self.stated["class_names"][str(n)] for n in range(len(self.stated["class_names"]))]
        self.tile_px = int(self.stated["tile_size"])
        assert self.input_shape[-2:] == [self.tile_px, self.tile_px]
        self.stride_px = round(self.tile_px * (100 - int(self.stated["tiles_overlap"])) / 100)

    def classify(self, shown: NDArray[Any], threshold: float) -> NDArray[np.int64]:
        """Return the classes (S, S) of a tile (S, S, C) of numbers."""
        batch = shown[None][:, :, :, : self.input_shape[-3]]
        scaled = np.float32(batch * 1.0 / 255.0)
        standardised = (scaled - np.float32(0)) / np.float32(1)  # as the metadata state no mean and no deviation
        given = np.transpose(standardised, (0, 3, 1, 2))
        (result,) = self.session.run(None, {self.input_name: given})
        result[result < threshold] = 0.0
        return np.argmax(result, axis=1)[0]

    def map(self, shape: tuple[int, int], classify: Callable[[Tile], NDArray[Any]]) -> NDArray[np.int64]:
        """Return the classes of an image, from the middles of its tiles; `classify` maps one tile."""
        classes = np.full(shape, -1, dtype=np.int64)
        half = (self.tile_px - self.stride_px) // 2
        rows, columns = (list(self._starts(side)) for side in shape)
        for row in rows:
            for column in columns:
                found = classify(np.s_[row : row + self.tile_px, column : column + self.tile_px])
                top, left = half * (row > 0), half * (column > 0)
                bottom = self.tile_px - half * (row < rows[-1])
                right = self.tile_px - half * (column < columns[-1])
                kept = found[top:bottom, left:right]
                place = classes[row + top : row + bottom, column + left : column + right]
                place[...] = kept[: place.shape[0], : place.shape[1]]
        return classes

    def whole_tiles(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Return the rows and columns that tiles cover without reaching beyond an image."""
        rows, columns = (side - (side - self.tile_px) % self.stride_px for side in shape)
        return rows, columns

    def _starts(self, side: int) -> Iterator[int]:
        """Yield where tiles begin; the last may reach beyond the image."""
        yield from range(0, side - self.tile_px + self.stride_px, self.stride_px)
