"""State transitions of a round: it is opened, filled with proposals, published, and completed."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from catalog import jobs, proposal_locks, scene_locks
from catalog.errors import ConflictError, NotFoundError
from catalog.paging import Cut, cut_out
from catalog.records import (
    JobKind,
    Patch,
    PatchState,
    Proposal,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    RunState,
    TrainingRun,
    now,
)

BEING_MADE = (RoundState.CHOOSING, RoundState.PUBLISHING)
ONGOING = (*BEING_MADE, RoundState.OPEN)
"""States of a round that is not yet open to annotators."""
ENDED = (RoundState.COMPLETE, RoundState.ABANDONED)
"""States of a round that may have taught something and for which nobody is waited."""
UNANSWERED = (ProposalState.CHOSEN, ProposalState.PUBLISHED)
"""States of a proposal that waits for its annotator."""
CONTROLS = (ProposalReason.SHORTLIST_CONTROL, ProposalReason.CONTROL)
"""Reasons of patches that are drawn at random, to compare what a strategy chooses with them."""


@dataclass(frozen=True)
class Choice:
    """A candidate that a strategy chose, with the reason and its score.

    Attributes:
        patch_id: Id of the patch.
        reason: Why it was chosen.
        score: Its score by the round's measure; None without one.
        region: Run lengths of the pixels asked for (`catalog.pixel_regions`); None: all of them.
    """

    patch_id: int
    reason: ProposalReason
    score: float | None
    region: Sequence[int] | None = None


@dataclass(frozen=True)
class Progress:
    """The proposals of a round.

    Attributes:
        states: How many are in each state.
        reasons: How many were made for each reason that occurs, with a score (True) and without (False).
        expected_edits_px: Pixels that annotators are expected to change in them, as each starts; None if that was
            estimated for none.
    """

    states: dict[ProposalState, int]
    reasons: dict[tuple[ProposalReason, bool], int]
    expected_edits_px: float | None = None


def listed(session: Session, cut: Cut) -> Sequence[Round]:
    """Return a page of the rounds, newest first."""
    return session.scalars(cut_out(select(Round), Round.id, cut, newest_first=True)).all()


def get(session: Session, round_id: int) -> Round:
    """Fetch a round.

    Raises:
        NotFoundError: there is no such round.
    """
    found = session.get(Round, round_id)
    if found is None:
        raise NotFoundError(f"there is no round {round_id}")
    return found


def newest(session: Session) -> Round | None:
    """Return the round that was opened last, whatever became of it; None before the first."""
    return session.scalar(select(Round).order_by(Round.id.desc()).limit(1))


def lock(session: Session, round_id: int) -> Round:
    """Lock a round until the session ends, and return it freshly loaded.

    PostgreSQL locks the row; on SQLite only one session writes at a time anyway.
    """
    return session.get_one(Round, round_id, with_for_update=True, populate_existing=True)


def being_made(session: Session) -> Round | None:
    """Return the round that is being chosen or published; None if there is none, or if its publication failed."""
    given_up = (Round.state == RoundState.PUBLISHING) & Round.error.is_not(None)
    return session.scalar(select(Round).where(Round.state.in_(BEING_MADE), ~given_up).limit(1))


def count_scored(session: Session, before: int) -> int:
    """Count the rounds before that of this id that were chosen by the scores of a version, and not given up."""
    given_up = (RoundState.FAILED, RoundState.ABANDONED)
    earlier = Round.id < before, Round.scoring_id.is_not(None), Round.state.not_in(given_up)
    return session.scalar(select(func.count(Round.id)).where(*earlier)) or 0


def store_choices(session: Session, round_id: int, choices: Sequence[Choice]) -> bool:
    """Store choices as proposals, ranked in their order, and enqueue their publication. Idempotent.

    Returns:
        False, without storing anything, if a scene of theirs was removed or replaced since: choose again.
    """
    chosen_round = lock(session, round_id)
    if chosen_round.state is not RoundState.CHOOSING:
        return True
    if not scene_locks.all_ready(session, {choice.patch_id for choice in choices}):
        return False
    for rank, choice in enumerate(choices):
        session.add(
            Proposal(
                round_id=round_id,
                patch_id=choice.patch_id,
                region=None if choice.region is None else list(choice.region),
                rank=rank,
                reason=choice.reason,
                score=choice.score,
            )
        )
    session.flush()
    # After the round: nobody who has locked a patch waits for it, since it had no proposals.
    proposal_locks.lock_patches(session, {choice.patch_id for choice in choices})
    chosen = Patch.id.in_([choice.patch_id for choice in choices])
    session.execute(update(Patch).where(chosen).values(state=PatchState.PROPOSED))
    chosen_round.state = RoundState.PUBLISHING
    jobs.enqueue(session, JobKind.PUBLISH_ROUND, str(round_id), round_id=round_id)
    return True


def mark_published(session: Session, proposal_id: int, project_id: int, task_id: int, base_url: str) -> None:
    """Mark a proposal as published: store its Label Studio task, and the time and base URL of its image signatures.

    A proposal that was abandoned meanwhile stays so; the removal of its task is enqueued.
    """
    # Locked, because its round may be abandoned at this moment.
    proposal = proposal_locks.lock(session, proposal_id)
    move_task(proposal, project_id, task_id)
    note_images_signed(proposal, base_url)
    if proposal.state is ProposalState.CHOSEN:
        proposal.state = ProposalState.PUBLISHED
    elif proposal.state is ProposalState.ABANDONED:
        jobs.enqueue(session, JobKind.REMOVE_TASKS, str(proposal.round_id), round_id=proposal.round_id)


def move_task(proposal: Proposal, project_id: int | None, task_id: int | None) -> None:
    """Store another Label Studio task as the one that represents a proposal."""
    proposal.project_id, proposal.task_id = project_id, task_id


def note_task(proposal: Proposal, project_id: int | None, task_id: int | None) -> None:
    """Store the task of a proposal whose publication was cut off between Label Studio's import and the note of it."""
    if proposal.task_id is None:
        move_task(proposal, project_id, task_id)


def note_images_signed(proposal: Proposal, base_url: str) -> None:
    """Store the time and base URL of the image signatures, so that they can be renewed before they expire."""
    proposal.images_signed_at, proposal.images_base_url = now(), base_url


def note_project_deleted(session: Session, round_id: int, project_id: int) -> None:
    """Store the deletion of the Label Studio project as the error of a round, unless it is still being published."""
    ended = get(session, round_id)
    if ended.state is not RoundState.PUBLISHING:
        ended.error = f"its Label Studio project {project_id} was deleted; what nobody had labelled was withdrawn"


def mark_open(session: Session, round_id: int) -> None:
    """Open a round whose proposals all have tasks; if it was abandoned meanwhile, enqueue the removal of its tasks."""
    published = lock(session, round_id)
    if published.state is RoundState.ABANDONED:
        jobs.enqueue(session, JobKind.REMOVE_TASKS, str(round_id), round_id=round_id)
        return
    if published.state is RoundState.PUBLISHING:
        published.state, published.published_at, published.error = RoundState.OPEN, now(), None
    complete_if_answered(session, round_id)


def mark_failed(session: Session, round_id: int, error: str) -> None:
    """Store why a round could not be made. Only a round without proposals becomes failed; both can be retried."""
    failed = lock(session, round_id)  # it may be abandoned at this moment
    if failed.state is RoundState.ABANDONED:
        return
    failed.error = error
    if failed.state is RoundState.CHOOSING:
        failed.state = RoundState.FAILED


def reopen(session: Session, round_id: int) -> None:
    """Clear the error of a round before its job is retried, and return a failed round to "choosing".

    Raises:
        ConflictError: another round is being chosen.
    """
    failed = get(session, round_id)
    failed.error = None
    if failed.state is RoundState.FAILED:
        other = session.scalar(select(Round.id).where(Round.state == RoundState.CHOOSING))
        if other is not None:
            raise ConflictError(f"round {other} is being chosen; wait until it is open, then retry round {failed.id}")
        failed.state = RoundState.CHOOSING


def complete_if_answered(session: Session, round_id: int) -> None:
    """Complete an open round once none of its proposals waits for an annotator; reopen it if one waits again."""
    session.flush()
    locked = lock(session, round_id)  # two workers may ingest the last two labels at once
    waiting = session.scalar(
        select(func.count(Proposal.id)).where(Proposal.round_id == round_id, Proposal.state.in_(UNANSWERED))
    )
    if locked.state is RoundState.OPEN and not waiting:
        locked.state, locked.completed_at = RoundState.COMPLETE, now()
    elif locked.state is RoundState.COMPLETE and waiting:
        locked.state, locked.completed_at = RoundState.OPEN, None


def progress(session: Session, round_ids: Collection[int]) -> dict[int, Progress]:
    """Count the proposals of rounds, all of them in two queries.

    Returns:
        The counts of each round, by its id.
    """
    expected: dict[int, float] = {}
    edits = Proposal.round_id, Proposal.expected_edits, Proposal.preannotated_by
    estimated = Proposal.round_id.in_(round_ids) & Proposal.expected_edits.is_not(None)
    for round_id, found_edits, drawn_by in session.execute(select(*edits).where(estimated)):
        if found_edits is not None:
            start = "from_empty_px" if drawn_by is None else "from_proposal_px"
            expected[round_id] = expected.get(round_id, 0.0) + found_edits[start]
    found = {round_id: Progress(dict.fromkeys(ProposalState, 0), {}, expected.get(round_id)) for round_id in round_ids}
    kinds = Proposal.round_id, Proposal.state, Proposal.reason, Proposal.score.is_not(None)
    statement = select(*kinds, func.count()).where(Proposal.round_id.in_(round_ids)).group_by(*kinds)
    for round_id, state, reason, scored, count in session.execute(statement):
        if round_id is not None:
            found[round_id].states[state] += count
            key = reason, bool(scored)
            found[round_id].reasons[key] = found[round_id].reasons.get(key, 0) + count
    return found


def is_unfinished(session: Session) -> bool:
    """Return whether a round is being made or waits for annotators."""
    unfinished = select(Round.id).where(Round.state.in_((*BEING_MADE, RoundState.OPEN)))
    return session.scalar(unfinished.limit(1)) is not None


def note_run(session: Session, run_id: int) -> None:
    """Note a training run that begins as the first that learns the rounds that have ended since the last one began.

    Call this before the labels of the run are read: every label of a round is committed before the round has ended. A
    round that is complete again, after a correction, was noted before and stays so.
    """
    ended = update(Round).where(Round.state.in_(ENDED), Round.learnt_from_run.is_(None))
    session.execute(ended.values(learnt_from_run=run_id))


def with_controls(session: Session, round_ids: Collection[int]) -> set[int]:
    """Return those of these rounds that have controls."""
    found = select(Proposal.round_id).where(Proposal.round_id.in_(round_ids), Proposal.reason.in_(CONTROLS)).distinct()
    return {round_id for round_id in session.scalars(found) if round_id is not None}


def are_learnt(session: Session) -> bool:
    """Return whether every round that has ended was learnt: a run that began afterwards has finished.

    Order is that of the runs' ids, which no clock that is set can turn round.
    """
    ended = Round.state.in_(ENDED)
    if session.scalar(select(Round.id).where(ended, Round.learnt_from_run.is_(None)).limit(1)) is not None:
        return False
    needed = select(func.coalesce(func.max(Round.learnt_from_run), 0)).where(ended).scalar_subquery()
    finished = select(TrainingRun.id).where(TrainingRun.state == RunState.FINISHED, TrainingRun.id >= needed)
    return session.scalar(finished.limit(1)) is not None
