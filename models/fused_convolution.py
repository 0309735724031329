"""Convolutions fused with the sum and activation that follow them, for inference."""

from typing import Final, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Activation = Literal["relu", "gelu"]

_ONE: Final = [1, 1]  # stride and dilation


class FusedConvolution:
    """A convolution with stride 1 and the zero padding that keeps the size, followed by an activation.

    On a CPU with oneDNN these are the operators that torch.compile emits: sum and activation are applied while a result
    is still in a register, which saves reading and writing all maps once more. Elsewhere they are plain operators.
    """

    def __init__(self, activation: Activation, device: torch.device, dtype: torch.dtype) -> None:
        """Find out whether the device can fuse.

        Args:
            activation: Applied to each result; GELU is the exact one.
            device: Device of all tensors.
            dtype: Precision of all tensors.
        """
        self._activation = activation
        self.fuses: bool = device.type == "cpu" and torch._C._has_mkldnn and _is_able(dtype)
        """Whether the fused operators are used."""

    def __call__(self, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve and activate.

        Args:
            maps: (N, in, H, W), channels-last to be fast.
            weight: (out, in, k, k), k odd; plain (contiguous) is as fast as channels-last.
            bias: (out,).

        Returns:
            (N, out, H, W) in the memory layout of ``maps``.
        """
        if self.fuses:
            return self._fused(maps, weight, bias, self._activation)
        return self._activate(F.conv2d(maps, weight, bias, padding=weight.shape[-1] // 2))

    def linear(self, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Convolve as :meth:`__call__`, without the activation."""
        if self.fuses:
            return self._fused(maps, weight, bias, "none")
        return F.conv2d(maps, weight, bias, padding=weight.shape[-1] // 2)

    def onto(self, total: Tensor, maps: Tensor, weight: Tensor) -> Tensor:
        """Convolve, add to ``total`` in place, and activate the sum.

        Args:
            total: (N, out, H, W); overwritten.
            maps: (N, in, H, W).
            weight: (out, in, k, k), k odd.

        Returns:
            (N, out, H, W).
        """
        padding = [weight.shape[-1] // 2] * 2
        if not self.fuses:
            return self._activate(total.add_(F.conv2d(maps, weight, padding=padding)))
        # oneDNN can put a ReLU behind a sum, but no GELU.
        last = "relu" if self._activation == "relu" else None
        torch.ops.mkldnn._convolution_pointwise_.binary(
            total, maps, weight, None, padding, _ONE, _ONE, 1, "add", 1.0, last, [], "none"
        )
        return total if last else self._activate(total)

    def _fused(self, maps: Tensor, weight: Tensor, bias: Tensor, last: str) -> Tensor:
        padding = [weight.shape[-1] // 2] * 2
        result: Tensor = torch.ops.mkldnn._convolution_pointwise(
            maps, weight, bias, padding, _ONE, _ONE, 1, last, [], "none"
        )
        return result

    def _activate(self, maps: Tensor) -> Tensor:
        return F.relu_(maps) if self._activation == "relu" else F.gelu(maps)


def _is_able(dtype: torch.dtype) -> bool:
    """Return whether oneDNN convolves in this precision on this processor."""
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
