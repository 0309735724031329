"""Job: have the pool scored by the champion: cut it into shards and, once all are scored, put their maps together.

It waits for nothing: it enqueues a job for each shard and ends. Whoever scores the last shard enqueues it again. Of a
large pool the first shards are a survey; then come those of the patches that it leaves contested.
"""

from itertools import groupby
from typing import Final

import numpy as np
from sqlalchemy.orm import Session

from catalog import scorings, sharding
from catalog.records import Scoring
from catalog.registry import registry_of
from models.agreement import top_agreement
from models.measures import MEASURES
from services.places import raster_store
from workers.jobs import Work
from workers.scored_maps import put_together
from workers.versions import device

# Pixels of a shard: half a minute's work or so. On a GPU it takes seconds to begin at all.
SHARD_PIXELS: Final = {"cpu": 2**21, "cuda": 2**26}


def score_pool(work: Work) -> None:
    """Begin, continue or complete the scoring by the champion; nothing without one."""
    champion = registry_of(work.catalog.settings).champion()
    if champion is not None:
        score_by(work, champion.version)


def score_by(work: Work, version: int) -> None:
    """Begin, continue or complete the scoring by this version and the present settings."""
    pixels, share = SHARD_PIXELS[device(work.catalog).type], work.catalog.settings.mc_shortlist_share
    with work.catalog.write() as session:
        scoring = scorings.find_or_open(session, version, work.catalog.settings)
        sharding.plan(session, scoring, pixels, share)
        if scorings.enqueue_undone(session, scoring):
            return
        if sharding.plan_contested(session, scoring, pixels, share) and scorings.enqueue_undone(session, scoring):
            return
        shards = scorings.shards_of(session, scoring)
    by_scene = [list(of_scene) for _, of_scene in groupby(shards, key=lambda shard: shard.scene_id)]
    for done, of_scene in enumerate(by_scene):
        work.progress(done, len(by_scene), "putting the maps together")
        put_together(raster_store(work.catalog), of_scene)
    with work.catalog.read() as session:
        agreement = {measure: _agreement(session, scoring, measure) for measure in MEASURES}
    with work.catalog.write() as session:
        scorings.complete(session, session.get_one(Scoring, scoring.id), agreement)


def _agreement(session: Session, scoring: Scoring, measure: str) -> float | None:
    """How far the rankings by the two halves of the passes agree; None if that is not known, or for a tiny pool.

    After a survey it is told of the patches that met all passes: the top tenth is among them.
    """
    if not scorings.ranks_by(session, scoring, measure):
        return None
    first, second = scorings.halves_of(session, scoring, measure)
    return None if np.isnan(first).any() else top_agreement(first, second, scorings.pool_size(session, scoring))
