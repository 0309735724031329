"""Monte Carlo dropout: the mean prediction and the uncertainty of T stochastic passes.

Sources: Gal & Ghahramani 2016, "Dropout as a Bayesian approximation" (dropout kept on at inference samples an
approximate posterior); Houlsby et al. 2011, "Bayesian active learning for classification and preference learning", and
Gal 2017, "Uncertainty in deep learning", section 3.3.1 (predictive entropy and mutual information).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.modes import evaluating, mixed_precision
from models.segmenter import GlacierSegmenter
from models.spatial_dropout import SpatialDropout


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


@contextmanager
def stochastic(model: nn.Module, seeds: Sequence[int]) -> Iterator[None]:
    """Make only the dropout layers of ``model`` stochastic; all else is in evaluation mode, without gradients.

    Batch-norm statistics stay frozen: putting the whole network in ``train()``, as published code does, would move them
    and make a patch's prediction depend on its neighbours in the batch.

    Every sample of the batch has a generator of its own, so that its masks depend on its seed alone, not on which batch
    it came in. The generators run on from pass to pass: each forward pass within one context draws new masks.

    Args:
        model: A network with at least one :class:`SpatialDropout` of positive probability.
        seeds: One seed for each sample of the batches to come.

    Yields:
        Nothing; the context is the effect.

    Raises:
        ValueError: The model has no active dropout, so that every pass would be the same.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, SpatialDropout) and layer.p > 0.0]
    if not layers:
        raise ValueError(
            "the model has no SpatialDropout with p > 0, so all passes would agree; "
            "build it with UNetConfig(dropout=...) above 0, or rank patches without Monte Carlo dropout"
        )
    generators = tuple(torch.Generator().manual_seed(seed) for seed in seeds)
    with evaluating(model):
        for layer in layers:
            layer.generators = generators
        try:
            yield
        finally:
            for layer in layers:
                layer.generators = None


def predict_mc(segmenter: GlacierSegmenter, images: Tensor, passes: int, seeds: Sequence[int]) -> McPrediction:
    """Predict with T stochastic passes, keeping running sums only: memory does not grow with T.

    With p_t the class probabilities of pass t and H[p] = -sum_k p_k ln p_k:

    - mean probability     p = (1/T) sum_t p_t
    - predictive entropy   H[p]
    - mutual information   H[p] - (1/T) sum_t H[p_t]   (BALD: Houlsby et al. 2011)

    Args:
        segmenter: The network; its dropout layers alone become stochastic, and its mode is restored afterwards.
        images: (N, C, H, W) float32 raw digital numbers, NaN = nodata; any device.
        passes: T, at least 1. With T = 1 the mutual information is 0 by definition.
        seeds: N seeds, one for each patch. The same seed gives the same masks in every batch.

    Returns:
        The three maps, on the CPU. Nodata pixels hold the prediction of an average pixel: exclude them by mask.

    Raises:
        ValueError: ``passes`` < 1, not one seed for each patch, or a network without dropout.
    """
    if passes < 1:
        raise ValueError(f"{passes} passes were asked for; at least 1 is needed")
    if len(seeds) != images.shape[0]:
        raise ValueError(f"{len(seeds)} seeds were given for {images.shape[0]} patches; give one seed a patch")
    device = segmenter.device
    images = images.to(device)
    with stochastic(segmenter, seeds):
        probability = _pass(segmenter, images, device)
        entropy = _entropy(probability)
        for _ in range(passes - 1):
            sample = _pass(segmenter, images, device)
            probability += sample
            entropy += _entropy(sample)
    probability /= passes
    entropy /= passes
    total = _entropy(probability)
    # Entropy is concave, so the difference is never negative, but rounding can leave -1e-8.
    disagreement = (total - entropy).clamp_(min=0.0)
    return McPrediction(probability.cpu(), total.cpu(), disagreement.cpu())


def _pass(segmenter: GlacierSegmenter, images: Tensor, device: torch.device) -> Tensor:
    """One forward pass: probabilities (N, K, H, W) float32."""
    with mixed_precision(device):
        logits: Tensor = segmenter(images)
    return segmenter.to_probabilities(logits)


def _entropy(probability: Tensor) -> Tensor:
    """Entropy over the class axis in nats, with 0 ln 0 = 0: (N, K, H, W) -> (N, H, W)."""
    terms: Tensor = torch.special.entr(probability)
    return terms.sum(dim=1)
