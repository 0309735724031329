"""Versions that are trained again and compared with the registered ones: how that is judged and asked for."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from catalog import jobs
from catalog.errors import ConflictError
from catalog.records import Job, JobKind

Precision = Literal["float32", "bfloat16"]

Pair = tuple[float | None, float | None]
"""A metric of the registered version and of the one that was trained again; None where undefined."""


@dataclass(frozen=True)
class Tolerance:
    """How much a version that was trained again may differ from the registered one.

    Attributes:
        pixels: Share of the pixels of the validation scenes that may be in another class.
        metric: How much the mean IoU, or the IoU of a class, may differ.
    """

    pixels: float
    metric: float


SAME: Final = Tolerance(0.0, 0.0)
"""With the same code, device, threads, torch and CPU instructions: on a CPU the result is the same to the last bit."""
OTHER: Final = Tolerance(0.1, 0.1)
"""Otherwise: sums are rounded differently, and a training amplifies that (docs/operations.md has what was measured)."""


class ReproductionOutcome(StrEnum):
    """How a version that was trained again compares with the registered one."""

    EXACT = "exact"  # within, and each weight is the same
    WITHIN = "within"
    OUTSIDE = "outside"  # of the tolerance


@dataclass(frozen=True)
class Options:
    """How to train a version again, and how far it may differ; None: as it was trained, and as that calls for.

    Attributes:
        threads: torch's CPU threads.
        precision: Data type of forward and backward passes.
        pixels: As `Tolerance.pixels`, 0 to 1.
        metric: As `Tolerance.metric`, 0 to 1.
    """

    threads: int | None = None
    precision: Precision | None = None
    pixels: float | None = None
    metric: float | None = None


@dataclass(frozen=True)
class Reproduction:
    """A version that was trained again, compared with the registered one.

    Attributes:
        version: Its number.
        largest_difference: Largest absolute difference of a weight or running statistic.
        rms_difference: Root mean square of these differences.
        rms_weight: Root mean square of the registered weights themselves, for comparison.
        metrics: By role and name: the registered and the reproduced value, mean IoU and IoU of each class.
        same_class: Share of the pixels of the validation scenes with data that both put into the same class.
        same_circumstances: Whether code, precision and environment are those of the registered training, on a CPU.
        notes: What differs from the registered training, or could not be compared.
    """

    version: int
    largest_difference: float
    rms_difference: float
    rms_weight: float
    metrics: Mapping[str, Mapping[str, Pair]]
    same_class: float
    same_circumstances: bool
    notes: tuple[str, ...]

    @property
    def largest_metric_difference(self) -> float:
        """The largest absolute difference of a metric; 1 if only one of two values is undefined."""
        pairs = [pair for figures in self.metrics.values() for pair in figures.values()]
        return max((_difference(*pair) for pair in pairs), default=0.0)

    def is_exact(self) -> bool:
        """Return whether every weight is the same."""
        return self.largest_difference == 0.0

    def tolerance(self, options: Options) -> Tolerance:
        """Return the tolerance that a person has set, else the one that its circumstances call for."""
        called_for = SAME if self.same_circumstances else OTHER
        return Tolerance(
            called_for.pixels if options.pixels is None else options.pixels,
            called_for.metric if options.metric is None else options.metric,
        )

    def is_within(self, tolerance: Tolerance) -> bool:
        """Return whether no more pixels changed their class, and no metric by more, than a tolerance allows."""
        return 1.0 - self.same_class <= tolerance.pixels and self.largest_metric_difference <= tolerance.metric

    def outcome(self, tolerance: Tolerance) -> ReproductionOutcome:
        """Return how it compares, judged by a tolerance."""
        if not self.is_within(tolerance):
            return ReproductionOutcome.OUTSIDE
        return ReproductionOutcome.EXACT if self.is_exact() else ReproductionOutcome.WITHIN

    def to_json(self, tolerance: Tolerance) -> dict[str, Any]:
        """Return all of it, judged by a tolerance, as JSON; a difference that is not a finite number is None."""
        numbers = ("largest_difference", "rms_difference", "rms_weight")
        outcome = self.outcome(tolerance)
        return {
            **vars(self),
            **{name: _finite(vars(self)[name]) for name in numbers},
            "largest_metric_difference": self.largest_metric_difference,
            "exact": self.is_exact(),
            "tolerance": asdict(tolerance),
            "outcome": outcome,
            "within_tolerance": outcome is not ReproductionOutcome.OUTSIDE,
        }


def in_words(version: int, outcome: ReproductionOutcome, tolerance: Tolerance) -> str:
    """Return in one sentence how a version that was trained again compares with the registered one."""
    if outcome is ReproductionOutcome.EXACT:
        return f"Version {version} is exactly the same."
    where = "within" if outcome is ReproductionOutcome.WITHIN else "outside of"
    return f"Version {version} is {where} the tolerance (pixels {tolerance.pixels:g}, metrics {tolerance.metric:g})."


def ask(session: Session, version: int, options: Options, by: str) -> Job:
    """Enqueue the job that trains a version again, or return the open one that was asked for with the same options.

    Args:
        session: A writing session.
        version: The version; the caller has looked that there is one.
        options: How to train it, and how far it may differ.
        by: Name of the person who asks.

    Raises:
        ConflictError: It is being trained again with other options.
    """
    wanted = {name: value for name, value in asdict(options).items() if value is not None}
    job = jobs.enqueue(session, JobKind.REPRODUCE_VERSION, str(version), version=version, by=by, **wanted)
    asked = {name: value for name, value in job.subject.items() if name not in {"version", "by"}}
    if asked != wanted:
        told = ", ".join(f"{name} {value}" for name, value in asked.items()) or "no options"
        raise ConflictError(
            f"version {version} is being trained again already, asked for by {job.subject['by']} with {told}; wait for "
            "that, or cancel it first"
        )
    return job


def _difference(then: float | None, now: float | None) -> float:
    if then is None or now is None:
        return 0.0 if then is now else 1.0
    return abs(then - now)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
