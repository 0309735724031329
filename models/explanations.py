"""Contribution of each channel to a network's prediction: saliency scores, and the table that holds them."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.heads import Head
from models.modes import evaluating
from models.segmenter import GlacierSegmenter


class ChannelScore(NamedTuple):
    """One row of :class:`ChannelScores`."""

    channel: str
    value: float
    spread: float


@dataclass(frozen=True)
class ChannelScores:
    """Mean and standard deviation of a measurement for each channel.

    Attributes:
        channels: C channel names.
        values: (C,) means.
        spreads: (C,) sample standard deviations of the measurements; NaN when there was a single one.
    """

    channels: tuple[str, ...]
    values: tuple[float, ...]
    spreads: tuple[float, ...]

    def ranked(self) -> tuple[ChannelScore, ...]:
        """Return the rows, highest value first, undefined ones last; equal values keep the order of the channels."""
        rows = map(ChannelScore, self.channels, self.values, self.spreads)
        return tuple(sorted(rows, key=lambda row: (math.isnan(row.value), -row.value)))

    def above(self, threshold: float) -> tuple[str, ...]:
        """Return the channels whose value is above a threshold, in the order of the channels."""
        return tuple(name for name, value in zip(self.channels, self.values, strict=True) if value > threshold)

    @classmethod
    def from_samples(cls, channels: Sequence[str], samples: NDArray[np.float64]) -> "ChannelScores":
        """Summarise repeated measurements.

        Args:
            channels: C names.
            samples: (C, n) with n >= 1.

        Returns:
            Mean and sample standard deviation (divisor n - 1) of each row.
        """
        single = samples.shape[1] == 1
        spreads = np.full(len(samples), np.nan) if single else samples.std(axis=1, ddof=1)
        return cls(tuple(channels), tuple(samples.mean(axis=1).tolist()), tuple(spreads.tolist()))


def saliency_scores(segmenter: GlacierSegmenter, batches: Iterable[Tensor], class_index: int) -> ChannelScores:
    """Return the saliency score of each channel for one class (Aryal et al. 2023, section 3.2, eq. 3).

    SS_c = sum over pixels of |dS / dx_c|, averaged over patches. The paper leaves two quantities open. Here

    - the class score S is the logit of the class, ln(p / (1 - p)), summed over the pixels that are valid in all
      channels: the unnormalised score that saliency maps are defined on (Simonyan et al. 2014, whom Aryal cites), since
      the gradient of a probability vanishes where it saturates. For a network of a single logit S is that logit; for
      two binaries, the logit of the class's own network. For K softmax logits it is the logit of the class minus the
      logsumexp of the others: like the prediction, it does not change when a constant is added to all logits.
    - x is the normalised input of the U-Net, in standard deviations, so that elevation in metres and reflectance
      are comparable; the gradient with respect to the values would rank the channels by their units.
      Nodata (imputed with the mean) and padding are left out of the sum.

    The sum grows with the size of the patches and the scale of the logits: compare the channels of one network, and
    networks only by rank or share. A channel can be salient without making the prediction right; see
    :func:`models.importance.permutation_importance`.

    Args:
        segmenter: The network, on any device; run in evaluation mode (dropout off, batch norm frozen); its mode
            is restored afterwards. Its weights and their gradients do not change.
        batches: (N, C, H, W) float32 values in the channels' units, NaN = nodata. Patches without a valid pixel are
            left out.
        class_index: One of the network's K classes. Two binaries have no network, and no score, for background.

    Returns:
        Mean and standard deviation over patches, >= 0.

    Raises:
        ValueError: There is no such class, or no patch has a valid pixel.
    """
    scored = range(1 if segmenter.head == "two_binaries" else 0, segmenter.classes)
    if class_index not in scored:
        raise ValueError(
            f"class {class_index} was asked for; this network of the head {segmenter.head!r} scores the classes "
            f"{', '.join(map(str, scored))}"
        )
    with evaluating(segmenter), torch.enable_grad():
        patches = [scores for batch in batches for scores in _saliency(segmenter, batch, class_index)]
    if not patches:
        raise ValueError("no patch has a pixel that is valid in all channels; give patches with image data")
    return ChannelScores.from_samples(segmenter.channels, np.stack(patches, axis=1))


def saliency_map(segmenter: GlacierSegmenter, raw: Tensor, wanted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return where a network looks when it tells the foreground classes of some pixels.

    As :func:`saliency_scores`, but summed over channels and foreground classes instead of pixels, with the class score
    S summed over the wanted pixels alone.

    Args:
        segmenter: As there.
        raw: (C, h, w) float32 values of one patch in the channels' units, NaN = nodata; any device.
        wanted: (h, w); at least one is true.

    Returns:
        (h, w) >= 0; what a channel has no data for counts as 0.
    """
    batch = raw[None].to(segmenter.device)
    mask = torch.from_numpy(wanted)[None].to(segmenter.device)
    with evaluating(segmenter), torch.enable_grad():
        logits, normalised = _logits_and_input(segmenter, batch)
        found = torch.zeros_like(batch)
        for value in range(1, segmenter.classes):
            score = _class_logit(logits, segmenter.head, value)[mask].sum()
            (gradient,) = torch.autograd.grad(score, normalised, retain_graph=True)
            found += gradient[:, :, : batch.shape[2], : batch.shape[3]].abs()
    return found.masked_fill(batch.isnan(), 0.0)[0].sum(dim=0).cpu().numpy()


def _saliency(segmenter: GlacierSegmenter, batch: Tensor, class_index: int) -> Iterator[NDArray[np.float64]]:
    """Yield the (C,) scores of each patch that has a valid pixel."""
    raw = batch.to(segmenter.device)
    missing = raw.isnan()
    valid = ~missing.any(dim=1)
    logits, normalised = _logits_and_input(segmenter, raw)
    # In evaluation mode patches do not affect each other, so one backward pass serves the whole batch.
    score = _class_logit(logits, segmenter.head, class_index)[valid].sum()
    (gradient,) = torch.autograd.grad(score, normalised)
    saliency = gradient[:, :, : raw.shape[2], : raw.shape[3]].abs().masked_fill(missing, 0.0)
    sums = saliency.sum(dim=(2, 3), dtype=torch.float64)
    yield from sums[valid.any(dim=(1, 2))].cpu().numpy()


def _logits_and_input(segmenter: GlacierSegmenter, raw: Tensor) -> tuple[Tensor, Tensor]:
    """Run the network; return its logits and the input of the U-Net, a leaf of the autograd graph."""
    network_input = segmenter.network_input(raw).detach().requires_grad_()
    logits: Tensor = segmenter.unet(network_input)
    return logits[:, :, : raw.shape[2], : raw.shape[3]], network_input


def _class_logit(logits: Tensor, head: Head, class_index: int) -> Tensor:
    """Return ln(p / (1 - p)) of the class, (N, H, W), from the logits of the head's network or networks."""
    if head == "two_binaries":
        return logits[:, class_index - 1]
    if head == "binary":
        return logits[:, 0] if class_index == 1 else -logits[:, 0]
    others = [index for index in range(logits.shape[1]) if index != class_index]
    return logits[:, class_index] - logits[:, others].logsumexp(dim=1)
