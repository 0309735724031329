"""Is a U-Net better than pixel classifiers? (Baraka et al. 2020, table 1; He et al. 2020, table 4)."""

from typing import Any, Final

from experiments import published
from experiments.estimates import BINARY_SCORES, ICE_IOU, how_to_read
from experiments.figures import bars
from experiments.findings import PUBLISHED, Findings, Row, Table, Value, score_table
from experiments.pixel_trials import NDSI, NdsiTrial
from experiments.study import Study
from experiments.trials import Trial
from imagery.units import REFLECTANCE
from models.ndsi import GLACIER
from services.unit_rules import unit_of

U_NET: Final = "U-Net"
CLASSIFIERS: Final = {
    "random forest": "random_forest",
    "gradient boosting": "gradient_boosting",
    "multi-layer perceptron": "mlp",
}
NDSI_ROW: Final = "NDSI threshold"


def run(study: Study) -> Findings:
    """Fit all classifiers and train the networks on the same windows, with all channels."""
    kinds: dict[str, list[Trial]] = {
        name: [study.pixel_classifier(baseline, seed) for seed in study.seeds] for name, baseline in CLASSIFIERS.items()
    }
    if NDSI in study.channels:
        kinds[NDSI_ROW] = [NdsiTrial(NDSI_ROW, study.division)]
    kinds[U_NET] = [study.network("multiclass", seed) for seed in study.seeds]
    kinds[f"{U_NET}, binary"] = [study.network("binary", seed, head="binary") for seed in study.seeds]
    found = iter(study.run([trial for trials in kinds.values() for trial in trials]))
    results = {name: [next(found) for _ in trials] for name, trials in kinds.items()}
    counts = {name: study.counts(of_kind) for name, of_kind in results.items()}
    tables = [
        score_table("IoU by method", "method", counts, ICE_IOU, U_NET, published.BASELINES),
        score_table("Glacier against background", "method", counts, BINARY_SCORES, None, published.BASELINES),
    ]
    if NDSI_ROW in results:
        (ndsi,) = results[NDSI_ROW]
        tables.append(_sweep(ndsi))
        note = (
            f"The NDSI threshold, {ndsi['threshold']}, is the best on the validation windows, not on the test windows."
        )
        if any(unit_of(area.source, NDSI).computed_from != REFLECTANCE for area in study.areas):
            note += " The bands are digital numbers: the thresholds do not compare with published ones, of reflectance."
    else:
        note = f"The areas lack a band of the snow index (channels: {', '.join(study.channels)}), so it is left out."
    return Findings(
        "baselines",
        "Is a U-Net better than pixel classifiers? Baraka et al. 2020, table 1; He et al. 2020, table 4.",
        tuple(tables),
        (
            how_to_read(study.test_blocks),
            note,
            "The published binary U-Net is He's, fed three bands. Training pixels are sampled uniformly.",
        ),
        bars(tables[0], ICE_IOU),
        {"": study.division},
    )


def _sweep(result: dict[str, Any]) -> Table:
    """Return table 4 of He et al., measured on the test windows."""
    fields = dict(zip(BINARY_SCORES, ("missed_alarm", "false_alarm", "overall_accuracy", "kappa"), strict=True))
    rows = []
    for scores in result["sweep"]:
        values: dict[str, Value] = {
            measure: scores[field][GLACIER] if isinstance(scores[field], list) else scores[field]
            for measure, field in fields.items()
        }
        of_paper = published.NDSI_SWEEP[scores["threshold"]]
        values |= {f"{PUBLISHED}{measure}": of_paper[measure] for measure in BINARY_SCORES}
        rows.append(Row(f"{scores['threshold']:.1f}", values))
    return Table("NDSI thresholds on the test windows", "threshold", tuple(rows))
