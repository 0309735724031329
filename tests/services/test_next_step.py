"""The one sentence that says what to do next, over all states of the loop."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from catalog.records import JobKind, RoundState, SceneRole, SceneState
from services.durations import in_words
from services.forecast import Worth
from services.next_step import Act, Tone, light, next_step, troubles
from services.situation import Alert, FailedJob, NewLabels, RoundFacts, Situation, Work

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
POOL, JUDGE = SceneRole.POOL, SceneRole.VALIDATION
READY, TILING = SceneState.READY, SceneState.REGISTERED
EMPTY = Situation()
SET_UP = Situation(scenes={(POOL, READY): 1, (JUDGE, READY): 1}, has_candidates=True)
OPEN = RoundFacts(3, RoundState.OPEN, done=4, waiting=2)
LABELLED = replace(SET_UP, rounds=3, labels=24, is_scored=True)
SOON = Work(running=True, eta_s=170)
FEW = NewLabels(count=8, needed=20, due_at=NOON + timedelta(minutes=40))

STATES = {
    "no pool scene": (
        EMPTY,
        Tone.ACT,
        Act.ADD_SCENE,
        "Register a scene to map: press 'Add a scene', and drop its product there.",
    ),
    "no validation scene": (
        Situation(scenes={(POOL, READY): 1}),
        Tone.ACT,
        Act.ADD_SCENE,
        "Register a validation scene with outlines, by which versions are judged: press 'Add a scene', and drop its "
        "product and its outlines there.",
    ),
    "scenes tiling": (
        Situation(scenes={(POOL, TILING): 1, (JUDGE, TILING): 1}, tiling=SOON),
        Tone.WAIT,
        Act.NOTHING,
        "2 scenes are being cut into patches, about 3 minutes left; the first round can be opened then.",
    ),
    "validation scene tiling before the first round": (
        Situation(scenes={(POOL, READY): 1, (JUDGE, TILING): 1}, tiling=Work(running=False)),
        Tone.WAIT,
        Act.NOTHING,
        "1 scene is being cut into patches; the first round can be opened then.",
    ),
    "tiling was cancelled": (
        Situation(scenes={(POOL, TILING): 1, (JUDGE, READY): 1}),
        Tone.ACT,
        Act.SEE_TROUBLE,
        "1 scene is not cut into patches, since that was cancelled: retry its job, or remove the scene.",
    ),
    "first round to open": (SET_UP, Tone.ACT, Act.OPEN_ROUND, "Open the first round"),
    "the first round is opened by a person even with auto_rounds": (
        replace(SET_UP, auto_rounds=True),
        Tone.ACT,
        Act.OPEN_ROUND,
        "Open the first round",
    ),
    "first version from old outlines": (
        replace(SET_UP, learns_from_outlines=True),
        Tone.WAIT,
        Act.NOTHING,
        "The first version is about to learn from the old outlines",
    ),
    "old outlines have been learnt": (
        replace(SET_UP, learns_from_outlines=True, is_scored=True),
        Tone.ACT,
        Act.OPEN_ROUND,
        "Open the first round",
    ),
    "round choosing": (
        replace(SET_UP, rounds=1, round=RoundFacts(1, RoundState.CHOOSING)),
        Tone.WAIT,
        Act.NOTHING,
        "Round 1 is being chosen",
    ),
    "round publishing": (
        replace(SET_UP, rounds=1, round=RoundFacts(1, RoundState.PUBLISHING, waiting=6)),
        Tone.WAIT,
        Act.NOTHING,
        "Round 1 is being published",
    ),
    "annotators lacking": (
        replace(SET_UP, rounds=1, round=RoundFacts(1, RoundState.OPEN, waiting=6)),
        Tone.ACT,
        Act.LABEL,
        "Round 1 waits for its first annotator: 6 patches to label. Begin yourself, or invite one.",
    ),
    "round open": (
        replace(LABELLED, round=OPEN),
        Tone.ACT,
        Act.LABEL,
        "Round 3 waits for its annotators: 4 of 6 patches are done.",
    ),
    "round open while a version is trained": (
        replace(LABELLED, round=OPEN, fine_tune=SOON),
        Tone.ACT,
        Act.LABEL,
        "Round 3 waits for its annotators: 4 of 6 patches are done. Meanwhile a version is in training, about 3 "
        "minutes left.",
    ),
    "fine-tune queued": (
        replace(LABELLED, fine_tune=Work(running=False)),
        Tone.WAIT,
        Act.NOTHING,
        "A version waits for its turn to be trained; then it scores the pool.",
    ),
    "fine-tune queued while a version is trained again": (
        replace(LABELLED, fine_tune=Work(running=False), reproduction=SOON),
        Tone.WAIT,
        Act.NOTHING,
        "A version waits to be trained until an earlier one has been trained again, about 3 minutes left. Cancel that "
        "if it may not wait.",
    ),
    "fine-tune running": (
        replace(LABELLED, fine_tune=SOON),
        Tone.WAIT,
        Act.NOTHING,
        "A version is in training, about 3 minutes left; then it scores the pool.",
    ),
    "scoring": (
        replace(LABELLED, scoring=SOON),
        Tone.WAIT,
        Act.NOTHING,
        "The pool is being scored, about 3 minutes left; then the next round can be opened.",
    ),
    "scoring, with automatic rounds": (
        replace(LABELLED, scoring=Work(running=True), auto_rounds=True),
        Tone.WAIT,
        Act.NOTHING,
        "The pool is being scored; then the next round opens by itself.",
    ),
    "labels below the threshold": (
        replace(LABELLED, new=FEW),
        Tone.ACT,
        Act.OPEN_ROUND,
        "Open the next round: 12 more labels start a fine-tune on the 8 labels that no version knows yet; at 12:40 UTC "
        "one starts anyway.",
    ),
    "time limit reached": (
        replace(LABELLED, new=replace(FEW, due_at=NOON)),
        Tone.WAIT,
        Act.NOTHING,
        "A fine-tune on the new labels starts within a minute.",
    ),
    "enough labels": (
        replace(LABELLED, new=replace(FEW, count=20)),
        Tone.WAIT,
        Act.NOTHING,
        "A fine-tune on the new labels starts within a minute.",
    ),
    "any label of a round is enough with automatic rounds": (
        replace(LABELLED, new=replace(FEW, end_a_round=True), auto_rounds=True),
        Tone.WAIT,
        Act.NOTHING,
        "A fine-tune on the new labels starts within a minute.",
    ),
    "corrections do not hold up automatic rounds": (
        replace(LABELLED, new=FEW, auto_rounds=True),
        Tone.WAIT,
        Act.NOTHING,
        "The next round opens by itself within a minute.",
    ),
    "corrections after the last patch, with automatic rounds": (
        replace(LABELLED, new=FEW, auto_rounds=True, has_candidates=False),
        Tone.ACT,
        Act.ADD_SCENE,
        "Every patch of the pool has been labelled or skipped",
    ),
    "time limit in three days": (
        replace(LABELLED, new=replace(FEW, due_at=NOON + timedelta(days=3))),
        Tone.ACT,
        Act.OPEN_ROUND,
        "Open the next round: 12 more labels start a fine-tune on the 8 labels that no version knows yet; at "
        "2026-11-29 12:00 UTC one starts anyway.",
    ),
    "the fine-tune on these labels was cancelled": (
        replace(LABELLED, new=replace(FEW, failed=True, job_id="c3")),
        Tone.ACT,
        Act.RETRY_JOB,
        "The fine-tune on the newest labels failed or was cancelled: 8 labels are not learnt. Retry its job;",
    ),
    "next round to open": (LABELLED, Tone.ACT, Act.OPEN_ROUND, "Open the next round."),
    "next round opens by itself": (
        replace(LABELLED, auto_rounds=True),
        Tone.WAIT,
        Act.NOTHING,
        "The next round opens by itself within a minute.",
    ),
    "stopping signal": (
        replace(LABELLED, worth=Worth.STOP),
        Tone.ACT,
        Act.ADD_SCENE,
        "Stop here, or register other scenes: another round hardly pays",
    ),
    "pool exhausted": (
        replace(LABELLED, has_candidates=False),
        Tone.ACT,
        Act.ADD_SCENE,
        "Every patch of the pool has been labelled or skipped",
    ),
    "part down": (
        replace(LABELLED, round=OPEN, faults={"label-studio": "does not answer at http://x"}),
        Tone.FAULT,
        Act.NOTHING,
        "Label Studio: does not answer at http://x",
    ),
    "disk full": (
        replace(LABELLED, round=OPEN, free_bytes=400_000_000),
        Tone.FAULT,
        Act.NOTHING,
        "Make room now: 0.4 GB of disk are left",
    ),
    "disk low": (replace(LABELLED, free_bytes=4_000_000_000), Tone.LOOK, Act.NOTHING, "Make room: 4.0 GB"),
    "round failed": (
        replace(SET_UP, round=RoundFacts(2, RoundState.FAILED, error="no scores")),
        Tone.FAULT,
        Act.SEE_TROUBLE,
        "Round 2 could not be chosen: no scores. Retry its job, or open another one.",
    ),
    "round failed, and others would open by themselves": (
        replace(SET_UP, rounds=1, round=RoundFacts(2, RoundState.FAILED, error="no scores"), auto_rounds=True),
        Tone.FAULT,
        Act.SEE_TROUBLE,
        "Round 2 could not be chosen: no scores. Retry its job, or open another one. "
        "Until then no round opens by itself.",
    ),
    "publication failed": (
        replace(SET_UP, rounds=2, round=RoundFacts(2, RoundState.PUBLISHING, error="refused", job_id="b2")),
        Tone.FAULT,
        Act.RETRY_JOB,
        "Round 2 could not be published: refused. Retry its job, or abandon the round.",
    ),
    "job failed": (
        replace(LABELLED, round=OPEN, failed_jobs=[FailedJob("a1", JobKind.FINE_TUNE, "out of memory")]),
        Tone.FAULT,
        Act.RETRY_JOB,
        "The fine-tune failed: out of memory. Mend the cause, then retry.",
    ),
    "label event failed": (
        replace(LABELLED, round=OPEN, failed_events=1),
        Tone.FAULT,
        Act.SEE_LABELS,
        "1 drawing was not understood",
    ),
    "canary alert": (
        replace(LABELLED, round=OPEN, alerts=[Alert(7, 4)]),
        Tone.LOOK,
        Act.SEE_VERSIONS,
        "Version 4 maps the pool much otherwise than the version before",
    ),
    "scene rejected": (
        replace(LABELLED, rejected=[("khumbu", "no band is red")]),
        Tone.LOOK,
        Act.SEE_SCENES,
        "Scene khumbu was rejected: no band is red. Mend it and register it again, or remove it.",
    ),
    "set aside": (
        replace(LABELLED, set_aside=2),
        Tone.LOOK,
        Act.SEE_TROUBLE,
        "2 things cannot be used and are left out",
    ),
    "events given up": (replace(LABELLED, dead_deliveries=1), Tone.LOOK, Act.SEE_TROUBLE, "1 event for others"),
}


@pytest.mark.parametrize("state", STATES)
def test_each_state_has_its_sentence(state: str) -> None:
    situation, tone, act, text = STATES[state]
    step = next_step(situation, NOON)
    assert (step.tone, step.act) == (tone, act)
    assert step.text.startswith(text)
    assert step.text.endswith(".") or step.tone is Tone.FAULT  # a fault ends as the part put it


def test_failures_come_before_what_only_wants_a_look() -> None:
    situation = replace(
        LABELLED,
        alerts=[Alert(7, 4)],
        failed_events=2,
        failed_jobs=[FailedJob("a1", JobKind.FINE_TUNE, "out of memory")],
        faults={"redis": "no worker listens to compute"},
    )
    assert [step.tone for step in troubles(situation)] == [Tone.FAULT, Tone.FAULT, Tone.FAULT, Tone.LOOK]
    assert next_step(situation, NOON).text == "The queue or its workers: no worker listens to compute"


def test_the_light_follows_the_worst_trouble() -> None:
    assert light(LABELLED).tone is None
    assert light(LABELLED).words == "Healthy: all parts answer, and nothing has failed"
    assert light(replace(LABELLED, alerts=[Alert(7, 4)])).tone is Tone.LOOK
    failed = light(replace(LABELLED, alerts=[Alert(7, 4)], failed_events=1))
    assert (failed.tone, failed.words) == (Tone.FAULT, "Not healthy: 1 failure waits for a person (2 things)")
    down = light(replace(LABELLED, faults={"mlflow": "does not answer"}))
    assert (down.tone, down.words) == (Tone.FAULT, "Not healthy: MLflow does not answer as expected")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "a few seconds"),
        (34, "about 30 seconds"),
        (170, "about 3 minutes"),
        (59 * 60, "about 59 minutes"),
        (3 * 3600, "about 3 hours"),
        (59_066, "about 16 hours"),
        (2 * 86_400, "about 2 days"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
