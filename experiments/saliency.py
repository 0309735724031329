"""How much does each channel contribute? (Aryal et al. 2023, figure 6; Baraka et al. 2020, figure 5)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments import published
from experiments.estimates import Estimate
from experiments.explanation_trial import ICE, ExplanationTrial
from experiments.figures import bars
from experiments.findings import PUBLISHED, Findings, Row, Table, Value
from experiments.study import Study


def run(study: Study) -> Findings:
    """Explain the network with all channels, and a random forest for comparison."""
    networks = [ExplanationTrial(study.network("explained", seed)) for seed in study.seeds]
    results = study.run([*networks, *(study.pixel_classifier("random_forest", seed) for seed in study.seeds)])
    explained, forests = results[: len(networks)], results[len(networks) :]
    columns: dict[str, Mapping[str, Value]] = {}
    for item in ICE:
        columns[f"saliency, {item.name}"] = _over_seeds([_shares(one["saliency"][item.name]) for one in explained])
    for item in ICE:
        columns[f"IoU lost, {item.name}"] = _over_seeds([one["permutation"][item.name] for one in explained])
    columns["forest importance"] = _over_seeds([one["importance"] for one in forests])
    drawn = tuple(columns)
    for item in ICE:
        columns |= _ranks(item.name, columns[f"saliency, {item.name}"])
    rows = [
        Row(channel, {name: of_column.get(channel) for name, of_column in columns.items()})
        for channel in study.channels
    ]
    table = Table("Channels of the U-Net and of the random forest", "channel", tuple(rows))
    return Findings(
        "saliency",
        "How much does each channel contribute? Aryal et al. 2023, figure 6; Baraka et al. 2020, figure 5.",
        (table,),
        (
            "Values are means over the seeds ± their standard deviation.",
            "Saliency: sum over the pixels of a training window of |d logit / d normalised channel|, mean over the "
            "windows, as a share of the sum over the channels: networks differ in the scale of their logits. The ranks "
            "are among the eight channels that Aryal et al. rank, where there are any two of them.",
            "IoU lost: on the test windows, when the channel is permuted over all of their pixels.",
            "Forest importance: share of the decrease in impurity; Baraka et al. keep channels above 5 %, elevation "
            "and slope foremost.",
        ),
        bars(table, drawn),
        {"": study.division},
    )


def _shares(scores: Mapping[str, float]) -> dict[str, float]:
    return {channel: score / sum(scores.values()) for channel, score in scores.items()}


def _over_seeds(scores: Sequence[Mapping[str, float]]) -> dict[str, Value]:
    """Return the mean and the spread of each channel, without a bootstrap interval."""
    return {channel: _mean([of_seed[channel] for of_seed in scores]) for channel in scores[0]}


def _mean(values: Sequence[float]) -> Estimate:
    nan = float("nan")
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else nan
    return Estimate(float(np.mean(values)), spread, nan, nan)


def _ranks(of_class: str, saliency: Mapping[str, Any]) -> dict[str, Mapping[str, Value]]:
    """Return our ranks and the published ones, 1 the highest, of the channels that both have."""
    theirs = [channel for channel in published.SALIENCY_RANKS[of_class] if channel in saliency]
    ours = sorted(theirs, key=lambda channel: -saliency[channel].value)
    return {
        f"rank, {of_class}": {channel: rank for rank, channel in enumerate(ours, start=1)},
        f"{PUBLISHED}rank, {of_class}": {channel: rank for rank, channel in enumerate(theirs, start=1)},
    }
