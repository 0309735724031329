"""Each invariant holds of a sound end state, and names what breaks it in a damaged one."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from catalog.decision_records import Promotion, PromotionIntent
from catalog.records import (
    EventState,
    Job,
    JobKind,
    JobState,
    Label,
    LabelEvent,
    Patch,
    PatchState,
    Proposal,
    ProposalState,
    Round,
    RoundState,
    RunState,
    TrainingRun,
    now,
)
from chaos.evidence import Annotation, Evidence, MlflowRun
from chaos.invariants import INVARIANTS, violations

MASK = np.eye(32, dtype=np.uint8)
DRAWN = Annotation(id=5, task_id=50, proposal="a", skipped=False, lead_time=3.0, mask=MASK)
SKIP = Annotation(id=6, task_id=51, proposal="b", skipped=True, lead_time=4.0, mask=MASK * 0)
LABEL = {"patch_id": 1, "proposal_id": 1, "annotation_id": 5, "mask_key": "labels/5.tif"}


def promotion(number: int, **changes: Any) -> Promotion:
    whole = {"model_version": 1, "verdict": "promoted", "actor": "gate", "reason": "first", "completed_at": now()}
    return Promotion(id=number, **{**whole, **changes})


def run(number: int, **changes: Any) -> TrainingRun:
    whole = {"uid": f"run-{number}", "state": RunState.FINISHED, "model_version": number, "mlflow_run_id": f"m{number}"}
    return TrainingRun(id=number, **{**whole, **changes})


SOUND = Evidence(
    annotations=[DRAWN, SKIP],
    tasks={50: "a", 51: "b", 52: "c"},
    acknowledged={5: 3.0},
    labels=[Label(id=9, **LABEL)],
    masks={9: MASK},
    proposals=[
        Proposal(id=1, uid="a", patch_id=1, round_id=1, state=ProposalState.LABELLED),
        Proposal(id=2, uid="b", patch_id=2, round_id=1, state=ProposalState.SKIPPED),
        Proposal(id=3, uid="c", patch_id=3, round_id=2, state=ProposalState.PUBLISHED),
        Proposal(id=4, uid="d", patch_id=4, round_id=2, state=ProposalState.WITHDRAWN),
    ],
    patches=[
        Patch(id=1, state=PatchState.LABELLED),
        Patch(id=2, state=PatchState.SKIPPED),
        Patch(id=3, state=PatchState.PROPOSED),
        Patch(id=4, state=PatchState.UNLABELLED),
    ],
    rounds=[Round(id=1, state=RoundState.COMPLETE), Round(id=2, state=RoundState.OPEN)],
    events=[LabelEvent(id=1, annotation_id=5, action="ANNOTATION_CREATED", state=EventState.APPLIED)],
    jobs=[Job(id="j", kind=JobKind.FINE_TUNE, key="fine_tune", state=JobState.FAILED, error="no validation scene")],
    runs=[run(1)],
    promotions=[promotion(1)],
    intents=[],
    versions={1: "m1"},
    aliases={"champion": 1, "learner": 1},
    mlflow_runs=[MlflowRun("m1", "FINISHED", "run-1"), MlflowRun("m2", "KILLED", "run-1")],
    files=frozenset({"labels/5.tif", "labels/.5.tif.sha256", "scorings/1/patches.npy"}),
    orphans=[],
    missing=[],
)


def test_a_sound_end_state_breaks_nothing() -> None:
    assert violations(SOUND) == []


def test_a_second_task_of_a_proposal_may_be_there_if_both_are_drawn_on() -> None:
    again = dataclasses.replace(DRAWN, id=7, task_id=53, lead_time=5.0)
    both = {
        "annotations": [*SOUND.annotations, again],
        "tasks": {**SOUND.tasks, 53: "a"},
        "labels": [*SOUND.labels, Label(id=10, **{**LABEL, "annotation_id": 7})],
        "masks": {9: MASK, 10: MASK},
    }
    assert violations(dataclasses.replace(SOUND, **both)) == []


def test_a_drawing_may_have_been_carried_over_to_another_task() -> None:
    assert violations(dataclasses.replace(SOUND, acknowledged={4: 3.0, 5: 3.0})) == []


LABELS, KEPT, STATES, CHAMPION, RUNNING, ORPHANS, FILES, CAUSES = INVARIANTS


@pytest.mark.parametrize(
    ("invariant", "changes", "named"),
    [
        (LABELS, {"labels": []}, "annotation 5 of task 50 has 0 standing labels, expected 1"),
        (
            LABELS,
            {"labels": [Label(id=8, **LABEL), *SOUND.labels], "masks": {8: MASK, 9: MASK}},
            "has 2 standing labels",
        ),
        (LABELS, {"masks": {9: 1 - MASK}}, "label 9 differs from annotation 5 in 1024 pixels"),
        (LABELS, {"masks": {9: None}}, "the mask labels/5.tif of label 9 is missing"),
        (LABELS, {"annotations": [SKIP]}, "labels [9] stand, but Label Studio has no annotation 5"),
        (KEPT, {"acknowledged": {5: 8.0}}, "annotation 5 was acknowledged as number 8.0, found 3.0"),
        (KEPT, {"acknowledged": {7: 2.0}}, "annotation 7 was acknowledged as number 2.0, found None"),
        (STATES, {"tasks": {50: "a", 51: "b"}}, "proposal 3 (c) is published, expected withdrawn"),
        (STATES, {"patches": [Patch(id=1, state=PatchState.PROPOSED)]}, "patch 1 is proposed, expected labelled"),
        (STATES, {"rounds": [Round(id=1, state=RoundState.PUBLISHING)]}, "round 1 is publishing"),
        (CHAMPION, {"aliases": {}}, "there are versions, but none is the champion"),
        (CHAMPION, {"aliases": {"champion": 7}}, "the alias champion is on version 7, which does not exist"),
        (CHAMPION, {"promotions": []}, "version 1 is the champion, but the last decision is about none"),
        (CHAMPION, {"promotions": [promotion(1), promotion(2)]}, "version 1 was promoted 2 times"),
        (CHAMPION, {"promotions": [promotion(1, actor="")]}, "the decision 1 about version 1 has no actor"),
        (
            CHAMPION,
            {"intents": [PromotionIntent(model_version=2, verdict="promoted")]},
            "the decision promoted about version 2 is still an intent",
        ),
        (RUNNING, {"mlflow_runs": [MlflowRun("m1", "RUNNING", "run-1")]}, "MLflow run m1 is RUNNING"),
        (RUNNING, {"mlflow_runs": [MlflowRun("m1", "KILLED", "run-1")]}, "MLflow run m1 is KILLED, training run 1 is"),
        (RUNNING, {"runs": [run(1), run(2, state=RunState.OPEN)]}, "training run 2 is open"),
        (ORPHANS, {"tasks": {**SOUND.tasks, 53: "c"}}, "proposal c has 2 tasks; nobody has drawn on [52, 53]"),
        (ORPHANS, {"tasks": {**SOUND.tasks, 53: "a"}}, "proposal a has 2 tasks; nobody has drawn on [53]"),
        (ORPHANS, {"tasks": {**SOUND.tasks, 53: "x"}}, "task 53 names the proposal x, which does not exist"),
        (ORPHANS, {"versions": {1: "m1", 2: "m1"}}, "version 2 of MLflow run m1 belongs to no finished training run"),
        (ORPHANS, {"versions": {}}, "training run 1 names version 1, which MLflow does not have"),
        (ORPHANS, {"mlflow_runs": [MlflowRun("m9", "KILLED", None)]}, "MLflow run m9 names the training run None"),
        (FILES, {"orphans": ["scorings/7/patches.npy"]}, "the file scorings/7/patches.npy belongs to no row"),
        (FILES, {"missing": ["scenes/1/prior.tif"]}, "the file scenes/1/prior.tif, to which a row refers, is missing"),
        (FILES, {"files": SOUND.files | {f"labels/.5.tif.{'1f' * 16}"}}, "is half written"),
        (
            FILES,
            {"files": SOUND.files | {"training/run-1/c"}},
            "the checkpoint training/run-1/c belongs to no open run",
        ),
        (CAUSES, {"jobs": [Job(id="j", key="k", state=JobState.FAILED)]}, "job j (k) failed without a cause"),
        (CAUSES, {"events": [LabelEvent(id=3, state=EventState.RECEIVED)]}, "label event 3 was never ingested"),
    ],
)
def test_damage_is_named(invariant: str, changes: dict[str, Any], named: str) -> None:
    messages = list(INVARIANTS[invariant](dataclasses.replace(SOUND, **changes)))
    assert any(named in message for message in messages), messages
