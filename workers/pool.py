"""What of the pool a model version has still to score. Light: the clock asks, and must not load torch."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import jobs, rounds
from catalog.records import Job, JobKind, JobState, Patch, Scene, SceneRole, SceneState, Score, Scoring
from catalog.settings import Settings


def unscored_scenes(session: Session, scoring: Scoring) -> list[Scene]:
    """Return the ready scenes of the pool that a scoring has not reached; their scores are stored scene by scene."""
    scored = select(Patch.scene_id).join(Score, Score.patch_id == Patch.id).where(Score.scoring_id == scoring.id)
    statement = select(Scene).where(
        Scene.role == SceneRole.POOL, Scene.state == SceneState.READY, Scene.id.not_in(scored)
    )
    return list(session.scalars(statement.order_by(Scene.id)))


def enqueue_if_unscored(session: Session, version: int, settings: Settings) -> Job | None:
    """Enqueue the scoring of the pool if this version, the champion, has not scored all of it by these settings.

    Whoever promotes a version or tiles a scene enqueues the scoring too, but finds the running job when there is one,
    which may be past the point; and a champion moved in MLflow's own page is noticed by nobody else. A scoring that
    failed is left to people: it would fail again.
    """
    newest = rounds.newest_scoring(session)
    wanted = (version, settings.mc_passes, settings.mc_seed)
    if newest is not None and (newest.model_version, newest.passes, newest.seed) == wanted:
        if not unscored_scenes(session, newest):
            return None
    elif not _has_pool(session):
        return None
    last = jobs.last_of(session, JobKind.SCORE_POOL)
    if last is not None and last.state is JobState.FAILED:
        return None
    return jobs.enqueue(session, JobKind.SCORE_POOL)


def _has_pool(session: Session) -> bool:
    statement = select(Scene.id).where(Scene.role == SceneRole.POOL, Scene.state == SceneState.READY)
    return session.scalar(statement.limit(1)) is not None
