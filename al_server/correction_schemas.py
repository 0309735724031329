"""Schemas of windows of scenes and of corrections on the map."""

from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from al_server.map_schemas import LayerName, VersionChoice
from al_server.pixel_schemas import WindowOfScene
from services.corrections import LARGEST_SIDE
from services.request_types import MAX_INTEGER, Body, Closed, Integer

LARGEST_VIEW: Final = 2 * LARGEST_SIDE
"""Most pixels along a side of a view: the corrected window with its surroundings."""
LARGEST_BANDS: Final = 512
"""Most pixels along a side of bands and superpixels, which strokes and clicks need."""


class WindowQuery(WindowOfScene):
    """A window of a scene, in its own pixels."""

    height: int = Field(ge=1, le=LARGEST_VIEW)
    width: int = Field(ge=1, le=LARGEST_VIEW)


class LayerWindow(WindowQuery, VersionChoice):
    """A window, and a model version."""


class SuperpixelQuery(WindowQuery):
    """A window, and how large its superpixels are."""

    side_px: int = Field(12, ge=4, le=128, description="side of a square with the mean area of a superpixel")


class PlaceQuery(Closed):
    """A box on the ground, or a place if both corners are the same; degrees (WGS 84)."""

    west: float = Field(ge=-180, le=180)
    south: float = Field(ge=-90, le=90)
    east: float = Field(ge=-180, le=180)
    north: float = Field(ge=-90, le=90)


class WindowAnswer(BaseModel):
    """A window of a scene, in its own pixels, and the scene's size."""

    row_off: int
    col_off: int
    height: int
    width: int
    scene_height: int
    scene_width: int


class ShownMap(Closed):
    """The map that a correction began with."""

    layer: LayerName
    version: int | None = Field(None, ge=1, le=MAX_INTEGER)


class CorrectionRequest(Body):
    """A corrected window of a scene."""

    id: UUID = Field(description="made by the client; what is submitted twice under one id is one correction")
    row_off: Integer
    col_off: Integer
    height: int = Field(ge=1, le=LARGEST_SIDE)
    width: int = Field(ge=1, le=LARGEST_SIDE)
    runs: list[Integer] = Field(
        min_length=2,
        max_length=2 * LARGEST_SIDE**2,
        description="the classes row by row, as value, length, value, length, ...; the value 255: not judged",
    )
    shown: ShownMap | None = Field(description="what the correction began with; null: nothing, all background")
    seconds: float = Field(ge=0, le=86_400, description="working time")


class CorrectionAnswer(BaseModel):
    """A correction in the ledger."""

    id: UUID
    label_events: list[int] = Field(description="one for each patch; the ledger says what becomes of them")
    judged_px: int
    edited_px: int = Field(description="judged pixels whose class differs from what was shown")
