"""Calibrate a new version on the validation scenes."""

from collections.abc import Sequence
from typing import Literal

from catalog.context import Catalog
from catalog.records import Scene
from imagery.classes import UNKNOWN
from models.card import NetworkCalibration
from models.logit_scaling import ScalingForm
from models.network_calibration import fit_calibration
from models.segmenter import GlacierSegmenter
from services.places import raster_store
from workers.validation_windows import ValidationWindowDataset


def calibrate(
    catalog: Catalog,
    segmenter: GlacierSegmenter,
    scenes: Sequence[Scene],
    patch_size: int,
    names: Sequence[str],
    form: ScalingForm | Literal["none"],
) -> NetworkCalibration | None:
    """Calibrate a network.

    Call this before it is examined: the error of areas is fitted to the probabilities that are delivered.

    Args:
        catalog: for the raster store.
        segmenter: the trained network, on its device; calibrated in place.
        scenes: ready validation scenes with outlines.
        patch_size: side of the windows, pixels.
        names: the names of its classes.
        form: how, as far as possible (`models.logit_scaling.possible_form`); "none" leaves the network as it is.

    Returns:
        What the card says about it; None for the form "none".

    Raises:
        SceneError: a scene cannot be read.
    """
    if form == "none":
        return None
    windows = ValidationWindowDataset(scenes, segmenter.channels, patch_size, raster_store(catalog))
    return NetworkCalibration.from_summary(fit_calibration(segmenter, windows, UNKNOWN, form), names)
