"""Job: plan the next stage of the scoring of the pool or, after the last stage, complete the scoring.

The setting ``scoring_version`` says which version scores: the learner, or the champion.

The job does not wait for the shards: it enqueues a job for each of them and ends. The job that scores the last shard
enqueues this one again. ``catalog.sharding`` tells which stages there are.
"""

import logging
from itertools import groupby
from typing import Final

from catalog import scorings, sharding
from catalog.context import Catalog
from catalog.records import Scoring
from catalog.registry import registry_of
from imagery.errors import StoreError, UnreadableFileError
from imagery.lacking import was_lacking
from models.agreement import top_agreement
from models.measures import MEASURES
from services import raster_keys
from services.class_scheme import class_scheme
from services.places import raster_store
from workers import feature_rows, half_scores, score_tables
from workers.jobs import JobContext
from workers.scored_maps import merge_parts
from workers.stability import compare_with_previous
from workers.versions import device

log = logging.getLogger(__name__)

# Pixels of a Monte Carlo shard: about half a minute of work. More on a GPU, where a job takes seconds to start.
SHARD_PIXELS: Final = {"cpu": 2**21, "cuda": 2**26}


def score_pool(context: JobContext) -> None:
    """Begin, continue or complete the scoring by the version of the setting; do nothing before the first version."""
    settings = context.catalog.settings
    version = registry_of(settings).scoring(settings.scoring_version)
    if version is not None:
        score_by(context, version.version)


def score_by(context: JobContext, version: int) -> None:
    """Begin, continue or complete the scoring by this version with the present settings."""
    pixels, share = SHARD_PIXELS[device(context.catalog).type], context.catalog.settings.mc_shortlist_share
    with context.catalog.write() as session:
        scoring = scorings.find_or_open(session, version, context.catalog.settings)
        sharding.plan(session, scoring, pixels, share)
        if scorings.enqueue_undone(session, scoring):
            return
        if sharding.plan_shortlist(session, scoring, pixels, share) and scorings.enqueue_undone(session, scoring):
            return
        if scorings.is_complete(scoring):  # after a roll-back: it only has to rank again
            scorings.complete(session, scoring, scoring.agreement)
            return
        shards = scorings.shards_of(session, scoring)
    if not shards:  # every scene of the pool is set aside
        return
    store, scheme = raster_store(context.catalog), class_scheme(context.catalog)
    by_scene = [list(of_scene) for _, of_scene in groupby(shards, key=lambda shard: shard.scene_id)]
    for done, of_scene in enumerate(by_scene):
        context.progress(done, len(by_scene), "merging the maps")
        try:
            merge_parts(store, of_scene, scheme)
        except (UnreadableFileError, StoreError) as error:  # the clock enqueues the next planning
            if was_lacking(error):  # memory or file handles, which says nothing about the maps
                raise
            log.warning("scene %s is scored again, as a part of its maps is lost: %s", of_scene[0].scene.name, error)
            rescore_scene(context.catalog, scoring.id, of_scene[0].scene_id)
            return
    half_scores.merge(store, scoring.id, shards)
    score_tables.merge(store, scoring.id, shards)
    feature_rows.merge(store, scoring.id, shards)
    agreement = _agreement(context.catalog, scoring)
    stability = compare_with_previous(context.catalog, scoring)
    with context.catalog.write() as session:
        kept = stability.to_json() if stability is not None else None
        scorings.complete(session, session.get_one(Scoring, scoring.id), agreement, kept)


def rescore_scene(catalog: Catalog, scoring_id: int, scene_id: int) -> None:
    """Delete maps, scores and shards of a scene in a scoring; it is scored again like one that is added later.

    Maps go first: once the shards are gone, others may write new ones.
    """
    raster_store(catalog).delete_folder(raster_keys.scored_scene(scoring_id, scene_id))
    with catalog.write() as session:
        scorings.forget_scene(session, scoring_id, scene_id)


def _agreement(catalog: Catalog, scoring: Scoring) -> dict[str, float | None]:
    """Compute by measure how far the rankings by the two halves of the passes agree.

    After a screening pass only the shortlist counts: the top tenth is on it.

    Returns:
        None for a measure that not every patch has, for a tiny pool, and where half scores are missing.
    """
    with catalog.read() as session:
        ranking = {measure for measure in MEASURES if scorings.ranks_by(session, scoring, measure)}
        patches = scorings.monte_carlo_patches(session, scoring, next(iter(MEASURES)))
        pool = scorings.pool_size(session, scoring)
    halves = half_scores.read(raster_store(catalog), scoring.id, patches)
    agreement: dict[str, float | None] = dict.fromkeys(MEASURES)
    if halves is not None:
        for measure in ranking:
            agreement[measure] = top_agreement(halves[measure][:, 0], halves[measure][:, 1], pool)
    return agreement
