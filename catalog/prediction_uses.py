"""When the stored prediction of a scene by a version was last used: what nobody uses is removed after a time."""

from datetime import datetime

from sqlalchemy import String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from catalog.insertion import insert_unless_known
from catalog.records import Base, now


class PredictionUse(Base):
    """The files of one prediction (`services.raster_keys.prediction_of`), and when somebody last asked for one."""

    __tablename__ = "prediction_uses"

    prediction: Mapped[str] = mapped_column(String(200), primary_key=True)
    used_at: Mapped[datetime] = mapped_column(default=now)


def note(session: Session, prediction: str) -> None:
    """Note that a prediction is used now."""
    first = PredictionUse(prediction=prediction, used_at=now())
    if insert_unless_known(session, [first], PredictionUse.prediction) == [False]:
        session.get_one(PredictionUse, prediction, with_for_update=True, populate_existing=True).used_at = now()


def known(session: Session) -> set[str]:
    """Return the predictions of which it is known when they were used."""
    return set(session.scalars(select(PredictionUse.prediction)))


def forget_if_unused(session: Session, prediction: str, since: datetime) -> bool:
    """Forget a prediction unless it was used since a moment; return whether it was not, so that its files may go."""
    unused = delete(PredictionUse).where(PredictionUse.prediction == prediction, PredictionUse.used_at < since)
    return session.execute(unused.returning(PredictionUse.prediction)).scalar() is not None
