"""What of the server's state has changed: one short text for each topic, which differs when what people see differs."""

import hashlib
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

from sqlalchemy import Executable, func, select
from sqlalchemy.orm import Session

from catalog.canary_records import CanaryComparison
from catalog.decision_records import Promotion
from catalog.jobs import OPEN
from catalog.records import Job, Label, LabelEvent, Proposal, Round, Scene, Scoring, TrainingRun
from catalog.registry_records import PartState, RegistryState, RegistryVersion
from catalog.set_aside import SetAside
from catalog.setting_changes import SettingChange


class Topic(StrEnum):
    """What a page may show."""

    MODELS = "models"
    ROUNDS = "rounds"
    JOBS = "jobs"
    LABELS = "labels"
    SCENES = "scenes"
    TROUBLE = "trouble"


_DIGITS: Final = 12

_QUERIES: Final[dict[Topic, tuple[Callable[[], Executable], ...]]] = {
    Topic.MODELS: (
        lambda: select(RegistryState.revision, RegistryState.fault),
        lambda: select(func.max(RegistryVersion.version), func.count()),
        lambda: select(func.max(Promotion.id)),
        lambda: select(func.max(Scoring.completed_at)),  # which tells how far the newest version agrees with the last
    ),
    Topic.ROUNDS: (
        lambda: select(Round.id, Round.state, Round.error).order_by(Round.id.desc()).limit(20),
        lambda: select(Proposal.state, func.count()).group_by(Proposal.state).order_by(Proposal.state),
        lambda: select(func.max(SettingChange.id)),  # what comes next may depend on it
    ),
    Topic.JOBS: (
        lambda: (
            select(Job.id, Job.state, Job.done, Job.total, Job.message, Job.cancel_requested)
            .where(Job.state.in_(OPEN))
            .order_by(Job.id)
        ),
        lambda: select(func.max(Job.finished_at)),
        lambda: select(func.max(Scoring.id), func.max(Scoring.completed_at)),
    ),
    Topic.LABELS: (
        lambda: select(func.max(Label.id), func.count(Label.superseded_at)),
        lambda: select(func.max(LabelEvent.id)),
        lambda: select(func.max(TrainingRun.id), func.max(TrainingRun.finished_at)),  # what is learnt is new no more
        lambda: select(LabelEvent.state, func.count()).group_by(LabelEvent.state).order_by(LabelEvent.state),
    ),
    Topic.SCENES: (lambda: select(Scene.id, Scene.state, Scene.error).order_by(Scene.id),),
    Topic.TROUBLE: (
        lambda: select(func.count(SetAside.id), func.count(SetAside.ended_at)),
        lambda: select(PartState.name, PartState.fault).order_by(PartState.name),
        lambda: select(func.count(CanaryComparison.id), func.count(CanaryComparison.acknowledged_at)),
    ),
}


def live_state(session: Session) -> dict[Topic, str]:
    """Return a short digest of what each topic shows; the queries read an index or a few rows."""
    return {
        topic: hashlib.sha256(
            repr([[tuple(row) for row in session.execute(query())] for query in queries]).encode()
        ).hexdigest()[:_DIGITS]
        for topic, queries in _QUERIES.items()
    }


def mark(state: Mapping[Topic, str]) -> str:
    """Return a state as one word, which listeners keep to say later what they know."""
    return ".".join(state[topic] for topic in Topic)


def changed_topics(state: Mapping[Topic, str], known: str | None) -> list[Topic]:
    """Return the topics that differ from what a listener knows: all, if its mark is none of ours."""
    digests = (known or "").split(".")
    if len(digests) != len(Topic):
        return list(Topic)
    return [topic for topic, digest in zip(Topic, digests, strict=True) if state[topic] != digest]
