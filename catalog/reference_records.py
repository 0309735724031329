"""The table of reference patches: patches whose label an operator accepted as the truth."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column, relationship

from catalog.records import Base, Label, now


class Reference(Base):
    """A patch whose truth is an accepted label, as long as that label stands."""

    __tablename__ = "reference_patches"

    patch_id: Mapped[int] = mapped_column(ForeignKey("patches.id"), primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("labels.id"))
    accepted_at: Mapped[datetime] = mapped_column(default=now)

    label: Mapped[Label] = relationship()
