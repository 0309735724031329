"""What a GLIMS submission says of its own making: a short description for its tables, and a long one as a text file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from imagery.glims import ClassMapping
from imagery.glims_division import NARROW_PX
from imagery.glims_uncertainty import EXPERT_PX, Precision
from services.area_report import EXPERTS_SOURCE


@dataclass(frozen=True)
class Making:
    """How the outlines of a scene were made.

    Attributes:
        scene: Name of the scene.
        image_id: Identifier of its image, and whether it is only the scene's name.
        is_name: Whether the identifier is only the scene's name.
        software: Name and version of this program.
        version: Version of the model; None without a prediction.
        trained_on: Number of labels that the model learnt from.
        labels: Number of labels that the outlines hold.
        simulated: How many of them a simulated annotator drew.
        waiting: Whether labels of patches that wait for an annotator are among them.
        expert_share: Share of the glaciers' pixels that experts judged, 0 to 1.
        mapping: Line types of the classes.
        tells_debris: Whether the model tells debris from clean ice.
        smoothing_px: Smoothing of the outlines.
        pixel_m: Size of a pixel along rows and along columns.
        precision: Local precision in pixels.
        geolocation_m: Global uncertainty; None if unknown.
        geolocation_source: Where it comes from.
        min_area_km2: Smallest glacier.
        glaciers: Number of glaciers.
        area_km2: Their area.
        dropped: Number of smaller ones that were left out.
        dropped_km2: Their area.
        at_edge: Number of glaciers that end at the edge of the image or at unknown ground.
        inventory: Name of the inventory's file along which ice was divided; empty without one.
        inventory_notes: What was repaired or left out in it, and how many polygons have no id.
        of_inventory: Number of glaciers that have the id of one of the inventory.
        without_id: Number of glaciers in polygons of the inventory that have no id.
        intervals: Number of glaciers whose area has a 95 % interval.
    """

    scene: str
    image_id: str
    is_name: bool
    software: str
    version: int | None
    trained_on: int
    labels: int
    simulated: int
    waiting: bool
    expert_share: float
    mapping: ClassMapping
    tells_debris: bool
    smoothing_px: float
    pixel_m: tuple[float, float]
    precision: Precision
    geolocation_m: float | None
    geolocation_source: str
    min_area_km2: float
    glaciers: int
    area_km2: float
    dropped: int
    dropped_km2: float
    at_edge: int
    inventory: str
    inventory_notes: tuple[str, ...]
    of_inventory: int
    without_id: int
    intervals: int


def short_description(making: Making) -> str:
    """Return the description of the processing for the tables: who drew what, on which pixels."""
    if making.version is None:
        drawn = f"manual delineation ({making.labels} windows)"
    elif making.expert_share == 0:
        drawn = f"U-Net version {making.version}, not edited"
    else:
        drawn = f"U-Net version {making.version}; {making.expert_share:.0%} of the ice judged by experts"
    simulated = f", {making.simulated} labels simulated" if making.simulated else ""
    smoothed = f", smoothed by {making.smoothing_px:g} px" if making.smoothing_px else ""
    return f"{drawn}{simulated}; outlines of {making.pixel_m[0]:.0f} m pixels{smoothed}; see processing.txt"


def long_description(making: Making, analysts: Sequence[str], layers: Mapping[str, int]) -> str:
    """Return the text file that describes the processing and the uncertainties.

    Args:
        making: How the outlines were made.
        analysts: Names of the analysts.
        layers: Number of features by layer.
    """
    kinds = "\n".join(f"- {name}: {kind or 'left out'}" for name, kind in making.mapping.line_types.items())
    model = (
        "No model: everything was drawn by experts; what they did not judge is unknown."
        if making.version is None
        else f"Version {making.version} of the model, a U-Net trained on {making.trained_on} labelled windows, "
        "classified every pixel."
    )
    debris = (
        ""
        if making.tells_debris
        else "\nThis model does not tell debris from clean ice: debris is outlined only where experts judged.\n"
    )
    name = " (the name of the scene: no identifier of a provider was found)" if making.is_name else ""
    measured = (
        f"The model's outlines lie {making.precision.predicted_px:.2f} px from those of experts (standard deviation), "
        "measured where both exist: the area between them divided by their length. The model may have learnt from "
        "some of these labels, so that it can be worse elsewhere."
        if making.precision.measured
        else f"No label tells how far the model's outlines are from an expert's; {EXPERT_PX:g} px is assumed."
    )
    place = (
        "unknown, and left empty (--geolocation-error states it)"
        if making.geolocation_m is None
        else f"{making.geolocation_m:g} m ({making.geolocation_source})"
    )
    waiting = "" if making.waiting else " Where a patch waits for an annotator,\nno earlier label of it counts."
    listed = "\n".join(f"- {layer}: {count} features" for layer, count in layers.items())
    return f"""Glacier outlines of the scene {making.scene}
Image: {making.image_id}{name}
Software: {making.software}
Analysts: {"; ".join(analysts)}

PROCESSING
{model}
{making.labels} labels replace the model's classes where an expert judged: {making.expert_share:.1%} of the glaciers'
pixels. {making.simulated} of these labels were drawn by a simulated annotator.{waiting}
The analysis of a glacier (anlys_time) is of the day of its newest label if experts drew all of it, else of the day of
this export.
{debris}
Classes, and what they are on a glacier:
{kinds}

A glacier is a connected area of ice (4-connected pixels), clean or under debris. {_division(making)}
Smoothing: {making.smoothing_px:g} px. Smallest glacier: {making.min_area_km2:g} km2.

Glaciers: {making.glaciers}, {making.area_km2:.3f} km2
Left out as too small: {making.dropped}, {making.dropped_km2:.3f} km2
Ending at the edge of the image or at unknown ground (field edge): {making.at_edge}

Rock outcrops are holes of the outlines. Identifiers (glac_id) are proposals from a point inside each glacier: where
GLIMS knows the glacier already, its former identifier must be used.

UNCERTAINTY
Local (loc_unc_x, loc_unc_y), as standard deviation in metres; a pixel is {making.pixel_m[0]:.1f} x \
{making.pixel_m[1]:.1f} m:
{measured}
Outlines of experts are assumed to be precise to {EXPERT_PX:g} px. To both are added the error of outlines along pixel
edges (0.29 px) and the mean shift by smoothing. A glacier's figure is the mean of the variances, weighted by the share
of its pixels that experts judged (field exp_share).

Global (glob_unc_x, glob_unc_y): {place}. The image was not co-registered by this program.

AREA WITH ITS INTERVAL
Fields area_best, area_low and area_high of glaciers and debris: best estimate of the true area within 3 pixels of the
outline and its 95 % interval, km2, from calibrated probabilities and what the model got wrong on its validation ground.
They are added up from the outlines that the model predicted, whose errors are taken to go together; of a part of such
an outline, the errors are taken to be independent of those of the rest. They are empty where experts judged a part of
the glacier, and where too little validation ground tells the error:
{making.intervals} of {making.glaciers} glaciers have them.
Experts who outline the same glaciers differ by about 5 % on clean ice and by up to 30 % where there is debris:
{EXPERTS_SOURCE}

LAYERS
{listed}
"""


def _division(making: Making) -> str:
    if not making.inventory:
        return (
            "It is not divided along ice divides:\ntributaries that touch are one outline, which RGI calls a glacier "
            "complex. Divide it before you submit, where it is\nseveral glaciers (--glaciers takes an inventory)."
        )
    outside = making.glaciers - making.of_inventory - making.without_id
    unnamed = f" {making.without_id} lie in polygons without an id." if making.without_id else ""
    notes = "".join(f"\n{making.inventory}: {note}." for note in making.inventory_notes)
    return f"""It is divided along the
polygons of {making.inventory}: {making.of_inventory} glaciers have the id of one of these (glac_id where it is that of
GLIMS, else rgi_id or inv_id).{unnamed} {outside} lie outside all of them and are connected ice. Strips along these
polygons that are not wider than {NARROW_PX:g} pixels belong to the glacier beside them. Where polygons overlap, the
later counts.{notes}"""
