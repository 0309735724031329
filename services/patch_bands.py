"""The bands of the patches that annotators may click on, stored when the patches are published.

The API, which answers clicks while an annotator waits, reads the store alone: the files of a scene may lie at an
address that answers slowly or not at all.
"""

import io
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.orm import Session

from catalog.errors import ConflictError
from catalog.records import Proposal, ProposalState, Round
from catalog.rounds import ONGOING, UNANSWERED
from imagery.errors import StoreError
from imagery.grid import Window
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from imagery.store import RasterStore
from services import raster_keys

KEPT_PATCHES: Final = 4
"""Most patches kept in memory for the next click: at 512 px and ten bands 10 MB each, as much as in the store."""


def store_bands(store: RasterStore, reader: SceneReader, source: SceneSource, patch_id: int, window: Window) -> None:
    """Store the measured bands of a patch.

    Args:
        store: Gets them.
        reader: Reads the scene.
        source: The scene.
        patch_id: The patch.
        window: Its window.

    Raises:
        SceneError: The scene cannot be read.
    """
    names = [source.band_names[position] for position in source.measured(source.band_names)]
    content = io.BytesIO()
    np.save(content, reader.read(names, window), allow_pickle=False)
    store.put(raster_keys.bands(patch_id), content.getvalue())


def read_bands(store: RasterStore, patch_id: int) -> NDArray[np.float32]:
    """Read the bands of a patch as they were stored last.

    Returns:
        (C, h, w), read-only; NaN where there is no data.

    Raises:
        ConflictError: They are not stored.
    """
    try:
        return _kept(store, raster_keys.bands(patch_id), store.checksum(raster_keys.bands(patch_id)))
    except StoreError as error:
        raise ConflictError(
            f"the bands of patch {patch_id} are not stored: its round is over, or they were damaged, or clicks were "
            "switched on after it was published; if it waits for its annotator, the next reconciliation stores them"
        ) from error


def may_be_clicked() -> ColumnElement[bool]:
    """Return the condition for proposals, joined with their rounds, whose patches annotators may click on.

    They wait, or were answered in a round that is not over: until then annotators may open them again.
    """
    answered = Proposal.state.in_((ProposalState.LABELLED, ProposalState.SKIPPED))
    return or_(Proposal.state.in_(UNANSWERED), and_(answered, Round.state.in_(ONGOING)))


def unneeded_bands(session: Session, keys: set[str]) -> list[str]:
    """Return those of the keys of stored files that are bands of patches which nobody may click on, sorted."""
    patches = session.scalars(select(Proposal.patch_id).join(Proposal.round).where(may_be_clicked()))
    needed = {raster_keys.bands(patch_id) for patch_id in patches}
    return sorted(key for key in keys - needed if raster_keys.is_bands(key))


@lru_cache(maxsize=KEPT_PATCHES)
def _kept(store: RasterStore, key: str, checksum: str | None) -> NDArray[np.float32]:
    """Read the bands; `checksum`, that of the file, only tells contents apart."""
    bands: NDArray[np.float32] = np.load(io.BytesIO(store.get(key)), allow_pickle=False)
    bands.flags.writeable = False
    return bands
