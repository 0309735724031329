"""The tables of withdrawals: which labels were withdrawn, by whom and why, and which versions had learnt from them."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.records import Base, Label, now


class Withdrawal(Base):
    """The withdrawal of an annotator's labels."""

    __tablename__ = "withdrawals"

    id: Mapped[int] = mapped_column(primary_key=True)
    annotator: Mapped[str]  # as `Label.annotator`; compared without case
    since: Mapped[datetime | None]  # labels saved earlier stand, by Label Studio's clock; None: all are withdrawn
    reason: Mapped[str]
    actor: Mapped[str]
    withdrawn_at: Mapped[datetime] = mapped_column(default=now)
    # The newest training run then. A fine-tune is due until a later one begins; None: none is needed.
    retrain_after_run: Mapped[int | None]


class WithdrawnLabel(Base):
    """A label that was withdrawn. Its row and its mask stay."""

    __tablename__ = "withdrawn_labels"
    __table_args__ = (Index("ix_withdrawn_labels_withdrawal", "withdrawal_id"),)

    label_id: Mapped[int] = mapped_column(ForeignKey("labels.id"), primary_key=True)
    withdrawal_id: Mapped[int] = mapped_column(ForeignKey("withdrawals.id"))

    label: Mapped[Label] = relationship()
    withdrawal: Mapped[Withdrawal] = relationship()


class AffectedVersion(Base):
    """A model version that learnt from withdrawn labels, itself or through the version that it was trained from."""

    __tablename__ = "affected_versions"

    withdrawal_id: Mapped[int] = mapped_column(ForeignKey("withdrawals.id"), primary_key=True)
    model_version: Mapped[int] = mapped_column(primary_key=True)
    directly: Mapped[bool]
    tagged_at: Mapped[datetime | None]  # when MLflow was told; None: not yet

    withdrawal: Mapped[Withdrawal] = relationship()
