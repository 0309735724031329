"""The state of the loop as one value, from which health and the next step follow (`services.next_step`)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog import candidates, jobs, rounds, scorings, set_aside, training
from catalog.data_set_records import DataSet
from catalog.job_queue import ASKED_BY_READERS
from catalog.jobs import OPEN
from catalog.paging import Cut
from catalog.records import (
    Job,
    JobKind,
    JobState,
    Label,
    Proposal,
    ProposalState,
    Round,
    RoundState,
    Scene,
    SceneRole,
    SceneState,
    Shard,
)
from catalog.settings import Settings
from services import canary, failed_events, outgoing_events
from services.forecast import Worth
from services.free_disk import free_bytes
from services.part_checks import part_faults

_TOLD_OTHERWISE: Final = (
    JobKind.INGEST_LABEL,
    JobKind.PROPOSE_ROUND,
    JobKind.PUBLISH_ROUND,
    JobKind.DESCRIBE_SCENE,
    JobKind.REPRODUCE_VERSION,
    *ASKED_BY_READERS,
)
_MAKING: Final = {RoundState.FAILED: JobKind.PROPOSE_ROUND, RoundState.PUBLISHING: JobKind.PUBLISH_ROUND}


@dataclass(frozen=True)
class RoundFacts:
    """The round that is not finished yet.

    Attributes:
        id: Its number.
        state: Its state.
        error: Why it could not be chosen or published.
        done: Patches that were labelled or skipped.
        waiting: Patches that wait for an annotator.
        job_id: The job that could not choose or publish it; None if it is open again.
    """

    id: int
    state: RoundState
    error: str | None = None
    done: int = 0
    waiting: int = 0
    job_id: str | None = None


@dataclass(frozen=True)
class Work:
    """A kind of work that is queued or running, and the seconds that it still needs, if known."""

    running: bool
    eta_s: float | None = None


@dataclass(frozen=True)
class FailedJob:
    """A job that failed and whose work nothing has done since."""

    id: str
    kind: JobKind
    error: str


@dataclass(frozen=True)
class Alert:
    """A canary alert that nobody has acknowledged."""

    id: int
    version: int | None


@dataclass(frozen=True)
class NewLabels:
    """The labels that no version has learnt from.

    Attributes:
        count: How many.
        needed: How many start a fine-tune.
        due_at: When the oldest of them starts one, however few they are; None without any.
        failed: The last fine-tune failed on them or was cancelled: it is not repeated by itself.
        job_id: Its job; None if there is none.
        end_a_round: A round that has ended is still to be learnt. With automatic rounds that starts a fine-tune.
    """

    count: int = 0
    needed: int = 20
    due_at: datetime | None = None
    failed: bool = False
    job_id: str | None = None
    end_a_round: bool = False


@dataclass(frozen=True)
class Situation:
    """What is known about the system at one moment.

    Attributes:
        faults: What is wrong with each part that does not answer.
        free_bytes: Free space of the data folder.
        failed_jobs: Newest first.
        failed_events: Number of label events that failed and with which something is left to do.
        rejected: Scenes that were rejected, with the reasons.
        alerts: Newest first.
        set_aside: Number of things that cannot be used and are left out.
        dead_deliveries: Number of events for others that were given up.
        scenes: Number of scenes by role and state.
        tiling: The work on scenes.
        rounds: Number of rounds so far, without failed and abandoned ones.
        round: The unfinished one; a failed one, if it is the newest.
        labels: Number of labels that stand.
        new: Those that no version has learnt from.
        fine_tune: The training.
        reproduction: Versions that are trained again, for which a fine-tune may have to wait.
        scoring: The scoring of the pool.
        is_scored: Whether a version has scored the pool.
        has_candidates: Whether the pool has a patch left to propose.
        learns_from_outlines: Whether a first version is still to learn from prior outlines, without labels.
        auto_rounds: Whether rounds after the first open by themselves.
        worth: Whether another round pays.
    """

    faults: Mapping[str, str] = field(default_factory=dict)
    free_bytes: int = 10**12
    failed_jobs: Sequence[FailedJob] = ()
    failed_events: int = 0
    rejected: Sequence[tuple[str, str]] = ()
    alerts: Sequence[Alert] = ()
    set_aside: int = 0
    dead_deliveries: int = 0
    scenes: Mapping[tuple[SceneRole, SceneState], int] = field(default_factory=dict)
    tiling: Work | None = None
    rounds: int = 0
    round: RoundFacts | None = None
    labels: int = 0
    new: NewLabels = field(default_factory=NewLabels)
    fine_tune: Work | None = None
    reproduction: Work | None = None
    scoring: Work | None = None
    is_scored: bool = False
    has_candidates: bool = False
    learns_from_outlines: bool = False
    auto_rounds: bool = False
    worth: Worth = Worth.CANNOT_TELL


def read_situation(session: Session, settings: Settings, worth: Worth = Worth.CANNOT_TELL) -> Situation:
    """Return the situation that the rows tell.

    Args:
        session: Any session.
        settings: The settings in force.
        worth: Whether another round pays (`services.forecast.worth`), which the registry is needed for.
    """
    given_up = (RoundState.FAILED, RoundState.ABANDONED)
    return Situation(
        faults={name: fault for name, fault in part_faults(session).items() if fault is not None},
        free_bytes=free_bytes(settings),
        failed_jobs=failed_jobs(session),
        failed_events=failed_events.count_left(session),
        rejected=_rejected(session),
        alerts=[
            Alert(row.id, row.decision.model_version) for row in canary.comparisons(session, Cut(10), standing=True)
        ],
        set_aside=len(set_aside.standing(session)),
        dead_deliveries=outgoing_events.count_given_up(session),
        scenes=_scenes(session),
        tiling=_work(session, JobKind.TILE_SCENE),
        rounds=session.scalar(select(func.count(Round.id)).where(Round.state.not_in(given_up))) or 0,
        round=_round(session),
        labels=session.scalar(select(func.count(Label.id)).where(Label.superseded_at.is_(None))) or 0,
        new=_new_labels(session, settings),
        fine_tune=_work(session, JobKind.FINE_TUNE),
        reproduction=_work(session, JobKind.REPRODUCE_VERSION),
        scoring=_scoring(session),
        is_scored=scorings.newest(session) is not None,
        has_candidates=candidates.count(session, settings.min_valid_share, at_most=1) > 0,
        learns_from_outlines=training.awaits_priors(session),
        auto_rounds=settings.auto_rounds,
        worth=worth,
    )


def _scenes(session: Session) -> dict[tuple[SceneRole, SceneState], int]:
    counted = select(Scene.role, Scene.state, func.count()).group_by(Scene.role, Scene.state)
    return {(role, state): count for role, state, count in session.execute(counted)}


def _rejected(session: Session) -> list[tuple[str, str]]:
    rejected = select(Scene.name, Scene.error).where(Scene.state == SceneState.REJECTED).order_by(Scene.id)
    return [(name, error or "no reason is known") for name, error in session.execute(rejected)]


def _round(session: Session) -> RoundFacts | None:
    """Return the round that people wait for: the newest that is not finished, or the newest of all if it failed."""
    newest = rounds.newest(session)
    if newest is None or newest.state is not RoundState.FAILED:
        unfinished = Round.state.in_((*rounds.BEING_MADE, RoundState.OPEN))
        newest = session.scalar(select(Round).where(unfinished).order_by(Round.id.desc()).limit(1))
    if newest is None:
        return None
    counted = select(Proposal.state, func.count()).where(Proposal.round_id == newest.id).group_by(Proposal.state)
    states: Counter[ProposalState] = Counter(dict(session.execute(counted).all()))
    return RoundFacts(
        newest.id,
        newest.state,
        newest.error,
        done=states[ProposalState.LABELLED] + states[ProposalState.SKIPPED],
        waiting=sum(states[state] for state in rounds.UNANSWERED),
        job_id=_unsuccessful(session, _MAKING.get(newest.state), str(newest.id)),
    )


def _unsuccessful(session: Session, kind: JobKind | None, key: str = "") -> str | None:
    """Return the id of the last job of a kind and key, if it failed or was cancelled."""
    job = jobs.last_of(session, kind, key) if kind is not None else None
    return job.id if job is not None and job.state in jobs.UNSUCCESSFUL else None


def _new_labels(session: Session, settings: Settings) -> NewLabels:
    new = training.new_labels(session)
    if not new:
        return NewLabels(needed=settings.fine_tune_after_labels)
    oldest = training.oldest(session, new)
    return NewLabels(
        count=len(new),
        needed=settings.fine_tune_after_labels,
        due_at=oldest + timedelta(seconds=settings.fine_tune_after_s),
        failed=training.failed_on(session, new),
        job_id=_unsuccessful(session, JobKind.FINE_TUNE),
        end_a_round=not rounds.are_learnt(session),
    )


def _work(session: Session, kind: JobKind) -> Work | None:
    found = session.scalars(select(Job).where(Job.kind == kind, Job.state.in_(OPEN))).all()
    if not found:
        return None
    known = [eta for job in found if (eta := jobs.eta_s(job)) is not None]
    return Work(any(job.state is JobState.RUNNING for job in found), max(known, default=None))


def _scoring(session: Session) -> Work | None:
    if not scorings.is_under_way(session):
        return None
    scoring = scorings.current(session)
    eta_s = scorings.progress(session, scoring).eta_s if scoring is not None else None
    return Work(eta_s is not None, eta_s)


def failed_jobs(session: Session) -> list[FailedJob]:
    """Return the failed jobs whose work nothing has done since, newest first."""
    failed = select(Job).where(Job.state == JobState.FAILED).order_by(Job.finished_at.desc())
    return [
        FailedJob(job.id, job.kind, job.error or "no reason is known")
        for job in session.scalars(failed)
        if _stands(session, job)
    ]


def _stands(session: Session, job: Job) -> bool:
    """Return whether the work of a failed job is still undone and wanted.

    A label event tells of its own failure, and so do a round and a request for a scene, whose sender waits for it. The
    page of a version tells that it could not be trained again, and whoever asked for a map learns from its job that
    there is none: these are answers, which the loop does not wait for.
    """
    if job.kind in _TOLD_OTHERWISE:
        return False
    later = select(Job.id).where(Job.key == job.key, Job.created_at > job.created_at, Job.state != JobState.CANCELLED)
    if session.scalar(later.limit(1)) is not None:
        return False
    if "shard_id" in job.subject:
        shard = session.get(Shard, job.subject["shard_id"])
        return shard is not None and shard.done_at is None and shard.scoring is scorings.current(session)
    if "scene_id" in job.subject:
        scene = session.get(Scene, job.subject["scene_id"])
        return scene is not None and scene.state not in {SceneState.REMOVED, SceneState.REJECTED}
    if job.kind in {JobKind.EXPORT_DATASET, JobKind.EXPORT_SUBMISSION, JobKind.RUN_EXPERIMENT}:  # removed: no row
        return session.scalar(select(DataSet.id).where(DataSet.job_id == job.id)) is not None
    return True
