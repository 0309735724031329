"""Mend the pre-annotation of a task from the clicks of its annotator.

The model is `models.strokes.repaint`, on the bands of the patch and the map that the annotator was shown: no network
runs, and nothing has to be stored for it. The features of the network would add nothing (docs/benchmarks.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog import clicks as remembered
from catalog import labels
from catalog.context import Catalog
from catalog.errors import ConflictError, NotFoundError
from catalog.records import Proposal, ProposalState, SceneState
from imagery.classes import BACKGROUND, UNKNOWN, ClassScheme
from imagery.grid import Window
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from labeling.interactive import ClickRequest, read_clicks
from labeling.regions import encode_brush, proposed_id
from models.strokes import Stroke, as_probabilities, repaint
from services import raster_keys
from services.class_scheme import class_scheme
from services.patch_bands import read_bands
from services.scenes import window_of


@dataclass(frozen=True)
class PlacedClick:
    """A click on a pixel, with the value of its class.

    Attributes:
        value: Class value, `UNKNOWN` for masked/unknown.
        row: Row of the pixel.
        column: Column of the pixel.
    """

    value: int
    row: int
    column: int


def suggest(catalog: Catalog, store: RasterStore, request: ClickRequest) -> list[dict[str, object]]:
    """Return the regions that the clicks of a request, and earlier ones on the same task, make of its pre-annotation.

    There is one region for each class that annotators draw, with the id that the pre-annotation gives it: accepting it
    replaces that region. So a class that the clicks remove is there too, without pixels.

    Raises:
        NotFoundError: The task is not ours.
        ConflictError: The proposal was withdrawn, its scene removed, or the bands of its patch are not stored.
        RegionError: A click cannot be read.
        ServiceDownError: Redis does not answer.
    """
    scheme = class_scheme(catalog)
    with catalog.read() as session:
        proposal = labels.find_proposal(session, request.proposal)
        if proposal is None:
            raise NotFoundError(f"found a task with the proposal {request.proposal!r}, which this server never made")
        scene = proposal.patch.scene
        if proposal.state is ProposalState.WITHDRAWN or scene.state is SceneState.REMOVED:
            raise ConflictError(f"the proposal {proposal.uid} was withdrawn, or its scene removed")
        window = window_of(proposal.patch)
    height, width = window.shape
    values = {item.name: item.value for item in scheme.legend}
    clicked = read_clicks(request.regions, height=height, width=width, labels=values)
    contents = [(click.region_id, [values[click.label], click.row, click.column]) for click in clicked]
    clicks = [PlacedClick(*content) for content in remembered.remember(catalog.queue, proposal.uid, contents)]
    shown = _shown(store, proposal, scheme, window)
    mended = mend(read_bands(store, proposal.patch_id), shown, clicks, len(scheme.classes))
    return [
        encode_brush(mended == item.value, item.name, proposed_id(item.value), may_be_empty=True)
        for item in scheme.annotated
    ]


def mend(
    bands: NDArray[np.float32], shown: NDArray[np.uint8], clicks: Sequence[PlacedClick], classes: int
) -> NDArray[np.uint8]:
    """Return a map repainted from clicks.

    A click overrides earlier ones of other classes beside it: Label Studio does not report that a click was undone.
    Pixels without data, where nothing can be judged, are neither painted nor can they be clicked.

    Args:
        bands: (C, h, w), NaN where there is no data. A pixel has none if all bands are NaN or it is shown as `UNKNOWN`.
        shown: (h, w) class values that the annotator was shown, `UNKNOWN` where there is no data.
        clicks: Oldest first.
        classes: Number of classes, masked/unknown not included.

    Returns:
        (h, w) class values; `UNKNOWN` where the clicks say so, and background where there is no data.
    """
    no_data = (shown == UNKNOWN) | np.isnan(bands).all(axis=0)
    beside = max(1, min(shown.shape) // 64)  # a pixel of a patch of 64; on the screen it is as large on any patch
    standing = [
        click
        for number, click in enumerate(clicks)
        if not no_data[click.row, click.column]
        and not any(
            max(abs(click.row - later.row), abs(click.column - later.column)) <= beside and click.value != later.value
            for later in clicks[number + 1 :]
        )
    ]
    # Masked/unknown is one class more, which the proposal shows nowhere: where there is no data nothing is drawn.
    strokes = [
        Stroke(classes if click.value == UNKNOWN else click.value, np.array([[click.row, click.column]]))
        for click in standing
    ]
    proposal = as_probabilities(np.where(no_data, BACKGROUND, shown), classes + 1)
    mended = repaint([bands], proposal, strokes)
    mended = np.where(mended == classes, UNKNOWN, mended)
    return np.where(no_data, BACKGROUND, mended).astype(np.uint8)


def _shown(store: RasterStore, proposal: Proposal, scheme: ClassScheme, window: Window) -> NDArray[np.uint8]:
    if proposal.preannotated_by is None:
        return np.full(window.shape, BACKGROUND, dtype=np.uint8)
    return mask_from_geotiff(store.get(raster_keys.preannotation(proposal.uid, proposal.preannotated_by)), scheme)
