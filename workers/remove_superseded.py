"""Job: remove the scores, maps and uncertainty views of superseded scorings; ``catalog.retention`` says which they are.

Idempotent and interruptible: whatever an attempt leaves, the next one removes.
"""

import time
from collections.abc import Iterable
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import retention
from catalog.records import Proposal, ProposalState, Scoring
from imagery.store import RasterStore
from services import raster_keys
from services.places import raster_store
from workers.jobs import JobContext

SCORES_TOGETHER: Final = 1000  # 0.1 s of one transaction on a busy machine: on SQLite a label event waits that long
# Then the job ends, and the clock enqueues it again behind the other jobs of its queue, which publish rounds.
SECONDS_AT_ONCE: Final = 30.0

Picture = tuple[int, str]
"""A picture in the store: the id of its patch, and its name."""


def remove_superseded(context: JobContext) -> None:
    """Mark the superseded scorings as removed; then delete their views, files, scores and shards."""
    deadline = time.monotonic() + SECONDS_AT_ONCE
    with context.catalog.write() as session:
        retention.mark_superseded(session, context.catalog.settings.keep_scorings)
    with context.catalog.read() as session:
        unfinished = retention.unfinished(session)
    store = raster_store(context.catalog)
    _remove_views(context, store, unfinished)
    for done, scoring_id in enumerate(unfinished):
        store.delete_folder(raster_keys.scoring(scoring_id))
        are_left = True
        while are_left:
            context.progress(done, len(unfinished), f"removing scoring {scoring_id}")
            if time.monotonic() > deadline:
                return
            started = time.monotonic()
            with context.catalog.write() as session:
                are_left = retention.delete_scores(session, scoring_id, SCORES_TOGETHER)
                if not are_left:
                    retention.delete_shards(session, scoring_id)
            time.sleep(time.monotonic() - started)  # leaves half of the time to other writers


def _remove_views(context: JobContext, store: RasterStore, scoring_ids: Iterable[int]) -> None:
    """Delete the uncertainty views of removed scorings, but for those that a task in Label Studio still shows."""
    with context.catalog.read() as session:
        removable, dead = _removable_views(session, scoring_ids)
    for patch_id, name in sorted(removable):
        key = raster_keys.view(patch_id, name)
        if store.exists(key):
            store.delete(key)
    with context.catalog.write() as session:
        for proposal_id in dead:
            proposal = session.get_one(Proposal, proposal_id)
            removed = {name for patch_id, name in removable if patch_id == proposal.patch_id}
            proposal.views = {field: name for field, name in (proposal.views or {}).items() if name not in removed}


def _removable_views(session: Session, scoring_ids: Iterable[int]) -> tuple[set[Picture], list[int]]:
    """Return the pictures to delete, and the ids of proposals without a task that mention one of them.

    Pictures of the scorings given may exist for every patch that was ever proposed: a waiting task gets a new one with
    each scoring. Pictures of scorings that were removed earlier are left if a task showed them then.
    """
    removed = set(session.scalars(select(Scoring.id).where(Scoring.removed_at.is_not(None))))
    proposals = session.execute(select(Proposal.id, Proposal.patch_id, Proposal.state, Proposal.views)).all()
    without_task = (ProposalState.WITHDRAWN, ProposalState.ABANDONED)
    candidates = {
        (patch_id, raster_keys.uncertainty_view(scoring_id, part))
        for proposal_id, patch_id, _, _ in proposals
        for scoring_id in scoring_ids
        for part in (None, proposal_id)
    }
    shown: set[Picture] = set()
    dead: list[int] = []
    for proposal_id, patch_id, state, views in proposals:
        pictures = {(patch_id, name) for name in (views or {}).values() if raster_keys.scoring_of_view(name) in removed}
        if state in without_task and pictures:
            candidates |= pictures
            dead.append(proposal_id)
        else:
            shown |= pictures
    return candidates - shown, dead
