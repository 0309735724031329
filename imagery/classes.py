"""The class legend: the only place that says which class has which name, value and colour."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class GlacierClass:
    """One entry of the legend.

    Attributes:
        name: The label as annotators read it.
        value: The pixel value in a label mask, 0 to 255.
        colour: The display colour, "#rrggbb".
    """

    name: str
    value: int
    colour: str

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as red, green and blue, each 0 to 255."""
        red, green, blue = bytes.fromhex(self.colour.removeprefix("#"))
        return red, green, blue


BACKGROUND: Final = GlacierClass("background", 0, "#1e293b")
CLEAN_ICE: Final = GlacierClass("clean ice", 1, "#38bdf8")
DEBRIS_COVERED_ICE: Final = GlacierClass("debris-covered ice", 2, "#f97316")
# Cloud, beyond the scene's border, or not judged: losses, metrics and uncertainty leave these pixels out.
UNKNOWN: Final = GlacierClass("masked/unknown", 255, "#6b7280")

CLASSES: Final = (BACKGROUND, CLEAN_ICE, DEBRIS_COVERED_ICE)
"""What a model predicts; a class's index equals its value."""

ANNOTATED: Final = (CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN)
"""What an annotator draws; background is whatever is left undrawn."""

LEGEND: Final = (*CLASSES, UNKNOWN)
"""Every value that a label mask may hold."""


def by_name(name: str) -> GlacierClass:
    """Look a class up by its exact name.

    Raises:
        ValueError: No class has this name.
    """
    for glacier_class in LEGEND:
        if glacier_class.name == name:
            return glacier_class
    known = ", ".join(repr(glacier_class.name) for glacier_class in LEGEND)
    raise ValueError(f"unknown class {name!r}; expected one of {known}")
