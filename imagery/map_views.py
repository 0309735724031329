"""How a map shows a scene: colour composites, single channels and the relief; and the maps that were made of it."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from imagery.channels import ASPECT_COS, ASPECT_SIN, INDICES, SLOPE
from imagery.composites import FALSE_COLOURS, composites_for, inferno
from imagery.errors import SceneError
from imagery.scene_source import SceneSource

HILLSHADE: Final = "hillshade"
_RELIEF: Final = (SLOPE, ASPECT_SIN, ASPECT_COS)
# The habit of cartography, from the upper left: with light from below, ridges are seen as valleys.
_SUN_AZIMUTH, _SUN_ELEVATION = np.radians(315.0), np.radians(45.0)
_FEW_COLOURS: Final = 32
_COMPOSITES: Final[Mapping[str, tuple[str, str, tuple[str, str, str]]]] = {
    "colour-infrared": ("Colour infrared", "plants are red, ice and snow white", ("nir", "red", "green")),
    "short-wave": ("Short-wave infrared", "ice is dark blue, cloud light", ("swir2", "swir1", "nir")),
    "snow-and-cloud": ("Snow and cloud", "snow and ice are red, cloud white", ("blue", "swir1", "swir2")),
}


@dataclass(frozen=True)
class MapView:
    """One way to show a scene.

    Attributes:
        name: Part of addresses.
        title: What people read.
        hint: What the colours mean, or None.
        channels: What is read: three channels as red, green and blue, or one in grey; of the hillshade, slope and the
            two of the aspect.
    """

    name: str
    title: str
    hint: str | None
    channels: tuple[str, ...]

    @property
    def stretched(self) -> tuple[str, ...]:
        """The channels whose contrast depends on the scene."""
        return () if self.name == HILLSHADE else self.channels


def map_views(source: SceneSource) -> dict[str, MapView]:
    """Return the views that the channels of a scene allow, by name; the one to begin with comes first."""
    channels = source.channel_names
    usual = composites_for(source.band_names)
    views = [
        MapView("true-colour", "True colour", None, usual["true-colour"]),
        MapView("false-colour", "False colour", FALSE_COLOURS.get(usual["false-colour"]), usual["false-colour"]),
    ]
    for name, (title, hint, triplet) in _COMPOSITES.items():
        if set(triplet) <= set(channels) and triplet not in usual.values():
            views.append(MapView(name, title, hint, triplet))
    single = [*source.band_names, *(name for name in INDICES if name in channels)]
    views += [MapView(f"channel-{name}", name, None, (name,)) for name in dict.fromkeys(single)]
    if set(_RELIEF) <= set(channels):
        views.append(MapView(HILLSHADE, "Hillshade", "light from the north-west", _RELIEF))
    if SLOPE in channels:
        views.append(MapView(f"channel-{SLOPE}", "Slope", "steep ground is light, flat ground dark", (SLOPE,)))
    return {view.name: view for view in views}


def draw_view(view: MapView, pixels: NDArray[np.float32], stretch: Mapping[str, Sequence[float]]) -> NDArray[np.uint8]:
    """Draw pixels as a picture, transparent where a channel is missing.

    Args:
        view: The view.
        pixels: (C, h, w), the view's channels in order; NaN where missing.
        stretch: By channel, the values drawn as 0 and as 255 (`imagery.statistics.percentile_stretch`).

    Returns:
        (h, w, 4) RGBA.

    Raises:
        SceneError: The contrast of a channel is not known: the scene was tiled by an earlier release.
    """
    if missing := [name for name in view.stretched if name not in stretch]:
        raise SceneError(f"the contrast of {', '.join(missing)} is not known: replace the scene by itself")
    if view.name == HILLSHADE:
        colours = hillshade(*pixels)[None]
    else:
        low, high = np.array([stretch[name] for name in view.channels], dtype=np.float32).T[:, :, None, None]
        colours = np.clip((pixels - low) / (high - low), 0.0, 1.0)
    shown = np.logical_and.reduce(np.isfinite(colours), axis=0)
    picture = np.zeros((*shown.shape, 4), dtype=np.uint8)
    picture[..., :3] = np.where(shown[..., None], np.moveaxis(colours, 0, -1) * 255.0, 0.0).round()
    picture[..., 3] = np.where(shown, 255, 0)
    return picture


def hillshade(
    slope: NDArray[np.float32], aspect_sin: NDArray[np.float32], aspect_cos: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Compute how bright a slope is that the sun lights from the north-west, 45 degrees high (Lambert's law).

    Args:
        slope: (h, w) degrees.
        aspect_sin: (h, w), sine of the azimuth of the steepest descent.
        aspect_cos: (h, w), its cosine.

    Returns:
        (h, w), 0 in shadow to 1 where the light falls perpendicularly; NaN where missing.
    """
    steepness = np.radians(slope)
    towards_sun = aspect_cos * np.cos(_SUN_AZIMUTH) + aspect_sin * np.sin(_SUN_AZIMUTH)
    light = np.cos(steepness) * np.sin(_SUN_ELEVATION) + np.sin(steepness) * np.cos(_SUN_ELEVATION) * towards_sun
    bright: NDArray[np.float32] = np.maximum(light, 0.0).astype(np.float32)
    return bright


def draw_classes(values: NDArray[np.uint8], colours: Mapping[int, tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Colour a map of classes.

    Args:
        values: (h, w) pixel values.
        colours: Red, green and blue of the values that are shown; others are transparent.

    Returns:
        (h, w, 4) RGBA.
    """
    table = np.zeros((256, 4), dtype=np.uint8)
    for value, rgb in colours.items():
        table[value] = (*rgb, 255)
    picture: NDArray[np.uint8] = table[values]
    return picture


def draw_share(share: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Colour a share, dark for 0 to light for 1; transparent where it is NaN.

    Args:
        share: (h, w).

    Returns:
        (h, w, 4) RGBA.
    """
    known = np.isfinite(share)
    picture = np.zeros((*share.shape, 4), dtype=np.uint8)
    picture[..., :3] = (inferno(np.where(known, share, 0.0)) * 255.0).round()
    picture[..., 3] = np.where(known, 255, 0)
    return picture


def encode_tile(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture (h, w, 4) as WebP: losslessly if it has few colours, as maps have, else a tenth of the size."""
    file = io.BytesIO()
    few = len(np.unique(picture.view(np.uint32))) <= _FEW_COLOURS
    Image.fromarray(picture).save(file, format="WEBP", lossless=few, quality=85, method=0, exact=False)
    return file.getvalue()
