"""The files of the Everest scene (`imagery.everest`), which the wheel of geoutils carries."""

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from imagery.errors import SceneError

VISIBLE: Final = "LE71400412000304SGS00_RGB.TIF"
NEAR_INFRARED: Final = "LE71400412000304SGS00_B4_crop.TIF"
OUTLINES: Final = "glacier_outlines.gpkg"


def is_installed() -> bool:
    """Return whether the wheel that carries the files is installed."""
    return find_spec("geoutils") is not None


def data_directory() -> Path:
    """Return the folder of the files.

    Raises:
        SceneError: The wheel is not installed, or is of another release.
    """
    spec = find_spec("geoutils")
    if spec is None or spec.origin is None:
        raise SceneError(
            "found no package geoutils, which contains the Everest scene; expected it installed: "
            "pip install --no-deps geoutils==0.0.8"
        )
    directory = Path(spec.origin).parent / "datasets"
    missing = [name for name in (VISIBLE, NEAR_INFRARED, OUTLINES) if not (directory / name).is_file()]
    if missing:
        raise SceneError(
            f"{directory}: found no {', '.join(missing)}; expected the data of release 0.0.8: "
            "pip install --no-deps geoutils==0.0.8"
        )
    return directory
