"""The ground that experiments are made on: scenes whose truth is known, registered ones or the two examples."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final, Literal, get_args

from sqlalchemy import select

from catalog import raster_keys
from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Scene, SceneState
from imagery import everest
from imagery.masks import mask_to_geotiff, rasterize_outlines
from imagery.scene import SceneSource, describe
from imagery.synthetic import write_scene
from workers.scenes import day_of, raster_store, source_of

Example = Literal["everest", "synthetic"]
EXAMPLES: Final[tuple[Example, ...]] = get_args(Example)

SYNTHETIC_SIDE_PX: Final = 2048
SYNTHETIC_SEED: Final = 0


@dataclass(frozen=True)
class StudyArea:
    """A scene with its truth.

    Attributes:
        name: The scene's name.
        source: Where its bands are, and its grid.
        truth: Address of its truth map, on the same grid (`imagery.maps.read_map`).
        acquired: Day of the image, if known.
    """

    name: str
    source: SceneSource
    truth: str
    acquired: date | None


def registered_areas(catalog: Catalog, names: Sequence[str]) -> list[StudyArea]:
    """Find registered scenes, in the order of their registration.

    Args:
        catalog: Where they are registered.
        names: Their names; without any, all scenes that have outlines.

    Raises:
        ConflictError: A name is unknown, a scene is not ready or has no outlines, or there is none at all.
    """
    with catalog.read() as session:
        scenes = session.scalars(select(Scene).order_by(Scene.id)).all()
    usable = [scene for scene in scenes if scene.state is SceneState.READY and scene.outlines]
    by_name = {scene.name: scene for scene in usable}
    if missing := sorted(set(names) - set(by_name)):
        raise ConflictError(
            f"found no scene that is ready and has outlines named {', '.join(missing)}; such scenes are: "
            f"{', '.join(by_name) or 'none'} (see `glacier-al scene list`)"
        )
    if not usable:
        raise ConflictError(
            "found no registered scene with outlines, so nothing to learn from or judge by; register one with "
            "`glacier-al scene add --outlines`, or try `--example everest`"
        )
    store = raster_store(catalog)
    chosen = [by_name[name] for name in by_name if name in names] if names else usable
    return [
        StudyArea(scene.name, source_of(scene), store.uri(raster_keys.truth(scene.id)), day_of(scene))
        for scene in chosen
    ]


def example_area(name: Example, folder: Path) -> StudyArea:
    """Make an area for users without data: Mount Everest with four bands, or a synthetic scene with all 15 channels.

    Args:
        name: Which.
        folder: Gets the files; written anew each time, the same every time.

    Raises:
        SceneError: The wheel that carries the Everest scene is not installed.
    """
    return _everest(folder / name) if name == "everest" else _synthetic(folder / name)


def _everest(folder: Path) -> StudyArea:
    scene = everest.prepare(folder)
    source = describe(scene.bands)
    truth = folder / "truth.tif"
    truth.write_bytes(mask_to_geotiff(rasterize_outlines(scene.outlines, source.grid), source.grid))
    return StudyArea("everest", source, str(truth), everest.ACQUIRED)


def _synthetic(folder: Path) -> StudyArea:
    scene = write_scene(folder, SYNTHETIC_SIDE_PX, SYNTHETIC_SIDE_PX, SYNTHETIC_SEED)
    return StudyArea("synthetic", describe(scene.bands, dem=scene.dem), str(scene.truth), None)
