"""The life of a round: opened, filled with proposals, published, and complete when every proposal is dealt with."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, null, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import jobs
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
    Scene,
    SceneRole,
    SceneState,
    Score,
    Scoring,
    now,
)
from catalog.settings import Settings, Strategy

_BEING_MADE = (RoundState.CHOOSING, RoundState.PUBLISHING)
_UNANSWERED = (ProposalState.CHOSEN, ProposalState.PUBLISHED)


@dataclass(frozen=True)
class Candidate:
    """A patch that may be proposed: where it lies, and its score by the round's measure (None without one)."""

    patch_id: int
    scene_id: int
    row_off: int
    col_off: int
    size_px: int
    score: float | None


@dataclass(frozen=True)
class Choice:
    """A candidate that was chosen, and why."""

    patch_id: int
    reason: ProposalReason
    score: float | None


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
    if count_candidates(session, settings.min_valid_share) == 0:
        raise ConflictError(
            "found no patch in the pool that could be proposed; register a scene with the role 'pool', or wait until "
            "it is tiled"
        )
    if strategy is Strategy.RECIPE:
        past = session.scalar(select(func.count(Round.id)).where(Round.state != RoundState.FAILED)) or 0
        strategy = Strategy.RANDOM if past < settings.random_start_rounds else Strategy.ENTROPY_TOP10
    scoring = None
    if strategy is not Strategy.RANDOM:
        scoring = newest_scoring(session)
        if scoring is None:
            raise ConflictError(
                f"strategy {strategy.value!r} ranks by scores, but no version has scored the pool yet; label a round "
                "of strategy 'random' first, or wait for the running job"
            )
        if count_candidates(session, settings.min_valid_share, scoring.id) == 0:
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


def newest_scoring(session: Session) -> Scoring | None:
    """Return the scoring of the pool that was completed last: after a roll-back an older one is completed anew."""
    complete = select(Scoring).where(Scoring.completed_at.is_not(None))
    return session.scalar(complete.order_by(Scoring.completed_at.desc(), Scoring.id.desc()).limit(1))


def count_candidates(session: Session, min_valid_share: float, scoring_id: int | None = None) -> int:
    """Count the patches that may be proposed: of ready pool scenes, untouched, with enough valid pixels.

    Args:
        session: any session.
        min_valid_share: what is enough.
        scoring_id: count only those with scores by this scoring.
    """
    statement = select(func.count(Patch.id)).join(Scene, Scene.id == Patch.scene_id)
    statement = statement.where(*_may_be_proposed(min_valid_share))
    if scoring_id is not None:
        statement = statement.where(Patch.id.in_(select(Score.patch_id).where(Score.scoring_id == scoring_id)))
    return session.scalar(statement) or 0


def _may_be_proposed(min_valid_share: float) -> tuple[ColumnElement[bool], ...]:
    return (
        Scene.role == SceneRole.POOL,
        Scene.state == SceneState.READY,
        Patch.state == PatchState.UNLABELLED,
        Patch.valid_share >= min_valid_share,
    )


def candidates(session: Session, of_round: Round, min_valid_share: float) -> list[Candidate]:
    """Return the patches that may be proposed, with their scores by the round's measure, in the order of their ids."""
    score = null() if of_round.scoring_id is None else Score.value
    statement = (
        select(Patch.id, Patch.scene_id, Patch.row_off, Patch.col_off, Patch.size_px, score)
        .join(Scene, Scene.id == Patch.scene_id)
        .where(*_may_be_proposed(min_valid_share))
        .order_by(Patch.id)
    )
    if of_round.scoring_id is not None:
        of_patch = (Score.patch_id == Patch.id) & (Score.scoring_id == of_round.scoring_id)
        statement = statement.join(Score, of_patch & (Score.measure == of_round.strategy.value))
    return [Candidate(*row) for row in session.execute(statement)]


def store_choices(session: Session, round_id: int, choices: Sequence[Choice]) -> None:
    """Turn choices into proposals, most urgent first, and enqueue their publication. Does nothing a second time."""
    chosen_round = get(session, round_id)
    if chosen_round.state is not RoundState.CHOOSING:
        return
    for rank, choice in enumerate(choices):
        session.add(
            Proposal(round_id=round_id, patch_id=choice.patch_id, rank=rank, reason=choice.reason, score=choice.score)
        )
        session.get_one(Patch, choice.patch_id).state = PatchState.PROPOSED
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


def progress(session: Session, round_id: int) -> dict[ProposalState, int]:
    """Count the proposals of a round by state."""
    statement = select(Proposal.state, func.count()).where(Proposal.round_id == round_id).group_by(Proposal.state)
    counts = dict(session.execute(statement).all())
    return {state: counts.get(state, 0) for state in ProposalState}


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
    busy = jobs.is_open(session, JobKind.FINE_TUNE) or jobs.is_open(session, JobKind.SCORE_POOL)
    if is_unfinished(session) or not started or busy or count_candidates(session, settings.min_valid_share) == 0:
        return None
    return open_round(session, settings, settings.round_strategy, settings.round_size)
