"""With ``auto_rounds``, an annotator who goes on correcting an old label does not keep the next round from opening.

The clock is real. `Loop` stands for the workers: one machine that trains or scores, each for one tick, in the order of
the queue; and for a team that labels every round at once.
"""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import jobs, labels, rounds, training
from catalog.context import Catalog
from catalog.records import (
    Job,
    JobKind,
    Patch,
    Proposal,
    ProposalReason,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    TrainingRun,
)
from catalog.rounds import Choice
from catalog.settings import Settings, Strategy
from tests.catalog_fixtures import PROJECT_ID, add_round, add_scene, add_scoring, label_of
from workers.clock import tick


class Loop:
    """A first round of one patch, labelled; the next ones follow by themselves."""

    def __init__(self, catalog: Catalog, fine_tune_after_labels: int) -> None:
        self.catalog = catalog
        changes = {
            "auto_rounds": True,
            "round_size": 1,
            "round_strategy": Strategy.RANDOM,
            "fine_tune_after_labels": fine_tune_after_labels,
        }
        catalog.settings = Settings(**{**catalog.settings.model_dump(), **changes})
        with catalog.database.write() as session:
            _, patches = add_scene(session)
            _, (first,) = add_round(session, patches[:1])
        self.first_id = first.id
        self.answer(first.id)

    def answer(self, proposal_id: int) -> None:
        """Submit the label of a proposal, or another one in its place."""
        with self.catalog.database.write() as session:
            labels.store(session, label_of(session, session.get_one(Proposal, proposal_id), proposal_id))

    def pass_one_tick(self) -> None:
        """Let the clock tick, the machine work, and the team label the round that was opened."""
        tick(self.catalog, reconcile=False)
        with self.catalog.database.write() as session:
            self._work(session)
            chosen = self._choose(session)
        for proposal_id in chosen:
            self.answer(proposal_id)

    def _work(self, session: Session) -> None:
        of_machine = Job.kind.in_((JobKind.FINE_TUNE, JobKind.SCORE_POOL)), Job.state.in_(jobs.OPEN)
        waiting = list(session.scalars(select(Job).where(*of_machine).order_by(Job.created_at)))
        if waiting and waiting[0].started_at is not None:
            self._end(session, waiting.pop(0))
        if waiting and jobs.claim(session, waiting[0].id) and waiting[0].kind is JobKind.FINE_TUNE:
            training.begin_run(session, RunTrigger(waiting[0].subject["trigger"]))

    def _end(self, session: Session, job: Job) -> None:
        newest = session.scalars(select(TrainingRun).order_by(TrainingRun.id.desc())).first()
        assert newest is not None
        jobs.finish(session, job.id, job.attempt)
        if job.kind is JobKind.FINE_TUNE:
            training.end_run(session, newest.id, RunState.FINISHED).model_version = newest.id
            jobs.enqueue(session, JobKind.SCORE_POOL)
        else:
            add_scoring(session, newest.id, {})

    def _choose(self, session: Session) -> list[int]:
        made = session.scalar(select(Round).where(Round.state == RoundState.CHOOSING))
        if made is None:
            return []
        patch = session.scalar(select(Patch).where(Patch.id.not_in(select(Proposal.patch_id))).order_by(Patch.id))
        assert patch is not None
        rounds.store_choices(session, made.id, [Choice(patch.id, ProposalReason.RANDOM_START, None)])
        session.flush()
        for proposal in made.proposals:
            rounds.mark_published(session, proposal.id, PROJECT_ID, proposal.id, "http://al.example")
        rounds.mark_open(session, made.id)
        return [proposal.id for proposal in made.proposals]


@pytest.mark.parametrize(("fine_tune_after_labels", "opened_at"), [(20, [5, 10]), (1, [5, 12])])
def test_rounds_go_on_while_a_label_is_corrected_at_every_tick(
    catalog: Catalog, fine_tune_after_labels: int, opened_at: list[int]
) -> None:
    """A round takes five ticks, or two more if the corrections are learnt, too.

    Tick 1 begins the round's fine-tune, 2 ends it, 3 begins the scoring by its version, 4 ends it, and 5 opens the next
    round, which is labelled at once: 10 opens the third. If a fine-tune follows each label, 5 also begins one of the
    corrections, before the new label is there. 6 ends it; then come its scoring (7, 8), the round's fine-tune (8, 9)
    and its scoring (10, 11).
    """
    loop = Loop(catalog, fine_tune_after_labels)
    opened = []
    for number in range(1, 13):
        loop.answer(loop.first_id)
        loop.pass_one_tick()
        with catalog.read() as session:
            if (session.scalar(select(func.count(Round.id))) or 0) > 1 + len(opened):
                opened.append(number)
    assert opened == opened_at
    with catalog.read() as session:
        assert set(session.scalars(select(Round.state))) == {RoundState.COMPLETE}
