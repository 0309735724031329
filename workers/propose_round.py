"""Job: choose the patches of a round."""

from catalog import rounds
from catalog.records import RoundState
from workers.acquisition import select
from workers.jobs import Work


def propose_round(work: Work, round_id: int) -> None:
    """Choose the patches of an opened round and store them as its proposals."""
    settings = work.catalog.settings
    with work.catalog.read() as session:
        opened = rounds.get(session, round_id)
        candidates = rounds.candidates(session, opened, settings.min_valid_share)
    if opened.state is not RoundState.CHOOSING:
        return
    choices = select(candidates, opened.strategy, opened.size, settings.control_share, opened.seed)
    with work.catalog.write() as session:
        rounds.store_choices(session, round_id, choices)
