"""Job: choose the patches of a round."""

import numpy as np
from sqlalchemy.orm import Session

from catalog import candidates, rounds
from catalog.records import Round, RoundState
from catalog.rounds import Choice
from catalog.settings import Settings, Strategy
from workers.acquisition import choose, draw
from workers.jobs import Work


def propose_round(work: Work, round_id: int) -> None:
    """Choose the patches of an opened round and store them as its proposals."""
    with work.catalog.read() as session:
        opened = rounds.get(session, round_id)
        if opened.state is not RoundState.CHOOSING:
            return
        choices = _choices(session, opened, work.catalog.settings)
    with work.catalog.write() as session:
        rounds.store_choices(session, round_id, choices)


def _choices(session: Session, opened: Round, settings: Settings) -> list[Choice]:
    share, generator = settings.min_valid_share, np.random.default_rng(opened.seed)
    shuffled = candidates.shuffled(session, opened, share, generator)
    if opened.strategy is Strategy.RANDOM:
        return draw(shuffled, opened.size)
    if opened.scoring_id is None:
        raise ValueError(f"found the strategy {opened.strategy.value!r} and no scoring to rank by; resolve it first")
    size = candidates.count(session, share, opened.size, opened.scoring_id, opened.strategy.value)
    return choose(candidates.ranked(session, opened, share), shuffled, size, settings.control_share, generator)
