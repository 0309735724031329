"""The modes that a network runs in: evaluation, and reduced precision.

The published glacier code predicts with dropout or batch normalisation left in training mode. Here the mode is set
in this one place by whoever predicts, and given back afterwards.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Hold ``model`` in evaluation mode without gradients, and restore the mode of each submodule on leaving.

    Args:
        model: The network; every submodule is put in ``eval()``.

    Yields:
        Nothing; the context is the effect.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def mixed_precision(device: torch.device, dtype: torch.dtype | None = None) -> AbstractContextManager[object]:
    """Autocast to a reduced precision; by default to bfloat16 on CUDA, and to none elsewhere.

    bfloat16 has the exponent range of float32, so that no loss scaling is needed.

    Args:
        device: Where the computation runs.
        dtype: ``torch.bfloat16``, or ``torch.float32`` for no autocast.

    Returns:
        A context manager; a fresh one is needed for every ``with``.
    """
    if dtype is None:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)
