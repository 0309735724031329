"""The total areas of a predicted scene with their 95 % intervals, delivered beside its outlines."""

from typing import Final

from pydantic import BaseModel, ConfigDict

EXPERTS: Final = {"clean ice": 0.05, "debris-covered ice": 0.30}
"""Relative differences between the areas that experts digitised, by class name (see `EXPERTS_SOURCE`).

The paper's abstract: differences of about 5 % for clean ice with sufficient contrast to the surrounding terrain, of up
to 30 % for debris-covered glacier parts, largely independent of the resolution."""

EXPERTS_SOURCE: Final = (
    "Paul, F. et al. 2013: On the accuracy of glacier outlines derived from remote-sensing data. Annals of Glaciology "
    "54(63), 171-182, doi:10.3189/2013AoG63A296"
)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")


class HeldOutBlocks(_Closed):
    """How the interval of a class was checked on ground that it was not fitted on.

    Attributes:
        ground: "test": blocks of the test scenes; "validation": each fifth of the blocks by a fit to the others.
        blocks: Number of blocks with mapped ground.
        covered_outlines: Share of the blocks in which the interval of the outlines holds the true area.
        covered_totals: Share in which the interval of the total does.
    """

    ground: str
    blocks: int
    covered_outlines: float | None
    covered_totals: float | None


class Area(_Closed):
    """The area of one class on some ground; null where it is undefined.

    Attributes:
        name: Name of the class, or of all foreground classes together.
        mapped_km2: Area of the pixels that are mapped as the class.
        area_km2: Best estimate of the true area.
        low_km2: Lower end of its 95 % interval.
        high_km2: Upper end.
        error: Half the width of the interval, divided by the best estimate.
    """

    name: str
    mapped_km2: float
    area_km2: float | None
    low_km2: float | None
    high_km2: float | None
    error: float | None


class AreaTotal(Area):
    """The total area of one class in the scene.

    Attributes:
        outlines: Number of outlines; null for all classes together.
        experts_differ: Relative difference of the areas that experts digitise, for comparison.
        blocks: Number of held-out blocks that the interval rests on.
        block_px: Side of these blocks, pixels.
        held_out: How often the interval held on ground that it was not fitted on.
        undefined_because: Why there is no interval; null if there is one.
    """

    outlines: int | None
    experts_differ: float | None
    blocks: int | None
    block_px: int | None
    held_out: list[HeldOutBlocks]
    undefined_because: str | None


class GlacierAreas(_Closed):
    """The areas of one glacier of the inventory.

    Attributes:
        id: Its id in the inventory.
        areas: One for each entry of `AreaReport.totals`.
    """

    id: str
    areas: list[Area]


class AreaReport(_Closed):
    """The total areas of a predicted scene.

    Attributes:
        scene: Name of the scene.
        model_version: The version that predicted it.
        confidence: Nominal probability of the intervals.
        totals: One for each foreground class; with several, also one for all of them together.
        glaciers: Those on the ground of the scene, if the settings name an inventory.
        experts_source: Where `AreaTotal.experts_differ` is from.
        meaning: What the intervals cover and what they do not, for readers.
    """

    scene: str
    model_version: int
    confidence: float
    totals: list[AreaTotal]
    glaciers: list[GlacierAreas]
    experts_source: str = EXPERTS_SOURCE
    meaning: str = (
        "The intervals cover errors as large as those on the validation ground of this version. They do not cover "
        "ground or images of another kind, nor errors of the reference outlines, on which experts differ."
    )
