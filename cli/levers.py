"""What each part of the loop gave in a demonstration: differences with their 95 % intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import click
import numpy as np
from numpy.typing import NDArray

from catalog.context import Catalog
from catalog.records import SceneRole
from cli.round_record import RoundRecord
from experiments.replay import Project, with_random_patches, without_prior_outlines
from imagery.classes import BACKGROUND, GLACIER_SCHEME, UNKNOWN
from imagery.masks import mask_from_geotiff
from imagery.store import RasterStore
from models.block_counts import BlockCounts
from models.gate import GateRules, compare
from services import estimates
from services.arms import Arm, Arms
from services.estimates import Estimate
from workers.evaluation import Evaluation
from workers.versions import load_card

_TWO_SIDED: Final = 0.975
"""One-sided confidence of each end of a 95 % interval."""
_ANY_LOSS: Final = 0.99  # margins do not matter here


@dataclass(frozen=True)
class Lever:
    """What one part of the loop gave.

    Attributes:
        name: What was done.
        compared: What is compared with what, for people.
        unit: Unit of the difference.
        value: The difference; above zero is better. None where an IoU is undefined.
        low: Lower end of its 95 % interval; None where too little tells the spread.
        high: Upper end, likewise.
        over: What the interval is over.
    """

    name: str
    compared: str
    unit: Literal["mean IoU", "pixels a label"]
    value: float | None
    low: float | None
    high: float | None
    over: str

    @property
    def outcome(self) -> Literal["pays", "costs", "no difference", "cannot be told"]:
        """What the interval says."""
        if self.value == self.low == self.high == 0.0:
            return "no difference"
        if self.low is not None and self.low > 0:
            return "pays"
        return "costs" if self.high is not None and self.high < 0 else "cannot be told"


@dataclass(frozen=True)
class Comparison:
    """The same trainings with one thing changed.

    Attributes:
        name: What was changed.
        evaluations: On the test region, of each version's counterpart, in order.
        without: How many versions at the beginning have none: their counterparts learnt labels that they did not have.
    """

    name: str
    evaluations: Sequence[Evaluation]
    without: int = 0

    @property
    def mean_iou(self) -> list[float | None]:
        """Mean IoU on the test region of each version's counterpart; None where it has none."""
        found = [evaluation.metrics.mean_iou for evaluation in self.evaluations]
        return [None] * self.without + found[self.without :]


@dataclass(frozen=True)
class Comparisons:
    """The comparisons of a demonstration: without prior outlines, and with patches drawn at random."""

    without_outlines: Comparison
    random_patches: Comparison


def train_comparisons(catalog: Catalog, truth: NDArray[np.uint8], seed: int) -> Comparisons:
    """Train the versions of a demonstration again, without prior outlines and on random patches.

    Args:
        catalog: The catalog of the demonstration.
        truth: (H, W) what the simulated annotator would draw on the pool.
        seed: Of the random patches.
    """
    project = Project.read(catalog)
    click.echo(f"Training {len(project.runs)} versions again without old outlines, to tell what these gave")
    without_outlines = Comparison("same labels, no old outlines", without_prior_outlines(project), 1)
    click.echo(f"Training {len(project.runs)} versions again on random patches, to tell what choosing gave")
    return Comparisons(without_outlines, Comparison("random patches", with_random_patches(project, truth, seed)))


def iou_levers(catalog: Catalog, records: Sequence[RoundRecord], compared: Comparisons) -> list[Lever]:
    """Return what old outlines, labels, choosing and the gate gave in mean IoU on the test region.

    Args:
        catalog: The catalog of the demonstration.
        records: Version 1, of old outlines alone, and those of each round; at least one round.
        compared: What the same trainings gave without them.
    """
    blocks = [_blocks(catalog, record.version) for record in records]
    first, last = records[1], records[-1]
    without = [evaluation.blocks for evaluation in compared.without_outlines.evaluations]
    random = compared.random_patches.evaluations[-1].blocks
    served = _blocks(catalog, last.champion)
    return [
        _iou_lever(
            "Old outlines, early",
            f"{first.labels} labels beside old outlines, and the same labels alone",
            blocks[1],
            without[1],
        ),
        _iou_lever(
            "Old outlines, at the end",
            f"{last.labels} labels beside old outlines, and the same labels alone",
            blocks[-1],
            without[-1],
        ),
        _iou_lever(
            "Labels",
            f"version {last.version} with {last.labels} labels in {len(records) - 1} trainings, and version "
            f"{records[0].version} with none",
            blocks[-1],
            blocks[0],
        ),
        _iou_lever(
            "Choosing",
            f"{last.labels} patches of the rounds, and {last.labels} drawn at random, all with old outlines",
            blocks[-1],
            random,
        ),
        _iou_lever(
            "The gate",
            f"version {last.champion}, which is served, and version {last.version}, the newest",
            served,
            blocks[-1],
        ),
    ]


def effort_levers(arms: Arms, savings: Estimate | None) -> list[Lever]:
    """Return what choosing found and pre-annotations saved, in pixels a label.

    Args:
        arms: What chosen patches and controls found.
        savings: As `saved_px` gives it.
    """
    levers = []
    for difference in arms.differences:
        if difference.of is Arm.CHOSEN and difference.wrong_px is not None:
            compared = f"errors on chosen patches, and on those drawn at random from the {difference.minus.value}"
            found = difference.wrong_px
            levers.append(_estimate_lever("Errors found", compared, found, f"{found.count} rounds with both"))
    if savings is not None:
        compared = "pixels to draw from an empty mask, and pixels changed in the pre-annotation"
        levers.append(_estimate_lever("Pre-annotations", compared, savings, f"{savings.count} labels that had one"))
    return levers


def saved_px(store: RasterStore, labels: Sequence[tuple[str, int]]) -> Estimate | None:
    """Return how many pixels a label fewer were changed than an empty mask would have taken.

    Args:
        store: The raster store.
        labels: The key of the mask and the number of changed pixels of each label that had a pre-annotation.
    """
    saved = []
    for key, edited_px in labels:
        mask = mask_from_geotiff(store.get(key), GLACIER_SCHEME)
        saved.append(float(((mask != BACKGROUND) & (mask != UNKNOWN)).sum()) - edited_px)
    return estimates.mean(saved)


def _blocks(catalog: Catalog, version: int) -> BlockCounts:
    return load_card(catalog, version).blocks[SceneRole.TEST.value]


def _iou_lever(name: str, compared: str, of: BlockCounts, minus: BlockCounts) -> Lever:
    names = tuple(str(number) for number in range(of.classes))
    found = compare(of, minus, names, 0, GateRules(_TWO_SIDED, _ANY_LOSS, _ANY_LOSS))
    gain = found.mean_iou
    over = f"{found.independent_blocks:.0f} independent blocks of the test region"
    return Lever(name, compared, "mean IoU", gain.gain, gain.low, gain.high, over)


def _estimate_lever(name: str, compared: str, found: Estimate, over: str) -> Lever:
    return Lever(name, compared, "pixels a label", found.value, found.low, found.high, over)
