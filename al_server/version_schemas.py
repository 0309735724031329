"""Schemas of requests and answers about model versions."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel, Field

from al_server.schemas import NewestPage
from catalog.records import SceneRole
from catalog.registry import ModelVersion
from services.doubted_labels import DoubtedLabel
from services.gate_figures import GateFigures
from services.request_types import MAX_INTEGER, Closed, Integer
from services.tracks import TrackPoint
from services.version_figures import RegionFigures, figures_of


class VersionNumber(Closed):
    """The number of a model version."""

    version: Integer


class ModelPage(NewestPage):
    """A page of the list of versions, newest first."""

    before: int | None = Field(None, ge=1, le=MAX_INTEGER, description="only versions with smaller numbers")


class ModelAnswer(BaseModel):
    """A model version with its IoU and its gain over the champion; undefined figures are null."""

    version: int
    aliases: list[str]
    created_at: datetime
    parent_version: int | None = Field(description="the version that its training started from")
    champion_version: int | None = Field(description="the version that was served then, with which it is compared")
    labels: int
    labels_sha256: str
    simulated_labels: int
    iou: dict[str, dict[str, float | None]] = Field(description="by role of the region, then by class or 'mean'")
    gain: dict[str, dict[str, float | None]] = Field(description="difference to the champion's IoU, in the same form")
    calibration_error: dict[str, dict[str, float | None]] = Field(
        description="expected calibration error on held-out validation windows, 'before' and 'after' the calibration, "
        "then by class; empty if the version was not calibrated"
    )
    verdict: str
    verdict_reason: str
    gate: GateFigures | None = Field(description="intervals that the verdict rests on; null for the first version")
    sha256: dict[str, str] = Field(description="checksum by file name")
    doubted_labels: list[DoubtedLabel] = Field(
        description="labels that it learnt and that stand out, the most doubted first; its lineage names the annotators"
    )
    withdrawals: list[int] = Field(
        description="withdrawals of labels that it learnt from, itself or through its parent; empty: none"
    )
    faults: list[str] = Field(description="tags in MLflow that could not be read; their figures are null")


class TrackAnswer(BaseModel):
    """What was trained, and what was served after the gate's decision on it."""

    version: int
    labels: int
    mean_iou: dict[str, float | None] = Field(description="of the version, by role of the region")
    low: float | None = Field(
        description="lower end of the gate's interval for the mean IoU on validation: the interval of the gain, added "
        "to the figure of the version that was served when its training began; null for the first version"
    )
    high: float | None = Field(description="the upper end")
    served_version: int | None
    served_mean_iou: dict[str, float | None] = Field(
        description="of the version that was served then, on the same scenes; without a role where it is not known"
    )


def serialize_track(point: TrackPoint) -> TrackAnswer:
    """Return a point of the two curves."""
    return TrackAnswer.model_validate(asdict(point))


def _calibration_error(regions: Mapping[str, RegionFigures]) -> dict[str, dict[str, float | None]]:
    validation = regions.get(SceneRole.VALIDATION.value)
    if validation is None or not validation.calibration_error:
        return {}
    return {"before": dict(validation.uncalibrated_error), "after": dict(validation.calibration_error)}


def serialize_version(version: ModelVersion, aliases: dict[str, int]) -> ModelAnswer:
    """Return a model version with its figures and the aliases that point to it."""
    figures = figures_of(version)
    regions = figures.regions
    return ModelAnswer(
        version=version.version,
        aliases=sorted(alias for alias, number in aliases.items() if number == version.version),
        created_at=version.created_at,
        parent_version=figures.parent_version,
        champion_version=figures.champion_version,
        labels=figures.labels,
        labels_sha256=figures.labels_sha256,
        simulated_labels=figures.simulated_labels,
        iou={role: {"mean": region.mean_iou, **region.iou} for role, region in regions.items()},
        gain={role: {"mean": region.gain_mean_iou, **region.gain_iou} for role, region in regions.items()}
        if figures.champion_version
        else {},
        calibration_error=_calibration_error(regions),
        verdict=figures.verdict,
        verdict_reason=figures.verdict_reason,
        gate=figures.gate,
        sha256=dict(figures.sha256),
        doubted_labels=list(figures.doubted),
        withdrawals=list(figures.withdrawals),
        faults=list(figures.faults),
    )
