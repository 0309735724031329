"""Render the example pictures of the annotators' instruction from a synthetic scene, whose truth is known.

``python -m tools.example_pictures``

Writes ``al_server/static/example-*.png``, which `services.example_pictures` links in the instruction.
"""

import tempfile
from pathlib import Path
from typing import Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image

from imagery.classes import GLACIER_SCHEME
from imagery.composites import draw_colours, stretch_patch
from imagery.describe_scene import describe
from imagery.grid import Window
from imagery.map_views import map_views
from imagery.scene_reader import SceneReader
from imagery.statistics import percentile_stretch
from imagery.synthetic import write_scene

FOLDER: Final = Path(__file__).parents[1] / "al_server" / "static"
SIDE_PX: Final = 1024
WINDOW: Final = Window(200, 40, 280, 280)
_OPACITY: Final = 0.55
_COLOURS: Final = 128


def main() -> None:
    """Write the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        scene = write_scene(Path(folder), SIDE_PX, SIDE_PX, seed=0)
        source = describe(scene.bands, dem=scene.dem)
        views = map_views(source)
        for name in ("true-colour", "false-colour"):
            channels = views[name].channels
            with SceneReader(source) as reader:
                pixels = reader.read(channels, WINDOW)
            picture = draw_colours(stretch_patch(pixels, percentile_stretch(source, channels)))
            _write(name, picture)
            if name == "true-colour":
                true_colour = picture.astype(np.float64)
        with rasterio.open(scene.truth) as file:
            truth = file.read(1)[WINDOW.slices]
    for entry in GLACIER_SCHEME.annotated:
        painted = truth == entry.value
        true_colour[painted] = (1 - _OPACITY) * true_colour[painted] + _OPACITY * np.array(entry.rgb)
    _write("classes", true_colour.round().astype(np.uint8))


def _write(name: str, picture: NDArray[np.uint8]) -> None:
    Image.fromarray(picture).quantize(_COLOURS).save(FOLDER / f"example-{name}.png", optimize=True)


if __name__ == "__main__":
    main()
