"""The metrics and provenance of a model version, and their conversion to and from MLflow tags.

People can edit tags in MLflow's own page. A tag that cannot be read is reported in `VersionFigures.faults`; the other
tags are still used.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pydantic import ValidationError

from catalog.bundle_cache import CHECKSUM_TAG, checksum_tag
from catalog.records import SceneRole
from catalog.registry import ModelVersion
from imagery.classes import GLACIER_SCHEME
from services import doubted_labels
from services.doubted_labels import DoubtedLabel
from services.gate_figures import GateFigures

Figures = Mapping[str, float | None]
"""By class name; None where the ratio is undefined."""

_BY_CLASS: Final = ("iou", "precision", "recall", "calibration_error", "uncalibrated_error")
_OF_REGION: Final = ("mean_iou", "kappa", "overall_accuracy", "empty_mask_mean_iou")
TAG_DECIMALS: Final = 6
"""Decimals of a figure in a tag."""
_CLASS_NAMES: Final = "class_names"
_GATE: Final = "gate.evidence"
_DOUBTED: Final = "labels.doubted"
_VERDICT: Final = "verdict"
_VERDICT_REASON: Final = "verdict.reason"
WITHDRAWN: Final = "labels.withdrawn"
"""The tag of a version that learnt from withdrawn labels."""
JUDGED_ON: Final = (SceneRole.VALIDATION.value, SceneRole.TEST.value)
"""Roles of the scenes that versions are judged on."""


@dataclass(frozen=True)
class RegionFigures:
    """Metrics of a version on the scenes of one role, and their differences to the champion.

    Attributes:
        mean_iou: Mean intersection over union of the classes with true pixels, background included, in [0, 1].
        kappa: Cohen's kappa.
        overall_accuracy: Share of the judged pixels that are right, in [0, 1].
        empty_mask_mean_iou: Mean IoU of a mask of background only.
        iou: Intersection over union of each class.
        precision: Share of the predicted pixels of each class that are right.
        recall: Share of the true pixels of each class that are found.
        calibration_error: Expected calibration error of each class, on held-out windows; empty if not calibrated.
        uncalibrated_error: The same without the calibration.
        gain_mean_iou: Difference of the mean IoU to that of the version that was served when its training began, on
            the same pixels; None for the first version.
        gain_iou: Difference of the IoU of each class; empty for the first version.
        truth_sha256: SHA-256 of the truth masks; empty if unknown.
    """

    mean_iou: float | None
    kappa: float | None
    overall_accuracy: float | None
    empty_mask_mean_iou: float | None
    iou: Figures
    precision: Figures = field(default_factory=dict)
    recall: Figures = field(default_factory=dict)
    calibration_error: Figures = field(default_factory=dict)
    uncalibrated_error: Figures = field(default_factory=dict)
    gain_mean_iou: float | None = None
    gain_iou: Figures = field(default_factory=dict)
    truth_sha256: str = ""


@dataclass(frozen=True)
class VersionFigures:
    """Metrics and provenance of a version, as its tags in MLflow hold them.

    Attributes:
        class_names: The classes that it predicts, background first.
        parent_version: The version that training started from; None for the first.
        champion_version: The version that was served then; None for the first.
        labels: Number of labels that it learnt from.
        simulated_labels: How many of them a simulated annotator drew.
        labels_sha256: Checksum of these labels.
        regions: Figures by role of the scenes ("validation", "test").
        verdict: What the gate decided: "promoted" or "kept".
        verdict_reason: The reason, as a text for people.
        gate: What the decision rests on; None for the first version, and for versions of earlier releases.
        sha256: Checksum of each file of the bundle, by file name.
        doubted: Labels that it learnt and that stand out, the most doubted first.
        withdrawals: Withdrawals of labels that it learnt from, itself or through its parent; told after registration.
        faults: Tags that could not be read, each as a sentence.
    """

    class_names: tuple[str, ...]
    parent_version: int | None
    champion_version: int | None
    labels: int
    simulated_labels: int
    labels_sha256: str
    regions: Mapping[str, RegionFigures]
    verdict: str
    verdict_reason: str
    sha256: Mapping[str, str]
    gate: GateFigures | None = None
    doubted: tuple[DoubtedLabel, ...] = ()
    withdrawals: tuple[int, ...] = ()
    faults: tuple[str, ...] = ()

    def metrics(self) -> dict[str, float]:
        """Return the defined metrics by their names in MLflow."""
        flat: dict[str, float | None] = {}
        for role, region in self.regions.items():
            flat |= {f"{role}.{name}": getattr(region, name) for name in _OF_REGION}
            for name in _BY_CLASS:
                flat |= {f"{role}.{name}.{of_class}": value for of_class, value in getattr(region, name).items()}
            flat[f"{role}.gain.mean_iou"] = region.gain_mean_iou
            flat |= {f"{role}.gain.iou.{of_class}": value for of_class, value in region.gain_iou.items()}
        flat |= self.gate.metrics() if self.gate else {}
        return {name: value for name, value in flat.items() if value is not None}

    def to_tags(self) -> dict[str, str]:
        """Return the tags of the version for MLflow; `from_tags` reads them back."""
        return {
            **{name: f"{value:.{TAG_DECIMALS}f}" for name, value in self.metrics().items()},
            **{checksum_tag(name): checksum for name, checksum in self.sha256.items()},
            **{f"{role}.truth_sha256": region.truth_sha256 for role, region in self.regions.items()},
            _CLASS_NAMES: json.dumps(self.class_names, ensure_ascii=False),
            "parent_version": str(self.parent_version or ""),
            "champion_version": str(self.champion_version or ""),
            **({_GATE: self.gate.model_dump_json()} if self.gate else {}),
            **({_DOUBTED: doubted_labels.to_tag(self.doubted)} if self.doubted else {}),
            "labels.count": str(self.labels),
            "labels.simulated": str(self.simulated_labels),
            "labels.sha256": self.labels_sha256,
            **verdict_tags(self.verdict, self.verdict_reason),
        }

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "VersionFigures":
        """Return the figures that the tags of a version hold."""
        reader = _TagReader(tags)
        names = reader.class_names()
        return cls(
            class_names=names,
            parent_version=reader.integer("parent_version"),
            # Versions of earlier releases went on from the champion.
            champion_version=reader.integer("champion_version" if "champion_version" in tags else "parent_version"),
            labels=reader.integer("labels.count") or 0,
            simulated_labels=reader.integer("labels.simulated") or 0,
            labels_sha256=tags.get("labels.sha256", ""),
            regions={role: reader.region(role, names) for role in JUDGED_ON if f"{role}.mean_iou" in tags},
            verdict=tags.get(_VERDICT, ""),
            verdict_reason=tags.get(_VERDICT_REASON, ""),
            gate=reader.gate(),
            doubted=reader.doubted(),
            withdrawals=reader.withdrawals(),
            sha256={
                tag.removeprefix(CHECKSUM_TAG): value for tag, value in tags.items() if tag.startswith(CHECKSUM_TAG)
            },
            faults=tuple(reader.faults),
        )


def verdict_tags(verdict: str, reason: str) -> dict[str, str]:
    """Return the tags that hold what the gate decided: "promoted" or "kept", and the reason."""
    return {_VERDICT: verdict, _VERDICT_REASON: reason}


def withdrawals_tag(withdrawals: Mapping[int, bool]) -> str:
    """Return the text of the tag ``WITHDRAWN``.

    Args:
        withdrawals: by their numbers: whether the version learnt from the labels itself, or only through its parent.
    """
    return ", ".join(
        f"{number} ({'directly' if directly else 'through its parent'})" for number, directly in withdrawals.items()
    )


def figures_of(version: ModelVersion) -> VersionFigures:
    """Return the figures of a version of the registry."""
    return VersionFigures.from_tags(version.tags)


class _TagReader:
    """Parses tags, and collects a message for each that cannot be read."""

    def __init__(self, tags: Mapping[str, str]) -> None:
        self._tags = tags
        self.faults: list[str] = []

    def number(self, tag: str) -> float | None:
        """Return a tag as a finite number; None when it is absent, undefined (NaN) or unreadable."""
        text = self._tags.get(tag, "nan")
        try:
            value = float(text)
        except ValueError:
            value = math.inf
        if math.isinf(value):
            self._note(tag, "a number")
        return value if math.isfinite(value) else None

    def integer(self, tag: str) -> int | None:
        """Return a tag as a non-negative integer; None when it is absent, empty or unreadable."""
        text = self._tags.get(tag, "")
        if text and not (text.isascii() and text.isdigit()):
            self._note(tag, "a whole number")
            return None
        return int(text) if text else None

    def class_names(self) -> tuple[str, ...]:
        if _CLASS_NAMES in self._tags:
            try:
                names = json.loads(self._tags[_CLASS_NAMES])
            except ValueError:
                names = None
            if isinstance(names, list) and names and all(isinstance(name, str) for name in names):
                return tuple(names)
            self._note(_CLASS_NAMES, "a JSON list of names")
        # Earlier releases stored no class names and omitted undefined metrics. They had the glacier scheme only, or the
        # two classes of a binary head, whose names appear in the names of the metrics.
        figures = ("validation.iou.", "test.iou.")
        tagged = dict.fromkeys(tag.removeprefix(name) for name in figures for tag in self._tags if tag.startswith(name))
        return tuple(tagged) if set(tagged) - set(GLACIER_SCHEME.names) else GLACIER_SCHEME.names

    def gate(self) -> GateFigures | None:
        if _GATE not in self._tags:
            return None
        try:
            return GateFigures.model_validate_json(self._tags[_GATE])
        except ValidationError:
            self._note(_GATE, "the evidence of the gate as JSON")
            return None

    def doubted(self) -> tuple[DoubtedLabel, ...]:
        if _DOUBTED not in self._tags:
            return ()
        try:
            return doubted_labels.from_tag(self._tags[_DOUBTED])
        except ValidationError:
            self._note(_DOUBTED, "the doubted labels as JSON")
            return ()

    def withdrawals(self) -> tuple[int, ...]:
        found = re.findall(r"(?<!\S)(\d+) \(", self._tags.get(WITHDRAWN, ""))
        if WITHDRAWN in self._tags and not found:
            self._note(WITHDRAWN, "numbers of withdrawals")
        return tuple(map(int, found))

    def region(self, role: str, class_names: Sequence[str]) -> RegionFigures:
        has_gain = any(tag.startswith(f"{role}.gain.") for tag in self._tags)
        return RegionFigures(
            mean_iou=self.number(f"{role}.mean_iou"),
            kappa=self.number(f"{role}.kappa"),
            overall_accuracy=self.number(f"{role}.overall_accuracy"),
            empty_mask_mean_iou=self.number(f"{role}.empty_mask_mean_iou"),
            iou=self._by_class(f"{role}.iou", class_names),
            precision=self._by_class(f"{role}.precision", class_names),
            recall=self._by_class(f"{role}.recall", class_names),
            **self._calibration(role, class_names),
            gain_mean_iou=self.number(f"{role}.gain.mean_iou"),
            gain_iou=self._by_class(f"{role}.gain.iou", class_names) if has_gain else {},
            truth_sha256=self._tags.get(f"{role}.truth_sha256", ""),
        )

    def _calibration(self, role: str, class_names: Sequence[str]) -> dict[str, dict[str, float | None]]:
        """Return the fields about the calibration, which only calibrated versions have."""
        names = ("calibration_error", "uncalibrated_error")
        tagged = [name for name in names if any(tag.startswith(f"{role}.{name}.") for tag in self._tags)]
        return {name: self._by_class(f"{role}.{name}", class_names) for name in tagged}

    def _by_class(self, prefix: str, class_names: Sequence[str]) -> dict[str, float | None]:
        return {name: self.number(f"{prefix}.{name}") for name in class_names}

    def _note(self, tag: str, expected: str) -> None:
        self.faults.append(f"the tag {tag!r} in MLflow holds {self._tags[tag]!r}, expected {expected}; mend it there")
