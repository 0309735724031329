"""Remove a scene that was registered by mistake or rejected.

The row of a removed scene stays, under another name: its id must not be reused, because keys in the raster store
contain it.
"""

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.errors import ConflictError
from catalog.records import Job, JobKind, JobState, Label, Patch, Proposal, Round, Scene, SceneState, Score, Shard
from catalog.rounds import UNANSWERED
from services.scenes import find_scene

_NAME_LENGTH = 100  # length of the column scenes.name


def remove_scene(session: Session, scene_id: int) -> Scene:
    """Remove a scene with its patches and scores; its name and area can be used again. Files are kept.

    Args:
        session: a writing session.
        scene_id: of the scene.

    Raises:
        NotFoundError: there is no such scene.
        ConflictError: it has labels, proposals wait for annotators, or a job is working on it.
    """
    scene = find_scene(session, scene_id)
    session.refresh(scene, with_for_update=True)  # it may be tiled at this moment
    _check_unused(session, scene)
    for job in _open_jobs(session, scene):
        if job.state is JobState.RUNNING:
            raise ConflictError(f"the job {job.key} works on scene {scene.name!r}; cancel it ({job.id}) or wait")
        jobs.request_cancel(session, job.id)
    patches = select(Patch.id).where(Patch.scene_id == scene_id)
    session.execute(delete(Score).where(Score.patch_id.in_(patches)))
    session.execute(delete(Shard).where(Shard.scene_id == scene_id))
    # Patches with proposals stay: withdrawn and abandoned proposals are the history of their rounds.
    session.execute(delete(Patch).where(Patch.scene_id == scene_id, ~exists().where(Proposal.patch_id == Patch.id)))
    suffix = f" (removed {scene.id})"
    scene.name = scene.name[: _NAME_LENGTH - len(suffix)] + suffix
    scene.state, scene.patch_count = SceneState.REMOVED, 0
    session.flush()
    return scene


def _check_unused(session: Session, scene: Scene) -> None:
    of_scene = Patch.scene_id == scene.id
    labelled = select(Label.id).join(Patch, Label.patch_id == Patch.id).where(of_scene).limit(1)
    if session.scalar(labelled) is not None:
        raise ConflictError(
            f"labels were drawn on scene {scene.name!r}, and model versions may have learnt from them; it stays"
        )
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


def _open_jobs(session: Session, scene: Scene) -> list[Job]:
    """Return the open jobs that are about this scene or one of its shards."""
    kinds = (JobKind.TILE_SCENE, JobKind.PREDICT_SCENE, JobKind.SCORE_SHARD)
    shards = set(session.scalars(select(Shard.id).where(Shard.scene_id == scene.id)))
    candidates = session.scalars(select(Job).where(Job.kind.in_(kinds), Job.state.in_(jobs.OPEN)))
    return [
        job for job in candidates if job.subject.get("scene_id") == scene.id or job.subject.get("shard_id") in shards
    ]
