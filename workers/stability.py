"""Compare what a version predicts with what the one before it predicted, on the same unlabelled patches."""

from collections.abc import Sequence
from itertools import groupby
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, cast, literal, select
from sqlalchemy.orm import Session, joinedload

from catalog import scorings
from catalog.context import Catalog
from catalog.records import Patch, PatchState, Scene, SceneRole, SceneState, Scoring
from imagery.classes import UNKNOWN
from imagery.maps import read_windows
from models import score_ratios
from models.metrics import confusion_matrix
from services import raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from services.scenes import window_of
from services.stability import Agreement

PATCHES: Final = 256
"""Size of the sample: a million pixels in patches of 64 px, 67 million in those of 512 px, which take some 3 s."""

# Knuth's multiplicative hash: ids in the order of their hashes are spread evenly over the pool, and a patch keeps its
# place in the order whatever is added.
_MULTIPLIER: Final = 2654435761
_MODULUS: Final = 2**32


def compare_with_previous(catalog: Catalog, scoring: Scoring) -> Agreement | None:
    """Compare the maps of classes of a finished scoring with those by the version before.

    The maps are there in any case, so no pixel is predicted for this. They show the mean of all passes on the
    shortlist of a screening and one deterministic pass elsewhere; a patch that was on one shortlist only differs by
    that, too.

    Args:
        catalog: The catalog.
        scoring: Its maps are merged.

    Returns:
        None if the maps of no earlier version are kept, or if no unlabelled patch has both.
    """
    with catalog.read() as session:
        before = scorings.before(session, scoring)
        patches = sample(session)
    if before is None:
        return None
    store, classes = raster_store(catalog), len(class_scheme(catalog).classes)
    counts, compared = np.zeros((classes, classes), dtype=np.int64), 0
    for scene_id, of_scene in groupby(sorted(patches, key=place_of), key=lambda patch: patch.scene_id):
        keys = [raster_keys.scored(of.id, scene_id, "classes") for of in (before, scoring)]
        if all(map(store.exists, keys)):
            windows = [window_of(patch) for patch in of_scene]
            maps = [read_windows(store.uri(key), windows) for key in keys]
            for earlier, later in zip(*maps, strict=True):
                counts += count_pairs(earlier, later, classes)
            compared += len(windows)
    return agreement(scoring.model_version, before.model_version, compared, counts) if counts.any() else None


def sample(session: Session) -> Sequence[Patch]:
    """Return a fixed sample of the unlabelled patches of the pool, with their scenes.

    Fixed as far as may be: a patch leaves it when it is proposed, and the next one in the order takes its place.
    """
    ready = select(Scene.id).where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY)
    statement = select(Patch).where(
        Patch.scene_id.in_(ready), Patch.state == PatchState.UNLABELLED, Patch.valid_share > 0
    )
    order = (cast(Patch.id, BigInteger) * literal(_MULTIPLIER, BigInteger)) % literal(_MODULUS, BigInteger)
    return session.scalars(statement.order_by(order, Patch.id).limit(PATCHES).options(joinedload(Patch.scene))).all()


def count_pairs(earlier: NDArray[np.uint8], later: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count the pixels that both maps know by their classes in the earlier (rows) and the later map (columns)."""
    known = (earlier != UNKNOWN) & (later != UNKNOWN)
    return confusion_matrix(later[known], earlier[known], classes, UNKNOWN)


def agreement(version: int, before: int, patches: int, counts: NDArray[np.int64]) -> Agreement:
    """Return the kappas of a table of pairs (K, K)."""
    both = np.diagonal(counts)
    either = counts.sum(axis=0) + counts.sum(axis=1) - both
    first, second = counts.sum(axis=1) - both, counts.sum(axis=0) - both  # predicted by one of them only
    against_rest = np.moveaxis(np.array([[counts.sum() - either, second], [first, both]]), 2, 0)
    kappas = [float(score_ratios.kappa(counts)), *map(float, score_ratios.kappa(against_rest))]
    whole, *of_classes = (None if np.isnan(value) else value for value in kappas)
    return Agreement(version, before, patches, whole, tuple(of_classes), tuple(map(int, either)))


def place_of(patch: Patch) -> tuple[int, int, int]:
    """Return the scene of a patch and where it begins: the order in which files are best read."""
    return patch.scene_id, patch.row_off, patch.col_off
