"""Context managers for evaluation mode and for reduced precision.

The published glacier code predicts with dropout or batch normalisation left in training mode. Here all code that
predicts sets the mode with :func:`evaluating`, which restores it afterwards.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Set ``model`` to evaluation mode without gradients, and restore the mode of each submodule on exit.

    Args:
        model: The network; every submodule is put in ``eval()``.

    Yields:
        None.
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
    """Return a context that autocasts to a reduced precision; by default bfloat16 on CUDA, and no autocast elsewhere.

    bfloat16 has the exponent range of float32, so that no loss scaling is needed.

    Args:
        device: Where the computation runs.
        dtype: ``torch.bfloat16``, or ``torch.float32`` for no autocast.

    Returns:
        A context manager for a single ``with``.
    """
    if dtype is None:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    return nullcontext() if dtype == torch.float32 else torch.autocast(device.type, dtype=dtype)
