"""Remove a scene that was registered by mistake or rejected.

The row of a removed scene stays, under another name: its id must not be reused, because keys in the raster store
contain it.
"""

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.errors import ConflictError
from catalog.event_order import SAVED
from catalog.job_queue import ASKED_BY_READERS
from catalog.records import (
    EventState,
    Job,
    JobKind,
    JobState,
    Label,
    LabelEvent,
    Patch,
    Proposal,
    Round,
    Scene,
    SceneState,
    Score,
    Shard,
)
from catalog.rounds import UNANSWERED
from services import corrections
from services.scenes import find_scene

_NAME_LENGTH = 100  # length of the column scenes.name


def remove_scene(session: Session, scene_id: int) -> Scene:
    """Remove a scene with its patches and scores; its name and area can be used again. Files are kept.

    Args:
        session: a writing session.
        scene_id: of the scene.

    Raises:
        NotFoundError: there is no such scene.
        ConflictError: it has labels, what was drawn on it waits to be ingested, proposals wait for annotators, or a job
            is working on it.
    """
    scene = lock_scene(session, scene_id)
    if has_labels(session, scene):
        raise ConflictError(
            f"labels were drawn on scene {scene.name!r}, and model versions may have learnt from them; it stays"
        )
    retire_scene(session, scene)
    return scene


def lock_scene(session: Session, scene_id: int) -> Scene:
    """Fetch a scene afresh and lock it, since it may be tiled at this moment.

    Raises:
        NotFoundError: there is no such scene.
    """
    scene = find_scene(session, scene_id)
    session.refresh(scene, with_for_update=True)
    return scene


def has_labels(session: Session, scene: Scene) -> bool:
    """Return whether labels were ever drawn on a scene, superseded ones included."""
    labelled = select(Label.id).join(Patch, Label.patch_id == Patch.id).where(Patch.scene_id == scene.id)
    return session.scalar(labelled.limit(1)) is not None


def retire_scene(session: Session, scene: Scene) -> None:
    """Give up a scene with its scores and the patches that were never proposed; its name and ground are free again.

    Raises:
        ConflictError: what was drawn on it waits to be ingested, proposals wait for annotators, or a job is working on
            it.
    """
    _check_nothing_waits(session, scene)
    check_not_asked_about(session, scene)
    stop_jobs(session, scene)
    forget_scores(session, scene)
    # Patches with proposals stay: withdrawn and abandoned proposals are the history of their rounds.
    session.execute(delete(Patch).where(Patch.scene_id == scene.id, ~exists().where(Proposal.patch_id == Patch.id)))
    suffix = f" (removed {scene.id})"
    scene.name = scene.name[: _NAME_LENGTH - len(suffix)] + suffix
    scene.state, scene.patch_count = SceneState.REMOVED, 0
    session.flush()


def stop_jobs(session: Session, scene: Scene) -> None:
    """Cancel the queued jobs that are about a scene.

    Raises:
        ConflictError: one of them is running.
    """
    for job in _open_jobs(session, scene):
        if job.state is JobState.RUNNING:
            raise ConflictError(f"the job {job.key} works on scene {scene.name!r}; cancel it ({job.id}) or wait")
        jobs.request_cancel(session, job.id)


def forget_scores(session: Session, scene: Scene) -> None:
    """Delete the scores of a scene in all scorings, which then lack it, as if it had been added later."""
    patches = select(Patch.id).where(Patch.scene_id == scene.id)
    session.execute(delete(Score).where(Score.patch_id.in_(patches)))
    session.execute(delete(Shard).where(Shard.scene_id == scene.id))


def check_not_asked_about(session: Session, scene: Scene) -> None:
    """Refuse to go on while a round asks annotators about a scene.

    Raises:
        ConflictError: a round does.
    """
    of_scene = Patch.scene_id == scene.id
    asked = (
        select(Round.id)
        .join(Proposal, Proposal.round_id == Round.id)
        .join(Patch, Proposal.patch_id == Patch.id)
        .where(of_scene, Proposal.state.in_(UNANSWERED))
        .limit(1)
    )
    round_id = session.scalar(asked)
    if round_id is not None:
        raise ConflictError(f"round {round_id} asks annotators about scene {scene.name!r}; abandon the round first")


def _check_nothing_waits(session: Session, scene: Scene) -> None:
    """Refuse to go on while answers or corrections were received that are no labels yet: nobody counted them.

    Raises:
        ConflictError: there are some.
    """
    answered = (
        select(LabelEvent.id)
        .join(Proposal, LabelEvent.proposal_id == Proposal.id)
        .join(Patch, Proposal.patch_id == Patch.id)
        .where(Patch.scene_id == scene.id, LabelEvent.state == EventState.RECEIVED, LabelEvent.action.in_(SAVED))
    )
    if session.scalar(answered.limit(1)) is not None or corrections.are_waiting(session, scene.id):
        raise ConflictError(
            f"labels that were drawn on scene {scene.name!r} wait to be ingested; wait until that is done, then say "
            "again what becomes of the scene"
        )


def _open_jobs(session: Session, scene: Scene) -> list[Job]:
    """Return the open jobs that are about this scene or one of its shards."""
    kinds = (JobKind.TILE_SCENE, JobKind.SCORE_SHARD, *ASKED_BY_READERS)
    shards = set(session.scalars(select(Shard.id).where(Shard.scene_id == scene.id)))
    candidates = session.scalars(select(Job).where(Job.kind.in_(kinds), Job.state.in_(jobs.OPEN)))
    named = ("scene_id", "earlier", "later")  # a comparison names two scenes
    return [
        job
        for job in candidates
        if scene.id in {job.subject.get(name) for name in named} or job.subject.get("shard_id") in shards
    ]
