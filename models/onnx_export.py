"""Export to ONNX, for programs without torch."""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import cast
from uuid import uuid4

import torch
from onnxscript import ir
from torch import Tensor, nn
from torch.export import Dim
from torch.onnx import ONNXProgram

from models.modes import evaluating
from models.segmenter import GlacierSegmenter

INPUT_NAME = "raw"
OUTPUT_NAME = "probabilities"

# The code that a graph is found by following: a kept graph outlives no change of it.
_TRACED = ("heads.py", "modes.py", "onnx_export.py", "segmenter.py", "unet.py")


class _Probabilities(nn.Module):
    """The graph that is exported: raw digital numbers in, probabilities out."""

    def __init__(self, segmenter: GlacierSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, raw: Tensor) -> Tensor:
        logits: Tensor = self.segmenter(raw)
        return self.segmenter.to_probabilities(logits)


def export_onnx(segmenter: GlacierSegmenter, path: Path, graphs: Path | None = None) -> None:
    """Write the whole path from raw digital numbers to probabilities as one ONNX file.

    The graph takes ``raw`` (N, C, H, W) float32 digital numbers with NaN = nodata, of any N, H and W, and gives
    ``probabilities`` (N, K, H, W) float32. Normalisation, nodata, padding and the task head are inside:
    several binary networks come out as one graph of combined probabilities.

    Finding the graph takes torch seconds, and filling in weights a fraction of one. The graph follows from the shape of
    the network alone, so that it need be found only once for all versions of one shape.

    Args:
        segmenter: On any device; neither its mode nor its weights change.
        path: The file to write; its directory exists.
        graphs: Folder that keeps the graph of each shape; created if missing. By default none is kept.
    """
    wrapped = _Probabilities(segmenter)
    program = _trace(wrapped) if graphs is None else _filled(wrapped, graphs)
    program.optimize()  # folds batch norms into convolutions: from here on the initializers are no longer our weights
    program.save(path)


def _filled(wrapped: _Probabilities, graphs: Path) -> ONNXProgram:
    """Put a network's weights into the graph of its shape; find and keep that first, where it is not known yet."""
    file = graphs / f"{_shape_digest(wrapped.segmenter)}.onnx"
    if not file.exists():
        graphs.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{uuid4().hex}.part")
        _trace(wrapped).save(part)
        part.rename(file)
    program = ONNXProgram(ir.load(file), None)
    # The probabilities do not depend on every tensor: not on how many batches a batch norm has seen, for one.
    used, weights = program.model.graph.initializers, wrapped.state_dict()
    if lost := [name for name in used if name not in weights]:
        raise RuntimeError(f"{file}: found the tensors {lost}, which are none of the network's: remove the file")
    program.apply_weights({name: tensor for name, tensor in weights.items() if name in used})
    return program


def _shape_digest(segmenter: GlacierSegmenter) -> str:
    """Sum up all that a graph follows from: the network's shape, our code, and the libraries that read it."""
    shape = {
        "channels": len(segmenter.channels),
        "unet": segmenter.unet.config.to_json(),
        "head": segmenter.head,
        "precedence": segmenter.precedence,
        "input_normalization": segmenter.input_normalization,
        "libraries": [version(name) for name in ("torch", "onnxscript", "onnx-ir")],
    }
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for name in _TRACED:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _trace(wrapped: _Probabilities) -> ONNXProgram:
    """Find the graph of a network, with every weight as an initializer of its own name."""
    segmenter = wrapped.segmenter
    # Sizes that differ from one another and from 1 keep the tracer from taking two axes for the same.
    example = torch.zeros(2, len(segmenter.channels), 64, 96, device=segmenter.device)
    free_axes = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    with evaluating(wrapped), _without_chatter():
        program = torch.onnx.export(
            wrapped,
            (example,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            dynamic_shapes=(free_axes,),
            dynamo=True,
            verbose=False,
            optimize=False,
        )
    # Only the older exporter (dynamo=False) returns None.
    return cast("ONNXProgram", program)


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
