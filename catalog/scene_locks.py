"""What rests on a scene waits for its removal or replacement, and the other way round.

Who removes or replaces a scene locks its row (`services.scene_removal.lock_scene`). Who stores something that rests on
one holds it and looks at its state again: what was read before may be out of date.

So that nobody waits in a circle, the installation is locked first of all; proposals and label events before scenes;
patches, labels and jobs after them (`catalog.proposal_locks` names the order of proposals, patches and rounds). Who
locks a scene, and does not only hold it, locks no round.
"""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.records import Patch, Scene, SceneState


def hold(session: Session, scene_id: int) -> Scene:
    """Fetch a scene afresh; nobody can change it, and others can hold it too, until the session ends.

    PostgreSQL locks the row; on SQLite only one session writes at a time anyway.
    """
    return session.get_one(Scene, scene_id, with_for_update={"read": True}, populate_existing=True)


def all_ready(session: Session, patch_ids: Collection[int]) -> bool:
    """Hold the scenes of patches; return whether all the patches are there, and their scenes are ready."""
    of_patches = Patch.id.in_(patch_ids)
    for scene_id in session.scalars(select(Patch.scene_id).where(of_patches).distinct().order_by(Patch.scene_id)).all():
        hold(session, scene_id)
    ready = select(Patch.id).join(Scene, Patch.scene_id == Scene.id).where(of_patches, Scene.state == SceneState.READY)
    return set(session.scalars(ready)) == set(patch_ids)
