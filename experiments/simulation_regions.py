"""The region of a simulation: registered scenes by their roles, or one scene cut into three strips."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from catalog.context import Catalog
from experiments.areas import StudyArea, example_area, registered_areas
from experiments.patches import common_channels
from experiments.region import PARTS, Part, Raster, Region
from imagery.classes import BACKGROUND, GLACIER_SCHEME, UNKNOWN, ClassScheme
from imagery.errors import SceneError
from imagery.grid import Window
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from services.class_scheme import class_scheme
from services.experiment_options import Example
from services.study_scenes import check_roles
from workers.recipe import input_channels

MOST_VALUES: Final = 2**29
"""Most values of all channels of all scenes together: 2 GiB."""

_STRIPS: Final[Mapping[Part, tuple[float, float]]] = {"test": (0, 0.25), "pool": (0.25, 0.75), "validation": (0.75, 1)}


def registered_region(catalog: Catalog, names: Sequence[str], patch_px: int) -> tuple[Region, list[StudyArea]]:
    """Return the region that registered scenes make by their roles, and these scenes.

    Args:
        catalog: The catalog that holds the scenes.
        names: Names of scenes; a single one is cut into strips; if empty, all scenes that have outlines.
        patch_px: Side of the patches.

    Raises:
        ConflictError: A scene cannot be used (`services.study_scenes.study_scenes`), a role has no scene with outlines,
            or the scenes differ in the unit of a channel.
        SceneError: A scene cannot be read, is too small or too large, or shows background only.
    """
    areas = registered_areas(catalog, names)
    check_roles({area.name: area.role for area in areas}, names)
    scheme = class_scheme(catalog)
    if len(set(names)) == 1:
        return in_strips(areas[0], scheme, patch_px), areas
    by_part: dict[Part, list[StudyArea]] = {
        part: [area for area in areas if area.role is not None and area.role.value == part] for part in PARTS
    }
    used = [area for part in PARTS for area in by_part[part]]
    channels = _channels(used)
    parts = {part: tuple(_read(area, channels) for area in by_part[part]) for part in PARTS}
    name = f"{len(used)}-scenes"
    return checked(Region(name, scheme, channels, parts, patch_px)), used


def example_region(name: Example, folder: Path, patch_px: int) -> tuple[Region, list[StudyArea]]:
    """Return the region of an example scene, cut into strips; its files are written to a folder."""
    area = example_area(name, folder)
    return in_strips(area, GLACIER_SCHEME, patch_px), [area]


def in_strips(area: StudyArea, scheme: ClassScheme, patch_px: int) -> Region:
    """Return a scene cut across its longer side: the first quarter is the test, the last the validation region.

    Raises:
        SceneError: The scene cannot be read, is too small or too large, or a strip shows background only.
    """
    channels = _channels([area])
    whole = _read(area, channels)
    parts = {part: (whole.cut(_strip(whole.shape, *ends)),) for part, ends in _STRIPS.items()}
    return checked(Region(area.name, scheme, channels, parts, patch_px))


def checked(region: Region) -> Region:
    """Return the region, whose parts each hold a patch and a class besides background; SceneError otherwise."""
    for part, rasters in region.parts.items():
        for raster in rasters:
            raster.windows(region.patch_px)
        if not any(((raster.truth != BACKGROUND) & (raster.truth != UNKNOWN)).any() for raster in rasters):
            raise SceneError(
                f"found background only in the {part} region of {region.name}; expected some pixels of "
                f"{region.scheme.foreground}: take scenes, or a scene, with outlines in every part"
            )
    return region


def _channels(areas: Sequence[StudyArea]) -> tuple[str, ...]:
    """Return the channels that all areas have; refuse areas that are too large together or differ in a unit."""
    channels = common_channels(areas)
    input_channels(channels, [area.source for area in areas])
    pixels = sum(area.source.grid.height * area.source.grid.width for area in areas)
    if pixels * len(channels) > MOST_VALUES:
        raise SceneError(
            f"found {pixels / 1e6:.0f} million pixels of {len(channels)} channels; expected at most "
            f"{MOST_VALUES / len(channels) / 1e6:.0f} million, since all are kept in memory: register smaller parts "
            "of these scenes, and name them"
        )
    return channels


def _read(area: StudyArea, channels: Sequence[str]) -> Raster:
    window = area.source.grid.window
    with SceneReader(area.source) as reader:
        image, unmasked = reader.read(channels, window), reader.valid_mask(window)
    truth = np.where(unmasked, read_map(area.truth, window), UNKNOWN).astype(np.uint8)
    return Raster(image, truth, truth, unmasked)


def _strip(shape: tuple[int, int], start: float, end: float) -> Window:
    height, width = shape
    first, last = (round(max(shape) * share) for share in (start, end))
    return Window(0, first, height, last - first) if width >= height else Window(first, 0, last - first, width)
