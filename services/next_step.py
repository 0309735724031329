"""Is the system healthy, and what should a person do next? Both follow from the situation alone.

The order is that of a round: failures first, since they hold up all else; then scenes, labels, the fine-tune, the
scoring, and the next round. Exactly one sentence is the next step.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from catalog.records import JobKind, RoundState, SceneRole, SceneState
from services.durations import in_words
from services.forecast import Worth
from services.free_disk import DISK_FULL_BYTES, DISK_LOW_BYTES
from services.situation import RoundFacts, Situation, Work


class Tone(StrEnum):
    """What a sentence asks of a person."""

    FAULT = "fault"  # something is broken
    LOOK = "look"  # something wants a look; all goes on
    ACT = "act"  # a person's turn
    WAIT = "wait"  # the system's turn


class Act(StrEnum):
    """What a page offers beside the sentence."""

    NOTHING = ""
    ADD_SCENE = "add scene"
    OPEN_ROUND = "open round"
    LABEL = "label"
    RETRY_JOB = "retry job"
    SEE_LABELS = "see labels"
    SEE_VERSIONS = "see versions"
    SEE_SCENES = "see scenes"
    SEE_TROUBLE = "see trouble"


@dataclass(frozen=True)
class Step:
    """A sentence, and what to offer.

    Attributes:
        text: The sentence.
        tone: What it asks of the reader.
        act: What to offer.
        subject: The id that the act is about.
    """

    text: str
    tone: Tone
    act: Act = Act.NOTHING
    subject: str = ""


@dataclass(frozen=True)
class Light:
    """The health of the system: the worst tone among its troubles, or None, and what it means in words."""

    tone: Tone | None
    words: str


def light(situation: Situation) -> Light:
    """Return whether the system is healthy."""
    found = list(troubles(situation))
    broken = [step for step in found if step.tone is Tone.FAULT]
    if broken:
        return Light(Tone.FAULT, _more(_faults_in_words(situation, broken), len(found)))
    if found:
        return Light(Tone.LOOK, _more("Works; something wants a look", len(found)))
    return Light(None, "Healthy: all parts answer, and nothing has failed")


def next_step(situation: Situation, at: datetime) -> Step:
    """Return what a person should do next, or what the system does meanwhile.

    Args:
        situation: The situation.
        at: The present time, for what is due at a time.
    """
    return (
        next(troubles(situation), None)
        or _setting_up(situation)
        or _round(situation)
        or _learning(situation, at)
        or _opening(situation, at)
    )


def troubles(situation: Situation) -> Iterator[Step]:
    """Yield what is broken, and then what wants a look; the most pressing first."""
    for part, fault in situation.faults.items():
        yield Step(f"{_PARTS.get(part, part)}: {fault}", Tone.FAULT)
    free = f"{situation.free_bytes / 1e9:.1f} GB of disk are left"
    if situation.free_bytes < DISK_FULL_BYTES:
        yield Step(f"Make room now: {free}, and drawings can no longer be stored.", Tone.FAULT)
    of_round = situation.round
    if of_round is not None and of_round.error and of_round.state is not RoundState.OPEN:
        yield _stuck_round(of_round, situation.auto_rounds)
    for job in situation.failed_jobs:
        text = f"{_KINDS.get(job.kind, _spaced(job.kind))} failed: {job.error}. Mend the cause, then retry."
        yield Step(text, Tone.FAULT, Act.RETRY_JOB, job.id)
    if situation.failed_events:
        drawings = _counted(situation.failed_events, "drawing was", "drawings were")
        yield Step(f"{drawings} not understood: look at the reason, and replay.", Tone.FAULT, Act.SEE_LABELS)
    for alert in situation.alerts:
        text = (
            f"Version {alert.version} maps the pool much otherwise than the version before: look at its maps, then "
            "acknowledge the alert or roll back."
        )
        yield Step(text, Tone.LOOK, Act.SEE_VERSIONS, str(alert.id))
    for name, reason in situation.rejected:
        text = f"Scene {name} was rejected: {reason}. Mend it and register it again, or remove it."
        yield Step(text, Tone.LOOK, Act.SEE_SCENES)
    if DISK_FULL_BYTES <= situation.free_bytes < DISK_LOW_BYTES:
        yield Step(f"Make room: {free}.", Tone.LOOK)
    if situation.set_aside:
        things = _counted(situation.set_aside, "thing cannot be used and is", "things cannot be used and are")
        yield Step(f"{things} left out until mended: see what is set aside.", Tone.LOOK, Act.SEE_TROUBLE)
    if situation.dead_deliveries:
        events = _counted(situation.dead_deliveries, "event", "events")
        yield Step(f"{events} for others could not be delivered within a day.", Tone.LOOK, Act.SEE_TROUBLE)


def _stuck_round(of_round: RoundFacts, auto_rounds: bool) -> Step:
    """Return the step of a round that could not be made. One without patches has ended, and cannot be abandoned."""
    if of_round.state is RoundState.FAILED:
        done, otherwise = "chosen", "open another one"
    else:
        done, otherwise = "published", "abandon the round"
    text = f"Round {of_round.id} could not be {done}: {of_round.error}. Retry its job, or {otherwise}."
    if auto_rounds:  # as services.rounds.open_next_automatically has it
        text += " Until then no round opens by itself."
    return Step(text, Tone.FAULT, *_retry(of_round.job_id))


def _retry(job_id: str | None) -> tuple[Act, str]:
    """Return what to offer for a job that is to be retried; None: it is not known which."""
    return (Act.SEE_TROUBLE, "") if job_id is None else (Act.RETRY_JOB, job_id)


def _setting_up(situation: Situation) -> Step | None:
    """Return the step while scenes are missing that a loop needs: a ready one to learn from, and one to judge by."""
    pool, judge = SceneRole.POOL, SceneRole.VALIDATION
    tiling = {role: situation.scenes.get((role, SceneState.REGISTERED), 0) for role in (pool, judge)}
    ready = {role: situation.scenes.get((role, SceneState.READY), 0) for role in (pool, judge)}
    if not ready[pool] + tiling[pool]:
        text = "Register a scene to map: press 'Add a scene', and drop its product there."
        return Step(text, Tone.ACT, Act.ADD_SCENE, pool.value)
    if not ready[judge] + tiling[judge]:
        text = (
            "Register a validation scene with outlines, by which versions are judged: press 'Add a scene', and drop "
            "its product and its outlines there."
        )
        return Step(text, Tone.ACT, Act.ADD_SCENE, judge.value)
    if not ready[pool] or (not ready[judge] and not situation.rounds):
        left = _left(situation.tiling)
        scenes = _counted(sum(tiling.values()), "scene is", "scenes are")
        if situation.tiling is None:
            text = f"{scenes} not cut into patches, since that was cancelled: retry its job, or remove the scene."
            return Step(text, Tone.ACT, Act.SEE_TROUBLE)
        return Step(f"{scenes} being cut into patches{left}; the first round can be opened then.", Tone.WAIT)
    return None


def _round(situation: Situation) -> Step | None:
    """Return the step of a round that is not finished."""
    of_round = situation.round
    if of_round is None:
        return None
    if of_round.state is RoundState.CHOOSING:
        return Step(f"Round {of_round.id} is being chosen; its patches appear in Label Studio in a moment.", Tone.WAIT)
    if of_round.state is RoundState.PUBLISHING:
        return Step(f"Round {of_round.id} is being published in Label Studio.", Tone.WAIT)
    return _open_round(situation, of_round) if of_round.waiting else None


def _open_round(situation: Situation, of_round: RoundFacts) -> Step:
    total = of_round.done + of_round.waiting
    if not situation.labels and not of_round.done:
        patches = _counted(total, "patch", "patches")
        text = f"Round {of_round.id} waits for its first annotator: {patches} to label. Begin yourself, or invite one."
        return Step(text, Tone.ACT, Act.LABEL)
    done = "is" if of_round.done == 1 else "are"
    text = f"Round {of_round.id} waits for its annotators: {of_round.done} of {total} patches {done} done."
    if situation.fine_tune is not None:
        text += f" Meanwhile a version is in training{_left(situation.fine_tune)}."
    return Step(text, Tone.ACT, Act.LABEL)


def _learning(situation: Situation, at: datetime) -> Step | None:
    """Return the step while no round waits for anybody, and labels are being learnt or about to be."""
    new = situation.new
    if situation.fine_tune is not None:
        return _training(situation.fine_tune, situation.reproduction)
    if situation.scoring is not None:
        after = "the next round opens by itself" if situation.auto_rounds else "the next round can be opened"
        return Step(f"The pool is being scored{_left(situation.scoring)}; then {after}.", Tone.WAIT)
    if new.count and new.failed:
        labels = _counted(new.count, "label is", "labels are")
        text = (
            f"The fine-tune on the newest labels failed or was cancelled: {labels} not learnt. Retry its job; any "
            "further label starts one, too."
        )
        return Step(text, Tone.ACT, *_retry(new.job_id))
    ends_a_round = situation.auto_rounds and new.end_a_round
    is_due = ends_a_round or new.count >= new.needed or (new.due_at is not None and new.due_at <= at)
    if new.count and is_due:
        return Step("A fine-tune on the new labels starts within a minute.", Tone.WAIT)
    return None


def _training(fine_tune: Work, reproduction: Work | None) -> Step:
    then = f"{_left(fine_tune)}; then it scores the pool."
    if fine_tune.running:
        return Step(f"A version is in training{then}", Tone.WAIT)
    if reproduction is not None and reproduction.running:
        text = (
            f"A version waits to be trained until an earlier one has been trained again{_left(reproduction)}. Cancel "
            "that if it may not wait."
        )
        return Step(text, Tone.WAIT)
    return Step(f"A version waits for its turn to be trained{then}", Tone.WAIT)


def _opening(situation: Situation, at: datetime) -> Step:
    """Return the step when nothing is left but to open a round."""
    if not situation.rounds:
        return _first_round(situation)
    if not situation.has_candidates:
        text = "Every patch of the pool has been labelled or skipped: register another scene to go on."
        return Step(text, Tone.ACT, Act.ADD_SCENE, SceneRole.POOL.value)
    return _next_round(situation, at)


def _first_round(situation: Situation) -> Step:
    if situation.learns_from_outlines and not situation.is_scored:
        return Step("The first version is about to learn from the old outlines, without any label.", Tone.WAIT)
    text = "Open the first round: the server chooses patches, and they appear in Label Studio."
    return Step(text, Tone.ACT, Act.OPEN_ROUND)


def _next_round(situation: Situation, at: datetime) -> Step:
    new = situation.new
    if situation.worth is Worth.STOP:
        text = (
            "Stop here, or register other scenes: another round hardly pays, since the versions no longer improve or "
            "change by what is worthwhile."
        )
        return Step(text, Tone.ACT, Act.ADD_SCENE, SceneRole.POOL.value)
    if situation.auto_rounds and situation.is_scored:
        return Step("The next round opens by itself within a minute.", Tone.WAIT)
    if new.count and new.due_at is not None:
        due = new.due_at.strftime("%H:%M" if new.due_at.date() == at.date() else "%Y-%m-%d %H:%M")
        lacking = _counted(new.needed - new.count, "more label starts", "more labels start")
        text = (
            f"Open the next round: {lacking} a fine-tune on the {_counted(new.count, 'label', 'labels')} that no "
            f"version knows yet; at {due} UTC one starts anyway."
        )
        return Step(text, Tone.ACT, Act.OPEN_ROUND)
    return Step("Open the next round.", Tone.ACT, Act.OPEN_ROUND)


_PARTS: Final = {
    "redis": "The queue or its workers",
    "mlflow": "MLflow",
    "label-studio": "Label Studio",
    "clock": "The clock",
    "database": "The database",
}
_KINDS: Final = {
    JobKind.FINE_TUNE: "The fine-tune",
    JobKind.SCORE_POOL: "The scoring of the pool",
    JobKind.SCORE_SHARD: "The scoring of the pool",
    JobKind.TILE_SCENE: "Cutting a scene into patches",
    JobKind.EXPORT_DATASET: "Making a data set",
    JobKind.CHECK_INSTALLATION: "Checking the installation",
    JobKind.EXPORT_SUBMISSION: "Writing outlines for GLIMS",
    JobKind.RUN_EXPERIMENT: "An experiment",
    JobKind.READ_SCENE: "Reading a scene that is set aside",
}


def _faults_in_words(situation: Situation, broken: list[Step]) -> str:
    if situation.faults:
        names = [_PARTS.get(name, name) for name in situation.faults]
        return f"Not healthy: {', '.join(names)} {'does' if len(names) == 1 else 'do'} not answer as expected"
    return "Not healthy: " + _counted(len(broken), "failure waits", "failures wait") + " for a person"


def _more(words: str, count: int) -> str:
    return words if count == 1 else f"{words} ({count} things)"


def _left(work: Work | None) -> str:
    return f", {in_words(work.eta_s)} left" if work is not None and work.eta_s is not None else ""


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _spaced(kind: JobKind) -> str:
    return kind.value.replace("_", " ").capitalize()
