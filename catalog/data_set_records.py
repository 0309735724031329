"""The table of data sets that people have made in the browser: what each was asked to hold, and what it holds."""

from datetime import datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from catalog.records import Base, now


class DataSet(Base):
    """A data set of labels and windows in the raster store, or one that is being made.

    A data set that is removed loses its row first and its file afterwards: a file without a row belongs to nobody.
    """

    __tablename__ = "data_sets"

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[str] = mapped_column(String(32), unique=True, default=lambda: uuid4().hex)  # names its file
    request: Mapped[dict[str, Any]]  # services.dataset_request.DatasetRequest as JSON
    with_model: Mapped[bool]  # whether the served model is to be added
    asked_by: Mapped[str]
    asked_at: Mapped[datetime] = mapped_column(default=now)
    job_id: Mapped[str] = mapped_column(String(32))
    contents: Mapped[dict[str, Any] | None]  # services.data_sets.Contents as JSON; None until its file is stored
