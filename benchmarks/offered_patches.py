"""Tasks of 512 px in a real Label Studio, as a publication makes them, without the training that comes before.

For the benchmark and the tests of the annotator's page: a synthetic scene with a DEM, and maps of a scoring that are
its truth, a little shifted, so that there is something to correct.
"""

import math
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from sqlalchemy import select
from sqlalchemy.orm import joinedload

from benchmarks.scored_scene import PATCH_SIZE_PX, add_pool
from catalog import rounds
from catalog.context import Catalog
from catalog.records import Patch, Proposal, ProposalReason, Round, RoundState, Scene, Score, Scoring, now
from catalog.rounds import Choice
from catalog.settings import Strategy
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.cog import class_map_to_cog, float_map_writer
from imagery.geotiff import encode
from labeling.client import LabelStudio
from services import raster_keys
from services.expected_edits import ERROR, FOREGROUND, encode_probability
from services.image_urls import image_urls
from services.label_studio import connect
from services.places import raster_store
from services.scenes import source_of
from services.score_table import ENTROPY
from workers.publication import Publication, offer

SIDE_PX: Final = 2 * PATCH_SIZE_PX
SHIFT_PX: Final = 5
_VERSION: Final = 1


def offer_patches(catalog: Catalog, studio: LabelStudio) -> list[Proposal]:
    """Register the scene, and put its four patches before the annotators of a new project; return their proposals."""
    scene_id = add_pool(catalog, SIDE_PX)
    project_id = connect(catalog, studio)
    scoring = _score(catalog, scene_id)
    with catalog.database.write() as session:
        chosen = Round(strategy=Strategy.ENTROPY_TOP10, measure=ENTROPY, scoring_id=scoring.id, size=4, seed=0)
        session.add(chosen)
        session.flush()
        patches = session.scalars(select(Patch).where(Patch.scene_id == scene_id).order_by(Patch.id)).all()
        reason = ProposalReason.UNCERTAIN
        rounds.store_choices(session, chosen.id, [Choice(patch.id, reason, _highest() / 2) for patch in patches])
        chosen.state, round_id = RoundState.PUBLISHING, chosen.id
    names = GLACIER_SCHEME.names
    publication = Publication(catalog, raster_store(catalog), image_urls(catalog), GLACIER_SCHEME, scoring, names)
    with catalog.read() as session:
        of_round = session.get_one(Round, round_id, options=[joinedload(Round.scoring)])
        loaded = select(Proposal).options(joinedload(Proposal.patch).joinedload(Patch.scene))
        proposals = session.scalars(loaded.order_by(Proposal.rank)).all()
    offers = {proposal.uid: offer(publication, of_round, proposal) for proposal in proposals}
    tasks = studio.import_missing(project_id, [item.task for item in offers.values()])
    with catalog.database.write() as session:
        for proposal in proposals:
            rounds.mark_published(
                session, proposal.id, project_id, tasks[proposal.uid][0].id, publication.urls.base_url
            )
            row = session.get_one(Proposal, proposal.id)
            row.views, row.preannotated_by = offers[row.uid].views, offers[row.uid].preannotated_by
        rounds.mark_open(session, round_id)
    with catalog.read() as session:
        return list(session.scalars(loaded.order_by(Proposal.rank)))


def _highest() -> float:
    return math.log(len(GLACIER_SCHEME.names))


def _score(catalog: Catalog, scene_id: int) -> Scoring:
    """Store a scoring with its maps: nearly right classes, and doubt along their edges."""
    store = raster_store(catalog)
    with catalog.database.write() as session:
        scene = session.get_one(Scene, scene_id)
        grid, root = source_of(scene).grid, catalog.settings.scene_root
        scoring = Scoring(model_version=_VERSION, passes=1, seed=0, completed_at=now())
        session.add(scoring)
        session.flush()
        for patch in session.scalars(select(Patch).where(Patch.scene_id == scene_id)):
            session.add(Score(scoring_id=scoring.id, patch_id=patch.id, measure=ENTROPY, value=_highest() / 2))
        with rasterio.open(next(Path(root).rglob("*truth*.tif"))) as truth:
            classes = np.roll(truth.read(1), SHIFT_PX, axis=1)
        classes[classes == UNKNOWN] = 0
        edges = classes != np.roll(classes, SHIFT_PX, axis=1)
        store.put(raster_keys.scored(scoring.id, scene_id, "classes"), class_map_to_cog(classes, grid, GLACIER_SCHEME))
        for what, value in ((ERROR, 0.02), (FOREGROUND, 0.5)):
            levels = encode_probability(np.full(classes.shape, value))
            store.put(raster_keys.scored(scoring.id, scene_id, what), encode(levels, grid, nodata=UNKNOWN))
        entropy = np.where(edges, _highest(), 0.1).astype(np.float32)
        local = catalog.settings.var_dir / "entropy.tif"
        with float_map_writer(local, grid, "nats") as write:
            write(0, entropy)
        store.put_file(raster_keys.scored(scoring.id, scene_id, "entropy"), local)
    return scoring
