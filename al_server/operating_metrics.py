"""Metrics by which alerts tell that something stands still: parts, waiting jobs, disk, and the limit of training."""

import shutil

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from catalog.job_queue import QUEUES, queue_of
from catalog.records import Job, JobState, now
from catalog.registry_copy import age_s
from catalog.settings import Settings
from services.part_checks import part_faults


def add_operating_metrics(session: Session, settings: Settings, registry: CollectorRegistry) -> None:
    """Add them to a registry; each is present at any time, since an absent metric raises no alarm."""
    parts = Gauge(
        "glacier_al_part_up", "Whether a part answers: 1 or 0; `/readyz` says why", ["part"], registry=registry
    )
    for name, fault in part_faults(session).items():
        parts.labels(name).set(fault is None)
    waits = Gauge(
        "glacier_al_queue_wait_seconds",
        "Seconds that the oldest job of a queue has been due without being started; 0 if none is",
        ["queue"],
        registry=registry,
    )
    for queue, seconds in _waits(session).items():
        waits.labels(queue).set(seconds)
    free = Gauge("glacier_al_disk_free_bytes", "Free space of the file system of the data folder", registry=registry)
    free.set(shutil.disk_usage(settings.var_dir).free)
    due = Gauge("glacier_al_fine_tune_after_labels", "New labels after which a fine-tune starts", registry=registry)
    due.set(settings.fine_tune_after_labels)


def _waits(session: Session) -> dict[str, float]:
    """Return by queue how long its oldest due job has waited, in seconds."""
    due = select(Job.kind, func.min(Job.run_after)).where(Job.state == JobState.QUEUED, Job.run_after <= now())
    longest = dict.fromkeys(QUEUES, 0.0)
    for kind, since in session.execute(due.group_by(Job.kind)):
        longest[queue_of(kind)] = max(longest[queue_of(kind)], age_s(since))
    return longest
