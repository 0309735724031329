"""Table of Label Studio's users, so that a label event need not ask Label Studio who drew."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from catalog.records import Base


class StudioUser(Base):
    """A user of Label Studio as it listed them last."""

    __tablename__ = "studio_users"

    user_id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    email: Mapped[str | None] = mapped_column(String(254))  # None: Label Studio does not list this id
