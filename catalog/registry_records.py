"""The tables of the local copy of MLflow's registry, and of what the clock found when it last looked at each part."""

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from catalog.records import Base
from catalog.told_texts import Told


class RegistryState(Base):
    """The aliases that are in force here, and when MLflow was last asked. The table has one row, with the id 1.

    The alias ``champion`` of this row is what is served. It differs from MLflow's while a move is being checked.
    """

    __tablename__ = "registry_state"

    id: Mapped[int] = mapped_column(primary_key=True, default=1)
    aliases: Mapped[dict[str, Any]] = mapped_column(default=dict)  # alias -> version
    revision: Mapped[int] = mapped_column(default=0)  # grows with each change of the aliases
    seen_at: Mapped[datetime | None]  # when MLflow last answered
    fault: Mapped[Told | None]  # why it did not answer since


class RegistryVersion(Base):
    """A version of the registered model, as MLflow has it."""

    __tablename__ = "registry_versions"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    run_id: Mapped[str]
    created_at: Mapped[datetime]
    tags: Mapped[dict[str, Any]]


class PartState(Base):
    """The state of a part of the system when the clock last looked."""

    __tablename__ = "part_states"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    fault: Mapped[Told | None]  # None: it answers
    checked_at: Mapped[datetime]
