"""What must hold when a system has come to rest, whatever happened to it.

Each invariant is a pure function of the evidence. It returns one message for each offender, which names it.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from catalog.records import EventState, JobState, PatchState, ProposalState, RoundState, RunState
from catalog.registry import CHAMPION, LEARNER
from chaos.evidence import Evidence
from chaos.ledger import PERIODIC
from services.promotion import SERVING

_ENDED: Final = frozenset({"FINISHED", "FAILED", "KILLED"})
# How `imagery.store.RasterStore` names a file that it is writing.
_HALF_WRITTEN: Final = re.compile(r"/\.[^/]+\.[0-9a-f]{32}$")
_OF_RUN: Final = {RunState.FINISHED: "FINISHED", RunState.FAILED: "FAILED", RunState.KILLED: "KILLED"}


def annotations_are_labels(found: Evidence) -> Iterable[str]:
    """Every annotation that is no skip is one standing label, with the mask that is drawn; no other label stands."""
    standing = defaultdict(list)
    for label in found.labels:
        standing[label.annotation_id].append(label)
    for annotation in found.annotations:
        labels = standing.pop(annotation.id, [])
        expected = 0 if annotation.skipped else 1
        if len(labels) != expected:
            states = [
                f"event {event.id} {event.action} {event.state.value} ({event.detail})"
                for event in found.events
                if event.annotation_id == annotation.id
            ]
            yield (
                f"annotation {annotation.id} of task {annotation.task_id} has {len(labels)} standing labels, expected "
                f"{expected}; its events: {'; '.join(states) or 'none'}"
            )
        for label in labels[:expected]:
            mask = found.masks[label.id]
            if mask is None:
                yield f"the mask {label.mask_key} of label {label.id} is missing or cannot be read"
            elif not np.array_equal(mask, annotation.mask):
                differ = int((mask != annotation.mask).sum())
                yield f"label {label.id} differs from annotation {annotation.id} in {differ} pixels"
    for annotation_id, labels in standing.items():
        yield f"labels {[label.id for label in labels]} stand, but Label Studio has no annotation {annotation_id}"


def acknowledged_work_is_kept(found: Evidence) -> Iterable[str]:
    """Every version of an annotation that Label Studio acknowledged last is the one that it has.

    One that was submitted to a double while that was deleted is another annotation since, with the same number.
    """
    present = {annotation.id: annotation.lead_time for annotation in found.annotations}
    carried = set(present.values())
    for annotation_id, number in found.acknowledged.items():
        if present.get(annotation_id, number if number in carried else None) != number:
            yield f"annotation {annotation_id} was acknowledged as number {number}, found {present.get(annotation_id)}"


def states_follow_from_labels(found: Evidence) -> Iterable[str]:
    """Proposals and patches are in the states that an undisturbed system gives them for these annotations."""
    drawn = {item.proposal for item in found.annotations if not item.skipped}
    skipped = {item.proposal for item in found.annotations if item.skipped} - drawn
    present = set(found.tasks.values())
    of_patch = defaultdict(set)
    for proposal in found.proposals:
        of_patch[proposal.patch_id].add(proposal.state)
        if proposal.uid in drawn:
            expected = ProposalState.LABELLED
        elif proposal.uid in skipped:
            expected = ProposalState.SKIPPED
        else:
            expected = ProposalState.PUBLISHED if proposal.uid in present else ProposalState.WITHDRAWN
        if proposal.state is not expected:
            yield f"proposal {proposal.id} ({proposal.uid}) is {proposal.state.value}, expected {expected.value}"
    labelled = {label.patch_id for label in found.labels}
    for patch in found.patches:
        states = of_patch[patch.id]
        if ProposalState.PUBLISHED in states:
            implied = PatchState.PROPOSED
        elif patch.id in labelled:
            implied = PatchState.LABELLED
        else:
            implied = PatchState.SKIPPED if ProposalState.SKIPPED in states else PatchState.UNLABELLED
        if patch.state is not implied:
            yield f"patch {patch.id} is {patch.state.value}, expected {implied.value}"
    waiting = {item.round_id for item in found.proposals if item.state is ProposalState.PUBLISHED}
    for item in found.rounds:
        implied_round = RoundState.OPEN if item.id in waiting else RoundState.COMPLETE
        if item.state is not implied_round:
            yield f"round {item.id} is {item.state.value} ({item.error}), expected {implied_round.value}"


def one_champion_with_a_record(found: Evidence) -> Iterable[str]:
    """One version is served, and the last decision about serving says who made it when, and why. No intent is open."""
    champion = found.aliases.get(CHAMPION)
    if found.versions and champion is None:
        yield "there are versions, but none is the champion"
    for alias in (CHAMPION, LEARNER):
        if alias in found.aliases and found.aliases[alias] not in found.versions:
            yield f"the alias {alias} is on version {found.aliases[alias]}, which does not exist"
    for intent in found.intents:
        yield f"the decision {intent.verdict} about version {intent.model_version} is still an intent"
    for decision in found.promotions:
        if not (decision.actor and decision.reason):
            yield f"the decision {decision.id} about version {decision.model_version} has no actor or no reason"
    served = [item for item in found.promotions if item.verdict in SERVING]
    last = max(served, key=lambda item: item.id, default=None)
    if champion is not None and (last is None or last.model_version != champion):
        said = "none" if last is None else f"version {last.model_version}"
        yield f"version {champion} is the champion, but the last decision is about {said}"
    for version, count in Counter(item.model_version for item in served).items():
        if count > 1:
            yield f"version {version} was promoted {count} times"


def no_run_is_left_running(found: Evidence) -> Iterable[str]:
    """Every training run has ended, in our rows and in MLflow, and in the same way."""
    rows = {row.uid: row for row in found.runs}
    for row in found.runs:
        if row.state not in _OF_RUN:
            yield f"training run {row.id} is {row.state.value}"
    for run in found.mlflow_runs:
        named = rows.get(run.uid or "")
        said = "no row" if named is None else f"training run {named.id} is {named.state.value}"
        differs = named is not None and named.mlflow_run_id == run.id and run.status != _OF_RUN.get(named.state)
        if run.status not in _ENDED or differs:
            yield f"MLflow run {run.id} is {run.status}, {said}"


def no_orphan_in_other_systems(found: Evidence) -> Iterable[str]:
    """Every task, version and run belongs to a row, and every row that claims one has it.

    A proposal may have several tasks only if somebody has drawn on each: a drawing is never deleted.
    """
    uids = {item.uid for item in found.proposals}
    for task_id, uid in found.tasks.items():
        if uid not in uids:
            yield f"task {task_id} names the proposal {uid}, which does not exist"
    drawn_on = {annotation.task_id for annotation in found.annotations}
    for uid, count in Counter(found.tasks.values()).items():
        if count == 1:
            continue
        bare = [task_id for task_id, of in found.tasks.items() if of == uid and task_id not in drawn_on]
        if bare:
            yield f"proposal {uid} has {count} tasks; nobody has drawn on {bare}"
    finished = {row.model_version: row for row in found.runs if row.state is RunState.FINISHED}
    for version, run_id in found.versions.items():
        if version not in finished:
            yield f"version {version} of MLflow run {run_id} belongs to no finished training run"
    for registered in finished.keys() - found.versions.keys():
        yield f"training run {finished[registered].id} names version {registered}, which MLflow does not have"
    runs = {row.uid for row in found.runs}
    for run in found.mlflow_runs:
        if run.uid not in runs:
            yield f"MLflow run {run.id} names the training run {run.uid}, which does not exist"


def files_are_those_of_rows(found: Evidence) -> Iterable[str]:
    """Every file of the store is whole and belongs to a row, and every file that a row refers to is there."""
    for key in sorted(found.files):
        if _HALF_WRITTEN.search(key):
            yield f"the file {key} is half written"
        elif key.startswith("training/"):
            yield f"the checkpoint {key} belongs to no open run"
    for key in found.orphans:
        yield f"the file {key} belongs to no row"
    for key in found.missing:
        yield f"the file {key}, to which a row refers, is missing"


def failures_name_their_cause(found: Evidence) -> Iterable[str]:
    """No job runs, but for those of the clock, and each that failed says why; so does each label event."""
    for job in found.jobs:
        if job.state is JobState.FAILED and not job.error:
            yield f"job {job.id} ({job.key}) failed without a cause"
        if job.state is JobState.RUNNING and job.kind not in PERIODIC:
            yield f"job {job.id} ({job.key}) is {job.state.value}"
    for event in found.events:
        if event.state is EventState.FAILED and not event.detail:
            yield f"label event {event.id} failed without a cause"
        if event.state is EventState.RECEIVED:
            yield f"label event {event.id} was never ingested"


INVARIANTS: Final[dict[str, Callable[[Evidence], Iterable[str]]]] = {
    "every annotation is exactly one standing label, as last submitted": annotations_are_labels,
    "acknowledged work is kept": acknowledged_work_is_kept,
    "the end state is that of an undisturbed run with the same labels": states_follow_from_labels,
    "one champion, with a record of who, when and why": one_champion_with_a_record,
    "no run is left running": no_run_is_left_running,
    "no orphan task, version or run": no_orphan_in_other_systems,
    "no orphan file, and none missing": files_are_those_of_rows,
    "no job failed without a cause": failures_name_their_cause,
}


def violations(found: Evidence) -> list[str]:
    """Return all that is wrong, each message after the invariant that it breaks."""
    return [f"{title}: {message}" for title, check in INVARIANTS.items() for message in check(found)]
