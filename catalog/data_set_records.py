"""The table of data sets, submissions for GLIMS and experiments that people have made in the browser.

Each row tells what was asked for, and what was made; the kind of its job tells which of the three it is.
"""

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from catalog.records import Base, now


class DataSet(Base):
    """A data set of labels and windows, outlines for GLIMS, or results, in the raster store, or what is being made.

    What is removed loses its row first and its file afterwards: a file without a row belongs to nobody.
    """

    __tablename__ = "data_sets"

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: uuid4().hex)  # names its file
    request: Mapped[dict[str, Any]]  # DatasetRequest, or Asked of another service, as JSON
    with_model: Mapped[bool]  # whether the served model is to be added; of outlines, whether its map counts
    asked_by: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(default=now)
    job_id: Mapped[str] = mapped_column(String(32))
    contents: Mapped[dict[str, Any] | None]  # Contents of the service as JSON; None until its file is stored


class DataSetLabel(Base):
    """A label that a data set or a submission holds, so that one can be found that holds labels withdrawn since."""

    __tablename__ = "data_set_labels"

    data_set_id: Mapped[int] = mapped_column(ForeignKey("data_sets.id", ondelete="CASCADE"), primary_key=True)
    label_id: Mapped[int] = mapped_column(ForeignKey("labels.id"), primary_key=True)
