"""The table of comparisons of masks, from which the quality of labels is told without reading a mask."""

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from catalog.records import Base


class MaskComparison(Base):
    """How many pixels of two masks have which classes; or of three, if one label started from a proposal.

    A label's mask is named by its checksum, another by the key of its file (`services.mask_comparisons.MaskFile`).
    """

    __tablename__ = "mask_comparisons"

    reference: Mapped[str] = mapped_column(String(128), primary_key=True)
    drawn: Mapped[str] = mapped_column(String(128), primary_key=True)
    shown: Mapped[str] = mapped_column(String(128), primary_key=True)  # the proposal; empty: there are two masks
    counts: Mapped[list[Any]]  # as `services.mask_counts` counts: (K, K + 1), or (3, K, K + 1)
