"""Does a network generalise to another region? Three held-out regions (Baraka et al. 2020, figures 8 and 9)."""

from experiments.division import hold_out
from experiments.estimates import GLACIER_IOU, ICE_IOU, counts_of, estimate, how_to_read
from experiments.figures import bars
from experiments.findings import Findings, Row, Table, Value
from experiments.study import DIVISION_SEED, Study
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE


def run(study: Study) -> Findings:
    """Train on two thirds of the areas, and compare the scores there with those of the held-out third."""
    thirds = enumerate(hold_out(study.areas, study.choices.patch_size_px, DIVISION_SEED), start=1)
    divisions = {f"third {number} held out": division for number, division in thirds}
    trials = [
        study.network(name, seed, division=division) for name, division in divisions.items() for seed in study.seeds
    ]
    found = iter(study.run(trials))
    rows = []
    for name, division in divisions.items():
        results = [next(found) for _ in study.seeds]
        for part, places in division.named().items():
            counts = counts_of(results, division.blocks(part), part)
            values: dict[str, Value] = {measure: estimate(counts, measure) for measure in ICE_IOU}
            truth = counts[:, 0].sum(axis=(0, 2))  # pixels of each class
            values["share of clean ice"] = float(truth[CLEAN_ICE.value] / truth.sum())
            values["share of debris"] = float(truth[DEBRIS_COVERED_ICE.value] / truth.sum())
            values["windows"] = len(places)
            values["blocks"] = len(counts)
            rows.append(Row(f"{name}: {part}", values))
    table = Table("IoU in the training region and in the held-out region", "windows of", tuple(rows))
    return Findings(
        "geography",
        "Does a network generalise to another region? Baraka et al. 2020, figures 8 and 9.",
        (table,),
        (
            how_to_read(),
            "Each third of every area, cut across its longer side, is held out once; validation windows are drawn at "
            "random from the training region.",
            "Baraka et al. show their figures as a plot only: performance slightly increases in the test regions, "
            f"which have less glacier. The {GLACIER_IOU} depends on how much there is: compare with the shares.",
        ),
        bars(table, ICE_IOU),
        {name.replace(" ", "-"): division for name, division in divisions.items()},
    )
