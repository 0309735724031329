"""The champion as Deepness runs it, a plugin of QGIS (https://github.com/PUTvision/qgis-plugin-deepness).

Deepness takes one network of one input and one output. It feeds square tiles (1, C, S, S) of the numbers that QGIS
shows, divided by 255, sets outputs below a threshold to 0, and takes the class of the largest output. So the graph of a
version gets some operations before it, which undo the division, mark missing numbers and convert to the units of its
channels, and some behind it, which choose the class as our own maps do and give 1 for it and 0 for the others: then no
threshold changes the class.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from catalog.errors import ConflictError
from imagery.channels import INDICES
from imagery.shown_bands import ShownBand

INPUT: Final = "image"
OUTPUT: Final = "classes"
OVERLAP_PERCENT: Final = 25
"""Overlap of neighbouring tiles. Deepness keeps the middle of each, where the network sees its surroundings."""

_RAW, _PROBABILITIES = "raw", "probabilities"  # of the graph of a version (`models.onnx_export`)
_NOT_VALID: Final = "the graph of the version is not a valid ONNX file ({}); serve a version whose files are whole"
_EQUAL: Final = 1e-6  # numbers are compared after a division by 255 and its reversal in single precision


def input_bands(channels: Sequence[str], raster_names: Sequence[str]) -> tuple[str, ...]:
    """Return the bands that Deepness has to feed, in order.

    The channels of the network; in place of an index its two bands, as the graph computes it.

    Args:
        channels: The channels of the network.
        raster_names: The rasters of the scene: an index among them is read like any band.
    """
    computed = {name for name in channels if name in INDICES and name not in raster_names}
    needed = (INDICES[name] if name in computed else (name,) for name in channels)
    return tuple(dict.fromkeys(band for bands in needed for band in bands))


def deepness_graph(
    graph: bytes, card: Mapping[str, Any], bands: Sequence[ShownBand], resolution_m: float, side_px: int | None = None
) -> bytes:
    """Return the ONNX file of a version that Deepness opens.

    Args:
        graph: The version's ONNX file.
        card: The version's card.
        bands: What QGIS shows of the bands of `input_bands`, in their order.
        resolution_m: Side of a pixel of the scene, metres.
        side_px: Side of a tile, pixels; by default that of the version's patches.

    Raises:
        ConflictError: the file is not a valid ONNX file.
    """
    model = _read(graph)
    side = side_px or int(card["patch_size_px"])
    classes = list(card["classes"])
    nodes = _Nodes()
    _convert(nodes, card["channels"], bands)
    before, nodes.made = nodes.made, []
    _decide(nodes, card, len(classes))
    inner = model.graph
    every = [*before, *inner.node, *nodes.made]
    del inner.node[:], inner.input[:], inner.output[:], inner.value_info[:]
    inner.node.extend(every)
    inner.initializer.extend(nodes.constants)
    inner.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, len(bands), side, side]))
    inner.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, len(classes), side, side]))
    del model.metadata_props[:]
    helper.set_model_props(model, _metadata(card, bands, resolution_m, side))
    data: bytes = model.SerializeToString()
    return data


def _read(graph: bytes) -> onnx.ModelProto:
    try:
        model = onnx.load_model_from_string(graph)
    except DecodeError as error:
        raise ConflictError(_NOT_VALID.format(error)) from error
    if not model.graph.node:
        raise ConflictError(_NOT_VALID.format("no operations"))
    return model


class _Nodes:
    """Operations in the order of their making, and their constants."""

    def __init__(self) -> None:
        self.made: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._count = 0

    def add(self, operation: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """Add an operation; return the name of its output."""
        name = output or self._name()
        self.made.append(helper.make_node(operation, inputs, [name], **attributes))
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Add a constant; return its name."""
        name = self._name()
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def number(self, value: float) -> str:
        """Add a number in single precision; return its name."""
        return self.constant(np.array(value, dtype=np.float32))

    def of_bands(self, values: Sequence[float]) -> str:
        """Add one number a band, in single precision; return its name."""
        return self.constant(np.array(values, dtype=np.float32).reshape(1, -1, 1, 1))

    def pick(self, stack: str, position: int) -> str:
        """Add the operation that takes one band or class, (1, 1, S, S)."""
        return self.add("Gather", stack, self.constant(np.array([position], dtype=np.int64)), axis=1)

    def _name(self) -> str:
        self._count += 1
        return f"deepness_{self._count}"


def _convert(nodes: _Nodes, channels: Sequence[str], bands: Sequence[ShownBand]) -> None:
    """Turn shown numbers, divided by 255, into the values of the channels; NaN where they are missing."""
    shown = nodes.add("Mul", INPUT, nodes.number(255.0))
    scaled = nodes.add("Mul", shown, nodes.of_bands([band.scale for band in bands]))
    values = nodes.add("Add", scaled, nodes.of_bands([band.offset for band in bands]))
    for nth in range(max(len(band.missing) for band in bands)):
        # Nothing equals NaN, which stands for a band with fewer such numbers.
        numbers = [band.missing[nth] if nth < len(band.missing) else np.nan for band in bands]
        distance = nodes.add("Abs", nodes.add("Sub", shown, nodes.of_bands(numbers)))
        is_missing = nodes.add("LessOrEqual", distance, nodes.of_bands([abs(number) * _EQUAL for number in numbers]))
        values = nodes.add("Where", is_missing, nodes.number(np.nan), values)
    names = [band.name for band in bands]
    if list(channels) == names:
        nodes.add("Identity", values, output=_RAW)
        return
    parts = [
        nodes.pick(values, names.index(name)) if name in names else _index(nodes, values, names, name)
        for name in channels
    ]
    nodes.add("Concat", *parts, output=_RAW, axis=1)


def _index(nodes: _Nodes, values: str, names: Sequence[str], index: str) -> str:
    """Compute a spectral index, as `imagery.channels.normalised_difference`."""
    first, second = (nodes.pick(values, names.index(band)) for band in INDICES[index])
    total = nodes.add("Add", first, second)
    ratio = nodes.add("Div", nodes.add("Sub", first, second), total)
    return nodes.add("Where", nodes.add("Equal", total, nodes.number(0.0)), nodes.number(np.nan), ratio)


def _decide(nodes: _Nodes, card: Mapping[str, Any], classes: int) -> None:
    """Choose the class as `models.heads.decide`, and give it as one 1 among 0s, (1, K, S, S)."""
    head = card.get("head", "multiclass")
    if head == "two_binaries":
        chosen = _decide_by_precedence(nodes, card)
    else:
        # Of equal probabilities the first class counts, but for a binary head the last.
        chosen = nodes.add("ArgMax", _PROBABILITIES, axis=1, keepdims=1, select_last_index=int(head == "binary"))
    every = nodes.constant(np.arange(classes, dtype=np.int64).reshape(1, -1, 1, 1))
    nodes.add("Cast", nodes.add("Equal", chosen, every), output=OUTPUT, to=TensorProto.FLOAT)


def _decide_by_precedence(nodes: _Nodes, card: Mapping[str, Any]) -> str:
    """Choose of the classes that are at least as probable as all below them the one of the highest precedence."""
    foreground = sorted(card["label_classes"][1:], key=lambda item: int(item["precedence"]))
    below = nodes.pick(_PROBABILITIES, 0)
    chosen = nodes.constant(np.zeros((1, 1, 1, 1), dtype=np.int64))
    for item in foreground:
        value = int(item["value"])
        probability = nodes.pick(_PROBABILITIES, value)
        wins = nodes.add("GreaterOrEqual", probability, below)
        chosen = nodes.add("Where", wins, nodes.constant(np.array(value, dtype=np.int64)), chosen)
        below = nodes.add("Add", below, probability)
    return chosen


def _metadata(card: Mapping[str, Any], bands: Sequence[ShownBand], resolution_m: float, side_px: int) -> dict[str, str]:
    """Return what Deepness reads of a file, as JSON, and the names of the bands, which people need."""
    stated = {
        "model_type": "Segmentor",
        "class_names": {str(value): name for value, name in enumerate(card["classes"])},
        "resolution": round(resolution_m * 100, 6),  # centimetres
        "tile_size": side_px,
        "tiles_overlap": OVERLAP_PERCENT,
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
        "bands": [band.name for band in bands],
    }
    return {key: json.dumps(value) for key, value in stated.items()}
