"""Monte Carlo dropout as textbooks have it, for comparison: the whole network, pass by pass, all passes kept."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.dropout_masks import Kept, draw_masks
from models.segmenter import GlacierSegmenter
from models.unet import BinaryUNets, UNet


def dropout_layers(unet: UNet) -> list[nn.Dropout2d]:
    """In the order of the masks: encoder, bottleneck, decoder."""
    blocks = [*unet.encoder, unet.bottleneck, *unet.decoder]
    return [layer for block in blocks for layer in block.modules() if isinstance(layer, nn.Dropout2d)]


def widths(unet: UNet) -> list[int]:
    """Feature maps of each dropout layer, worked out from the shape."""
    down = [unet.config.width * 2**level for level in range(unet.config.depth + 1)]
    return [*down, *reversed(down[:-1])]


@contextmanager
def masked(unet: UNet, kept: Kept) -> Iterator[None]:
    """Let each dropout layer keep the maps named, scaled up, and drop the others."""
    handles = []
    for layer, width, of_layer in zip(dropout_layers(unet), widths(unet), kept, strict=True):
        factor = torch.zeros(width)
        factor[of_layer] = 1 / (1 - layer.p)

        def apply(_layer: nn.Module, _given: Any, output: Tensor, factor: Tensor = factor) -> Tensor:
            return output * factor[:, None, None].to(output.dtype)

        handles.append(layer.register_forward_hook(apply))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def plain_mc(segmenter: GlacierSegmenter, images: Tensor, passes: int, seed: int) -> tuple[NDArray[np.float64], ...]:
    """Mean probability (N, K, H, W), predictive entropy and mutual information (N, H, W), all in float64."""
    segmenter = segmenter.eval()
    unet = segmenter.unet
    networks = unet.each() if isinstance(unet, BinaryUNets) else [unet]
    masks = [
        draw_masks(widths(network), network.config.dropout, passes, seed + index)
        for index, network in enumerate(networks)
    ]
    samples = []
    with torch.no_grad():
        for number in range(passes):
            with ExitStack() as stack:
                for network, of_network in zip(networks, masks, strict=True):
                    stack.enter_context(masked(network, of_network[number]))
                samples.append(segmenter.to_probabilities(segmenter(images)).double().numpy())
    together = np.stack(samples)
    mean = together.mean(0)
    predictive = _entropy(mean, axis=1)
    return mean, predictive, predictive - _entropy(together, axis=2).mean(0)


def plain_features(segmenter: GlacierSegmenter, images: Tensor, passes: int, seed: int) -> NDArray[np.float32]:
    """Mean over the passes and pixels of each map that leaves the bottleneck, (N, F); networks one after another."""
    segmenter = segmenter.eval()
    unet = segmenter.unet
    found = []
    for index, network in enumerate(unet.each() if isinstance(unet, BinaryUNets) else [unet]):
        means: list[Tensor] = []
        handle = network.bottleneck.register_forward_hook(
            lambda _layer, _given, maps, means=means: means.append(maps.mean(dim=(2, 3)))
        )
        with torch.no_grad():
            for kept in draw_masks(widths(network), network.config.dropout, passes, seed + index):
                with masked(network, kept):
                    segmenter(images)
        handle.remove()
        found.append(torch.stack(means).mean(0))
    return torch.cat(found, dim=1).numpy()


def _entropy(probability: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return -np.where(probability > 0, probability * np.log(np.maximum(probability, 1e-300)), 0.0).sum(axis)
