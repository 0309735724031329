"""Does a network travel? Test ground of its own, three times over (Baraka et al. 2020, figures 8 and 9)."""

from experiments.division import hold_out
from experiments.estimates import GLACIER_IOU, ICE_IOU, estimate, of_part
from experiments.figures import bars
from experiments.findings import Findings, Row, Table, Value
from experiments.study import DIVISION_SEED, Study
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE

PARTS = ("training", "validation", "test")


def run(study: Study) -> Findings:
    """Train on two thirds of the ground, and compare what is scored there with the held-out third."""
    divisions = hold_out(study.areas, study.choices.patch_size_px, DIVISION_SEED)
    cells = [
        study.network(f"third {number} held out", seed, division=division)
        for number, division in enumerate(divisions, start=1)
        for seed in study.seeds
    ]
    found = iter(study.run(cells))
    rows = []
    for number, division in enumerate(divisions, start=1):
        results = [next(found) for _ in study.seeds]
        for part in PARTS:
            counts = of_part(results, part)
            values: dict[str, Value] = {measure: estimate(counts, measure) for measure in ICE_IOU}
            truth = counts[:, 0].sum(axis=(0, 2))  # pixels of each class
            values["share of clean ice"] = float(truth[CLEAN_ICE.value] / truth.sum())
            values["share of debris"] = float(truth[DEBRIS_COVERED_ICE.value] / truth.sum())
            values["windows"] = len(division.named()[part])
            rows.append(Row(f"third {number} held out: {part}", values))
    table = Table("IoU on the ground of the training and elsewhere", "windows of", tuple(rows))
    return Findings(
        "geography",
        "Does a network travel? Baraka et al. 2020, figures 8 and 9.",
        (table,),
        (
            "Each third of every area, cut across its longer side, is held out once; validation windows are drawn at "
            "random from the ground of the training.",
            "Baraka et al. show their figures as a plot only: performance slightly increases in the test regions, "
            f"which have less glacier. The {GLACIER_IOU} depends on how much there is: compare with the shares.",
        ),
        bars(table, ICE_IOU),
    )
