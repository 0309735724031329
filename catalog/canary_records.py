"""The table of canary comparisons: how far what is served now differs on the pool from what was served before."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.decision_records import Promotion
from catalog.records import Base, now


class CanaryComparison(Base):
    """The class maps of two versions on the same patches, compared after a decision replaced one by the other."""

    __tablename__ = "canary_comparisons"

    id: Mapped[int] = mapped_column(primary_key=True)
    decision_id: Mapped[int] = mapped_column(ForeignKey("promotions.id"), unique=True)
    patches: Mapped[int]
    classes: Mapped[list[Any]]  # names of the K classes
    counts: Mapped[list[Any]]  # K x K pixels by class before (rows) and class now (columns)
    change_limit: Mapped[float]  # settings in force
    area_limit: Mapped[float]
    alerts: Mapped[list[Any]]  # which limits are exceeded and by what, for people; empty: none
    compared_at: Mapped[datetime] = mapped_column(default=now)
    acknowledged_at: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None]
    note: Mapped[str | None]

    decision: Mapped[Promotion] = relationship()
