"""Monte Carlo dropout: the mean prediction and the uncertainty of T stochastic passes.

Sources: Gal & Ghahramani 2016, "Dropout as a Bayesian approximation" (dropout kept on at inference samples an
approximate posterior); Houlsby et al. 2011, "Bayesian active learning for classification and preference learning", and
Gal 2017, "Uncertainty in deep learning", section 3.3.1 (predictive entropy and mutual information).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from models.dropout_masks import Kept, draw_masks
from models.segmenter import GlacierSegmenter
from models.thinned_unet import ThinnedUNet
from models.unet import BinaryUNets

# Go through a pass together on a CPU. With fewer the weights are arranged more often; more take more memory.
PIXELS_TOGETHER: Final = 4 * 512 * 512

PassMasks = tuple[Kept, ...]
"""The feature maps that one pass keeps, for each network: one, or those of :class:`models.unet.BinaryUNets`."""


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


@dataclass(frozen=True)
class PassSums:
    """Sums over some passes of N patches: all that is kept of them; float32 on the network's device.

    Attributes:
        probability: (N, K, H, W), sum of the class probabilities p_t.
        entropy: (N, H, W), sum of the entropies H[p_t] in nats.
        passes: How many passes were summed, at least 1.
    """

    probability: Tensor
    entropy: Tensor
    passes: int

    def __add__(self, other: "PassSums") -> "PassSums":
        """Take together different passes of the same patches.

        Raises:
            ValueError: The two are not of the same number of patches, classes and pixels.
        """
        if self.probability.shape != other.probability.shape:
            raise ValueError(
                f"sums over passes have the shapes {tuple(self.probability.shape)} and "
                f"{tuple(other.probability.shape)}; only those of the same patches can be added"
            )
        return PassSums(self.probability + other.probability, self.entropy + other.entropy, self.passes + other.passes)

    def prediction(self) -> McPrediction:
        """Turn the sums into means and uncertainties, on the CPU; see :func:`predict_mc`."""
        mean = self.probability / self.passes
        total = _entropy(mean)
        # Entropy is concave, so the difference is never negative, but rounding can leave -1e-8.
        disagreement = (total - self.entropy / self.passes).clamp_(min=0.0)
        return McPrediction(mean.cpu(), total.cpu(), disagreement.cpu())


class McSampler:
    """Stochastic passes of one segmenter; its weights are prepared once, for any number of patches.

    The weights are copied: training the segmenter does not change a sampler made before.
    """

    def __init__(self, segmenter: GlacierSegmenter, dtype: torch.dtype = torch.float32, p: float | None = None) -> None:
        """Prepare the weights.

        Args:
            segmenter: The network, on any device; left alone.
            dtype: What the passes are computed in; sums are float32.
            p: Probability with which a pass drops a feature map, in [0, 1): that which the network was trained with,
                unless given. With 0 there is one pass to be had, which drops none: the prediction itself, as
                :meth:`models.segmenter.GlacierSegmenter.probabilities` makes it, at the speed of a pass.

        Raises:
            ValueError: The network has no dropout, so that all passes would agree.
        """
        unet = segmenter.unet
        if p is None and unet.config.dropout == 0.0:
            raise ValueError(
                "the network has no dropout, so that all passes would agree; "
                "build it with UNetConfig(dropout=...) above 0, or rank patches without Monte Carlo dropout"
            )
        networks = unet.each() if isinstance(unet, BinaryUNets) else [unet]
        self._segmenter = segmenter
        self._networks = [
            ThinnedUNet(network, network.config.dropout if p is None else p, dtype) for network in networks
        ]
        # A GPU takes all that it has room for.
        self._most_pixels = PIXELS_TOGETHER if segmenter.device.type == "cpu" else sys.maxsize

    def draw(self, passes: int, seed: int) -> list[PassMasks]:
        """Draw the masks of T passes, balanced within them (:func:`models.dropout_masks.draw_masks`).

        Args:
            passes: T, at least 1.
            seed: The masks depend on it, on T and on the shape of the network alone.

        Returns:
            The masks of each pass, for :meth:`sample`.

        Raises:
            ValueError: ``passes`` < 1.
        """
        if passes < 1:
            raise ValueError(f"{passes} passes were asked for; at least 1 is needed")
        of_networks = [
            draw_masks(network.widths, network.p, passes, seed + index) for index, network in enumerate(self._networks)
        ]
        return list(zip(*of_networks, strict=True))

    def sample(self, images: Tensor, masks: Sequence[PassMasks]) -> PassSums:
        """Run some passes, keeping running sums only: memory does not grow with their number.

        The weights of a pass are chosen once for all images, which takes as long as some 30 000 pixels do: hand over
        small patches together, 4 * 512 * 512 pixels in all. A CPU takes so many at once, and a GPU all that it is
        given; when its memory does not suffice, half as many, then and in all later calls.

        Args:
            images: (N, C, H, W) float32 raw digital numbers, NaN = nodata; N at least 1; any device.
            masks: Of each pass, from :meth:`draw`; at least one.

        Returns:
            The sums over these passes.

        Raises:
            ValueError: No masks, or images of the wrong shape.
            torch.OutOfMemoryError: The memory of the GPU does not suffice for a single image.
        """
        return self.sample_apart(images, [masks])[0]

    def sample_apart(self, images: Tensor, groups: Sequence[Sequence[PassMasks]]) -> list[PassSums]:
        """Run the passes of several groups as :meth:`sample` does, what precedes their first dropout once for all.

        Args:
            images: As :meth:`sample`.
            groups: Masks of each pass of each group; at least one pass in each.

        Returns:
            The sums over the passes of each group.

        Raises:
            ValueError: As :meth:`sample`.
            torch.OutOfMemoryError: As :meth:`sample`.
        """
        if not all(groups):
            raise ValueError("no masks were given; at least those of one pass are needed")
        portions: list[list[PassSums]] = []
        done = 0
        while done < len(images):
            portion = images[done : done + max(1, self._most_pixels // _pixels(images))]
            if (of_portion := self._sample_if_there_is_room(portion, groups)) is not None:
                portions.append(of_portion)
                done += len(portion)
        return [
            PassSums(
                torch.cat([sums.probability for sums in of_group]),
                torch.cat([sums.entropy for sums in of_group]),
                of_group[0].passes,
            )
            for of_group in zip(*portions, strict=True)
        ]

    def _sample_if_there_is_room(self, images: Tensor, groups: Sequence[Sequence[PassMasks]]) -> list[PassSums] | None:
        """The sums; or None, and half as many images are taken from now on."""
        try:
            return self._sample_at_once(images, groups)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        # Not within the handler: the error holds on to the tensors of what failed.
        torch.cuda.empty_cache()
        self._most_pixels = len(images) // 2 * _pixels(images)
        return None

    def _sample_at_once(self, images: Tensor, groups: Sequence[Sequence[PassMasks]]) -> list[PassSums]:
        with torch.no_grad():
            begun = self._begin(images)
            return [self._sum(images, begun, masks) for masks in groups]

    def _sum(self, images: Tensor, begun: list[Tensor], masks: Sequence[PassMasks]) -> PassSums:
        height, width = images.shape[-2:]
        device, classes = self._segmenter.device, self._segmenter.classes
        probability = torch.zeros(len(images), classes, height, width, device=device)
        entropy = torch.zeros(len(images), height, width, device=device)
        for of_pass in masks:
            sample = self._finish(begun, of_pass)[:, :, :height, :width]
            probability += sample
            entropy += _entropy(sample)
        return PassSums(probability, entropy, len(masks))

    def _begin(self, images: Tensor) -> list[Tensor]:
        """What each network computes of some images before its first dropout."""
        given = self._segmenter.network_input(images.to(self._segmenter.device))
        return [network.begin(given) for network in self._networks]

    def _finish(self, begun: list[Tensor], masks: PassMasks) -> Tensor:
        """The class probabilities of one pass, with the padding."""
        of_networks = zip(self._networks, begun, masks, strict=True)
        logits = [network.run(maps, network.thin(kept)) for network, maps, kept in of_networks]
        together = torch.cat(logits, dim=1) if len(logits) > 1 else logits[0]
        # A plane for each class: what follows is vectorised along the pixels of a plane.
        return self._segmenter.to_probabilities(together.contiguous())


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
    sampler = McSampler(segmenter, dtype)
    return sampler.sample(images, sampler.draw(passes, seed)).prediction()


def _entropy(probability: Tensor) -> Tensor:
    """Entropy over the class axis in nats, with 0 ln 0 = 0: (N, K, H, W) -> (N, H, W)."""
    # The logarithm is vectorised, unlike torch.special.entr; the least normal number stands for 0 in it.
    logarithm = probability.clamp_min(torch.finfo(probability.dtype).tiny).log_()
    return logarithm.mul_(probability).sum(dim=1).neg_()


def _pixels(images: Tensor) -> int:
    """Of one image."""
    return images.shape[-2] * images.shape[-1]
