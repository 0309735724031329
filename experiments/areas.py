"""The study areas of experiments: scenes whose true classes are known, registered ones or the two examples."""

import fcntl
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from catalog.context import Catalog
from catalog.records import Scene, SceneRole
from imagery import everest
from imagery.classes import GLACIER_SCHEME
from imagery.describe_scene import describe
from imagery.errors import SceneError
from imagery.masks import mask_to_geotiff, rasterize_outlines
from imagery.scene_source import SceneSource
from imagery.synthetic import write_scene
from services import raster_keys
from services.experiment_options import Example
from services.places import raster_store
from services.scenes import check_unchanged, day_of, source_of
from services.study_scenes import study_scenes

SYNTHETIC_SIDE_PX: Final = 2048
SYNTHETIC_SEED: Final = 0

EVEREST_CAUTION: Final = (
    "On the Everest scene glacier outlines are RGI's, but a rule on red, blue and near infrared separates debris from "
    "clean ice, and the networks are fed these bands: the debris IoU says how well they learn that rule."
)
SYNTHETIC_CAUTION: Final = (
    "The synthetic truth has no errors, which makes it easier than a real one, above all for pixel classifiers; and by "
    "design the relief decides where debris lies."
)

_EXAMPLE_FORMAT: Final = 1  # raise it when a change of the code changes the files of an example
_AREA_FILE: Final = "area.json"  # written last: with it, the files of an example are complete


@dataclass(frozen=True)
class StudyArea:
    """A scene with its true classes.

    Attributes:
        name: The scene's name.
        source: Its bands and its grid.
        truth: URI of the map of its true classes, on the same grid (`imagery.maps.read_map`).
        acquired: Day of the image, if known.
        caution: What readers of results must know about the truth, if anything.
        scene: The registered scene as it was read; None of an example.
    """

    name: str
    source: SceneSource
    truth: str
    acquired: date | None
    caution: str | None = None
    scene: Scene | None = None

    @property
    def role(self) -> SceneRole | None:
        """Role of a registered scene; None of an example."""
        return None if self.scene is None else self.scene.role


def registered_areas(catalog: Catalog, names: Sequence[str]) -> list[StudyArea]:
    """Return registered scenes as study areas, in the order of their registration.

    Args:
        catalog: The catalog that holds the scenes.
        names: Names of scenes; if empty, all scenes that have outlines.

    Raises:
        ConflictError: As `services.study_scenes.study_scenes`.
    """
    with catalog.read() as session:
        scenes = study_scenes(session, names)
    store = raster_store(catalog)
    return [
        StudyArea(scene.name, source_of(scene), store.uri(raster_keys.truth(scene.id)), day_of(scene), scene=scene)
        for scene in scenes
    ]


def check_areas(catalog: Catalog | None, areas: Sequence[StudyArea]) -> None:
    """Check that registered scenes are still those that were read; examples do not change.

    Raises:
        ConflictError: One was replaced or removed meanwhile.
    """
    if catalog is not None:
        with catalog.read() as session:
            check_unchanged(session, [area.scene for area in areas if area.scene is not None])


def example_area(name: Example, folder: Path) -> StudyArea:
    """Return an area for users without data: Mount Everest with four bands, or a synthetic scene with 15 channels.

    Args:
        name: The example.
        folder: Gets the files, unless it has them already.

    Raises:
        SceneError: The wheel that carries the Everest scene is not installed.
    """
    home = folder / f"{name}-{_EXAMPLE_FORMAT}"
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be writing the same files
        area = _read(home / _AREA_FILE)
        if area is None:
            area = _everest(home) if name == "everest" else _synthetic(home)
            _write(home / _AREA_FILE, area)
    return area


def _everest(folder: Path) -> StudyArea:
    scene = everest.prepare(folder)
    source = describe(scene.bands)
    truth = folder / "truth.tif"
    truth.write_bytes(
        mask_to_geotiff(rasterize_outlines(scene.outlines, source.grid, GLACIER_SCHEME), source.grid, GLACIER_SCHEME)
    )
    return StudyArea("everest", source, str(truth), everest.ACQUIRED, EVEREST_CAUTION)


def _synthetic(folder: Path) -> StudyArea:
    scene = write_scene(folder, SYNTHETIC_SIDE_PX, SYNTHETIC_SIDE_PX, SYNTHETIC_SEED)
    return StudyArea("synthetic", describe(scene.bands, dem=scene.dem), str(scene.truth), None, SYNTHETIC_CAUTION)


def _write(path: Path, area: StudyArea) -> None:
    known = {"name": area.name, "source": area.source.to_json(), "truth": area.truth, "caution": area.caution}
    path.write_text(json.dumps(known | {"acquired": area.acquired.isoformat() if area.acquired else None}))


def _read(path: Path) -> StudyArea | None:
    """Return a stored example; None if it is incomplete, lacks a file, or was described by another release."""
    if not path.exists():
        return None
    known = json.loads(path.read_text())
    try:
        source = SceneSource.from_json(known["source"])
    except SceneError:
        return None
    if not all(Path(file).exists() for file in (known["truth"], *(raster.path for raster in source.rasters))):
        return None
    acquired = date.fromisoformat(known["acquired"]) if known["acquired"] else None
    return StudyArea(known["name"], source, known["truth"], acquired, known["caution"])
