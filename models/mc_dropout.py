"""Monte Carlo dropout: the mean prediction and the uncertainty of T stochastic passes.

Sources: Gal & Ghahramani 2016, "Dropout as a Bayesian approximation" (dropout kept on at inference samples an
approximate posterior); Houlsby et al. 2011, "Bayesian active learning for classification and preference learning", and
Gal 2017, "Uncertainty in deep learning", section 3.3.1 (predictive entropy and mutual information); Scheffer et al.
2001, "Active hidden Markov models for information extraction" (margin); Kampffmeyer et al. 2016, "Semantic segmentation
of small objects and modeling of uncertainty in urban remote sensing images" (variance over the passes).
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from models.channel_pruned_unet import ChannelPrunedUNet
from models.dropout_masks import Kept, draw_masks
from models.measures import MapName
from models.segmenter import GlacierSegmenter
from models.unet import BinaryUNets

# Pixels of a batch on a CPU. With fewer the weights are pruned more often; more take more memory.
PIXELS_TOGETHER: Final = 4 * 512 * 512

PassMasks = tuple[Kept, ...]
"""The feature maps that one pass keeps in each network: one, or those of :class:`models.unet.BinaryUNets`."""


@dataclass(frozen=True)
class McPrediction:
    """The mean prediction and the uncertainty of T stochastic passes over N patches; float32 on the CPU.

    Attributes:
        mean_probability: (N, K, H, W), the class probabilities averaged over the passes, in [0, 1].
        predictive_entropy: (N, H, W), the entropy of ``mean_probability`` in nats, in [0, ln K]: total uncertainty.
        mutual_information: (N, H, W), in nats, in [0, ln K]: the part of the entropy that comes from the passes
            disagreeing, and that more labels can remove (epistemic uncertainty).
        variance: (N, H, W), the variance of the class probabilities over the passes, summed over the classes, in
            [0, 1); 0 with one pass.
    """

    mean_probability: Tensor
    predictive_entropy: Tensor
    mutual_information: Tensor
    variance: Tensor

    @property
    def margin(self) -> Tensor:
        """(N, H, W), 1 minus the difference of the two highest mean probabilities, in [0, 1]; high is uncertain."""
        # Twenty times as fast as topk, which sorts the classes of each pixel apart.
        first = self.mean_probability[:, 0]
        second = torch.zeros_like(first)
        for probability in self.mean_probability.unbind(dim=1)[1:]:
            second = torch.maximum(second, torch.minimum(first, probability))
            first = torch.maximum(first, probability)
        return 1.0 - (first - second)

    def maps(self) -> dict[MapName, Tensor]:
        """Return the maps of uncertainty (N, H, W), by the names that :mod:`models.measures` uses."""
        return {
            "predictive_entropy": self.predictive_entropy,
            "mutual_information": self.mutual_information,
            "margin": self.margin,
            "variance": self.variance,
        }


@dataclass(frozen=True)
class PassSums:
    """Running sums over some passes of N patches; float32 on the network's device.

    Attributes:
        probability: (N, K, H, W), sum of the class probabilities p_t.
        entropy: (N, H, W), sum of the entropies H[p_t] in nats.
        squares: (N, H, W), sum of the squared probabilities over passes and classes.
        bottleneck: (N, F), sum of the means over the patch of each map of the bottleneck; of all networks.
        passes: Number of passes summed, at least 1.
    """

    probability: Tensor
    entropy: Tensor
    squares: Tensor
    bottleneck: Tensor
    passes: int

    def __add__(self, other: "PassSums") -> "PassSums":
        """Add the sums over other passes of the same patches.

        Raises:
            ValueError: The two differ in the number of patches, classes or pixels.
        """
        if self.probability.shape != other.probability.shape:
            raise ValueError(
                f"sums over passes have the shapes {tuple(self.probability.shape)} and "
                f"{tuple(other.probability.shape)}; only those of the same patches can be added"
            )
        return PassSums(
            self.probability + other.probability,
            self.entropy + other.entropy,
            self.squares + other.squares,
            self.bottleneck + other.bottleneck,
            self.passes + other.passes,
        )

    def cropped(self, margin: int) -> "PassSums":
        """Return the sums without the outer ``margin`` pixels on each side; the bottleneck keeps its view of them."""
        if not margin:
            return self
        inside = (..., slice(margin, -margin), slice(margin, -margin))
        return replace(
            self, probability=self.probability[inside], entropy=self.entropy[inside], squares=self.squares[inside]
        )

    def features(self) -> Tensor:
        """Return what the networks see in each patch, on the CPU: (N, F) float32, the mean over the passes.

        Each number is the mean of one map of the bottleneck over the pixels of the patch.
        """
        return (self.bottleneck / self.passes).cpu()

    def prediction(self) -> McPrediction:
        """Return the means and uncertainties, on the CPU; see :func:`predict_mc`."""
        mean = self.probability / self.passes
        total, squares = torch.zeros_like(self.entropy), torch.zeros_like(self.entropy)
        for of_class in mean.unbind(1):  # class by class: on a full GPU there is no room for copies of all
            total += torch.special.entr(of_class)
            squares += of_class.square()
        # Entropy is concave, so the difference is never negative, but rounding can leave -1e-8.
        disagreement = (total - self.entropy / self.passes).clamp_(min=0.0)
        variance = (self.squares / self.passes - squares).clamp_(min=0.0)
        return McPrediction(mean.cpu(), total.cpu(), disagreement.cpu(), variance.cpu())


class McSampler:
    """Runs stochastic passes of one segmenter, whose weights are copied and prepared once for any number of patches.

    Training the segmenter does not change a sampler made before.
    """

    def __init__(self, segmenter: GlacierSegmenter, dtype: torch.dtype = torch.float32, p: float | None = None) -> None:
        """Prepare the weights.

        Args:
            segmenter: The network, on any device; not modified.
            dtype: Precision of the passes; the sums are float32.
            p: Probability of dropping a feature map, in [0, 1); by default that of the network's training. With 0 every
                pass is deterministic and returns what :meth:`models.segmenter.GlacierSegmenter.probabilities` does.

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
            ChannelPrunedUNet(network, network.config.dropout if p is None else p, dtype) for network in networks
        ]
        # A GPU starts with whole batches, and halves them when its memory does not suffice.
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

        Pruning the weights takes as long as computing some 30 000 pixels, and is done once for all images of a batch:
        pass small patches together, about 4 * 512 * 512 pixels in all. A CPU splits larger inputs into batches of that
        size. A GPU takes all images at once; if its memory does not suffice, half as many, also in later calls.

        Args:
            images: (N, C, H, W) float32 values in the channels' units, NaN = nodata; N at least 1; any device.
            masks: The masks of each pass, from :meth:`draw`; at least one.

        Returns:
            The sums over these passes.

        Raises:
            ValueError: No masks, or images of the wrong shape.
            torch.OutOfMemoryError: The memory of the GPU does not suffice for a single image.
        """
        return self.sample_apart(images, [masks])[0]

    def sample_apart(self, images: Tensor, groups: Sequence[Sequence[PassMasks]]) -> list[PassSums]:
        """Run several groups of passes and sum each apart; the layers before the first dropout are computed once.

        Args:
            images: As in :meth:`sample`.
            groups: Masks of the passes of each group; at least one pass in each.

        Returns:
            The sums over the passes of each group.

        Raises:
            ValueError: As in :meth:`sample`.
            torch.OutOfMemoryError: As in :meth:`sample`.
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
                torch.cat([sums.squares for sums in of_group]),
                torch.cat([sums.bottleneck for sums in of_group]),
                of_group[0].passes,
            )
            for of_group in zip(*portions, strict=True)
        ]

    def _sample_if_there_is_room(self, images: Tensor, groups: Sequence[Sequence[PassMasks]]) -> list[PassSums] | None:
        """Return the sums, or None if the memory did not suffice; later calls then take half as many images."""
        try:
            return self._sample_at_once(images, groups)
        except torch.OutOfMemoryError:
            if len(images) == 1:
                raise
        # Not within the handler: the exception still references the tensors of the failed attempt.
        torch.cuda.empty_cache()
        self._most_pixels = len(images) // 2 * _pixels(images)
        return None

    def _sample_at_once(self, images: Tensor, groups: Sequence[Sequence[PassMasks]]) -> list[PassSums]:
        with torch.no_grad():
            prefixes = self._encode_prefixes(images)
            return [self._sum(images, prefixes, masks) for masks in groups]

    def _sum(self, images: Tensor, prefixes: list[Tensor], masks: Sequence[PassMasks]) -> PassSums:
        height, width = images.shape[-2:]
        device, classes = self._segmenter.device, self._segmenter.classes
        probability = torch.zeros(len(images), classes, height, width, device=device)
        entropy = torch.zeros(len(images), height, width, device=device)
        squares = torch.zeros_like(entropy)
        bottleneck = torch.zeros(len(images), sum(network.features for network in self._networks), device=device)
        for of_pass in masks:
            padded, features = self._run_pass(prefixes, of_pass)
            sample = padded[:, :, :height, :width]
            bottleneck += features
            probability += sample
            entropy += _entropy(sample)
            for of_class in sample.unbind(dim=1):
                squares.addcmul_(of_class, of_class)
        return PassSums(probability, entropy, squares, bottleneck, len(masks))

    def _encode_prefixes(self, images: Tensor) -> list[Tensor]:
        """Compute the layers of each network before its first dropout."""
        given = self._segmenter.network_input(images.to(self._segmenter.device))
        return [network.encode_prefix(given) for network in self._networks]

    def _run_pass(self, prefixes: list[Tensor], masks: PassMasks) -> tuple[Tensor, Tensor]:
        """Return the class probabilities of one pass, padding included, and the means of the bottlenecks (N, F)."""
        logits, features = [], []
        for network, maps, kept in zip(self._networks, prefixes, masks, strict=True):
            of_network, bottleneck = network.forward(maps, network.prune(kept))
            logits.append(of_network)
            features.append(network.bottleneck_means(bottleneck, kept))
        together = torch.cat(logits, dim=1) if len(logits) > 1 else logits[0]
        # Contiguous, one plane a class: the operations that follow are vectorised along the pixels of a plane.
        return self._segmenter.to_probabilities(together.contiguous()), torch.cat(features, dim=1)


def predict_mc(
    segmenter: GlacierSegmenter, images: Tensor, passes: int, seed: int, dtype: torch.dtype = torch.float32
) -> McPrediction:
    """Predict with T stochastic passes, keeping running sums only: memory does not grow with T.

    With p_t the class probabilities of pass t and H[p] = -sum_k p_k ln p_k:

    - mean probability     p = (1/T) sum_t p_t
    - predictive entropy   H[p]
    - mutual information   H[p] - (1/T) sum_t H[p_t]   (BALD: Houlsby et al. 2011)
    - variance             (1/T) sum_t sum_k p_tk^2 - sum_k p_k^2
    - margin               1 - (p_first - p_second), of the two most probable classes

    The T masks depend on the seed alone and are the same for all patches. So a score does not depend on its batch, and
    effects that masks have on all patches alike do not change the ranking (common random numbers). Within the T passes
    the masks are balanced (:func:`models.dropout_masks.draw_masks`). Only dropout is stochastic: batch norms use their
    running statistics, whatever the mode of the network, which is not modified.

    Args:
        segmenter: The network, on any device.
        images: (N, C, H, W) float32 values in the channels' units, NaN = nodata; any device.
        passes: T, at least 1. With T = 1 the mutual information is 0 by definition.
        seed: Seed of the masks.
        dtype: Precision of the passes; the sums are float32.

    Returns:
        The maps, on the CPU. Nodata pixels hold the prediction of an average pixel: exclude them by mask.

    Raises:
        ValueError: ``passes`` < 1, or a network without dropout.
    """
    sampler = McSampler(segmenter, dtype)
    return sampler.sample(images, sampler.draw(passes, seed)).prediction()


def _entropy(probability: Tensor) -> Tensor:
    """Return the entropy over the class axis in nats, with 0 ln 0 = 0: (N, K, H, W) -> (N, H, W)."""
    # The logarithm is vectorised, unlike torch.special.entr. Zeros become the smallest normal number, to avoid ln 0.
    logarithm = probability.clamp_min(torch.finfo(probability.dtype).tiny).log_()
    return logarithm.mul_(probability).sum(dim=1).neg_()


def _pixels(images: Tensor) -> int:
    """Pixels per image."""
    return images.shape[-2] * images.shape[-1]
