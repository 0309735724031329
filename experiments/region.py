"""Ground with known truth, cut into pool, validation and test: what the simulated loop learns from and is judged on.

A region is saved as a folder of arrays, which the processes of a simulation map into memory and so share.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from imagery.classes import ClassScheme
from imagery.grid import Window, tile

Part = Literal["pool", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)

_ABOUT: Final = "region.json"  # written last: with it, the files of a region are complete
_ARRAYS: Final = ("image", "truth", "drawn", "unmasked")


@dataclass(frozen=True)
class Raster:
    """Pixels of a scene, or of a part of one.

    Attributes:
        image: (C, H, W) float32 in the channels' units, NaN where there is no data.
        truth: (H, W) uint8 label mask.
        drawn: (H, W) uint8, what an annotator draws: the truth, or the truth with errors.
        unmasked: (H, W) False under cloud, and where there is no data: such pixels count as certain.
    """

    image: NDArray[np.float32]
    truth: NDArray[np.uint8]
    drawn: NDArray[np.uint8]
    unmasked: NDArray[np.bool_]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        height, width = self.truth.shape
        return height, width

    def cut(self, window: Window) -> "Raster":
        """Return the raster of a window; its arrays are views."""
        area = window.slices
        return Raster(self.image[:, *area], self.truth[area], self.drawn[area], self.unmasked[area])

    def windows(self, patch_px: int) -> list[Window]:
        """Return the windows of the patches that cover the raster."""
        height, width = self.shape
        return tile(width, height, patch_px)

    def images(self, windows: Sequence[Window]) -> Tensor:
        """Return patches (N, C, h, w) float32, NaN where there is no data."""
        return torch.from_numpy(np.stack([self.image[:, *window.slices] for window in windows]))

    def masks(self, windows: Sequence[Window], drawn: bool = True) -> Tensor:
        """Return label masks (N, h, w) uint8: what an annotator draws, or the truth."""
        mask = self.drawn if drawn else self.truth
        return torch.from_numpy(np.stack([mask[window.slices] for window in windows]))


@dataclass(frozen=True)
class Region:
    """Ground with known truth.

    Attributes:
        name: Name of the region.
        scheme: The classes of its masks.
        channels: Names of the C channels.
        parts: The rasters of pool, validation and test, which share no pixel; one or more of each.
        patch_px: Side of the patches.
    """

    name: str
    scheme: ClassScheme
    channels: tuple[str, ...]
    parts: Mapping[Part, tuple[Raster, ...]]
    patch_px: int

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.scheme.classes)

    def images(self, part: Part) -> Tensor:
        """Return the patches (N, C, h, w) of a part, raster by raster."""
        return torch.cat([raster.images(raster.windows(self.patch_px)) for raster in self.parts[part]])

    def masks(self, part: Part, drawn: bool = True) -> Tensor:
        """Return the label masks (N, h, w) of these patches: what an annotator draws, or the truth."""
        return torch.cat([raster.masks(raster.windows(self.patch_px), drawn) for raster in self.parts[part]])

    def unmasked(self, part: Part) -> NDArray[np.bool_]:
        """Return where these patches (N, h, w) are neither cloud nor without data."""
        places = [(raster, window) for raster in self.parts[part] for window in raster.windows(self.patch_px)]
        return np.stack([raster.unmasked[window.slices] for raster, window in places])

    @cached_property
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over the pool, nodata left out."""
        flat = [raster.image.reshape(len(self.channels), -1) for raster in self.parts["pool"]]
        pool = np.concatenate(flat, axis=1).astype(np.float64)
        return np.nanmean(pool, axis=1).tolist(), np.nanstd(pool, axis=1).tolist()

    def digest(self) -> str:
        """Return a hash of everything that a simulation on the region depends on; file paths do not count."""
        digest = hashlib.sha256(json.dumps([self.scheme.model_dump(), self.channels, self.patch_px]).encode())
        for part in PARTS:
            for raster in self.parts[part]:
                digest.update(f"{part} {raster.shape}".encode())
                for name in _ARRAYS:
                    digest.update(np.ascontiguousarray(getattr(raster, name)).data)
        return digest.hexdigest()


def save_region(region: Region, folder: Path) -> None:
    """Write a region into a folder, unless it is there already; other processes may be doing the same."""
    if (folder / _ABOUT).exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".", ignore_cleanup_errors=True) as draft:
        _write_region(region, Path(draft, "region"))
        with suppress(OSError):  # another process was faster: its folder holds the same, and may be mapped into memory
            Path(draft, "region").rename(folder)


def _write_region(region: Region, folder: Path) -> None:
    folder.mkdir()
    for part in PARTS:
        for number, raster in enumerate(region.parts[part]):
            for name in _ARRAYS:
                np.save(folder / f"{part}-{number}-{name}.npy", getattr(raster, name), allow_pickle=False)
    about = {
        "name": region.name,
        "scheme": region.scheme.model_dump(),
        "channels": region.channels,
        "rasters": {part: len(region.parts[part]) for part in PARTS},
        "patch_px": region.patch_px,
    }
    (folder / _ABOUT).write_text(json.dumps(about), encoding="utf-8")


def open_region(folder: Path) -> Region:
    """Return a saved region; its arrays are mapped into memory, and must not be written to."""
    about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))

    def raster(part: Part, number: int) -> Raster:
        return Raster(*(np.load(folder / f"{part}-{number}-{name}.npy", mmap_mode="r") for name in _ARRAYS))

    return Region(
        about["name"],
        ClassScheme.model_validate(about["scheme"]),
        tuple(about["channels"]),
        {part: tuple(raster(part, number) for number in range(about["rasters"][part])) for part in PARTS},
        about["patch_px"],
    )
