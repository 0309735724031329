"""Compare masks of the same patch once, and keep the counts: requests and commands then read rows only."""

import logging
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from catalog.comparison_records import MaskComparison
from catalog.context import Catalog
from catalog.records import Label, Patch, Proposal
from imagery.classes import ClassScheme
from imagery.errors import OutlineError, SceneError, StoreError
from imagery.grid import Window
from imagery.maps import read_map
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from services import raster_keys
from services.class_scheme import class_scheme
from services.mask_counts import Counts, Triple, count, count_triple
from services.places import raster_store
from services.scenes import window_of

log = logging.getLogger(__name__)

_TOGETHER: Final = 100  # comparisons in a transaction: less than a second of work


@dataclass(frozen=True)
class MaskFile:
    """A mask of a patch in the raster store.

    Attributes:
        name: What tells it from all others: the checksum of a label's mask, else its key.
        key: Key of its file.
        window: Its place in the file; None: it is the whole file.
        sha256: Checksum that the file must have, as hexadecimal; None: the one stored beside it.
    """

    name: str
    key: str
    window: Window | None = None
    sha256: str | None = None

    @classmethod
    def of_label(cls, label: Label) -> "MaskFile":
        """Return the mask of a label."""
        return cls(label.mask_sha256, label.mask_key, sha256=label.mask_sha256)

    @classmethod
    def of_truth(cls, patch: Patch) -> "MaskFile":
        """Return what the outlines of its scene say of a patch."""
        key = raster_keys.truth(patch.scene_id)
        return cls(f"{key}#{patch.id}", key, window_of(patch))

    @classmethod
    def of_preannotation(cls, proposal: Proposal, drawn_by: int) -> "MaskFile":
        """Return the mask by this version that the annotator of a proposal started from."""
        key = raster_keys.preannotation(proposal.uid, drawn_by)
        return cls(key, key)

    def read(self, store: RasterStore, scheme: ClassScheme) -> NDArray[np.uint8]:
        """Read the mask (h, w).

        Raises:
            StoreError: it is not in the store.
            SceneError: it cannot be read.
            OutlineError: it holds a value that is no class.
        """
        if self.window is None:
            return mask_from_geotiff(store.get(self.key, self.sha256), scheme)
        return np.asarray(read_map(store.uri(self.key), self.window), dtype=np.uint8)


@dataclass(frozen=True)
class Compared:
    """Masks of a patch that are compared.

    Attributes:
        reference: The mask that the other is compared with.
        drawn: The mask of a label.
        shown: The proposal from which ``drawn`` started, and ``reference`` did not; None: two masks are compared.
    """

    reference: MaskFile
    drawn: MaskFile
    shown: MaskFile | None = None

    @property
    def names(self) -> tuple[str, str, str]:
        """The names of the masks, by which the comparison is kept."""
        return self.reference.name, self.drawn.name, self.shown.name if self.shown else ""

    def count(self, store: RasterStore, scheme: ClassScheme) -> Counts:
        """Count the pixels, (K, K + 1) of two masks and (3, K, K + 1) of three; errors as `MaskFile.read`."""
        reference, drawn = self.reference.read(store, scheme), self.drawn.read(store, scheme)
        if self.shown is None:
            return count(reference, drawn, len(scheme.classes))
        return count_triple(Triple(drawn, reference, self.shown.read(store, scheme)), len(scheme.classes))


def kept(session: Session) -> dict[tuple[str, str, str], Counts]:
    """Return the counts of all comparisons that are kept, by the names of their masks."""
    columns = MaskComparison.reference, MaskComparison.drawn, MaskComparison.shown, MaskComparison.counts
    return {
        (reference, drawn, shown): np.array(counts, dtype=np.int64)
        for reference, drawn, shown, counts in session.execute(select(*columns))
    }


def forget_truth(session: Session, scene_id: int) -> None:
    """Forget all comparisons with the truth of a scene, because its outlines were drawn anew."""
    of_scene = MaskComparison.reference.startswith(f"{raster_keys.truth(scene_id)}#", autoescape=True)
    session.execute(delete(MaskComparison).where(of_scene))


def keep_only(catalog: Catalog, wanted: Iterable[Compared]) -> int:
    """Make the comparisons that are kept those that are wanted: add what is missing, forget the others.

    A mask that cannot be read is logged, and what it is compared with is left out until it is mended.

    Returns:
        Number of comparisons left out.
    """
    by_names = {item.names: item for item in wanted}
    with catalog.read() as session:
        known = kept(session).keys()
    _forget(catalog, known - by_names.keys())
    store, scheme, left_out = raster_store(catalog), class_scheme(catalog), 0
    missing = [item for names, item in by_names.items() if names not in known]
    for start in range(0, len(missing), _TOGETHER):
        counted = {}
        for item in missing[start : start + _TOGETHER]:
            try:
                counted[item.names] = item.count(store, scheme)
            except (StoreError, SceneError, OutlineError) as error:
                left_out += 1
                log.warning("masks %s and %s are not compared: %s", item.reference.key, item.drawn.key, error)
        with catalog.write() as session:
            for (reference, drawn, shown), counts in counted.items():
                session.merge(MaskComparison(reference=reference, drawn=drawn, shown=shown, counts=counts.tolist()))
    return left_out


def _forget(catalog: Catalog, names: Collection[tuple[str, str, str]]) -> None:
    if not names:
        return
    with catalog.write() as session:
        for key in names:
            found = session.get(MaskComparison, key)
            if found is not None:
                session.delete(found)
