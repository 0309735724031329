"""What does each channel contribute? (Aryal et al. 2023, figure 6; Baraka et al. 2020, figure 5)."""

import statistics
from collections.abc import Sequence

from experiments import published
from experiments.estimates import Estimate
from experiments.explained import ICE, ExplanationCell
from experiments.figures import bars
from experiments.findings import PUBLISHED, Findings, Row, Table, Value
from experiments.study import Study


def run(study: Study) -> Findings:
    """Explain the network with all channels, and a random forest beside it."""
    explained = study.run([ExplanationCell(study.network("multiclass", seed)) for seed in study.seeds])
    forests = study.run([study.pixel_classifier("random_forest", seed) for seed in study.seeds])
    rows = []
    for channel in study.channels:
        values: dict[str, Value] = {}
        for item in ICE:
            values[f"saliency, {item.name}"] = _over_seeds([one["saliency"][item.name][channel] for one in explained])
        for item in ICE:
            drops = [one["permutation"][item.name][channel] for one in explained]
            values[f"IoU lost, {item.name}"] = _over_seeds(drops)
        values["forest importance"] = _over_seeds([one["importance"][channel] for one in forests])
        for item in ICE:
            ranks = published.SALIENCY_RANKS[item.name]
            rank = ranks.index(channel) + 1 if channel in ranks else None
            values[f"{PUBLISHED}rank, {item.name}"] = rank
        rows.append(Row(channel, values))
    table = Table("Channels of the U-Net and of the random forest", "channel", tuple(rows))
    drawn = [column for column in table.columns if not column.startswith(PUBLISHED)]
    return Findings(
        "saliency",
        "What does each channel contribute? Aryal et al. 2023, figure 6; Baraka et al. 2020, figure 5.",
        (table,),
        (
            "Saliency: sum over the pixels of a training window of |d logit / d normalised channel|, mean over the "
            "windows. IoU lost: when the channel is permuted over the test windows.",
            "Forest importance: share of the decrease in impurity; Baraka et al. keep channels above 5 %, elevation "
            "and slope foremost. Aryal's ranks are of eight channels, by saliency.",
        ),
        bars(table, drawn),
    )


def _over_seeds(values: Sequence[float]) -> Estimate:
    """Mean and spread over the seeds; there is nothing to draw again."""
    nan = float("nan")
    spread = statistics.stdev(values) if len(values) > 1 else nan
    return Estimate(statistics.mean(values), spread, nan, nan)
