"""Register a scene: understand its files, check it against the other scenes, add the row and enqueue its tiling."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.installation import lock_installation
from catalog.records import NOT_USED, Job, JobKind, Label, Patch, RunState, Scene, SceneRole, SceneState, TrainingRun
from catalog.settings import Settings
from imagery.channels import named_channels
from imagery.grid import footprints_overlap
from imagery.ground_metric import pixel_size_m
from imagery.scene_source import SceneSource
from services.channel_rules import check_champion, check_choice
from services.class_scheme import agreed_scheme, store_scheme
from services.scene_description import DescribeScene, describe_scene
from services.scene_files import SceneFiles
from services.scene_removal import remove_scene
from services.scene_request import SceneRequest
from services.scene_summary import SceneSummary
from services.scenes import source_of
from services.unit_rules import check_against_scenes

_OTHER_SIZE: Final = 1.6  # above the ratio of Landsat's 30 m to Sentinel-2's 20 m, below that to 10 m


@dataclass(frozen=True)
class CheckedScene:
    """A scene that can be registered, as far as is known before the write lock is taken.

    Attributes:
        scene: its row, not yet stored.
        summary: what was understood.
        has_champion: whether a model version decides on the channels.
    """

    scene: Scene
    summary: SceneSummary
    has_champion: bool


def check(
    catalog: Catalog, request: SceneRequest, files: SceneFiles, describe: DescribeScene = describe_scene
) -> CheckedScene:
    """Understand the files of a scene and make every check; store nothing.

    Args:
        catalog: the catalog.
        request: the scene.
        files: the files that the caller may read.
        describe: understands the files: here, or contained in a process of its own.

    Raises:
        SceneError: the files do not form a scene; or it lacks a channel of the network, or has it in another unit or,
            unless levels may be mixed, of another level.
        OutlineError: the outlines name an unknown class or cannot be used, a scene to judge by has none, or the border
            misses the scene.
        ConflictError: the name is taken, the ground belongs to a scene of another role, versions learnt from the ground
            of a scene to judge by, or the setting `class_scheme` contradicts the classes of this installation.
    """
    with catalog.read() as session:
        scheme = agreed_scheme(session, catalog.settings)
    described = describe(catalog.settings, request, files, scheme)
    scene = described.scene
    has_champion = check_champion(catalog, scene)
    with catalog.read() as session:
        _check_name(session, scene.name)
        check_beside_others(session, catalog.settings, scene, has_champion=has_champion)
    notes = (scene.product or {})["notes"]
    return CheckedScene(scene, described.summary.model_copy(update={"notes": notes}), has_champion)


def register(catalog: Catalog, checked: CheckedScene) -> tuple[Scene, Job]:
    """Store a scene and enqueue its tiling.

    Raises:
        SceneError: as `check`, if another scene was registered meanwhile.
        ConflictError: likewise.
    """
    scene = checked.scene
    try:
        with catalog.write() as session:
            return store_scene(session, catalog.settings, scene, has_champion=checked.has_champion)
    except IntegrityError as error:  # another request inserted the same name after our query
        raise _taken(scene.name) from error


def store_scene(session: Session, settings: Settings, scene: Scene, *, has_champion: bool) -> tuple[Scene, Job]:
    """Check a scene against the registered scenes, add it, and enqueue its tiling.

    Raises:
        ConflictError: as `check`.
        SceneError: as `check`.
    """
    lock_installation(session)
    rejected = _check_name(session, scene.name)
    if rejected is not None:
        remove_scene(session, rejected.id)  # a rejected scene does not keep its name
    check_beside_others(session, settings, scene, has_champion=has_champion)
    store_scheme(session, settings)
    session.add(scene)
    session.flush()
    return scene, jobs.enqueue(session, JobKind.TILE_SCENE, str(scene.id), scene_id=scene.id)


def check_beside_others(session: Session, settings: Settings, scene: Scene, *, has_champion: bool) -> None:
    """Check ground, patch size, channels and units of a scene against those of the registered scenes.

    If its level differs knowingly, this is added to its notes.

    Raises:
        ConflictError: as `check`.
        SceneError: as `check`.
    """
    source = source_of(scene)
    _check_ground(session, source, scene.role)
    if scene.role is not SceneRole.POOL:
        _check_not_learnt(session, source)
    _check_patch_size(session, scene.patch_size_px, scene.role)
    product = scene.product or {}
    chosen = named_channels(settings.channel_choice, ())
    notes = check_against_scenes(session, source, chosen, allow_mixed_levels=product.get("allow_mixed_levels", False))
    notes += _differing_pixels(session, source)
    scene.product = {**product, "notes": list(dict.fromkeys([*product.get("notes", ()), *notes]))}
    if not has_champion:
        check_choice(session, settings, source, scene.role)


def _taken(name: str) -> ConflictError:
    return ConflictError(f"a scene named {name!r} is registered already; choose another name")


def _check_name(session: Session, name: str) -> Scene | None:
    """Refuse a name that is taken; return the rejected scene that has it, or None."""
    holder = session.scalar(select(Scene).where(Scene.name == name))
    if holder is not None and holder.state is not SceneState.REJECTED:
        raise _taken(name)
    return holder


def _check_ground(session: Session, source: SceneSource, role: SceneRole) -> None:
    """Refuse a scene that overlaps one of another role: a model must not be judged on ground it learnt from."""
    others = select(Scene).where(Scene.role != role, Scene.state.not_in(NOT_USED))
    for other in session.scalars(others):
        if footprints_overlap(source.grid, source_of(other).grid):
            raise ConflictError(
                f"the scene shares ground with {other.name!r}, whose role is {other.role.value!r}; give regions that "
                "do not overlap"
            )


def _check_not_learnt(session: Session, source: SceneSource) -> None:
    """Refuse to judge on the ground of a pool scene that is in use no more, if versions learnt from it."""
    others = select(Scene).where(Scene.role == SceneRole.POOL, Scene.state.in_(NOT_USED))
    for other in session.scalars(others):
        grid = source_of(other).grid
        if footprints_overlap(source.grid, grid) and _is_learnt(session, other):
            left, bottom, right, top = grid.bounds
            raise ConflictError(
                "versions may have learnt from ground of this scene, when it was that of the pool scene "
                f"{other.name!r} (x {left:.10g} to {right:.10g}, y {bottom:.10g} to {top:.10g} in {grid.crs}), so that "
                "judging them there would flatter them; give a region that does not overlap it, or the role 'pool'"
            )


def _is_learnt(session: Session, scene: Scene) -> bool:
    """Return whether a version learnt from labels of a scene, or may have learnt from its prior outlines.

    All whose training began since the scene was registered may have, unless it was rejected at once: when a scene was
    removed is not noted.
    """
    had_priors = scene.prior_outlines is not None and (scene.state is SceneState.REMOVED or scene.revision > 0)
    labels = set(session.scalars(select(Label.id).join(Patch).where(Patch.scene_id == scene.id)))
    unfinished = TrainingRun.state.in_((RunState.OPEN, RunState.INTERRUPTED))
    return any(
        not labels.isdisjoint(run.label_ids) or (had_priors and run.created_at >= scene.registered_at)
        for run in session.scalars(select(TrainingRun).where(TrainingRun.model_version.is_not(None) | unfinished))
    )


def _differing_pixels(session: Session, source: SceneSource) -> list[str]:
    """Return a note about the first scene in use whose pixels are of another size on the ground, if there is one."""
    size = max(pixel_size_m(source.grid))
    for other in session.scalars(select(Scene).where(Scene.state.not_in(NOT_USED)).order_by(Scene.id)):
        found = max(pixel_size_m(source_of(other).grid))
        if max(size, found) > _OTHER_SIZE * min(size, found):
            return [
                f"its pixels are of {size:.3g} m, those of the scene {other.name!r} of {found:.3g} m, so that to a "
                "network glaciers differ in size by as much: give scenes of one pixel size if you can (gdalwarp -tr)"
            ]
    return []


def _check_patch_size(session: Session, size: int, role: SceneRole) -> None:
    """Refuse a second patch size in the pool: patches of one training batch must be of one size."""
    pool = select(Scene).where(Scene.role == SceneRole.POOL, Scene.state.not_in(NOT_USED))
    for other in session.scalars(pool):
        if role is SceneRole.POOL and other.patch_size_px != size:
            raise ConflictError(
                f"patches of the pool are {other.patch_size_px} px (scene {other.name!r}), found {size} px; name "
                f"'patch_size_px': {other.patch_size_px}"
            )
