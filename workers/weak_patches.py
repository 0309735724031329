"""A torch dataset of patches of the pool with the weak masks of prior outlines."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session
from torch import Tensor

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.pixel_regions import decode_region
from catalog.records import Label, Patch, Scene, SceneRole
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.grid import Window
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from models.card import PriorProvenance, PriorSource
from models.weak_masks import AMBIGUOUS
from services import raster_keys
from services.places import raster_store
from services.prior_outlines import PriorOutlines, told_apart
from services.scenes import priors_of, ready_scenes, source_of, window_of
from workers.labelled_patches import read_item
from workers.recipe import weak_share

CACHE_BYTES: Final = 2**30
"""All chosen patches are held in memory: 68 of 512 px with 15 channels."""
MOST_PATCHES: Final = 512
FOREGROUND_SHARE: Final = 0.75
"""Share of the chosen patches that have foreground, as far as there are so many."""
_LEAST_FOREGROUND: Final = 0.01  # share of a patch's pixels from which it counts as one with foreground


@dataclass(frozen=True)
class PriorScene:
    """A ready scene of the pool with prior outlines.

    Attributes:
        scene: Its row.
        prior: Its prior outlines.
        patches: Its patches.
        labels: The labels of its patches that are learnt, each with patch and proposal loaded.
    """

    scene: Scene
    prior: PriorOutlines
    patches: Sequence[Patch]
    labels: Sequence[Label]

    def weak_mask(self, store: RasterStore) -> NDArray[np.uint8]:
        """Return the weak mask (H, W) of the scene; what its labels were asked for is unknown, whatever was drawn."""
        grid = source_of(self.scene).grid
        mask: NDArray[np.uint8] = read_map(
            store.uri(raster_keys.prior(self.scene.id)), Window(0, 0, grid.height, grid.width)
        )
        for label in self.labels:
            window = window_of(label.patch)
            mask[window.slices][decode_region(label.proposal.region, *window.shape)] = UNKNOWN
        return mask


def prior_scenes(session: Session, labels: Iterable[Label]) -> list[PriorScene]:
    """Return the ready scenes of the pool that have prior outlines, with the labels that override these.

    Args:
        session: a session.
        labels: what a training learns. Where a label is asked for but cannot be read, the outlines teach.
    """
    by_scene: dict[int, list[Label]] = {}
    for label in labels:
        by_scene.setdefault(label.patch.scene_id, []).append(label)
    found = []
    for scene in ready_scenes(session, [SceneRole.POOL]):
        if (prior := priors_of(scene)) is not None:
            patches = session.scalars(select(Patch).where(Patch.scene_id == scene.id).order_by(Patch.id)).all()
            found.append(PriorScene(scene, prior, patches, by_scene.get(scene.id, ())))
    return found


class WeakPatchDataset(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Patches of the pool with the weak masks of prior outlines, at most as many as fit into the memory for them.

    An item is (raw, mask) as of `workers.labelled_patches.LabelledPatchDataset`; the mask is a weak one
    (`models.weak_masks`): where the outlines do not tell foreground classes apart, `models.weak_masks.AMBIGUOUS` is
    added to the class that is outlined. What labels cover is unknown.

    Of a larger pool, patches are drawn at random without replacement, three of four among those with foreground, as far
    as there are so many: where glaciers are rare, patches without any would else teach little but background.

    Args:
        scenes: The scenes.
        channels: The network's channels, in order.
        store: Where the weak masks are.
        scheme: The classes.
        least_known: A patch with a smaller share of pixels of known class is left out, in [0, 1].
        seed: Of the draw.
        drawn: Ids of the patches of an earlier draw, to repeat it; None draws.
    """

    def __init__(
        self,
        scenes: Sequence[PriorScene],
        channels: Sequence[str],
        store: RasterStore,
        scheme: ClassScheme,
        least_known: float,
        seed: int,
        drawn: Collection[int] | None = None,
    ) -> None:
        self.scenes = scenes
        chosen = _choose(scenes, len(channels), store, least_known, seed) if drawn is None else frozenset(drawn)
        self.patch_ids: list[int] = []
        self._items: list[tuple[Tensor, Tensor]] = []
        for scene in scenes:
            patches = [patch for patch in scene.patches if patch.id in chosen]
            if patches:
                self._items += _read(scene, patches, channels, store, scheme)
                self.patch_ids += [patch.id for patch in patches]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self._items[index]

    @property
    def teaches(self) -> bool:
        """Whether any pixel has a weak class."""
        return any(bool((mask != UNKNOWN).any()) for _, mask in self._items)


@dataclass(frozen=True)
class WeakPatches:
    """What a training learns from prior outlines.

    Attributes:
        dataset: The patches; None if there is nothing to learn from them.
        share: Probability that a patch of a batch is drawn from them; 0 without a dataset.
    """

    dataset: WeakPatchDataset | None
    share: float

    @property
    def scenes(self) -> list[Scene]:
        """The scenes with prior outlines that are learnt from."""
        return [] if self.dataset is None else [item.scene for item in self.dataset.scenes]

    @property
    def fingerprint(self) -> list[Any]:
        """What identifies the weak patches of a training, for JSON."""
        return [] if self.dataset is None else [self.share, self.dataset.patch_ids, self._checksums()]

    @property
    def parameters(self) -> dict[str, object]:
        """The parameters of the run that MLflow shows; none without weak patches."""
        if self.dataset is None:
            return {}
        checksums = ",".join(self._checksums())
        return {"priors.share": self.share, "priors.patches": len(self.dataset), "priors.sha256": checksums}

    @property
    def provenance(self) -> PriorProvenance | None:
        """What the card tells about them."""
        if self.dataset is None:
            return None
        sources = tuple(
            PriorSource(
                scene=item.scene.id,
                files=tuple(dict.fromkeys(Path(layer.path).name for layer in item.prior.layers)),
                classes=tuple(dict.fromkeys(layer.class_name for layer in item.prior.layers)),
                date=item.prior.date,
                source=item.prior.source,
                ring_m=item.prior.ring_m,
                sha256=item.prior.sha256,
            )
            for item in self.dataset.scenes
        )
        ids = tuple(self.dataset.patch_ids)
        return PriorProvenance(sources=sources, patches=len(ids), patch_ids=ids, share=self.share)

    def _checksums(self) -> list[str]:
        return [] if self.dataset is None else [item.prior.sha256 for item in self.dataset.scenes]


def read_weak_patches(
    catalog: Catalog,
    scenes: Sequence[PriorScene],
    channels: Sequence[str],
    scheme: ClassScheme,
    labels: int,
    seed: int,
) -> WeakPatches:
    """Return the weak patches of a training, with their share beside a number of labels.

    Args:
        catalog: The catalog.
        scenes: The scenes of the pool with prior outlines.
        channels: The network's channels, in order.
        scheme: The classes.
        labels: Number of labels that the training learns from.
        seed: Of the draw of patches.

    Raises:
        ConflictError: there is no label, and the prior outlines tell nothing.
    """
    share = weak_share(labels, catalog.settings)
    if scenes and share > 0:
        least_known = catalog.settings.min_valid_share
        dataset = WeakPatchDataset(scenes, channels, raster_store(catalog), scheme, least_known, seed)
        if dataset.teaches:
            return WeakPatches(dataset, share)
    if not labels:
        raise ConflictError(
            "found no label to learn from, and no pixel of known class in prior outlines; label a round in Label Studio"
        )
    return WeakPatches(None, 0.0)


def _choose(
    scenes: Sequence[PriorScene], channels: int, store: RasterStore, least_known: float, seed: int
) -> frozenset[int]:
    """Return the ids of the chosen patches."""
    with_foreground: list[int] = []
    without: list[int] = []
    most = MOST_PATCHES
    for scene in scenes:
        mask = scene.weak_mask(store)
        for patch in scene.patches:
            weak = mask[window_of(patch).slices]
            known = weak != UNKNOWN
            if not known.any() or known.mean() < least_known:
                continue
            has_foreground = (known & (weak != BACKGROUND)).mean() >= _LEAST_FOREGROUND
            (with_foreground if has_foreground else without).append(patch.id)
        most = min(most, max(1, CACHE_BYTES // (scene.scene.patch_size_px**2 * (4 * channels + 1))))
    generator = np.random.default_rng(seed)
    preferred = max(round(FOREGROUND_SHARE * most), most - len(without))
    first = _draw(with_foreground, preferred, generator)
    return frozenset((*first, *_draw(without, most - len(first), generator)))


def _draw(ids: Sequence[int], count: int, generator: np.random.Generator) -> list[int]:
    drawn: list[int] = generator.permutation(np.array(ids, dtype=np.int64))[:count].tolist()
    return drawn


def _read(
    scene: PriorScene, patches: Sequence[Patch], channels: Sequence[str], store: RasterStore, scheme: ClassScheme
) -> Iterable[tuple[Tensor, Tensor]]:
    """Read patches of a scene with their weak masks."""
    weak = scene.weak_mask(store)
    told = told_apart({layer.class_name for layer in scene.prior.layers}, scheme)
    weak[np.isin(weak, list(told.ambiguous))] += AMBIGUOUS
    with SceneReader(source_of(scene.scene)) as reader:
        for patch in patches:
            window = window_of(patch)
            yield read_item(reader, channels, window, weak[window.slices].copy())
