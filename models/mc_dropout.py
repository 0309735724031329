"""Monte Carlo dropout: the mean prediction and the uncertainty of T stochastic passes.

Sources: Gal & Ghahramani 2016, "Dropout as a Bayesian approximation" (dropout kept on at inference samples an
approximate posterior); Houlsby et al. 2011, "Bayesian active learning for classification and preference learning", and
Gal 2017, "Uncertainty in deep learning", section 3.3.1 (predictive entropy and mutual information).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.dropout_masks import draw_masks
from models.modes import evaluating
from models.segmenter import GlacierSegmenter
from models.thinned_unet import ThinnedUNet
from models.unet import UNetPair

# Images that go through a pass together: their activations should stay near the processor.
PIXELS_TOGETHER: Final = 512 * 512


@dataclass(frozen=True)
class McPrediction:
    """What T stochastic passes say of N patches; float32 on the CPU.

    Attributes:
        mean_probability: (N, K, H, W), the class probabilities averaged over the passes, in [0, 1].
        predictive_entropy: (N, H, W), the entropy of ``mean_probability`` in nats, in [0, ln K]: total uncertainty.
        mutual_information: (N, H, W), in nats, in [0, ln K]: the part of the entropy that comes from the passes
            disagreeing, and that more labels can remove (epistemic uncertainty).
    """

    mean_probability: Tensor
    predictive_entropy: Tensor
    mutual_information: Tensor


def predict_mc(
    segmenter: GlacierSegmenter, images: Tensor, passes: int, seed: int, dtype: torch.dtype = torch.float32
) -> McPrediction:
    """Predict with T stochastic passes, keeping running sums only: memory does not grow with T.

    With p_t the class probabilities of pass t and H[p] = -sum_k p_k ln p_k:

    - mean probability     p = (1/T) sum_t p_t
    - predictive entropy   H[p]
    - mutual information   H[p] - (1/T) sum_t H[p_t]   (BALD: Houlsby et al. 2011)

    All patches meet the same T masks, which follow from the seed alone. So a score depends on no batch, and what a set
    of masks does to all patches alike does not disturb their ranking (common random numbers). Within the T passes the
    masks are balanced (:func:`models.dropout_masks.draw_masks`). Only dropout is stochastic: batch norms keep their
    statistics, whatever the mode of the network, which is left alone.

    Args:
        segmenter: The network, on any device.
        images: (N, C, H, W) float32 raw digital numbers, NaN = nodata; any device.
        passes: T, at least 1. With T = 1 the mutual information is 0 by definition.
        seed: Of the masks.
        dtype: What the passes are computed in; sums are float32.

    Returns:
        The three maps, on the CPU. Nodata pixels hold the prediction of an average pixel: exclude them by mask.

    Raises:
        ValueError: ``passes`` < 1, or a network without dropout.
    """
    if passes < 1:
        raise ValueError(f"{passes} passes were asked for; at least 1 is needed")
    count, _, height, width = images.shape
    networks = _thinned(segmenter, dtype)
    masks = [draw_masks(network.widths, network.p, passes, seed + index) for index, network in enumerate(networks)]
    probability = torch.zeros(count, segmenter.classes, height, width, device=segmenter.device)
    entropy = torch.zeros(count, height, width, device=segmenter.device)
    with evaluating(segmenter):
        together = max(1, PIXELS_TOGETHER // (height * width))
        parts = [slice(start, start + together) for start in range(0, count, together)]
        begun = [_begin(segmenter, networks, images[part]) for part in parts]
        for number in range(passes):
            thinned = [network.thin(of_network[number]) for network, of_network in zip(networks, masks, strict=True)]
            for part, maps in zip(parts, begun, strict=True):
                of_networks = zip(networks, maps, thinned, strict=True)
                logits = torch.cat([network.run(before, weights) for network, before, weights in of_networks], dim=1)
                sample = segmenter.to_probabilities(logits[:, :, :height, :width])
                probability[part] += sample
                entropy[part] += _entropy(sample)
    probability /= passes
    entropy /= passes
    total = _entropy(probability)
    # Entropy is concave, so the difference is never negative, but rounding can leave -1e-8.
    disagreement = (total - entropy).clamp_(min=0.0)
    return McPrediction(probability.cpu(), total.cpu(), disagreement.cpu())


def _thinned(segmenter: GlacierSegmenter, dtype: torch.dtype) -> list[ThinnedUNet]:
    unet = segmenter.unet
    networks = (unet.clean, unet.debris) if isinstance(unet, UNetPair) else (unet,)
    return [ThinnedUNet(network, dtype) for network in networks]


def _begin(segmenter: GlacierSegmenter, networks: Sequence[ThinnedUNet], images: Tensor) -> list[Tensor]:
    """What each network computes of some images before its first dropout."""
    given = segmenter.network_input(images.to(segmenter.device))
    return [network.begin(given) for network in networks]


def _entropy(probability: Tensor) -> Tensor:
    """Entropy over the class axis in nats, with 0 ln 0 = 0: (N, K, H, W) -> (N, H, W)."""
    terms: Tensor = torch.special.entr(probability)
    return terms.sum(dim=1)
