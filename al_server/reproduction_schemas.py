"""Schemas of requests and answers about versions that are trained again."""

from pydantic import BaseModel, Field
from sqlalchemy.orm import Session

from al_server.job_schemas import JobAnswer, serialize_job
from catalog import jobs
from catalog.records import JobKind
from services.reproductions import OTHER, SAME, Options, Precision, ReproductionOutcome
from services.request_types import Body

MOST_THREADS = 1024
"""More than any processor runs at once; a process that cannot start its threads is killed."""


class ReproductionRequest(Body):
    """How to train a version again, and how far it may differ; what is missing is as it was trained."""

    threads: int | None = Field(None, ge=1, le=MOST_THREADS, description="CPU threads of torch")
    precision: Precision | None = Field(None, description="of the passes")
    pixels: float | None = Field(
        None,
        ge=0,
        le=1,
        description="share of the pixels of the validation scenes that may change their class; null: "
        f"{SAME.pixels:g} if code, device, threads, precision and torch are those of the training, else "
        f"{OTHER.pixels:g}",
    )
    metric: float | None = Field(
        None, ge=0, le=1, description="how much the mean IoU, or the IoU of a class, may differ; null: likewise"
    )

    def to_options(self) -> Options:
        """Return the options."""
        return Options(**self.model_dump())


class ToleranceAnswer(BaseModel):
    """How much a version that was trained again may differ."""

    pixels: float = Field(description="share of the pixels of the validation scenes that may change their class")
    metric: float = Field(description="how much the mean IoU, or the IoU of a class, may differ")


class ReproductionReport(BaseModel):
    """A version that was trained again, compared with what was registered."""

    version: int
    outcome: ReproductionOutcome = Field(
        description="outside of the tolerance; else exact if each weight is the same; else within"
    )
    tolerance: ToleranceAnswer
    within_tolerance: bool
    exact: bool = Field(description="each weight is the same")
    largest_difference: float | None = Field(
        description="largest absolute difference of a weight; null if it is not a finite number, as the next two"
    )
    rms_difference: float | None = Field(description="root mean square of the differences of the weights")
    rms_weight: float | None = Field(description="root mean square of the registered weights, for comparison")
    metrics: dict[str, dict[str, tuple[float | None, float | None]]] = Field(
        description="by role of the scenes, then by class or 'mean': the IoU of the registered version, and of the one "
        "that was trained again; null where undefined"
    )
    largest_metric_difference: float = Field(description="1 if only one of two values is undefined")
    same_class: float = Field(description="share of the pixels of the validation scenes that both map as one class")
    same_circumstances: bool = Field(
        description="whether code, precision, device, threads and torch are those of the training, on a CPU"
    )
    notes: list[str] = Field(description="what differs from the training, or could not be compared")


class ReproductionAnswer(BaseModel):
    """A report, and the job that left it: its subject holds what was asked for, `finished_at` when it was made."""

    job: JobAnswer
    report: ReproductionReport


class ReproductionsAnswer(BaseModel):
    """Whether a version is being trained again, and what was found last."""

    job: JobAnswer | None = Field(description="the newest that was asked for, whatever became of it; null: none")
    last: ReproductionAnswer | None = Field(description="the newest that has an outcome; null: none")


def serialize_reproductions(session: Session, version: int) -> ReproductionsAnswer:
    """Return the newest job that trains a version again, and the newest report of one."""
    kind, key = JobKind.REPRODUCE_VERSION, str(version)
    newest, reported = jobs.last_of(session, kind, key), jobs.last_reported(session, kind, key)
    last = None
    if reported is not None:
        last = ReproductionAnswer(
            job=serialize_job(reported), report=ReproductionReport.model_validate(reported.report)
        )
    return ReproductionsAnswer(job=None if newest is None else serialize_job(newest), last=last)
