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
    """As BaaL's wrapper does by default: the images are replicated T times in memory and predicted in one batch."""
    with _dropout_on(segmenter), torch.no_grad():
        stack = segmenter.to_probabilities(segmenter(images.repeat(passes, 1, 1, 1)))
    return _summary(stack.unflatten(0, (passes, len(images))))


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
