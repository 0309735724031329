"""Tasks, the patches put before an annotator."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from labeling.errors import PredictionError
from labeling.predictions import score_of

PROPOSAL = "proposal"
"""Key of the task's data that names the proposal: Label Studio re-uses the ids of deleted tasks, so ours is the key."""
PRIORITY = "priority"
"""Key of the task's data that orders the Data Manager's tab."""


@dataclass(frozen=True)
class TaskData:
    """What Label Studio stores with a task, and gives back with every label event.

    Attributes:
        proposal: Our name of this proposal; unique for ever.
        patch_id: Row of the patch.
        patch: Name of the patch for people.
        round: Number of the round that chose it.
        reason: One line for the annotator: why this patch.
        place: One line for the annotator: where it is.
        priority: How much it is worth an expert's time; finite, 0 or more, higher is more urgent.
        true_colour: Signed URL of the view that is drawn on; exactly as many pixels as the patch.
        panel: From `labeling.views_panel.write_panel`: HTML with the signed URLs of the other views.
    """

    proposal: str
    patch_id: int
    patch: str
    round: int
    reason: str
    place: str
    priority: float
    true_colour: str
    panel: str

    def __post_init__(self) -> None:
        empty = [key for key, value in asdict(self).items() if value == ""]
        if empty:
            raise PredictionError(f"The task's {', '.join(empty)} is empty; Label Studio shows or keys on it.")
        score_of(self.priority)


def to_task(data: TaskData, prediction: Mapping[str, Any] | None) -> dict[str, Any]:
    """Compose a task for import.

    Args:
        data: What the annotator and later events need.
        prediction: From `labeling.predictions.build_prediction`, with the score `score_of(data.priority)`;
            None leaves the task behind all tasks that have one.

    Returns:
        The task's JSON.

    Raises:
        PredictionError: If the score and the priority would put the task at different places of the queue.
    """
    if prediction is None:
        return {"data": asdict(data)}
    if prediction["score"] != score_of(data.priority):
        raise PredictionError(
            f"Score {prediction['score']} and priority {data.priority} of proposal {data.proposal!r} disagree; "
            f"expected the score {score_of(data.priority)} (score_of the priority)."
        )
    return {"data": asdict(data), "predictions": [dict(prediction)]}
