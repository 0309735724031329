"""Label Studio's interactive machine learning backend: reading its requests, and answering with regions.

When an annotator clicks with a label of the control `labeling.config.CLICK`, Label Studio posts the task and the clicks
that it has not accepted yet to the backend, and shows the regions of the answer as suggestions. Every answer replaces
all earlier suggestions, and a suggestion with the id of a region repaints that region when it is accepted.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

from labeling.bodies import read_json
from labeling.config import CLICK, IMAGE
from labeling.errors import EventError, RegionError
from labeling.foreign_values import shown
from labeling.regions import CLICK_TYPE, POLYGON_TYPE
from labeling.tasks import PROPOSAL

USER: Final = "label-studio"
"""The name with which Label Studio logs in to the backend."""
MAX_CLICKS: Final = 500
"""Most clicks read in one request."""

_MAX_ID_CHARACTERS: Final = 100


@dataclass(frozen=True)
class Click:
    """A click that has not been accepted yet.

    Attributes:
        region_id: Label Studio's id of it.
        label: Its label.
        row: Row of the pixel clicked on.
        column: Column of that pixel.
    """

    region_id: str
    label: str
    row: int
    column: int


@dataclass(frozen=True)
class ClickRequest:
    """A request for suggestions.

    Attributes:
        proposal: The uid of our proposal, which the task carries.
        regions: Label Studio's JSON of the clicks, see `read_clicks`; empty if no annotator asks.
    """

    proposal: str
    regions: list[Any]


def parse_request(body: bytes) -> ClickRequest:
    """Read the body of a call of ``/predict``.

    Label Studio also calls without a context, to collect predictions; such a request has no regions.

    Raises:
        EventError: It is not what Label Studio sends, has clicks on several tasks, or polygons are to be mended.
    """
    request, _ = read_json(body)
    tasks = request.get("tasks") if isinstance(request, dict) else None
    if not isinstance(tasks, list) or not tasks:
        raise EventError("The request has no list of tasks; expected what Label Studio sends to /predict.")
    parameters = request.get("params")
    context = parameters.get("context") if isinstance(parameters, dict) else None
    regions = context.get("result") if isinstance(context, dict) else None
    if not regions:
        return ClickRequest("", [])
    data = tasks[0].get("data") if isinstance(tasks[0], dict) else None
    proposal = data.get(PROPOSAL) if isinstance(data, dict) else None
    if _has_polygons(tasks[0]):
        raise EventError("The proposal is drawn with polygons, which clicks cannot mend; expected one of the brush.")
    if len(tasks) > 1 or not isinstance(proposal, str):
        raise EventError(f"The request has {len(tasks)} tasks; expected one, whose data name its {PROPOSAL!r}.")
    if not isinstance(regions, list) or len(regions) > MAX_CLICKS:
        raise EventError(f"The clicks are no list, or more than {MAX_CLICKS}.")
    return ClickRequest(proposal, regions)


def read_clicks(regions: list[Any], *, height: int, width: int, labels: Collection[str]) -> list[Click]:
    """Read the clicks of a request, oldest first.

    Args:
        regions: From `parse_request`.
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        labels: The labels that can be clicked with.

    Raises:
        RegionError: One is not a click with one of these labels within an image of this size.
    """
    return [_read_click(item, height, width, labels) for item in regions]


def _has_polygons(task: object) -> bool:
    """Return whether the newest prediction of a task, the one that is shown, has polygons.

    The suggested masks would take their ids.
    """
    predictions = task.get("predictions") if isinstance(task, dict) else None
    newest = max((item for item in _list(predictions) if isinstance(item, dict)), key=_id_of, default={})
    return any(
        isinstance(region, dict) and region.get("type") == POLYGON_TYPE for region in _list(newest.get("result"))
    )


def _id_of(prediction: dict[str, Any]) -> int:
    found = prediction.get("id")
    return found if isinstance(found, int) else 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_click(item: object, height: int, width: int, labels: Collection[str]) -> Click:
    if not isinstance(item, dict):
        raise RegionError(f"A click is {type(item).__name__}; expected an object.")
    expected = {
        "type": CLICK_TYPE,
        "from_name": CLICK,
        "to_name": IMAGE,
        "original_width": width,
        "original_height": height,
    }
    # A mask of another size than the image would be drawn garbled: no answer is better.
    if wrong := {key: item.get(key) for key, wanted in expected.items() if item.get(key) != wanted}:
        raise RegionError(f"A click has {shown(wrong)}; expected { ({key: expected[key] for key in wrong}) }.")
    region_id, value = item.get("id"), item.get("value")
    if not isinstance(region_id, str) or not 0 < len(region_id) <= _MAX_ID_CHARACTERS or not isinstance(value, dict):
        raise RegionError("A click has no usable id or no value.")
    found = value.get(CLICK_TYPE)
    if not isinstance(found, list) or len(found) != 1 or not isinstance(found[0], str) or found[0] not in labels:
        raise RegionError(f"A click has the labels {shown(found)}; expected exactly one of {sorted(labels)}.")
    row, column = (_pixel(value.get(axis), size) for axis, size in (("y", height), ("x", width)))
    return Click(region_id, found[0], row, column)


def _pixel(percent: object, size: int) -> int:
    """Return the pixel at a position in percent of the image's side; a click on the far edge hits the last pixel."""
    # NaN fails the comparison too; true and false are integers in Python.
    if not isinstance(percent, int | float) or isinstance(percent, bool) or not 0 <= percent <= 100:
        raise RegionError(f"A click lies at {shown(percent)} percent; expected a number from 0 to 100.")
    return min(int(percent / 100 * size), size - 1)
