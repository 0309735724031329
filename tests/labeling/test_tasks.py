from dataclasses import replace

import pytest

from labeling.errors import PredictionError
from labeling.predictions import build_prediction
from labeling.tasks import TaskData, to_task

DATA = TaskData(
    proposal="r3-p17",
    patch_id=17,
    patch="everest/r04c02",
    round=3,
    reason="The model is least sure here.",
    place="27.98 N, 86.92 E",
    priority=3.0,
    true_colour="http://127.0.0.1:8000/t.png?sig=a",
    panel="<p>views</p>",
)


def test_a_task_without_prediction_is_its_data():
    task = to_task(DATA, None)
    assert set(task) == {"data"}
    assert task["data"]["proposal"] == "r3-p17"
    assert task["data"]["priority"] == 3.0


def test_a_task_carries_the_prediction_of_the_same_urgency():
    prediction = build_prediction([], score=0.25, height=4, width=6, labels=["clean ice"])
    assert to_task(DATA, prediction)["predictions"] == [prediction]
    with pytest.raises(PredictionError, match=r"Score 0\.25 and priority 1\.0 of proposal 'r3-p17' disagree"):
        to_task(replace(DATA, priority=1.0), prediction)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"proposal": "", "place": ""}, "proposal, place is empty"), ({"priority": float("nan")}, "priority is nan")],
)
def test_tasks_that_could_not_be_found_or_ordered_are_refused(change, message):
    with pytest.raises(PredictionError, match=message):
        replace(DATA, **change)
