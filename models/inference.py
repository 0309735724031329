"""Choice of device and precision, and deterministic prediction."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from models.segmenter import GlacierSegmenter
from models.symmetries import SYMMETRIES, apply_symmetry, undo_symmetry


def pick_device(preference: Literal["auto", "cpu", "cuda"] = "auto") -> torch.device:
    """Choose the device to compute on.

    Args:
        preference: ``"auto"`` takes CUDA when there is a usable GPU, and the CPU otherwise.

    Returns:
        The device.

    Raises:
        ValueError: The preference is unknown.
        RuntimeError: CUDA is demanded, but torch sees no usable GPU.
    """
    if preference not in ("auto", "cpu", "cuda"):
        raise ValueError(f"the device {preference!r} is unknown; choose auto, cpu or cuda")
    if preference == "cpu":
        return torch.device("cpu")
    if torch.cuda.is_available():
        return torch.device("cuda")
    if preference == "cuda":
        raise RuntimeError(
            f"CUDA is demanded, but torch {torch.__version__} sees no usable GPU; "
            "install a CUDA build of torch and a driver, or set the device to auto or cpu"
        )
    return torch.device("cpu")


def pick_precision(device: torch.device, preference: Literal["auto", "float32", "bfloat16"] = "auto") -> torch.dtype:
    """Choose the floating-point type of the forward passes of Monte Carlo dropout.

    The rounding error of bfloat16 is far below the variation between passes (docs/benchmarks.md). It is about 1.8 times
    as fast where the hardware supports it; elsewhere it is emulated, and slow.

    Args:
        device: The device to compute on.
        preference: ``"auto"`` takes bfloat16 on CUDA and on processors with bfloat16 instructions.

    Returns:
        The data type.

    Raises:
        ValueError: The preference is unknown.
    """
    if preference not in ("auto", "float32", "bfloat16"):
        raise ValueError(f"the precision {preference!r} is unknown; choose auto, float32 or bfloat16")
    if preference == "float32":
        return torch.float32
    if preference == "bfloat16" or device.type == "cuda":
        return torch.bfloat16
    supported = torch.cpu.get_capabilities()
    return torch.bfloat16 if supported.get("avx512_bf16") or supported.get("amx_bf16") else torch.float32


def place(segmenter: GlacierSegmenter, device: torch.device) -> GlacierSegmenter:
    """Move a segmenter to a device, in the memory layout that is fastest for convolutions.

    With channels-last weights the activations are channels-last too: a training step takes a quarter less time on a
    CPU, and tensor cores use this layout.

    Args:
        segmenter: Moved in place.
        device: Target device.

    Returns:
        The same segmenter.
    """
    # The type stubs of torch lack this overload of Module.to.
    segmenter.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return segmenter


def predict_windows(
    segmenter: GlacierSegmenter, batches: Iterable[Tensor], turns: Iterable[Sequence[int]] | None = None
) -> Iterator[Tensor]:
    """Predict batch after batch, with one in memory at a time. Dropout is off and batch norm frozen in any mode.

    ``segmenter.orientations`` says how. "one": as the windows are. "alternating": each turned by its quarter turns, and
    its prediction turned back, at no cost; where neighbours that overlap are turned differently, blending them gives
    each pixel a mean over orientations (:func:`workers.windows.predict_probability_strips`). "all": each in its eight
    orientations, averaged: eight times the work.

    Args:
        segmenter: The network, on any device.
        batches: (N, C, h, w) float32 values in the channels' units, NaN = nodata; each batch may have its own
            size.
        turns: Of each batch the quarter turns of its N windows, which have to be square; used by "alternating" only.
            None turns nothing.

    Yields:
        Class probabilities (N, K, h, w) float32 on the CPU, in the order of the batches.

    Raises:
        ValueError: A batch has the wrong number of channels or dimensions.
    """
    if segmenter.orientations == "alternating" and turns is not None:
        yield from (_turned(segmenter, *pair).cpu() for pair in zip(batches, turns, strict=True))
        return
    predict = _mean_of_symmetries if segmenter.orientations == "all" else GlacierSegmenter.probabilities
    for batch in batches:
        yield predict(segmenter, batch).cpu()


def _turned(segmenter: GlacierSegmenter, batch: Tensor, turns: Sequence[int]) -> Tensor:
    """Return the probabilities of square windows that are turned for the prediction, and turned back."""
    seen = [apply_symmetry(window, number) for window, number in zip(batch, turns, strict=True)]
    predicted = segmenter.probabilities(torch.stack(seen))
    return torch.stack([undo_symmetry(window, number) for window, number in zip(predicted, turns, strict=True)])


def _mean_of_symmetries(segmenter: GlacierSegmenter, batch: Tensor) -> Tensor:
    """Return the mean of the probabilities over the symmetries of the square; windows need not be square."""
    batch = batch.to(segmenter.device)
    total = segmenter.probabilities(batch)
    for number in range(1, SYMMETRIES):
        total += undo_symmetry(segmenter.probabilities(apply_symmetry(batch, number)), number)
    return total / SYMMETRIES
