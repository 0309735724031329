"""The probe of a model version: an input that everybody can compute, and what the network makes of it.

A program that runs the ONNX graph elsewhere, such as a browser, runs the probe first and compares. It finds a backend
that computes something else, for example one that loses NaN, before anybody believes its maps. It says nothing about
how good the network is.
"""

import base64
import copy
from typing import Annotated, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from models.segmenter import GlacierSegmenter

SIDE_PX: Final = 64
LEAST_EQUAL: Final = 0.999
"""Least share of pixels with the same class."""
TOLERANCE: Final = 0.02
"""Most that a probability may differ by. Backends sum in another order: they differ by some millionths."""

Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class Probe(BaseModel):
    """The expected output of a network for `probe_input`.

    Attributes:
        pattern: Name of the formula of the input (docs/web-tool.md).
        side_px: Side of the image, pixels.
        classes: (side, side) uint8 class values, base64.
        probabilities: (K, side, side) uint8, probabilities times 255, rounded; base64.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: Literal["waves"] = "waves"
    side_px: int = Field(SIDE_PX, ge=1, le=256)
    classes: Base64
    probabilities: Base64


def probe_input(mean: NDArray[np.float64], std: NDArray[np.float64], side: int = SIDE_PX) -> NDArray[np.float32]:
    """Return the input of the probe: waves of two standard deviations around the mean, with gaps.

    In channel c, row y and column x it is mean + std (|t - 32| / 8 - 2) with t = (x (c + 1) + y (c + 2)) mod 64.
    The last eighth of rows and columns is NaN in all channels, and the first eighth of them in the first channel.
    Whoever computes in double precision and rounds to single gets the same numbers.

    Args:
        mean: (C,) means of the channels.
        std: (C,) standard deviations.
        side: Side of the image, pixels.
    """
    channel, row, column = np.ogrid[: len(mean), :side, :side]
    phase = (column * (channel + 1) + row * (channel + 2)) % 64
    values = mean[:, None, None] + std[:, None, None] * (np.abs(phase - 32) / 8 - 2)
    image: NDArray[np.float32] = values.astype(np.float32)
    gap = side // 8
    image[:, side - gap :, side - gap :] = np.nan
    image[0, :gap, :gap] = np.nan
    return image


def make_probe(segmenter: GlacierSegmenter) -> Probe:
    """Compute the probe of a network, on the CPU in single precision, as the ONNX graph computes."""
    on_cpu = copy.deepcopy(segmenter).to("cpu")
    mean, std = (values.double().numpy() for values in (on_cpu.mean, on_cpu.std))
    (probabilities,) = on_cpu.probabilities(torch.from_numpy(probe_input(mean, std))[None]).numpy()
    return Probe(
        classes=_encode(segmenter.decide(probabilities)),
        probabilities=_encode(np.round(probabilities * 255).astype(np.uint8)),
    )


def _encode(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")
