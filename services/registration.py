"""Register a scene: check everything that file headers show, then add the row and enqueue its tiling."""

from collections.abc import Callable
from dataclasses import asdict
from os.path import isfile
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from catalog import jobs
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import NOT_USED, Job, JobKind, Scene, SceneRole, SceneState
from catalog.settings import Settings
from imagery.band_names import bands_of_file
from imagery.border import BorderSource
from imagery.channels import ELEVATION
from imagery.classes import ClassScheme
from imagery.describe_scene import describe
from imagery.errors import OutlineError, SceneError
from imagery.grid import Window, footprints_overlap, tile
from imagery.raster_file import check_vrt_below
from imagery.scene_source import BandSource, SceneSource
from imagery.units import METRE, REFLECTANCE
from services.channel_rules import check_champion, check_choice
from services.class_scheme import agreed_scheme, store_scheme
from services.outline_check import check_outlines, outline_layers
from services.scene_removal import remove_scene
from services.scene_request import SceneRequest
from services.scenes import source_of
from services.unit_rules import bands_in_unit, check_against_scenes

Resolve = Callable[[str], str]


def below(root: Path) -> Resolve:
    """Return a function that resolves file names below one folder, and refuses every other path.

    What a virtual raster is composed of must lie there, too.
    """

    def resolve(name: str) -> str:
        path = (root / name).resolve()
        # Unlike Path.is_file, isfile returns False for a name that is too long for the file system, instead of raising.
        if not path.is_relative_to(root.resolve()) or not isfile(path):  # noqa: PTH113
            raise SceneError(f"found no file {name!r} below the scene root of this server; copy it there first")
        check_vrt_below(str(path), root)
        return str(path)

    return resolve


def register(catalog: Catalog, request: SceneRequest, resolve: Resolve) -> tuple[Scene, Job]:
    """Store a scene and enqueue its tiling.

    Args:
        catalog: the catalog.
        request: the scene.
        resolve: turns file names into paths, and refuses files that the caller may not read.

    Raises:
        SceneError: the files do not form a scene, or a channel of the network is missing.
        OutlineError: the outlines name an unknown class or cannot be used, a scene to judge by has none, or the border
            misses the scene.
        ConflictError: the name is taken, the ground belongs to a scene of another role, or the setting `class_scheme`
            contradicts the classes of this installation.
    """
    with catalog.read() as session:
        scheme = agreed_scheme(session, catalog.settings)
    scene = describe_scene(catalog.settings, request, resolve, scheme)
    has_champion = check_champion(catalog, source_of(scene))
    # The write lock is taken only now: reading files and asking MLflow may be slow, and label events would wait.
    try:
        with catalog.write() as session:
            return store_scene(session, catalog.settings, scene, has_champion=has_champion)
    except IntegrityError as error:  # another request inserted the same name after our query
        raise _taken(request.name) from error


def describe_scene(settings: Settings, request: SceneRequest, resolve: Resolve, scheme: ClassScheme) -> Scene:
    """Check the files of a scene, except against other scenes; return its row, which is not yet stored.

    Raises:
        SceneError: as `register`.
        OutlineError: as `register`.
    """
    region = Window(**request.region.model_dump()) if request.region else None
    bands = bands_in_unit(_bands(request, resolve), request.unit)
    source = describe(
        bands,
        region,
        request.nodata,
        level=request.level if any(band.unit == REFLECTANCE for band in bands) else None,
        dem=BandSource(ELEVATION, resolve(request.dem.path), request.dem.index, unit=METRE) if request.dem else None,
        border=BorderSource(resolve(request.border.path), request.border.layer) if request.border else None,
    )
    size = request.patch_size_px or settings.patch_size_px
    overlap = settings.patch_overlap_px if request.patch_overlap_px is None else request.patch_overlap_px
    tile(source.grid.width, source.grid.height, size, overlap)  # refuses a scene smaller than a patch
    outlines = [
        outline
        for item in request.outlines
        for outline in outline_layers(
            resolve(item.path), item.layer, scheme, item.class_name, item.class_field, item.classes
        )
    ]
    if request.role is not SceneRole.POOL and not outlines:
        raise OutlineError(f"a scene with the role {request.role.value!r} judges models: expected outlines, found none")
    check_outlines(outlines, source.grid, scheme)
    return Scene(
        name=request.name,
        role=request.role,
        sensor=request.sensor,
        acquired=request.acquired.isoformat().replace("+00:00", "Z") if request.acquired else None,
        source=source.to_json(),
        footprint=source.grid.footprint_wgs84().__geo_interface__,
        outlines=[asdict(item) for item in outlines],
        patch_size_px=size,
        patch_overlap_px=overlap,
    )


def store_scene(session: Session, settings: Settings, scene: Scene, *, has_champion: bool) -> tuple[Scene, Job]:
    """Check a scene against the registered scenes, add it, and enqueue its tiling.

    Raises:
        ConflictError: as `register`.
    """
    holder = session.scalar(select(Scene).where(Scene.name == scene.name))
    if holder is not None:
        if holder.state is not SceneState.REJECTED:
            raise _taken(scene.name)
        remove_scene(session, holder.id)  # a rejected scene does not keep its name
    check_beside_others(session, settings, scene, has_champion=has_champion)
    store_scheme(session, settings)
    session.add(scene)
    session.flush()
    return scene, jobs.enqueue(session, JobKind.TILE_SCENE, str(scene.id), scene_id=scene.id)


def check_beside_others(session: Session, settings: Settings, scene: Scene, *, has_champion: bool) -> None:
    """Check the ground, patch size and channels of a scene against those of the registered scenes.

    Raises:
        ConflictError: as `register`.
        SceneError: as `register`.
    """
    source = source_of(scene)
    _check_ground(session, source, scene.role)
    _check_patch_size(session, scene.patch_size_px, scene.role)
    check_against_scenes(session, source, allow_mixed_levels=False)
    if not has_champion:
        check_choice(session, settings, source, scene.role)


def _taken(name: str) -> ConflictError:
    return ConflictError(f"a scene named {name!r} is registered already; choose another name")


def _bands(request: SceneRequest, resolve: Resolve) -> tuple[BandSource, ...]:
    if (request.path is None) == (request.bands is None):
        raise SceneError("expected either 'path' (one file) or 'bands' (each with its file), found both or neither")
    if request.bands is not None:
        return tuple(BandSource(band.name, resolve(band.path), band.index) for band in request.bands)
    return bands_of_file(resolve(request.path or ""), request.sensor)


def _check_ground(session: Session, source: SceneSource, role: SceneRole) -> None:
    """Refuse a scene that overlaps one of another role: a model must not be judged on ground it learnt from."""
    others = select(Scene).where(Scene.role != role, Scene.state.not_in(NOT_USED))
    for other in session.scalars(others):
        if footprints_overlap(source.grid, source_of(other).grid):
            raise ConflictError(
                f"the scene shares ground with {other.name!r}, whose role is {other.role.value!r}; give regions that "
                "do not overlap"
            )


def _check_patch_size(session: Session, size: int, role: SceneRole) -> None:
    """Refuse a second patch size in the pool: patches of one training batch must be of one size."""
    pool = select(Scene).where(Scene.role == SceneRole.POOL, Scene.state.not_in(NOT_USED))
    for other in session.scalars(pool):
        if role is SceneRole.POOL and other.patch_size_px != size:
            raise ConflictError(
                f"patches of the pool are {other.patch_size_px} px (scene {other.name!r}), found {size} px; name "
                f"'patch_size_px': {other.patch_size_px}"
            )
