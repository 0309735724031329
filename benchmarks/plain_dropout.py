"""Monte Carlo dropout as it is usually written: the baselines of our implementation."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.mc_dropout import McPrediction
from models.segmenter import GlacierSegmenter


def naive(segmenter: GlacierSegmenter, images: Tensor, passes: int) -> McPrediction:
    """Predict by T forward passes with dropout on, one after another; every patch has its own masks."""
    with _dropout_on(segmenter), torch.no_grad():
        stack = torch.stack([segmenter.to_probabilities(segmenter(images)) for _ in range(passes)])
    return _summary(stack)


def replicated(segmenter: GlacierSegmenter, images: Tensor, passes: int) -> McPrediction:
    """Predict by all T passes in one batch, as BaaL 2.1 does by default (``ModelWrapper.predict_on_batch``).

    BaaL stacks the images T times in memory and sends them through the network at once, with dropout on. This function
    took as long as BaaL itself on the same network and with the same allocator (docs/benchmarks.md).
    """
    with _dropout_on(segmenter), torch.no_grad():
        stacked = torch.stack([images] * passes).flatten(0, 1)
        stack = segmenter.to_probabilities(segmenter(stacked))
    return _summary(stack.view(passes, len(images), *stack.shape[1:]))


@contextmanager
def _dropout_on(segmenter: GlacierSegmenter) -> Iterator[None]:
    """Put only the dropout layers in training mode while the block lasts."""
    segmenter.eval()
    layers = [layer for layer in segmenter.modules() if isinstance(layer, nn.Dropout2d)]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        segmenter.eval()


def _summary(stack: Tensor) -> McPrediction:
    """Return the mean and the uncertainties of class probabilities (T, N, K, H, W)."""
    mean = stack.mean(dim=0)
    entropy = torch.special.entr(mean).sum(dim=1)
    expected = torch.special.entr(stack).sum(dim=2).mean(dim=0)
    variance = stack.var(dim=0, correction=0).sum(dim=1)
    return McPrediction(mean, entropy, (entropy - expected).clamp(min=0.0), variance)
