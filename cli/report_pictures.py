"""The pictures of the demonstration's report: RGB arrays, and PNG files embedded in the page."""

import base64
import io
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from catalog.records import Scene, Scoring
from imagery.classes import BACKGROUND, GLACIER_SCHEME, UNKNOWN
from imagery.composites import composites_for, render, uncertainty_heatmap
from imagery.maps import read_map
from imagery.scene_reader import SceneReader
from imagery.store import RasterStore
from services import raster_keys
from services.scenes import source_of


@dataclass(frozen=True)
class Agreement:
    """How a predicted pixel relates to the truth.

    Attributes:
        name: Text for people.
        colour: "#rrggbb"; errors also differ in lightness, for readers with colour blindness.
    """

    name: str
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green and blue, each 0 to 255."""
        red, green, blue = bytes.fromhex(self.colour.removeprefix("#"))
        return red, green, blue


RIGHT_GROUND: Final = Agreement("background, right", "#eef2f6")
RIGHT_ICE: Final = Agreement("ice, right kind", "#b6c5d6")
CONFUSED: Final = Agreement("ice, wrong kind", "#eab308")
INVENTED: Final = Agreement("ice where there is none", "#c026d3")
MISSED: Final = Agreement("ice missed", "#7f1d1d")
AGREEMENTS: Final = (RIGHT_GROUND, RIGHT_ICE, CONFUSED, INVENTED, MISSED)


def draw_mask(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour a label mask (h, w) by the legend; returns (h, w, 3) RGB."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    for entry in GLACIER_SCHEME.legend:
        palette[entry.value] = entry.rgb
    return palette[mask]


def compare(predicted: NDArray[np.uint8], truth: NDArray[np.uint8]) -> dict[Agreement, NDArray[np.bool_]]:
    """Return how each pixel of a predicted class map relates to the truth.

    Args:
        predicted: (h, w) values of the legend.
        truth: (h, w) likewise.

    Returns:
        For each of `AGREEMENTS`, where it holds: (h, w), disjoint. A pixel that is masked/unknown in either map is in
        none of them, for it is not judged.

    Raises:
        ValueError: The maps differ in shape.
    """
    if predicted.shape != truth.shape:
        raise ValueError(f"found a predicted map of shape {predicted.shape} for a truth of {truth.shape}")
    judged = (predicted != UNKNOWN) & (truth != UNKNOWN)
    true_ground, predicted_ground = truth == BACKGROUND, predicted == BACKGROUND
    same = predicted == truth
    return {
        RIGHT_GROUND: judged & true_ground & predicted_ground,
        RIGHT_ICE: judged & ~true_ground & same,
        CONFUSED: judged & ~true_ground & ~predicted_ground & ~same,
        INVENTED: judged & true_ground & ~predicted_ground,
        MISSED: judged & ~true_ground & predicted_ground,
    }


def draw_agreement(parts: dict[Agreement, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Draw the result of `compare`, (h, w, 3) RGB; pixels that are not judged take the colour of masked/unknown."""
    height, width = next(iter(parts.values())).shape
    picture: NDArray[np.uint8] = np.full((height, width, 3), GLACIER_SCHEME.unknown.rgb, dtype=np.uint8)
    for kind, covered in parts.items():
        picture[covered] = kind.rgb
    return picture


def draw_scene(scene: Scene) -> NDArray[np.uint8]:
    """Draw a whole scene in true colour, with the contrast stretch that annotators see, (H, W, 3) RGB.

    Raises:
        SceneError: It cannot be read.
    """
    source = source_of(scene)
    triplet = composites_for(source.band_names)["true-colour"]
    stretch = scene.stretch or {}
    with SceneReader(source) as reader:
        return render(reader, source.grid.window, triplet, [tuple(stretch[channel]) for channel in triplet])


def draw_uncertainty(store: RasterStore, scene: Scene, scoring: Scoring, classes: int) -> NDArray[np.uint8]:
    """Draw the predictive entropy of a scene by a scoring, (H, W, 3) RGB, dark where the model is certain.

    Args:
        store: raster store with the scoring's maps.
        scene: the scene.
        scoring: the scoring.
        classes: number of classes of its version; its logarithm is the largest entropy.

    Raises:
        SceneError: There is no such map.
    """
    window = source_of(scene).grid.window
    entropy = read_map(store.uri(raster_keys.scored(scoring.id, scene.id, "entropy")), window)
    return uncertainty_heatmap(entropy, math.log(classes))


def read_png(data: bytes) -> NDArray[np.uint8]:
    """Return a PNG as an array, (h, w, 3) RGB."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        return np.asarray(image.convert("RGB"))


def data_uri(rgb: NDArray[np.uint8], scale: int = 1) -> str:
    """Encode a picture as a PNG inside a URI.

    Args:
        rgb: (h, w, 3).
        scale: Side of the square that each pixel becomes; interpolation would blur class boundaries.
    """
    image = Image.fromarray(np.kron(rgb, np.ones((scale, scale, 1), dtype=np.uint8)))
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
