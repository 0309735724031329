"""The scenes of simulations and experiments: registered ones whose true classes are known by outlines."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.errors import ConflictError
from catalog.records import Scene, SceneRole, SceneState
from imagery.grid import first_overlap
from services.experiment_options import examples
from services.scenes import source_of


def scenes_with_outlines(session: Session) -> list[Scene]:
    """Return the scenes that are ready and have outlines, in the order of their registration."""
    scenes = session.scalars(select(Scene).where(Scene.state == SceneState.READY).order_by(Scene.id))
    return [scene for scene in scenes if scene.outlines]


def study_scenes(session: Session, names: Sequence[str]) -> list[Scene]:
    """Return scenes with outlines by name, in the order of their registration.

    Args:
        session: A session for reading.
        names: Names of scenes; if empty, all scenes that have outlines.

    Raises:
        ConflictError: A name is unknown, a scene is not ready or has no outlines, there is none at all, or two of them
            overlap: pixels that train a network would also judge it.
    """
    usable = scenes_with_outlines(session)
    known = [scene.name for scene in usable]
    if missing := sorted(set(names) - set(known)):
        raise ConflictError(
            f"found no scene that is ready and has outlines named {', '.join(missing)}; such scenes are: "
            f"{', '.join(known) or 'none'}"
        )
    if not usable:
        raise ConflictError(
            "found no registered scene with outlines, so nothing to learn from or judge by; register one with its "
            f"outlines, or take an example: {', '.join(examples())}"
        )
    chosen = [scene for scene in usable if not names or scene.name in names]
    if overlap := first_overlap([source_of(scene).grid for scene in chosen]):
        one, other = (chosen[place].name for place in overlap)
        raise ConflictError(
            f"found the scenes {one} and {other}, which overlap: windows that train a network would judge it too; name "
            "scenes that do not overlap"
        )
    return chosen


def check_roles(roles: Mapping[str, SceneRole | None], names: Sequence[str]) -> None:
    """Refuse scenes that do not cover all roles of a simulation, unless a single one was named.

    Args:
        roles: Roles by names of the scenes.
        names: The names that were asked for.

    Raises:
        ConflictError: A role has no scene.
    """
    if len(set(names)) == 1 or set(SceneRole) <= set(roles.values()):
        return
    found = ", ".join(f"{name} ({role})" for name, role in roles.items())
    raise ConflictError(
        f"found outlines for {found}; expected scenes with outlines in each of three roles: pool, where the strategies "
        "choose patches; validation, by which the gate judges versions; test, where the strategies are compared. "
        "Register parts of a product as scenes of these roles, or name a single scene, which is then cut into three "
        f"strips: {next(iter(roles))}"
    )
