"""Find scenes, and convert rows of scenes and patches to the types of `imagery`."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog import set_aside
from catalog.errors import ConflictError, NotFoundError
from catalog.paging import Cut, cut_out
from catalog.records import NOT_USED, Patch, Scene, SceneRole, SceneState
from catalog.set_aside import Kind
from imagery.grid import Grid, Window
from imagery.masks import OutlineLayer
from imagery.scene_source import SceneSource
from services.prior_outlines import PriorOutlines

STRIP_ROWS = 64  # processing a strip takes about ten times its size in memory


def source_of(scene: Scene) -> SceneSource:
    """Return where the scene's bands are, and its grid."""
    return SceneSource.from_json(scene.source)


def outlines_of(scene: Scene) -> list[OutlineLayer]:
    """Return the outlines that came with the scene."""
    return [OutlineLayer(**item) for item in scene.outlines]


def priors_of(scene: Scene) -> PriorOutlines | None:
    """Return the prior outlines that came with the scene; None if it has none."""
    return None if scene.prior_outlines is None else PriorOutlines.from_json(scene.prior_outlines)


def day_of(scene: Scene) -> date | None:
    """Return the day (UTC) on which the scene was acquired, if known."""
    return date.fromisoformat(scene.acquired[: len("2000-10-30")]) if scene.acquired else None


def window_of(patch: Patch) -> Window:
    """Return the window of a patch, relative to its scene's grid."""
    return Window(patch.row_off, patch.col_off, patch.size_px, patch.size_px)


def strips_of(grid: Grid) -> Iterator[Window]:
    """Yield windows of up to ``STRIP_ROWS`` full rows that cover a scene from north to south without overlap."""
    for row in range(0, grid.height, STRIP_ROWS):
        yield Window(row, 0, min(STRIP_ROWS, grid.height - row), grid.width)


def find_scene(session: Session, scene_id: int) -> Scene:
    """Fetch a scene that has not been removed.

    Raises:
        NotFoundError: there is no such scene.
    """
    scene = session.get(Scene, scene_id)
    if scene is None or scene.state is SceneState.REMOVED:
        raise NotFoundError(f"there is no scene {scene_id}")
    return scene


def scene_by_name(session: Session, name: str) -> Scene:
    """Fetch a scene by its name.

    Raises:
        NotFoundError: there is no such scene.
    """
    scene = session.scalar(select(Scene).where(Scene.name == name, Scene.state != SceneState.REMOVED))
    if scene is None:
        raise NotFoundError(f"there is no scene named {name!r}; `glacier-al scene list` names all")
    return scene


def registered_scenes(session: Session, cut: Cut | None = None) -> Sequence[Scene]:
    """Return the scenes that were not removed, ordered by id; all of them, or a page."""
    kept = select(Scene).where(Scene.state != SceneState.REMOVED)
    return session.scalars(cut_out(kept, Scene.id, cut, newest_first=False)).all()


def check_unchanged(session: Session, scenes: Iterable[Scene]) -> None:
    """Check that scenes are still those that were read, once something was made of their files.

    Raises:
        ConflictError: One was replaced or removed meanwhile.
    """
    for scene in scenes:
        stored = session.get(Scene, scene.id)
        if stored is None or stored.state in NOT_USED or stored.revision != scene.revision:
            raise ConflictError(f"scene {scene.name} was replaced or removed meanwhile; have it made again")


def ready_scenes(session: Session, roles: Iterable[SceneRole]) -> list[Scene]:
    """Return the tiled scenes with these roles that are not set aside, ordered by id."""
    statement = select(Scene).where(
        Scene.state == SceneState.READY,
        Scene.role.in_(list(roles)),
        Scene.id.not_in(set_aside.numbers(Kind.SCENE)),
    )
    return list(session.scalars(statement.order_by(Scene.id)))
