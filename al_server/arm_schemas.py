"""Schemas of answers about arms: what choosing found compared with controls."""

from pydantic import BaseModel, Field

from al_server.schemas import EstimateAnswer
from services.arms import Arm
from services.forecast import Worth


class ArmAnswer(BaseModel):
    """The labels of one arm over all rounds by scores; each label is a unit of the intervals."""

    arm: Arm
    labels: int
    simulated: int = Field(description="how many of them a simulated annotator drew, whose minutes are a program's")
    wrong_share: EstimateAnswer | None = Field(
        description="share of the judged pixels that the version which scored the pool had wrong"
    )
    wrong_px: EstimateAnswer | None = Field(description="those pixels a label")
    wrong_px_of: list[float] = Field(description="those pixels a label by drawn class, in the order of `classes`")
    edited_px: EstimateAnswer | None = Field(description="pixels a label that the annotator changed")
    minutes: EstimateAnswer | None = Field(description="minutes a label; null without lead times")
    wrong_px_per_minute: EstimateAnswer | None


class ArmDifference(BaseModel):
    """One arm minus another, paired within rounds; the rounds are the units of the intervals."""

    of: Arm
    minus: Arm
    wrong_px: EstimateAnswer | None
    wrong_px_per_minute: EstimateAnswer | None
    minutes: EstimateAnswer | None


class ForecastAnswer(BaseModel):
    """What a round of `round_size` labels is expected to bring."""

    versions: int = Field(description="number of versions that the curve is fitted to")
    labels: int = Field(description="labels of the newest version")
    more: int = Field(description="labels of the round")
    gain: EstimateAnswer = Field(
        description="of mean IoU on the validation region, by all labels of the round together"
    )
    gain_per_label: EstimateAnswer
    minutes: EstimateAnswer | None = Field(description="cost in minutes of annotators; null without lead times")
    gain_per_minute: EstimateAnswer | None


class AgreementAnswer(BaseModel):
    """How far a version and the one before it predict alike on a sample of unlabelled patches."""

    version: int
    before: int = Field(description="the newest earlier version whose maps were kept")
    patches: int = Field(description="number of patches compared")
    kappa: float | None = Field(description="Cohen's kappa over all classes; null if both predict a single class")
    kappa_of: list[float | None] = Field(
        description="the same of each class against the rest, in the order of `classes`; null if neither predicts it"
    )
    pixels_of: list[int] = Field(description="pixels that either of them predicts to be of each class")
    least: float | None = Field(description="the lowest of these kappas")


class ArmsAnswer(BaseModel):
    """What choosing found compared with controls, and what a further round is expected to bring."""

    classes: list[str]
    arms: list[ArmAnswer]
    differences: list[ArmDifference]
    next_round: ForecastAnswer | None = Field(description="null with fewer than three versions")
    agreements: list[AgreementAnswer] = Field(description="of the newest three versions that were compared")
    has_stabilised: bool = Field(description="whether all three agree with a kappa of `stable_kappa` in every class")
    worth: Worth = Field(
        description="`go on` if the gain is surely above `worthwhile_gain`; else `hardly pays` if it is surely below "
        "or predictions have stabilised; else `cannot tell`. Nothing acts on it"
    )
