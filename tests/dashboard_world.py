"""Rows of a loop in its third round, as workers and clock would have written them, for pages to show."""

import json
from datetime import timedelta
from typing import Final

from sqlalchemy.orm import Session

from catalog import failures, jobs, labels, registry_copy
from catalog.canary_records import CanaryComparison
from catalog.context import Catalog
from catalog.decision_records import Promotion
from catalog.records import (
    EventState,
    JobKind,
    LabelEvent,
    ProposalReason,
    ProposalState,
    Round,
    RoundState,
    RunState,
    RunTrigger,
    SceneRole,
    TrainingRun,
    now,
)
from catalog.registry_records import PartState
from tests.catalog_fixtures import add_round, add_scene, add_scoring, label_of

ROUND_SIZE: Final = 6
PEOPLE: Final = ("anna@glacier.local", "ben@glacier.local")

# Mean IoU, its gain over what was served, the interval of the gain, the version served before, verdict.
_VERSIONS: Final = (
    (0.52, None, None, None, "promoted"),
    (0.60, 0.08, (0.03, 0.13), 1, "promoted"),
    (0.61, 0.01, (-0.02, 0.04), 2, "kept"),
)


def version_tags() -> list[dict[str, str]]:
    """Return the tags in MLflow of three versions of 6, 12 and 18 labels, of which the gate kept the last back."""
    return [_tags(number) for number in range(1, len(_VERSIONS) + 1)]


def _tags(number: int) -> dict[str, str]:
    mean_iou, gain, interval, champion, verdict = _VERSIONS[number - 1]
    tags = {
        "labels.count": str(6 * number),
        "validation.mean_iou": str(mean_iou),
        "validation.iou.clean ice": str(mean_iou + 0.1),
        "validation.iou.debris-covered ice": str(mean_iou - 0.2),
        "validation.truth_sha256": "b" * 64,
        "verdict": verdict,
        "verdict.reason": "the first version" if gain is None else f"mean IoU changed by {gain:+.3f}",
        "champion_version": str(champion or ""),
        "parent_version": str(number - 1 or ""),
    }
    if gain is None or interval is None:
        return tags
    judged = {
        "gain": gain,
        "low": interval[0],
        "high": interval[1],
        "outcome": "better" if interval[0] > 0 else "cannot tell",
    }
    gate = {"champion_version": champion, "confidence": 0.9, "margin": 0.02, "class_margin": 0.05, "mean_iou": judged}
    gate |= {
        "iou": {},
        "blocks": 60,
        "block_px": 32,
        "independent_blocks": 51.5,
        "blocks_needed": 40,
        "too_small": False,
    }
    return {**tags, "validation.gain.mean_iou": str(gain), "gate.evidence": json.dumps(gate)}


def populate(session: Session) -> None:
    """Add three scenes, two complete rounds, and a third of which 4 of 6 patches are done."""
    _, patches = add_scene(session, "khumbu", width=640, height=320)
    add_scene(session, "langtang", SceneRole.VALIDATION, width=320, offset_px=900)
    add_scene(session, "rongbuk", SceneRole.TEST, width=320, height=320, offset_px=1400)
    for version in (1, 2):
        add_scoring(session, version, {patch.id: 0.5 for patch in patches[:50]}).agreement = {"entropy_top10": 0.83}
    learnt: list[int] = []
    for number in range(3):
        of_round, proposals = add_round(
            session, patches[number * ROUND_SIZE : (number + 1) * ROUND_SIZE], first_task=100 * number + 1
        )
        of_round.strategy = "random" if number == 0 else "class_power_entropy"
        drawn = []
        for place, proposal in enumerate(proposals if number < 2 else proposals[:4]):
            proposal.reason = ProposalReason.SHORTLIST_CONTROL if place % 3 == 2 else ProposalReason.UNCERTAIN
            wrong = 20 if place % 3 == 2 else 30 + 2 * place
            label = label_of(
                session,
                proposal,
                100 * number + place,
                minutes=60 * number + place,
                annotator=PEOPLE[place % 2],
                lead_time_s=90.0 + place,
                found=[[1000 - wrong, 0, 0], [wrong, 0, 0], [0, 0, 0]],
            )
            labels.store(session, label)
            labels.refresh_states(session, proposal, skipped=False)
            drawn.append(label.id)
        session.flush()
        if number < 2:
            learnt += drawn
            run = TrainingRun(trigger=RunTrigger.LABELS, label_ids=list(learnt), labels_sha256="a" * 64, seed=number)
            run.state, run.model_version = RunState.FINISHED, number + 1
            session.add(run)
    cancelled = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
    failures.cancel(session, cancelled.id)
    cancelled.created_at = now() - timedelta(days=1)
    cancelled.finished_at = now() - timedelta(days=1)


def add_failed_event(session: Session) -> LabelEvent:
    """Add a label event that was not understood."""
    event = LabelEvent(
        dedupe_key="failed",
        action="ANNOTATION_CREATED",
        origin="webhook",
        task_id=205,
        annotation_id=999,
        annotation_updated_at=now(),
        state=EventState.FAILED,
        detail="the annotation holds a polygon with 2 corners, expected at least 3",
        body=b"{}",
    )
    session.add(event)
    session.flush()
    return event


def add_alert(session: Session) -> CanaryComparison:
    """Add an alert: the version that was promoted last maps a third of the pixels otherwise."""
    decision = Promotion(model_version=2, previous_version=1, verdict="promoted", reason="better", actor="gate")
    alert = CanaryComparison(
        decision=decision,
        patches=20,
        classes=["background", "clean ice"],
        counts=[[60, 30], [0, 10]],
        change_limit=0.2,
        area_limit=0.5,
        alerts=["30.0% of the pixels have another class (limit 20.0%)"],
    )
    session.add(alert)
    session.flush()
    return alert


def run_fine_tune(session: Session) -> str:
    """Add a running fine-tune, half done; return the id of its job."""
    job = jobs.enqueue(session, JobKind.FINE_TUNE, trigger="by hand")
    jobs.claim(session, job.id)
    jobs.report_progress(session, job.id, 1, 50, 100, "training: loss 0.4")
    return job.id


def complete_round(session: Session) -> None:
    """Skip what is left of the open round."""
    of_round = session.query(Round).where(Round.state == RoundState.OPEN).one()
    for proposal in of_round.proposals:
        if proposal.state is ProposalState.PUBLISHED:
            labels.refresh_states(session, proposal, skipped=True)


def tick(catalog: Catalog) -> None:
    """Note that all parts answer, as the clock does."""
    with catalog.database.write() as session:
        for name in ("clock", "redis", "label-studio"):
            session.merge(PartState(name=name, fault=None, checked_at=now()))
        registry_copy.note_seen(session)
