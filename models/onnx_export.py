"""Export to ONNX, for programs without torch."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.export import Dim

from models.modes import evaluating
from models.segmenter import GlacierSegmenter

INPUT_NAME = "raw"
OUTPUT_NAME = "probabilities"


class _Probabilities(nn.Module):
    """The graph that is exported: raw digital numbers in, probabilities out."""

    def __init__(self, segmenter: GlacierSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, raw: Tensor) -> Tensor:
        logits: Tensor = self.segmenter(raw)
        return self.segmenter.to_probabilities(logits)


def export_onnx(segmenter: GlacierSegmenter, path: Path) -> None:
    """Write the whole path from raw digital numbers to probabilities as one ONNX file.

    The graph takes ``raw`` (N, C, H, W) float32 digital numbers with NaN = nodata, of any N, H and W, and gives
    ``probabilities`` (N, K, H, W) float32. Normalisation, nodata, padding and the task head are inside:
    two binary networks come out as one graph of combined probabilities.

    Args:
        segmenter: On any device; neither its mode nor its weights change.
        path: The file to write; its directory exists.
    """
    # Sizes that differ from one another and from 1 keep the tracer from taking two axes for the same.
    example = torch.zeros(2, len(segmenter.channels), 64, 96, device=segmenter.device)
    free_axes = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    wrapped = _Probabilities(segmenter)
    with evaluating(wrapped), _without_chatter():
        program = torch.onnx.export(
            wrapped,
            (example,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=(free_axes,),
            dynamo=True,
            verbose=False,
        )
    # Only the older exporter (dynamo=False) returns None.
    cast("torch.onnx.ONNXProgram", program).save(path)


@contextmanager
def _without_chatter() -> Iterator[None]:
    """Silence what the exporter of torch 2.13 says of its own insides, and nothing else."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # it warns that torchvision, which we do not use, is not installed
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
            yield
    finally:
        registration.setLevel(level)
