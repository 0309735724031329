"""Export to ONNX, for programs without torch."""

import hashlib
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
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
FEATURES_NAME = "features"

# The modules whose code determines the graph: a change of one invalidates the cached graphs.
_TRACED_MODULES = ("heads.py", "modes.py", "onnx_export.py", "segmenter.py", "unet.py")


class _Graph(nn.Module):
    """The graph that is exported: values in the channels' units in, probabilities and features out."""

    def __init__(self, segmenter: GlacierSegmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, raw: Tensor) -> tuple[Tensor, Tensor]:
        features, logits = self.segmenter.features_and_logits(raw)
        return self.segmenter.to_probabilities(logits), features


def export_onnx(
    segmenter: GlacierSegmenter, path: Path, graphs: Path | None = None, metadata: Mapping[str, str] | None = None
) -> None:
    """Write an ONNX file that computes class probabilities and features from the values of the channels.

    The graph takes ``raw`` (N, C, H, W) float32 in the channels' units, NaN = nodata, of any N, H and W, and gives
    ``probabilities`` (N, K, H, W) float32 and ``features`` (N, M, H, W) float32, the maps of the last decoder block
    (:meth:`models.segmenter.GlacierSegmenter.features_and_logits`), which it computes anyway. Normalisation, nodata,
    padding and the task head are inside: several binary networks become one graph with combined probabilities.

    Tracing the graph takes seconds, inserting weights a fraction of one. The graph depends only on the architecture, so
    with a cache it is traced once for all versions of one architecture.

    Args:
        segmenter: On any device; neither its mode nor its weights change.
        path: The file to write; its directory exists.
        graphs: Cache folder with one graph for each architecture; created if missing. By default nothing is cached.
        metadata: Metadata properties of the file; ``input`` also describes the input of the graph.
    """
    wrapped = _Graph(segmenter)
    program = _trace(wrapped) if graphs is None else _from_cached_graph(wrapped, graphs)
    program.optimize()  # folds batch norms into convolutions: afterwards the initializers differ from the weights
    metadata = metadata or {}
    program.model.metadata_props.update(metadata)
    program.model.graph.inputs[0].doc_string = metadata.get("input")
    program.save(path)


def _from_cached_graph(wrapped: _Graph, graphs: Path) -> ONNXProgram:
    """Insert a network's weights into the cached graph of its architecture, which is traced and cached if missing."""
    file = graphs / f"{_cache_key(wrapped.segmenter)}.onnx"
    if not _is_whole(file):
        graphs.mkdir(parents=True, exist_ok=True)
        part = file.with_name(f"{file.name}.{uuid4().hex}.part")
        _trace(wrapped).save(part)
        _checksum_file(file).write_text(hashlib.sha256(part.read_bytes()).hexdigest(), encoding="ascii")
        part.rename(file)
    program = ONNXProgram(ir.load(file), None)
    # The graph does not use every tensor of the network, for instance not the batch counters of batch norms.
    used = program.model.graph.initializers
    weights = {**wrapped.state_dict(), **dict(wrapped.named_buffers())}  # the calibration is not in the state_dict
    if unknown := [name for name in used if name not in weights]:
        raise RuntimeError(f"{file}: found the tensors {unknown}, which are none of the network's: remove the file")
    program.apply_weights({name: tensor for name, tensor in weights.items() if name in used})
    return program


def _checksum_file(graph: Path) -> Path:
    return graph.with_name(f"{graph.name}.sha256")


def _is_whole(graph: Path) -> bool:
    """Return whether a cached graph exists and is what was cached: a damaged one would be exported with new weights."""
    try:
        expected = _checksum_file(graph).read_text(encoding="ascii")
        return hashlib.sha256(graph.read_bytes()).hexdigest() == expected
    except (FileNotFoundError, UnicodeDecodeError):
        return False


def _cache_key(segmenter: GlacierSegmenter) -> str:
    """Return a digest of all that determines a graph: the architecture, our code, and the versions of the libraries."""
    shape = {
        "channels": len(segmenter.channels),
        "unet": segmenter.unet.config.to_json(),
        "head": segmenter.head,
        "precedence": segmenter.precedence,
        "input_normalization": segmenter.input_normalization,
        "libraries": [version(name) for name in ("torch", "onnxscript", "onnx-ir")],
    }
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode())
    for name in _TRACED_MODULES:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _trace(wrapped: _Graph) -> ONNXProgram:
    """Trace the graph of a network, with every weight as an initializer of the same name."""
    segmenter = wrapped.segmenter
    # Sizes that differ from one another and from 1, so that the tracer does not identify two axes.
    example = torch.zeros(2, len(segmenter.channels), 64, 96, device=segmenter.device)
    free_axes = {0: Dim("batch"), 2: Dim("height"), 3: Dim("width")}
    with evaluating(wrapped), _exporter_warnings_silenced():
        program = torch.onnx.export(
            wrapped,
            (example,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME, FEATURES_NAME],
            dynamic_shapes=(free_axes,),
            dynamo=True,
            verbose=False,
            optimize=False,
        )
    # Only the older exporter (dynamo=False) returns None.
    return cast("ONNXProgram", program)


@contextmanager
def _exporter_warnings_silenced() -> Iterator[None]:
    """Silence two warnings of the exporter of torch 2.13 that are of no use to us, and nothing else."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)  # warns that torchvision, which we do not use, is not installed
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance\\(treespec, LeafSpec\\)` is deprecated", FutureWarning)
            yield
    finally:
        registration.setLevel(level)
