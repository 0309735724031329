"""What those who label are not shown, so that the checks of their labels stay blind.

A round asks for some patches again, or for patches of which the truth is known (`workers.check_choices`). Whoever could
look up the earlier label or the truth on our own pages would not be measured. Operators, who may read which patches are
checks, see everything.
"""

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import Session

from al_server.auth import has_role
from al_server.context import current_catalog
from catalog.access_records import Role
from catalog.check_candidates import is_honeypot_waiting
from catalog.records import Patch, PatchState, Scene, SceneRole


def are_labels_withheld(patch: Patch) -> bool:
    """Return whether the caller may not see the labels of a patch now: a task for it waits for its annotator.

    This holds for every patch that waits, so that it does not tell which of them are checks. Nothing may name such a
    patch as one that was proposed or labelled before, either.
    """
    return patch.state is PatchState.PROPOSED and not has_role(Role.OPERATOR)


def labels_shown() -> ColumnElement[bool]:
    """Return the condition on patches whose labels the caller may see now, as `are_labels_withheld` tells of one."""
    return true() if has_role(Role.OPERATOR) else Patch.state != PatchState.PROPOSED


def is_truth_public(session: Session, scene: Scene) -> bool:
    """Return whether everybody may see the truth that a scene was registered with: it measures no annotator.

    That of the pool does while ``honeypot_share`` is above 0, and from then on until no honeypot waits any more.
    """
    if scene.role is not SceneRole.POOL:
        return True
    return current_catalog().settings.honeypot_share == 0 and not is_honeypot_waiting(session)


def may_see_truth(session: Session, scene: Scene) -> bool:
    """Return whether the caller may see the truth that a scene was registered with."""
    return has_role(Role.OPERATOR) or is_truth_public(session, scene)
