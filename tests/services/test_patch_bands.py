from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Proposal, ProposalState, Round, RoundState
from imagery.describe_scene import describe
from imagery.grid import Window
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from services import patch_bands, raster_keys
from services.patch_bands import KEPT_PATCHES, read_bands, store_bands, unneeded_bands
from tests.catalog_fixtures import add_round, add_scene
from tests.imagery.forge import forge_scene


@pytest.fixture
def store(tmp_path: Path) -> RasterStore:
    patch_bands._kept.cache_clear()
    return RasterStore(str(tmp_path / "store"))


def put(store: RasterStore, folder: Path, patch_id: int, column: int = 0) -> NDArray[np.float32]:
    """Store the bands of a patch as a publication does; return what the scene has there."""
    source, window = describe(forge_scene(folder / "scene.tif").bands), Window(8, column, 32, 32)
    with SceneReader(source) as reader:
        store_bands(store, reader, source, patch_id, window)
        return reader.read(source.band_names, window)


def test_the_bands_of_a_patch_are_those_of_its_scene_and_are_read_once(store: RasterStore, tmp_path: Path) -> None:
    expected = put(store, tmp_path, 1)
    first = read_bands(store, 1)
    np.testing.assert_array_equal(first, expected)
    assert first.shape == (4, 32, 32)
    assert read_bands(store, 1) is first


def test_bands_that_were_stored_anew_are_read_again(store: RasterStore, tmp_path: Path) -> None:
    put(store, tmp_path, 1)
    before = read_bands(store, 1)
    expected = put(store, tmp_path, 1, column=40)
    assert not np.array_equal(before, expected)
    np.testing.assert_array_equal(read_bands(store, 1), expected)


def test_what_is_kept_is_bounded_and_cannot_be_changed(store: RasterStore, tmp_path: Path) -> None:
    put(store, tmp_path, 1)
    for patch_id in range(1, KEPT_PATCHES + 3):
        store.put(raster_keys.bands(patch_id), store.get(raster_keys.bands(1)))
        bands = read_bands(store, patch_id)
    assert patch_bands._kept.cache_info().currsize == KEPT_PATCHES
    with pytest.raises(ValueError, match="read-only"):
        bands[0, 0, 0] = 1


def test_damaged_bands_are_not_used(store: RasterStore, tmp_path: Path) -> None:
    put(store, tmp_path, 1)
    Path(store.uri(raster_keys.bands(1))).write_bytes(b"damaged")
    with pytest.raises(ConflictError, match="the bands of patch 1 are not stored"):
        read_bands(store, 1)
    assert store.damaged() == [raster_keys.bands(1)]


@pytest.mark.parametrize(
    ("state", "of_round", "unneeded"),
    [
        (ProposalState.CHOSEN, RoundState.PUBLISHING, False),
        (ProposalState.PUBLISHED, RoundState.OPEN, False),
        (ProposalState.PUBLISHED, RoundState.COMPLETE, False),
        (ProposalState.LABELLED, RoundState.OPEN, False),
        (ProposalState.LABELLED, RoundState.COMPLETE, True),
        (ProposalState.ABANDONED, RoundState.ABANDONED, True),
        (ProposalState.WITHDRAWN, RoundState.OPEN, True),
    ],
)
def test_bands_are_needed_while_annotators_may_click(
    catalog: Catalog, state: ProposalState, of_round: RoundState, unneeded: bool
) -> None:
    with catalog.database.write() as session:
        _, patches = add_scene(session)
        opened, (proposal,) = add_round(session, patches[:1])
        session.get_one(Proposal, proposal.id).state = state
        session.get_one(Round, opened.id).state = of_round
        key = raster_keys.bands(patches[0].id)
        keys = {key, raster_keys.view(patches[0].id, "true-colour"), raster_keys.bands(999)}
        session.flush()
        found = unneeded_bands(session, keys)
    assert found == ([key] if unneeded else []) + [raster_keys.bands(999)]
