"""Is a U-Net better than the semi-automated workflow, rules for image objects? (the poster of Baraka et al. 2020)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from catalog.errors import ConflictError
from experiments import published
from experiments.estimates import ICE_IOU, PIXELS_TO_EDIT, how_to_read, numbers_of, rate, rate_difference
from experiments.figures import bars
from experiments.findings import Findings, Row, Table, Value, score_table
from experiments.object_trial import LEAST_REGION_PX, EditedNetworkTrial, ObjectRulesTrial
from experiments.study import Study
from imagery.channels import ELEVATION, INDICES, SLOPE
from imagery.sensors import holds_flags

OBJECTS: Final = "image objects with rules"
U_NET: Final = "U-Net"
TESTED: Final = (*INDICES, SLOPE, ELEVATION)
"""What the rules of ICIMOD test: snow, vegetation and water index, slope and elevation."""

REGIONS: Final = {
    "regions to edit a window": 0,
    f"regions to edit of {LEAST_REGION_PX} px or more a window": 1,
}
"""Column, and index in the "edits" of trials."""


def run(study: Study) -> Findings:
    """Tune the rules and train the networks on the same windows; score both on the test windows.

    Raises:
        ConflictError: The areas have no channel that the rules test.
    """
    features = tuple(name for name in TESTED if name in study.channels)
    if not features:
        raise ConflictError(
            f"found none of {', '.join(TESTED)} in the areas (channels: {', '.join(study.channels)}), so there is "
            "nothing that rules could test; expected bands of an index, or a DEM"
        )
    seen = tuple(name for name in study.bands if not holds_flags(name))
    rules = ObjectRulesTrial(OBJECTS, study.division, seen, features)
    networks = [EditedNetworkTrial(study.network("multiclass", seed)) for seed in study.seeds]
    of_rules, *of_networks = study.run([rules, *networks])
    results = {OBJECTS: [of_rules], U_NET: of_networks}
    counts = {name: study.counts(of_method) for name, of_method in results.items()}
    scores = score_table(
        "IoU and pixels to edit by method",
        "method",
        counts,
        (*ICE_IOU, PIXELS_TO_EDIT),
        U_NET,
        published.OBJECT_BASED,
    )
    notes = [
        how_to_read(study.test_blocks),
        "Pixels to edit are those of a wrong class. Regions to edit are connected wrong pixels of one true class; "
        f"{LEAST_REGION_PX} px, 0.02 km² at 30 m, is about the smallest glacier of ICIMOD's inventory.",
        "Both methods see one window at a time. The thresholds and the scale of the segmentation are the best on the "
        f"training windows (scale {of_rules['scale']:.0f}), where an expert would set them scene by scene; nothing is "
        "edited. Nobody has published scores of this workflow: its edited results are the labels of the papers.",
    ]
    if absent := [name for name in TESTED if name not in features]:
        notes.append(f"The areas have no {', '.join(absent)}, so the rules do without: a weaker rival than ICIMOD's.")
    return Findings(
        "object-based",
        "Is a U-Net better than the semi-automated workflow? Poster of Baraka et al. 2020, next steps.",
        (scores, _regions(results, study.division.blocks("test")), _thresholds(of_rules["rules"])),
        tuple(notes),
        bars(scores, (*ICE_IOU, PIXELS_TO_EDIT)),
        {"": study.division},
    )


def _regions(results: Mapping[str, Sequence[Mapping[str, Any]]], blocks: NDArray[np.int64]) -> Table:
    values: dict[str, dict[str, Value]] = {name: {} for name in results}
    for column, index in REGIONS.items():
        numbers = {
            name: numbers_of([[window[index] for window in one["edits"]["test"]] for one in of_method], blocks)
            for name, of_method in results.items()
        }
        for name, of_method in numbers.items():
            less = None if name == U_NET else rate_difference(of_method, numbers[U_NET])
            values[name] |= {column: rate(of_method), f"{column}, less {U_NET}": less}
    return Table("Regions to edit by method", "method", tuple(Row(name, row) for name, row in values.items()))


def _thresholds(rules: Mapping[str, Mapping[str, Sequence[float | None]]]) -> Table:
    rows = [
        Row(f"{ice}: {feature}", {"lowest": low, "highest": high})
        for ice, of_ice in rules.items()
        for feature, (low, high) in of_ice.items()
    ]
    return Table("Thresholds of the rules", "class and mean of an object", tuple(rows))
