"""Monte Carlo dropout as it is usually written, to compare ours with."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from models.mc_dropout import McPrediction
from models.segmenter import GlacierSegmenter


def naive(segmenter: GlacierSegmenter, images: Tensor, passes: int) -> McPrediction:
    """The loop of textbooks: T forward passes with dropout on, each patch with masks of its own; all passes kept."""
    with _dropout_on(segmenter), torch.no_grad():
        stack = torch.stack([segmenter.to_probabilities(segmenter(images)) for _ in range(passes)])
    return _summary(stack)


def replicated(segmenter: GlacierSegmenter, images: Tensor, passes: int) -> McPrediction:
    """As BaaL 2.1 predicts by default (``ModelWrapper.predict_on_batch``): all passes in one batch.

    It stacks the images T times in memory, sends them through the network at once with dropout on, and returns the
    outputs of all passes. Timed beside it, on the same network and with the same allocator, this took the same.
    """
    with _dropout_on(segmenter), torch.no_grad():
        stacked = torch.stack([images] * passes).flatten(0, 1)
        stack = segmenter.to_probabilities(segmenter(stacked))
    return _summary(stack.view(passes, len(images), *stack.shape[1:]))


@contextmanager
def _dropout_on(segmenter: GlacierSegmenter) -> Iterator[None]:
    """Put the dropout layers alone in training mode."""
    segmenter.eval()
    layers = [layer for layer in segmenter.modules() if isinstance(layer, nn.Dropout2d)]
    for layer in layers:
        layer.train()
    try:
        yield
    finally:
        segmenter.eval()


def _summary(stack: Tensor) -> McPrediction:
    """Of (T, N, K, H, W) probabilities."""
    mean = stack.mean(dim=0)
    entropy = torch.special.entr(mean).sum(dim=1)
    expected = torch.special.entr(stack).sum(dim=2).mean(dim=0)
    return McPrediction(mean, entropy, (entropy - expected).clamp(min=0.0))
