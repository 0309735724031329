"""Schemas of the map's requests and answers."""

from typing import Annotated, Final

from pydantic import BaseModel, Field

from al_server.schemas import SceneId
from imagery.tiles import DEEPEST_ZOOM
from services.map_layers import LayerKind
from services.request_types import MAX_INTEGER, Closed
from services.view_files import Box


class VersionChoice(Closed):
    """A model version."""

    version: int | None = Field(None, ge=1, le=MAX_INTEGER, description="by default the one that is served")


_NUMBER: Final = r"-?\d{1,3}(\.\d{1,15})?"


class PredictionQuery(VersionChoice):
    """Which files of a predicted scene are asked for."""

    bbox: str | None = Field(
        None,
        pattern=rf"^{_NUMBER}(,{_NUMBER}){{3}}$",
        description="west,south,east,north in degrees (WGS 84): the file is cut to the smallest window of pixels that "
        "holds this box. By default it is that of the whole scene",
    )

    @property
    def box(self) -> Box | None:
        """The view that the file is cut to."""
        if self.bbox is None:
            return None
        west, south, east, north = map(float, self.bbox.split(","))
        return Box(west=west, south=south, east=east, north=north)


class TileOf(Closed):
    """Of which state of a scene, or of a map, a tile is asked for."""

    of: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{24}$",
        description="as in the addresses that GET .../map tells: they change with the scene or the map, so that no "
        "browser shows a kept tile of an earlier one. The answer does not depend on it",
    )


class LayerTileOf(VersionChoice, TileOf):
    """Of which version, and of which state of its map, a tile is asked for."""


LayerName = Annotated[str, Field(pattern=r"^[a-z-]{1,40}$")]


class ViewPath(SceneId):
    """A view of a scene."""

    view: str = Field(pattern=r"^[\w-]{1,80}$")


class LayerPath(SceneId):
    """A map of a scene."""

    layer: LayerName


class _Tile(BaseModel):
    z: int = Field(ge=0, le=DEEPEST_ZOOM)
    x: int = Field(ge=0, lt=1 << DEEPEST_ZOOM)
    y: int = Field(ge=0, lt=1 << DEEPEST_ZOOM)


class ViewTile(_Tile, ViewPath):
    """A tile of a view."""


class LayerTile(_Tile, LayerPath):
    """A tile of a map."""


class ViewAnswer(BaseModel):
    """A view of a scene."""

    name: str
    title: str
    hint: str | None
    tiles: str = Field(description="address of its tiles, with {z}, {x} and {y}")


class ClassAnswer(BaseModel):
    """A class that is drawn."""

    value: int = Field(description="of its pixels in maps and labels")
    name: str
    colour: str


class ScaleAnswer(BaseModel):
    """How the values of a map are coloured."""

    quantity: str = Field(description="what its values are")
    unit: str
    low: float = Field(description="the value in the first colour")
    high: float = Field(description="the value in the last colour")
    colours: list[str] = Field(description="evenly spaced from `low` to `high`; linear between them")


class LayerAnswer(BaseModel):
    """A map that was made of a scene."""

    name: str
    title: str
    kind: LayerKind
    version: int | None
    checksum: str | None = Field(description="SHA-256 of its file, another one once it was made anew; null: not known")
    tiles: str = Field(description="address of its tiles, with {z}, {x} and {y}")
    classes: list[ClassAnswer] = Field(
        description="what its values mean, without background; a model may tell other classes apart than people draw. "
        "Empty: its values are no classes"
    )
    scale: ScaleAnswer | None = Field(description="how its values are coloured; null: they are classes")


class MapAnswer(BaseModel):
    """What can be shown of a scene."""

    bounds: tuple[float, float, float, float] = Field(description="west, south, east, north in degrees (WGS 84)")
    deepest_zoom: int = Field(description="zoom from which on a tile shows nothing more")
    views: list[ViewAnswer]
    layers: list[LayerAnswer]
    classes: list[ClassAnswer] = Field(description="those that people draw, without background")
