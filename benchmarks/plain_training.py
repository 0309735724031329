"""Training as a careful user writes it with PyTorch alone: the baseline of our implementation."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, RandomSampler

from catalog.records import Label
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_from_geotiff
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from models.combined_losses import dice_cross_entropy
from models.segmenter import GlacierSegmenter
from models.training_config import TrainingConfig
from services.scenes import source_of, window_of


@dataclass(frozen=True)
class FilesOfPatches(Dataset[tuple[Tensor, Tensor]]):
    """A data set that reads a patch from its files whenever it is drawn, and rotates or flips it at random."""

    labels: Sequence[Label]
    channels: Sequence[str]
    store: RasterStore

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return randomly_rotated(*self.read(index))

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a patch (C, h, w) and its mask (h, w), not rotated."""
        label = self.labels[index]
        with SceneReader(source_of(label.patch.scene)) as reader:
            raw = torch.from_numpy(reader.read(self.channels, window_of(label.patch)))
        mask = torch.from_numpy(
            mask_from_geotiff(self.store.get(label.mask_key, label.mask_sha256), GLACIER_SCHEME).copy()
        )
        mask[raw.isnan().any(dim=0)] = UNKNOWN
        return raw, mask


class PatchesInMemory(Dataset[tuple[Tensor, Tensor]]):
    """A data set that reads all patches at the start, and rotates or flips one at random whenever it is drawn.

    Args:
        files: the patches.
    """

    def __init__(self, files: FilesOfPatches) -> None:
        self._patches = [files.read(index) for index in range(len(files))]

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return randomly_rotated(*self._patches[index])


def randomly_rotated(raw: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Apply one of the eight symmetries of the square, drawn at random, to a patch (C, h, h) and its mask (h, h)."""
    turns, mirrored = torch.randint(4, ()).item(), torch.randint(2, ()).item()
    raw, mask = raw.rot90(int(turns), (-2, -1)), mask.rot90(int(turns), (-2, -1))
    return (raw.flip(-1), mask.flip(-1)) if mirrored else (raw, mask)


def plain_fit(
    segmenter: GlacierSegmenter, dataset: Dataset[tuple[Tensor, Tensor]], count: int, config: TrainingConfig
) -> list[float]:
    """Train in float32 with the loss, the optimiser and the schedule of our default; classes are not weighted.

    Args:
        segmenter: Trained in place, on the CPU.
        dataset: Patches and their masks.
        count: Number of patches in the data set.
        config: Steps, batch size, learning rate, weight decay and seed.

    Returns:
        The loss of each step.
    """
    torch.manual_seed(config.seed)
    sampler = RandomSampler(range(count), replacement=True, num_samples=config.steps * config.batch_size)
    optimiser = torch.optim.AdamW(segmenter.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=config.steps)
    losses = []
    segmenter.train()
    for raw, mask in DataLoader(dataset, batch_size=config.batch_size, sampler=sampler):
        loss = dice_cross_entropy(segmenter(raw), mask, UNKNOWN)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    segmenter.eval()
    return losses
