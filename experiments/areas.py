"""The ground that experiments are made on: scenes whose truth is known, registered ones or the two examples."""

import fcntl
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, get_args

from sqlalchemy import select

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import Scene, SceneState
from imagery import everest
from imagery.describe_scene import describe
from imagery.grid import footprints_overlap
from imagery.masks import mask_to_geotiff, rasterize_outlines
from imagery.scene_source import SceneSource
from imagery.synthetic import write_scene
from services import raster_keys
from services.places import raster_store
from services.scenes import day_of, source_of

Example = Literal["everest", "synthetic"]
EXAMPLES: Final[tuple[Example, ...]] = get_args(Example)

SYNTHETIC_SIDE_PX: Final = 2048
SYNTHETIC_SEED: Final = 0

EVEREST_CAUTION: Final = (
    "On the Everest scene glacier outlines are RGI's, but debris is told from clean ice by a rule on red, blue and "
    "near infrared, which the networks are fed: its IoU says how well that rule is learnt."
)
SYNTHETIC_CAUTION: Final = (
    "The synthetic truth holds no error, which makes it easier than a real one, for classifiers of single pixels above "
    "all; and debris lies where the relief says, by design."
)

_EXAMPLE_FORMAT: Final = 1  # to be raised when a change of the code changes the files of an example
_KNOWN: Final = "area.json"  # written last: an example that has it is complete


@dataclass(frozen=True)
class StudyArea:
    """A scene with its truth.

    Attributes:
        name: The scene's name.
        source: Where its bands are, and its grid.
        truth: Address of its truth map, on the same grid (`imagery.maps.read_map`).
        acquired: Day of the image, if known.
        caution: What a reader must know of the truth, if anything.
    """

    name: str
    source: SceneSource
    truth: str
    acquired: date | None
    caution: str | None = None


def registered_areas(catalog: Catalog, names: Sequence[str]) -> list[StudyArea]:
    """Find registered scenes, in the order of their registration.

    Args:
        catalog: Where they are registered.
        names: Their names; without any, all scenes that have outlines.

    Raises:
        ConflictError: A name is unknown, a scene is not ready or has no outlines, there is none at all, or two of them
            share ground: what trains a network would also judge it.
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
    areas = [
        StudyArea(scene.name, source_of(scene), store.uri(raster_keys.truth(scene.id)), day_of(scene))
        for scene in usable
        if not names or scene.name in names
    ]
    _check_apart(areas)
    return areas


def example_area(name: Example, folder: Path) -> StudyArea:
    """Give an area for users without data: Mount Everest with four bands, or a synthetic scene with all 15 channels.

    Args:
        name: Which.
        folder: Gets the files, or has them from before.

    Raises:
        SceneError: The wheel that carries the Everest scene is not installed.
    """
    home = folder / f"{name}-{_EXAMPLE_FORMAT}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another experiment may be writing the very files
        known = _read(home / _KNOWN)
        if known is None:
            known = _everest(home) if name == "everest" else _synthetic(home)
            _write(home / _KNOWN, known)
    return known


def _check_apart(areas: Sequence[StudyArea]) -> None:
    for one, other in combinations(areas, 2):
        if footprints_overlap(one.source.grid, other.source.grid):
            raise ConflictError(
                f"found the scenes {one.name} and {other.name}, which share ground: windows that train a network would "
                "judge it too; name scenes that lie apart"
            )


def _everest(folder: Path) -> StudyArea:
    scene = everest.prepare(folder)
    source = describe(scene.bands)
    truth = folder / "truth.tif"
    truth.write_bytes(mask_to_geotiff(rasterize_outlines(scene.outlines, source.grid), source.grid))
    return StudyArea("everest", source, str(truth), everest.ACQUIRED, EVEREST_CAUTION)


def _synthetic(folder: Path) -> StudyArea:
    scene = write_scene(folder, SYNTHETIC_SIDE_PX, SYNTHETIC_SIDE_PX, SYNTHETIC_SEED)
    return StudyArea("synthetic", describe(scene.bands, dem=scene.dem), str(scene.truth), None, SYNTHETIC_CAUTION)


def _write(path: Path, area: StudyArea) -> None:
    known = {"name": area.name, "source": area.source.to_json(), "truth": area.truth, "caution": area.caution}
    path.write_text(json.dumps(known | {"acquired": area.acquired.isoformat() if area.acquired else None}))


def _read(path: Path) -> StudyArea | None:
    """The example as it was left, unless it is incomplete or its files were moved."""
    if not path.exists():
        return None
    known = json.loads(path.read_text())
    source = SceneSource.from_json(known["source"])
    if not all(Path(file).exists() for file in (known["truth"], *(raster.path for raster in source.rasters))):
        return None
    acquired = date.fromisoformat(known["acquired"]) if known["acquired"] else None
    return StudyArea(known["name"], source, known["truth"], acquired, known["caution"])
