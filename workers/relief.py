"""Elevation and slope of a scene, for the attributes of its outlines."""

from collections.abc import Iterator

from imagery.channels import ELEVATION, SLOPE
from imagery.outline_table import TerrainStrip
from imagery.scene_reader import SceneReader
from imagery.scene_source import SceneSource
from services.scenes import strips_of


def relief_of(source: SceneSource) -> Iterator[TerrainStrip] | None:
    """Return strips of elevation (m) and slope of a scene; None if it lacks either channel.

    Raises:
        SceneError: the scene cannot be read (as the strips are taken).
        OutlineError: its border cannot be read (likewise).
    """
    if not {ELEVATION, SLOPE} <= set(source.channel_names):
        return None
    return _strips(source)


def _strips(source: SceneSource) -> Iterator[TerrainStrip]:
    with SceneReader(source) as reader:
        for strip in strips_of(source.grid):
            yield TerrainStrip(strip.row_off, *reader.read((ELEVATION, SLOPE), strip))
