"""From rows to imagery: what a scene, its outlines and a patch are to the functions that read pixels."""

from collections.abc import Iterable, Iterator
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.records import Patch, Scene, SceneRole, SceneState
from imagery.grid import Grid, Window
from imagery.masks import OutlineLayer
from imagery.scene import SceneSource

STRIP_ROWS = 64  # a strip takes some ten times its size in memory while it is worked on


def source_of(scene: Scene) -> SceneSource:
    """Return where the scene's bands are, and its grid."""
    return SceneSource.from_json(scene.source)


def outlines_of(scene: Scene) -> list[OutlineLayer]:
    """Return the outlines that came with the scene."""
    return [OutlineLayer(**item) for item in scene.outlines]


def day_of(scene: Scene) -> date | None:
    """Return the day (UTC) on which the scene was acquired, if known."""
    return date.fromisoformat(scene.acquired[: len("2000-10-30")]) if scene.acquired else None


def window_of(patch: Patch) -> Window:
    """Return the window of a patch, relative to its scene's grid."""
    return Window(patch.row_off, patch.col_off, patch.size_px, patch.size_px)


def strips_of(grid: Grid) -> Iterator[Window]:
    """Cover a scene from north to south without overlap, so that no pixel counts twice."""
    for row in range(0, grid.height, STRIP_ROWS):
        yield Window(row, 0, min(STRIP_ROWS, grid.height - row), grid.width)


def ready_scenes(session: Session, roles: Iterable[SceneRole]) -> list[Scene]:
    """Return the tiled scenes of some roles, in the order of their ids."""
    statement = select(Scene).where(Scene.state == SceneState.READY, Scene.role.in_(list(roles)))
    return list(session.scalars(statement.order_by(Scene.id)))
