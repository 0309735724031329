"""Schemas of answers about the quality of labels."""

from pydantic import BaseModel, Field

from al_server.schemas import EstimateAnswer
from services.request_types import Closed, Integer


class ComparisonAnswer(BaseModel):
    """How far masks agree with others of the same patches; the patches are the units of the intervals (bootstrap)."""

    patches: int
    pixels: int = Field(description="pixels of which both name a class")
    agreement: EstimateAnswer | None = Field(description="share of these of which both name the same class")
    iou: list[EstimateAnswer | None] = Field(description="in the order of `classes`; null for one that neither names")
    left_out: EstimateAnswer | None = Field(
        description="share of the pixels of which the other side names a class, and the annotator none"
    )


class AnnotatorAnswer(BaseModel):
    """What is known of the labels of one annotator."""

    annotator: str
    simulated: bool
    truth: ComparisonAnswer | None = Field(description="with known truth: honeypots and reference patches")
    others: ComparisonAnswer | None = Field(description="with labels of the same patches by other people")


class BiasAnswer(BaseModel):
    """Labels drawn from the pre-annotation against labels of the same patches drawn from an empty mask."""

    labels: ComparisonAnswer = Field(description="the two labels with each other")
    preannotated: ComparisonAnswer = Field(description="the former with the pre-annotation")
    blind: ComparisonAnswer = Field(description="the latter with the pre-annotation that was not shown")
    pull: EstimateAnswer | None = Field(
        description="agreement of the former with the pre-annotation minus that of the latter"
    )
    pull_iou: list[EstimateAnswer | None] = Field(description="the same difference of the IoU of each class")


class ReferenceAnswer(BaseModel):
    """A patch whose label an operator accepted as the truth."""

    patch_id: int
    label_id: int
    annotator: str
    answers: int = Field(description="labels by other people that are compared with it")
    stands: bool = Field(
        description="false if the label was changed, deleted or withdrawn: nothing is compared with it"
    )
    is_removed: bool = Field(description="whether the scene of the patch was removed")


class QualityAnswer(BaseModel):
    """The quality of the standing labels."""

    classes: list[str]
    annotators: list[AnnotatorAnswer]
    bias: BiasAnswer | None = Field(description="null without a patch that was labelled both ways by two people")
    same_person: int = Field(description="second labels that do not count, because the same person drew the first")
    references: list[ReferenceAnswer]
    pending: int = Field(description="comparisons not made yet, by a job; what they are of is left out of the figures")


class AcceptedLabel(Closed):
    """The number of a label that is the truth of its patch, or is to be."""

    label_id: Integer


class AcceptedAnswer(BaseModel):
    """A label, and the patch of which it is, or was, the truth."""

    label_id: int
    patch_id: int
