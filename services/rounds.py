"""Open and abandon rounds."""

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import candidates, jobs, labels, proposal_locks, rounds, scorings, training
from catalog.errors import ConflictError
from catalog.records import JobKind, Proposal, Round, RoundState, Scoring, now
from catalog.settings import PatchPart, Settings, Strategy
from services import strategies
from services.prior_disagreement import PRIOR_DISAGREEMENT
from services.strategies import RegisteredStrategy


def open_round(
    session: Session,
    settings: Settings,
    strategy: str,
    size: int,
    seed: int | None = None,
    part: PatchPart = PatchPart.WHOLE,
    second_looks: int | None = None,
) -> Round:
    """Add a round and enqueue the job that chooses its patches.

    Args:
        session: a writing session.
        settings: for ``min_valid_share`` and the strategy's own settings.
        strategy: a name of ``services.strategies``.
        size: number of patches to choose.
        seed: seed of the random choices; the id of the round by default.
        part: what to ask for of each patch; a round of a strategy without scores asks for whole patches.
        second_looks: how many of these patches are to be labelled ones, whose labels the newest scoring contradicts;
            by default the share ``second_look_share``, as far as there are such labels.

    Raises:
        ConflictError: a round is being made, the pool has no patch left, what the strategy or a second look needs does
            not exist, or more second looks are wanted than patches.
        ValueError: there is no such strategy.
    """
    making = rounds.being_made(session)
    if making is not None:
        raise ConflictError(f"round {making.id} is still {making.state}; wait until it is open, or abandon it")
    if second_looks:
        _check_second_looks(session, second_looks, size)
    if second_looks == size:  # nothing is left to choose: none of the strategy's needs matters
        strategy = Strategy.RANDOM
    elif not candidates.count(session, settings.min_valid_share, at_most=1):
        raise ConflictError(
            "found no patch in the pool that could be proposed; register a scene with the role 'pool', or wait until "
            "it is tiled"
        )
    without_labels = (RoundState.FAILED, RoundState.ABANDONED)
    earlier = session.scalar(select(func.count(Round.id)).where(Round.state.not_in(without_labels))) or 0
    by_outlines = scorings.newest(session) is not None and training.has_priors(session)
    chosen = strategies.resolve(strategy, earlier, settings, by_outlines)
    scoring = _scoring_for(session, settings, chosen) if chosen.needs.scoring else None
    new = Round(
        strategy=chosen.name,
        measure=chosen.needs.measure,
        part=part if scoring is not None else PatchPart.WHOLE,
        size=size,
        seed=0,
        scoring_id=scoring.id if scoring is not None else None,
    )
    try:
        with session.begin_nested():
            session.add(new)
    except IntegrityError as error:
        raise ConflictError("another round was opened at this very moment; wait until it is open") from error
    new.seed = seed if seed is not None else new.id
    asked = {} if second_looks is None else {"second_looks": second_looks}
    jobs.enqueue(session, JobKind.PROPOSE_ROUND, str(new.id), round_id=new.id, **asked)
    return new


def _check_second_looks(session: Session, second_looks: int, size: int) -> None:
    """Refuse second looks that a round cannot hold or that nothing can rank.

    Raises:
        ConflictError: there are more than patches in the round, or no version has scored the pool.
    """
    if second_looks > size:
        raise ConflictError(f"found {second_looks} second looks in a round of {size} patches; expected at most {size}")
    if scorings.newest(session) is None:
        raise ConflictError(
            "found no scoring that could contradict a label; wait until a version has scored the pool, or open a round "
            "without second looks"
        )


def _scoring_for(session: Session, settings: Settings, strategy: RegisteredStrategy) -> Scoring:
    """Return the newest scoring.

    Raises:
        ConflictError: there is none, or it lacks what the strategy needs.
    """
    scoring, measure = scorings.newest(session), strategy.needs.measure
    if scoring is None:
        raise ConflictError(
            f"strategy {strategy.name!r} needs the pool to be scored, but no version has scored the pool yet; label a "
            "round of strategy 'random' first, or wait for the running job"
        )
    if strategy.needs.monte_carlo and scorings.has_screened_patches(session, scoring):
        raise ConflictError(
            f"strategy {strategy.name!r} needs all passes of Monte Carlo dropout on every patch, but version "
            f"{scoring.model_version} has scored some by one pass only; set mc_shortlist_share to 1 and wait "
            "until the pool is scored, or choose another strategy"
        )
    if measure and not candidates.count(session, settings.min_valid_share, 1, scoring.id, measure):
        if measure == PRIOR_DISAGREEMENT and not training.has_priors(session):
            raise ConflictError(
                f"strategy {strategy.name!r} ranks by contradictions to prior outlines, but no scene of the pool has "
                "any; choose another strategy"
            )
        raise ConflictError(
            f"strategy {strategy.name!r} ranks by {measure}, but every patch that version {scoring.model_version} gave "
            "such a score has been proposed; wait until the rest of the pool is scored, or choose 'random'"
        )
    return scoring


def open_next_automatically(session: Session, settings: Settings) -> Round | None:
    """Open the next round if ``auto_rounds`` is set, the last has ended and is learnt, and the pool is scored since.

    The first round is never opened automatically, and none while the newest one is failed: a person retries that one or
    opens another, since what it failed of would most likely fail the next one, too, at every tick of the clock. Labels
    that are changed after the last round has ended hold up nothing (`catalog.training.must_learn_first`).

    Raises:
        ConflictError: the pool is not scored yet, or only patches without scores are left.
    """
    if not settings.auto_rounds:
        return None
    newest = rounds.newest(session)
    if newest is None or newest.state is RoundState.FAILED:
        return None
    busy = jobs.is_open(session, JobKind.FINE_TUNE) or scorings.is_under_way(session)
    if rounds.is_unfinished(session) or busy or training.must_learn_first(session):
        return None
    if not candidates.count(session, settings.min_valid_share, at_most=1):
        return None
    return open_round(session, settings, settings.round_strategy, settings.round_size, part=settings.round_part)


def abandon(session: Session, round_id: int) -> Round:
    """End a round early, so that its unanswered patches may be proposed again.

    Labels stay. A job removes the tasks that nobody has begun from Label Studio; an annotation that still arrives
    becomes a label like any other.

    Raises:
        NotFoundError: there is no such round.
        ConflictError: it has already ended.
    """
    rounds.get(session, round_id)
    proposal_locks.lock_all(session, Proposal.round_id == round_id)
    abandoned = rounds.lock(session, round_id)
    if abandoned.state not in {RoundState.CHOOSING, RoundState.PUBLISHING, RoundState.OPEN}:
        raise ConflictError(f"round {round_id} is {abandoned.state} already; only an unfinished round can be abandoned")
    abandoned.state, abandoned.completed_at = RoundState.ABANDONED, now()
    session.flush()
    for kind in (JobKind.PROPOSE_ROUND, JobKind.PUBLISH_ROUND):
        making = jobs.last_of(session, kind, str(round_id))
        if making is not None and making.state in jobs.OPEN:
            jobs.request_cancel(session, making.id)
    unanswered = select(Proposal).where(Proposal.round_id == round_id, Proposal.state.in_(rounds.UNANSWERED))
    for proposal in session.scalars(unanswered.order_by(Proposal.id)).all():
        labels.refresh_states(session, proposal, skipped=False)
    jobs.enqueue(session, JobKind.REMOVE_TASKS, str(round_id), round_id=round_id)
    return abandoned
