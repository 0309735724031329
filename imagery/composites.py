"""Pictures for annotators: colour composites, the uncertainty heat map, and their encoding as PNG."""

import io
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import binary_dilation

from imagery.errors import SceneError
from imagery.grid import Window
from imagery.scene_reader import SceneReader

Triplet = tuple[str, str, str]
"""The channels shown as red, green and blue."""

# The colour map "inferno" (Smith & van der Walt 2015, CC0): perceptually uniform, dark to light. Every fifteenth of its
# 256 entries; linear interpolation between them differs from the original by at most 6 of 255.
_INFERNO: Final = np.frombuffer(
    bytes.fromhex(
        "000004 0a0722 1e0c45 380962 510e6c 69166e 801f6c 982766 b0315b c63d4d d94d3d e9612b f47918 fa9407 fcb014 "
        "f8cd37 f2ea69 fcffa4"
    ),
    dtype=np.uint8,
).reshape(-1, 3)
FALSE_COLOURS: Final[Mapping[Triplet, str]] = {
    # The glacier mapper's usual view.
    ("swir1", "nir", "red"): "short-wave infrared, near infrared, red: ice is cyan, cloud white, rock brown",
    # Colour infrared, for sensors without a short-wave band.
    ("nir", "red", "green"): "near infrared, red, green: plants are red, ice and snow white",
    ("nir", "green", "blue"): "near infrared, green, blue: plants are red, ice and snow white",
}
"""The usual false-colour composites, the best first, and what their colours mean."""
# Of a patch's brightness: the percentage cut off at either end, the smallest range as a share of the scene's, and the
# grey that its median becomes, by a gamma within limits that keep the picture natural.
_TAIL: Final = 0.5
_LEAST_SHARE: Final = 0.1
_MEDIUM: Final = 0.42
_GAMMAS: Final = (0.4, 1.6)
_DARKENED: Final = 0.45  # still to be recognised: ground is judged by its surroundings
_OUTLINE: Final = (250, 204, 21)  # yellow, of none of the glacier classes


def composites_for(band_names: Sequence[str]) -> dict[str, Triplet]:
    """Choose the channels of the views "true-colour" and "false-colour" from a scene's bands.

    Without red, green and blue, true colour shows the first three bands (the last one repeated if there are fewer).
    Without the bands of any usual false-colour composite, false colour shows the true-colour channels in reverse order.
    """
    has = set(band_names)
    padded = [*band_names, band_names[-1], band_names[-1]]
    true_colour: Triplet = ("red", "green", "blue")
    if not has >= set(true_colour):
        true_colour = (padded[0], padded[1], padded[2])
    reverse: Triplet = (true_colour[2], true_colour[1], true_colour[0])
    false_colour = next((triplet for triplet in FALSE_COLOURS if has >= set(triplet)), reverse)
    return {"true-colour": true_colour, "false-colour": false_colour}


def stretch_patch(pixels: NDArray[np.float32], scene: Sequence[tuple[float, float]]) -> NDArray[np.floating]:
    """Spread the values of a patch over the brightness of the screen, so that neither snow nor shadow swallows it.

    A stretch by the scene leaves a patch of snow white and one in the shade black. The darkest and lightest half
    percent of the patch become black and white, channel by channel, and a gamma takes its median to a medium grey.
    Contrast is enlarged at most tenfold against the scene's: more would show noise.

    Args:
        pixels: (C, h, w) in the channels' units, NaN without data.
        scene: For each channel, the range of the scene (`imagery.statistics.percentile_stretch`).

    Returns:
        (C, h, w), 0 to 1, NaN without data.
    """
    shown = np.full(pixels.shape, np.nan, dtype=np.float32)
    for channel, (values, (dark, light)) in enumerate(zip(pixels, scene, strict=True)):
        known = values[np.isfinite(values)]
        if known.size:
            low, high = np.percentile(known, (_TAIL, 100 - _TAIL))
            least = (light - dark) * _LEAST_SHARE
            middle, reach = (low + high) / 2, max(high - low, least) / 2
            shown[channel] = np.clip((values - (middle - reach)) / (2 * reach), 0.0, 1.0)
    median = np.nanmedian(shown) if np.isfinite(shown).any() else _MEDIUM
    gamma = np.log(_MEDIUM) / np.log(np.clip(median, 0.01, 0.99))
    bright: NDArray[np.floating] = shown ** np.clip(gamma, *_GAMMAS)
    return bright


def draw_colours(colours: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Convert channels (3, h, w), or a single one (1, h, w) in grey, from 0 to 1 to RGB (h, w, 3); NaN is hatched."""
    return _draw(np.moveaxis(np.broadcast_to(colours, (3, *colours.shape[1:])), 0, -1))


def render(
    reader: SceneReader, window: Window, triplet: Triplet, stretch: Sequence[tuple[float, float]]
) -> NDArray[np.uint8]:
    """Draw a window with three channels as red, green and blue.

    Args:
        reader: The open scene.
        window: The part to draw; one pixel of the scene is one pixel of the picture.
        triplet: The channels (`composites_for`).
        stretch: For each channel, the values drawn as 0 and as 255 (`imagery.statistics.percentile_stretch`).

    Returns:
        (h, w, 3) RGB. Pixels invalid in any of the three channels are hatched in grey, so that nobody takes them for
        shadow.
    """
    pixels = reader.read(triplet, window)
    low, high = np.array(stretch, dtype=np.float32).T[:, :, None, None]
    scaled = np.clip((pixels - low) / (high - low), 0.0, 1.0)
    return _draw(np.moveaxis(scaled, 0, -1))


def uncertainty_heatmap(entropy: NDArray[np.float32], max_entropy: float) -> NDArray[np.uint8]:
    """Colour an uncertainty map, dark for certain to light for uncertain.

    Args:
        entropy: (h, w), nats, 0 to `max_entropy`; NaN where there is no data.
        max_entropy: The value drawn lightest: ln(number of classes) for predictive entropy.

    Returns:
        (h, w, 3) RGB; NaN is hatched in grey.

    Raises:
        ValueError: `max_entropy` is not positive.
    """
    if not max_entropy > 0:
        raise ValueError(f"found a maximal entropy of {max_entropy}; expected more than 0")
    return _draw(inferno(entropy / max_entropy))


def inferno(share: NDArray[np.floating]) -> NDArray[np.floating]:
    """Colour a share, 0 (and less) dark to 1 (and more) light: (...) to RGB from 0 to 1, (..., 3); NaN stays NaN."""
    positions = np.linspace(0.0, 1.0, len(_INFERNO))
    within = np.clip(share, 0.0, 1.0)
    return np.stack([np.interp(within, positions, _INFERNO[:, i] / 255.0) for i in range(3)], axis=-1)


def inferno_colours() -> list[str]:
    """Return the colours of `inferno` as `#rrggbb`, evenly spaced from 0 to 1; between two of them it is linear."""
    return [f"#{bytes(colour).hex()}" for colour in _INFERNO]


def mark_region(picture: NDArray[np.uint8], asked: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Outline the part of a picture that is asked for, and darken the rest.

    The outline lies outside the part, so that it hides none of the pixels to judge.

    Args:
        picture: (h, w, 3) RGB.
        asked: (h, w), True for the pixels asked for.

    Returns:
        (h, w, 3) RGB.
    """
    marked = picture.copy()
    marked[~asked] = (picture[~asked] * _DARKENED).astype(np.uint8)
    marked[binary_dilation(asked, np.ones((3, 3), dtype=np.bool_)) & ~asked] = _OUTLINE
    return marked


def mark_frame(picture: NDArray[np.uint8], top: int, left: int, height: int, width: int) -> NDArray[np.uint8]:
    """Draw a rectangle of two pixels' width around a part of a picture (h, w, 3)."""
    image = Image.fromarray(picture)
    box = (left - 2, top - 2, left + width + 1, top + height + 1)
    ImageDraw.Draw(image).rectangle(box, outline=_OUTLINE, width=2)
    return np.asarray(image)


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode a picture (h, w, 3) as PNG of exactly w x h pixels.

    Label Studio draws brush masks over the picture pixel by pixel; with any other size they would be garbled.

    Raises:
        SceneError: The array is not (h, w, 3) of uint8.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise SceneError(f"found {rgb.dtype} of shape {rgb.shape}; expected uint8 of shape (height, width, 3)")
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, format="PNG", compress_level=1)  # four times as fast as level 6, a tenth larger
    return file.getvalue()


def _draw(colours: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Convert (h, w, 3) from 0 to 1 to uint8, hatched where any of the three is NaN."""
    missing = np.isnan(colours).any(axis=-1)
    rgb: NDArray[np.uint8] = np.where(missing[..., None], 0.0, colours * 255.0).round().astype(np.uint8)
    row, col = np.indices(missing.shape)
    hatch = np.where((row + col) % 8 < 2, 120, 72).astype(np.uint8)
    rgb[missing] = hatch[missing, None]
    return rgb
