"""The life of a round: opened, filled with proposals, published, and complete when every proposal is dealt with."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import candidates, jobs, scorings
from catalog.errors import ConflictError, NotFoundError
from catalog.records import (
    JobKind,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    now,
)
from catalog.settings import Settings, Strategy

_BEING_MADE = (RoundState.CHOOSING, RoundState.PUBLISHING)
_UNANSWERED = (ProposalState.CHOSEN, ProposalState.PUBLISHED)


@dataclass(frozen=True)
class Choice:
    """A candidate that was chosen, and why."""

    patch_id: int
    reason: ProposalReason
    score: float | None


@dataclass(frozen=True)
class Progress:
    """How many proposals of a round are in each state, and how many were made for each reason that occurs."""

    states: dict[ProposalState, int]
    reasons: dict[ProposalReason, int]


def open_round(session: Session, settings: Settings, strategy: Strategy, size: int, seed: int | None = None) -> Round:
    """Begin a round; a job will choose its patches.

    The strategy ``recipe`` becomes ``random`` for the first rounds and ``entropy_top10`` afterwards: early entropies of
    a hardly trained network choose worse than chance.

    Raises:
        ConflictError: a round is being made, the pool has no patch left, or a ranking is asked for without scores.
    """
    making = session.scalar(select(Round).where(Round.state.in_(_BEING_MADE)))
    if making is not None:
        cause = f" ({making.error}; retry its job once that is mended)" if making.error else ""
        raise ConflictError(f"round {making.id} is still {making.state}{cause}; wait until it is open")
    if not candidates.count(session, settings.min_valid_share, at_most=1):
        raise ConflictError(
            "found no patch in the pool that could be proposed; register a scene with the role 'pool', or wait until "
            "it is tiled"
        )
    if strategy is Strategy.RECIPE:
        past = session.scalar(select(func.count(Round.id)).where(Round.state != RoundState.FAILED)) or 0
        strategy = Strategy.RANDOM if past < settings.random_start_rounds else Strategy.ENTROPY_TOP10
    scoring = None
    if strategy is not Strategy.RANDOM:
        scoring = scorings.newest(session)
        if scoring is None:
            raise ConflictError(
                f"strategy {strategy.value!r} ranks by scores, but no version has scored the pool yet; label a round "
                "of strategy 'random' first, or wait for the running job"
            )
        if not scorings.ranks_by(session, scoring, strategy.value):
            raise ConflictError(
                f"strategy {strategy.value!r} ranks by what passes disagree on, but some patches have met only one "
                f"pass of version {scoring.model_version}; set GLACIER_AL_MC_SHORTLIST_SHARE=1 and wait until the pool "
                "is scored, or choose another strategy"
            )
        if not candidates.count(session, settings.min_valid_share, 1, scoring.id, strategy.value):
            raise ConflictError(
                f"strategy {strategy.value!r} ranks by scores, but every patch that version {scoring.model_version} "
                "scored has been proposed; wait until the rest of the pool is scored, or choose 'random'"
            )
    new = Round(strategy=strategy, size=size, seed=0, scoring_id=scoring.id if scoring else None)
    try:
        with session.begin_nested():
            session.add(new)
    except IntegrityError as error:
        raise ConflictError("another round was opened at this very moment; wait until it is open") from error
    new.seed = seed if seed is not None else new.id
    jobs.enqueue(session, JobKind.PROPOSE_ROUND, str(new.id), round_id=new.id)
    return new


def get(session: Session, round_id: int) -> Round:
    """Fetch a round.

    Raises:
        NotFoundError: there is no such round.
    """
    found = session.get(Round, round_id)
    if found is None:
        raise NotFoundError(f"there is no round {round_id}")
    return found


def store_choices(session: Session, round_id: int, choices: Sequence[Choice]) -> None:
    """Turn choices into proposals, most urgent first, and enqueue their publication. Does nothing a second time."""
    chosen_round = get(session, round_id)
    if chosen_round.state is not RoundState.CHOOSING:
        return
    for rank, choice in enumerate(choices):
        session.add(
            Proposal(round_id=round_id, patch_id=choice.patch_id, rank=rank, reason=choice.reason, score=choice.score)
        )
    chosen = Patch.id.in_([choice.patch_id for choice in choices])
    session.execute(update(Patch).where(chosen).values(state=PatchState.PROPOSED))
    chosen_round.state = RoundState.PUBLISHING
    jobs.enqueue(session, JobKind.PUBLISH_ROUND, str(round_id), round_id=round_id)


def mark_published(session: Session, proposal_id: int, project_id: int, task_id: int, base_url: str) -> None:
    """Note the Label Studio task of a proposal, and when and for which address its images were signed."""
    proposal = session.get_one(Proposal, proposal_id)
    proposal.project_id, proposal.task_id = project_id, task_id
    note_images_signed(proposal, base_url)
    if proposal.state is ProposalState.CHOSEN:
        proposal.state = ProposalState.PUBLISHED


def note_images_signed(proposal: Proposal, base_url: str) -> None:
    """Note when and for which address the images of a task were signed, so that they are renewed in time."""
    proposal.images_signed_at, proposal.images_base_url = now(), base_url


def mark_open(session: Session, round_id: int) -> None:
    """Note that every proposal of the round has its task."""
    published = get(session, round_id)
    if published.state is RoundState.PUBLISHING:
        published.state, published.published_at, published.error = RoundState.OPEN, now(), None
    complete_if_answered(session, round_id)


def mark_failed(session: Session, round_id: int, error: str) -> None:
    """Note why a round could not be made. One that has proposals stays as it is: its job can be retried."""
    failed = get(session, round_id)
    failed.error = error
    if failed.state is RoundState.CHOOSING:
        failed.state = RoundState.FAILED


def reopen(session: Session, round_id: int) -> None:
    """Bring a round that could not be made back to where its job expects it."""
    failed = get(session, round_id)
    failed.error = None
    if failed.state is RoundState.FAILED:
        failed.state = RoundState.CHOOSING


def complete_if_answered(session: Session, round_id: int) -> None:
    """Complete an open round once none of its proposals waits for an annotator; reopen it if one waits again."""
    session.flush()
    # Locked (by PostgreSQL; SQLite has one writer anyway): two workers may answer the last two proposals at once.
    answered = session.get_one(Round, round_id, with_for_update=True, populate_existing=True)
    waiting = session.scalar(
        select(func.count(Proposal.id)).where(Proposal.round_id == round_id, Proposal.state.in_(_UNANSWERED))
    )
    if answered.state is RoundState.OPEN and not waiting:
        answered.state, answered.completed_at = RoundState.COMPLETE, now()
    elif answered.state is RoundState.COMPLETE and waiting:
        answered.state, answered.completed_at = RoundState.OPEN, None


def progress(session: Session, round_ids: Collection[int]) -> dict[int, Progress]:
    """Count the proposals of rounds, all of them in one query.

    Returns:
        The counts of each round, by its id.
    """
    found = {round_id: Progress(dict.fromkeys(ProposalState, 0), {}) for round_id in round_ids}
    kinds = Proposal.round_id, Proposal.state, Proposal.reason
    statement = select(*kinds, func.count()).where(Proposal.round_id.in_(round_ids)).group_by(*kinds)
    for round_id, state, reason, count in session.execute(statement):
        found[round_id].states[state] += count
        found[round_id].reasons[reason] = found[round_id].reasons.get(reason, 0) + count
    return found


def is_unfinished(session: Session) -> bool:
    """Tell whether a round is being made or waits for annotators."""
    unfinished = select(Round.id).where(Round.state.in_((*_BEING_MADE, RoundState.OPEN)))
    return session.scalar(unfinished.limit(1)) is not None


def open_next_automatically(session: Session, settings: Settings) -> Round | None:
    """Open the next round if the setting says so, none is unfinished, and no fine-tune or scoring is under way.

    The first round is opened by a person (or a program) that says so; the loop then keeps itself going.

    Raises:
        ConflictError: there is nothing to rank by yet, or only patches without scores are left.
    """
    if not settings.auto_rounds:
        return None
    started = session.scalar(select(Round.id).limit(1))
    busy = jobs.is_open(session, JobKind.FINE_TUNE) or scorings.is_under_way(session)
    if is_unfinished(session) or not started or busy:
        return None
    if not candidates.count(session, settings.min_valid_share, at_most=1):
        return None
    return open_round(session, settings, settings.round_strategy, settings.round_size)
