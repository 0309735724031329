"""Tables of the reconciliation with Label Studio: what it had when it was last looked at, and what was mended."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from catalog.records import Base


class SeenProject(Base):
    """A project as the last reconciliation left it."""

    __tablename__ = "seen_projects"

    project_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    studio_clock: Mapped[datetime]  # Label Studio's time when the last comparison began
    compared_at: Mapped[datetime]  # ours at the same moment
    compared_fully_at: Mapped[datetime]  # ours when the last full comparison began


class SeenTask(Base):
    """A task as Label Studio had it when it was last read (`labeling.task_calls.TaskTag`)."""

    __tablename__ = "seen_tasks"

    project_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    task_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    proposal_uid: Mapped[str | None] = mapped_column(String(64))  # None: the task is not ours
    updated_at: Mapped[datetime]  # by Label Studio's clock
    annotations: Mapped[int]
    skips: Mapped[int]


class Reconciliation(Base):
    """A comparison with Label Studio that was full, or found that something differed."""

    __tablename__ = "reconciliations"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(BigInteger)
    full_because: Mapped[str | None]  # why all tasks were compared; None: only those that had changed
    tasks: Mapped[int]  # that Label Studio had
    read: Mapped[int]  # of them, how many were read because they had changed
    mended: Mapped[dict[str, Any]]  # what was recorded that no webhook had told: kind -> how often
    event_ids: Mapped[list[Any]]  # the events by which it was mended, in `label_events`
    started_at: Mapped[datetime]
    seconds: Mapped[float]
