"""Job: remove the scores, maps and uncertainty views of superseded scorings; ``catalog.retention`` says which they are.

Idempotent and interruptible: whatever an attempt leaves, the next one removes.
"""

import time
from collections.abc import Set
from contextlib import suppress
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import retention
from catalog.records import Proposal, ProposalState, Scoring
from imagery.errors import StoreError
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
    with context.catalog.write() as session:
        retention.mark_superseded(session, context.catalog.settings.keep_scorings)
    with context.catalog.read() as session:
        unfinished = retention.unfinished(session)
    store = raster_store(context.catalog)
    stored = _stored_pictures(store)
    # From here, not from the start: an attempt must delete something, however long it looked for what to delete.
    deadline = time.monotonic() + SECONDS_AT_ONCE
    if not _remove_views(context, store, stored, deadline):
        return
    for done, scoring_id in enumerate(unfinished):
        store.delete_folder(raster_keys.scoring(scoring_id))
        are_left = True
        while are_left:
            context.progress(done, len(unfinished), f"removing scoring {scoring_id}")
            started = time.monotonic()
            with context.catalog.write() as session:
                are_left = retention.delete_scores(session, scoring_id, SCORES_TOGETHER)
                if not are_left:
                    retention.delete_shards(session, scoring_id)
            ended = time.monotonic()
            if ended > deadline:
                return
            time.sleep(ended - started)  # leaves half of the time to other writers


def _stored_pictures(store: RasterStore) -> set[Picture]:
    """List the pictures of patches once; to ask for each that there may be takes minutes where there are many."""
    found = map(raster_keys.picture_of_view, store.keys_in(raster_keys.VIEWS))
    return {picture for picture in found if picture is not None}


def _remove_views(context: JobContext, store: RasterStore, stored: Set[Picture], deadline: float) -> bool:
    """Delete the uncertainty views of removed scorings, but for those that a task in Label Studio still shows.

    Returns:
        Whether all are deleted; otherwise the time is up, and at least one is.
    """
    with context.catalog.read() as session:
        removable, dead = _removable_views(session, stored)
    found = sorted(removable & stored)
    for done, (patch_id, name) in enumerate(found, start=1):
        with suppress(StoreError):  # it was found damaged meanwhile, and moved aside
            store.delete(raster_keys.view(patch_id, name))
        context.progress_of_step(done, len(found), "deleting views of removed scorings")
        if done < len(found) and time.monotonic() > deadline:
            return False
    with context.catalog.write() as session:
        for proposal_id in dead:
            proposal = session.get_one(Proposal, proposal_id)
            views = (proposal.views or {}).items()
            proposal.views = {field: name for field, name in views if (proposal.patch_id, name) not in removable}
    return True


def _removable_views(session: Session, stored: Set[Picture]) -> tuple[set[Picture], list[int]]:
    """Return the pictures to delete, and the ids of proposals without a task that mention one of them.

    To be deleted are the pictures of removed scorings that are stored, or that a proposal without a task mentions;
    except those that a proposal with a task shows.
    """
    removed = set(session.scalars(select(Scoring.id).where(Scoring.removed_at.is_not(None))))
    proposals = session.execute(select(Proposal.id, Proposal.patch_id, Proposal.state, Proposal.views)).all()
    without_task = (ProposalState.WITHDRAWN, ProposalState.ABANDONED)
    candidates = {(patch_id, name) for patch_id, name in stored if raster_keys.scoring_of_view(name) in removed}
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
