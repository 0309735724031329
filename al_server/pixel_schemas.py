"""Schemas of requests for the pixels of a scene, and of the answers."""

from typing import Annotated, Final

from pydantic import BaseModel, Field

from al_server.map_schemas import VersionChoice
from imagery.grid import Window
from services.request_types import MAX_INTEGER, Closed, Integer

MOST_PIXELS: Final = 1_048_576
"""Most pixels of a window, 1024 x 1024: with ten channels an answer has 40 MB."""


class WindowOfScene(Closed):
    """A window of a scene, in its own pixels."""

    row_off: Integer = Field(description="first row")
    col_off: Integer = Field(description="first column")
    height: int = Field(ge=1, le=MAX_INTEGER)
    width: int = Field(ge=1, le=MAX_INTEGER)

    @property
    def window(self) -> Window:
        """The window."""
        return Window(self.row_off, self.col_off, self.height, self.width)


class PixelsQuery(WindowOfScene, VersionChoice):
    """A window of a scene, and the version whose channels are read."""

    width: int = Field(ge=1, le=MAX_INTEGER, description=f"height x width is at most {MOST_PIXELS}")


class GridAnswer(BaseModel):
    """Where the pixels of a scene lie; between the nodes everything is linear, to a few hundredths of a pixel."""

    width: int
    height: int
    crs: str = Field(description="authority code or WKT")
    transform: list[float] = Field(
        min_length=6,
        max_length=6,
        description="a to f: x = a col + b row + c, y = d col + e row + f; (0, 0) is the corner of the first pixel",
    )
    rows: list[float] = Field(description="rows of the nodes, 0 is the upper edge of the first row")
    columns: list[float] = Field(description="columns of the nodes")
    mercator: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        description="x and y of the nodes in Web Mercator (EPSG:3857), row by row; x goes on across the antimeridian"
    )
    pixel_m2: list[float] = Field(description="area of a pixel on the ellipsoid at the nodes, row by row")
