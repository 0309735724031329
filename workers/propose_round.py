"""Job: choose the patches of a round by its strategy (``services.strategies``)."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session, joinedload

from catalog import candidates, rounds
from catalog.candidates import Candidate
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Round, RoundState
from catalog.rounds import Choice
from services import strategies
from services.acquisition import InOrder, Pool
from services.patch_features import read_features
from services.places import raster_store
from services.score_table import ENTROPY, read_table
from workers.asked_regions import AskedRegions
from workers.check_choices import Checks, insert
from workers.jobs import JobContext

log = logging.getLogger(__name__)


def propose_round(context: JobContext, round_id: int, second_looks: int | None = None) -> None:
    """Choose the patches of an opened round and store them as its proposals.

    They are chosen again if one of their scenes is removed or replaced meanwhile.

    Args:
        context: the job.
        round_id: the round.
        second_looks: how many labels to ask for again that the newest scoring contradicts; None: the share that the
            settings name.

    Raises:
        ConflictError: the scores that the round ranks by have been removed, or an earlier release made them; or the
            round consists of second looks, and no label is contradicted.
    """
    while not _propose(context.catalog, round_id, second_looks):
        log.warning("round %d is chosen again: a scene was removed or replaced meanwhile", round_id)


def _propose(catalog: Catalog, round_id: int, second_looks: int | None) -> bool:
    """Choose once; return False if it has to be done again."""
    with catalog.read() as session:
        opened = session.get_one(Round, round_id, options=[joinedload(Round.scoring)])
        if opened.state is not RoundState.CHOOSING:
            return True
        if opened.scoring is not None and opened.scoring.removed_at is not None:
            raise ConflictError(
                f"the scores by version {opened.scoring.model_version}, which round {round_id} ranks by, have been "
                "removed; open another round"
            )
        checks = Checks(session, catalog, opened, second_looks).choose()
        choices = insert(_choices(session, catalog, opened, checks, second_looks), checks, opened.seed)
    if not choices and second_looks:
        raise ConflictError(
            f"found no label that the newest scoring contradicts with confidence; round {round_id} has nothing to ask"
        )
    with catalog.write() as session:
        return rounds.store_choices(session, round_id, choices)


def _choices(
    session: Session, catalog: Catalog, opened: Round, checks: Sequence[Choice], second_looks: int | None
) -> Sequence[Choice]:
    """Let the strategy choose the places of the round that checks leave, among the patches that they leave."""
    if opened.size == second_looks:
        return []
    taken = {choice.patch_id for choice in checks}

    def free(found: Iterable[Candidate]) -> Iterator[Candidate]:
        return (patch for patch in found if patch.patch_id not in taken)

    strategy, settings = strategies.get(opened.strategy), catalog.settings
    share, generator = settings.min_valid_share, np.random.default_rng(opened.seed)
    size, scoring_id = max(0, opened.size - len(checks)), opened.scoring_id
    if strategy.needs.scoring and scoring_id is None:
        raise ValueError(f"round {opened.id} has no scoring, which the strategy {strategy.name!r} needs")
    if opened.measure is not None:  # controls are a share of the patches that there are
        size = candidates.count(session, share, size, scoring_id, opened.measure)
    table = read_table(raster_store(catalog), scoring_id) if scoring_id is not None else None
    if strategy.needs.table and table is None:
        raise ConflictError(
            f"strategy {strategy.name!r} looks at all scored patches together, but an earlier release scored them and "
            "kept no table of them; choose another strategy until the next version has scored the pool"
        )
    features = read_features(raster_store(catalog), scoring_id) if scoring_id and strategy.needs.features else None
    if strategy.needs.features and features is None:
        raise ConflictError(
            f"strategy {strategy.name!r} compares the features of patches, but an earlier release scored the pool and "
            "kept none; choose another strategy until the next version has scored the pool"
        )
    regions = AskedRegions(session, raster_store(catalog), opened, settings.part_share)
    in_order: InOrder = partial(candidates.in_order, session, opened, share)
    if strategy.needs.table and table is not None and opened.measure == ENTROPY:
        table, left = regions.lowered(table)
        in_order = partial(_with_scores, in_order, left)
    pool = Pool(
        ranked=free(regions.rescored(candidates.ranked(session, opened, share))) if opened.measure is not None else (),
        shuffled=free(candidates.shuffled(session, opened, share, generator)),
        size=size,
        control_share=settings.control_share,
        generator=generator,
        table=table,
        in_order=lambda ids: free(in_order(ids)),
        pool_control_share=settings.pool_control_share,
        shortlist_foreground=settings.shortlist_foreground,
        past_rounds=rounds.count_scored(session, before=opened.id),
        features=features,
        labelled=candidates.labelled(session) if strategy.needs.features else (),
    )
    return regions.ask(strategy.choose(pool))


def _with_scores(in_order: InOrder, scores: Mapping[int, float], ids: NDArray[np.int64]) -> Iterator[Candidate]:
    """Yield the candidates of an order, some with another score than the stored one."""
    for candidate in in_order(ids):
        yield replace(candidate, score=scores.get(candidate.patch_id, candidate.score))
