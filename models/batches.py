"""Drawing the batches of a training from labelled patches and, beside them, patches with weak masks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.heads import class_probabilities, problem_counts
from models.losses import class_weights
from models.sampling import LabelledPatches, count_pixels, expected_counts, patch_weights, random_symmetry
from models.segmenter import GlacierSegmenter
from models.weak_masks import as_outlined, as_predicted

ClassWeights = tuple[Tensor | None, ...]
"""For each problem of a head, the weights of its classes in the loss; None weighs all alike."""

PartLoss = Callable[[Tensor, Tensor, ClassWeights, bool], Tensor]
"""Loss of logits (N, L, h, w), masks (N, h, w), class weights, and whether the masks are weak."""


@dataclass(frozen=True)
class Batch:
    """Patches of one step, the labelled ones first.

    Attributes:
        raw: (N, C, h, w), on the CPU.
        mask: (N, h, w), on the CPU.
        labelled: Number of labelled patches; the others are weak.
    """

    raw: Tensor
    mask: Tensor
    labelled: int


@dataclass(frozen=True)
class Augmentation:
    """Share of the drawn patches to which a symmetry of the square is applied; 0: none, and nothing is drawn for it."""

    share: float

    def __call__(self, patch: tuple[Tensor, Tensor], generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the patch, perhaps turned or mirrored, and its mask likewise."""
        return random_symmetry(*patch, generator, self.share) if self.share else patch


@dataclass(frozen=True)
class _Source:
    """Patches to draw from, with the sampling weights of the patches (n,) and the weights of the classes."""

    patches: LabelledPatches
    draw_weights: Tensor
    class_weights: ClassWeights

    @classmethod
    def of(
        cls,
        patches: LabelledPatches,
        counted: LabelledPatches,
        segmenter: GlacierSegmenter,
        ignore_index: int,
        *,
        balance: bool,
        device: torch.device,
    ) -> "_Source":
        """Weigh patches by the classes in ``counted``: the same patches, with a class in each known pixel."""
        counts = count_pixels(
            counted,
            len(segmenter.channels),
            segmenter.classes,
            ignore_index,
            segmenter.head,
            segmenter.label_classes,
        )
        draw_weights = patch_weights(counts, balance)
        parts = problem_counts(expected_counts(counts, draw_weights), segmenter.head)
        return cls(
            patches,
            draw_weights,
            tuple(class_weights(part.tolist()).to(device) if balance else None for part in parts),
        )

    def draw(self, count: int, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        """Draw patches with replacement."""
        if not count:
            return []
        indices = torch.multinomial(self.draw_weights, count, replacement=True, generator=generator)
        return [self.patches[index] for index in indices.tolist()]


@dataclass(frozen=True)
class _AsOutlined:
    """Weak patches whose ambiguous pixels have the class that is outlined."""

    patches: LabelledPatches
    ignore_index: int

    def __len__(self) -> int:
        return len(self.patches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        raw, mask = self.patches[index]
        return raw, as_outlined(mask, self.ignore_index)


class Batches:
    """Draws the batches of a training, and computes their loss.

    All patches are read, to check them and to count classes.

    Args:
        segmenter: The network to train.
        labelled: Labelled patches. They may be empty, or without a judged pixel, if there are weak ones, of which all
            batches then are.
        weak: Patches of the same size with weak masks (:mod:`models.weak_masks`), or None.
        weak_share: Probability that a patch of a batch is drawn from the weak ones.
        ignore_index: Mask value of pixels that nobody judged.
        balance: Whether to favour rare classes, in the sampling and in the loss.
        device: Where losses are computed.

    Raises:
        ValueError: There is no patch, the share is not in [0, 1], or as :func:`models.sampling.count_pixels`.
    """

    def __init__(
        self,
        segmenter: GlacierSegmenter,
        labelled: LabelledPatches,
        weak: LabelledPatches | None,
        weak_share: float,
        ignore_index: int,
        *,
        balance: bool,
        device: torch.device,
    ) -> None:
        if not 0.0 <= weak_share <= 1.0:
            raise ValueError(f"found a share of {weak_share} of weak patches; expected 0 to 1")
        self._segmenter, self._ignore_index, self._device = segmenter, ignore_index, device
        self._weak = self._labelled = None
        if weak is not None and weak_share > 0:
            counted = _AsOutlined(weak, ignore_index)
            self._weak = _Source.of(weak, counted, segmenter, ignore_index, balance=balance, device=device)
        if self._weak is None or _is_judged(labelled, ignore_index):
            self._labelled = _Source.of(labelled, labelled, segmenter, ignore_index, balance=balance, device=device)
        self._weak_share = weak_share if self._labelled is not None else 1.0

    @property
    def class_weights(self) -> ClassWeights:
        """The weights of the classes in the loss of labelled patches; of weak ones where there are no others."""
        source = self._labelled or self._weak
        if source is None:
            raise AssertionError("a training has labelled or weak patches")
        return source.class_weights

    def draw(self, size: int, augment: Augmentation, generator: torch.Generator) -> Batch:
        """Draw a batch, patch by patch with replacement, and augment it."""
        weak = 0
        if self._weak is not None:
            weak = int((torch.rand(size, generator=generator) < self._weak_share).sum())
        drawn = self._labelled.draw(size - weak, generator) if self._labelled is not None else []
        drawn += self._weak.draw(weak, generator) if self._weak is not None else []
        raw, mask = zip(*(augment(patch, generator) for patch in drawn), strict=True)
        return Batch(torch.stack(raw), torch.stack(mask), size - weak)

    def loss(self, part_loss: PartLoss, logits: Tensor, batch: Batch) -> Tensor:
        """Return the mean of the losses of the labelled and the weak part, weighted by their numbers of patches."""
        mask, size = batch.mask.to(self._device), len(batch.mask)
        if self._weak is None or batch.labelled == size:
            return part_loss(logits, mask, self.class_weights, False)
        weak_mask = self._settle(mask[batch.labelled :], logits[batch.labelled :])
        weak = part_loss(logits[batch.labelled :], weak_mask, self._weak.class_weights, True)
        if not batch.labelled:
            return weak
        labelled = part_loss(logits[: batch.labelled], mask[: batch.labelled], self.class_weights, False)
        return (batch.labelled * labelled + (size - batch.labelled) * weak) / size

    def _settle(self, mask: Tensor, logits: Tensor) -> Tensor:
        """Decide the class of ambiguous pixels: by the network once there are labels, before as outlined."""
        if self._labelled is None:
            return as_outlined(mask, self._ignore_index)
        with torch.no_grad():
            probabilities = class_probabilities(logits, self._segmenter.head, self._segmenter.precedence)
        return as_predicted(mask, probabilities, self._ignore_index)


def _is_judged(patches: LabelledPatches, ignore_index: int) -> bool:
    """Return whether any pixel of the patches was judged."""
    return any(bool((patches[index][1] != ignore_index).any()) for index in range(len(patches)))
