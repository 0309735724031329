"""Limits on the size of a scene, checked from the headers of its files before pixels are read."""

from collections.abc import Sequence
from math import prod

from catalog.settings import Settings
from imagery.errors import SceneError
from imagery.grid import Grid, count_tiles
from imagery.ground_metric import pixel_size_m
from imagery.scene_source import FileGrid


def check_size(settings: Settings, grid: Grid, resampled: Sequence[FileGrid], size: int, overlap: int) -> None:
    """Check the pixels of a scene, those of finer files on its ground, and the number of its patches.

    Args:
        settings: the settings.
        grid: the scene's grid.
        resampled: its files on other grids.
        size: side of a patch, pixels.
        overlap: of neighbouring patches, pixels.

    Raises:
        SceneError: there are more than the settings allow; or the scene is smaller than a patch.
    """
    largest = settings.scene_max_pixels
    if grid.width * grid.height > largest:
        raise SceneError(
            f"found a scene of {grid.width} x {grid.height} pixels ({grid.width * grid.height:,}); expected at most "
            f"{largest:,} (setting scene_max_pixels): give a part of it ('region'), cut it into several scenes, or "
            "raise the setting"
        )
    ground_m2 = prod(pixel_size_m(grid)) * grid.width * grid.height
    for item in resampled:
        pixels = min(item.grid.width * item.grid.height, int(ground_m2 / prod(pixel_size_m(item.grid))))
        if pixels > largest:
            raise SceneError(
                f"{item.path}: found about {pixels:,} pixels on the ground of the scene; expected at most {largest:,} "
                "(setting scene_max_pixels): give a file of a coarser resolution, or raise the setting"
            )
    patches = count_tiles(grid.width, grid.height, size, overlap)
    if patches > settings.scene_max_patches:
        raise SceneError(
            f"found a scene of {patches:,} patches of {size} px with an overlap of {overlap} px; expected at most "
            f"{settings.scene_max_patches:,} (setting scene_max_patches): choose larger patches ('patch_size_px'), or "
            "raise the setting"
        )
