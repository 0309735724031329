"""Which channels improve the IoU: bands, elevation and slope, indices? (Baraka et al. 2020, figure 2)."""

from collections.abc import Iterator
from typing import Final

from experiments.estimates import ICE_IOU, how_to_read
from experiments.figures import bars
from experiments.findings import Findings, score_table
from experiments.study import Study
from imagery.channels import ELEVATION, INDICES, SLOPE
from models.importance import FOREST_IMPORTANCE_THRESHOLD

REFERENCE: Final = "all bands"
BAND_SETS: Final = {
    "SWIR1, NIR, green": ("swir1", "nir", "green"),  # the false-colour composite in which people see snow and ice
    "true colour": ("blue", "green", "red"),
}


def run(study: Study) -> Findings:
    """Train on every set of channels that the areas have, and on the channels that a random forest finds important."""
    sets = dict(_channel_sets(study))
    sets["random-forest features"] = _important_channels(study, (len(sets) + 1) * len(study.seeds))
    trials = [[study.network(name, seed, channels=channels) for seed in study.seeds] for name, channels in sets.items()]
    results = iter(study.run([trial for of_set in trials for trial in of_set]))
    counts = {name: study.counts([next(results) for _ in study.seeds]) for name in sets}
    table = score_table("IoU by channels", "channels", counts, ICE_IOU, REFERENCE)
    notes = [
        f"Channels of the random forest (importance above {FOREST_IMPORTANCE_THRESHOLD:.0%}, mean over the seeds): "
        f"{', '.join(sets['random-forest features'])}.",
        "Baraka et al. show their figures as a plot only: elevation and slope add 10 to 14 % of IoU, all bands are "
        "better than any subset, the features of the random forest do not reach the best.",
    ]
    if absent := [name for name, bands in BAND_SETS.items() if not set(bands) <= set(study.bands)]:
        notes.append(f"Not possible with the bands {', '.join(study.bands)}: {', '.join(absent)}.")
    if SLOPE not in study.channels:
        notes.append("The areas have no elevation, so its effect could not be measured.")
    return Findings(
        "bands",
        "Which channels improve the IoU? Baraka et al. 2020, figure 2.",
        (table,),
        (how_to_read(study.test_blocks), *notes),
        bars(table, ICE_IOU),
        {"": study.division},
    )


def _channel_sets(study: Study) -> Iterator[tuple[str, tuple[str, ...]]]:
    relief = tuple(name for name in (ELEVATION, SLOPE) if name in study.channels)
    indices = tuple(name for name in INDICES if name in study.channels)
    known = {name: bands for name, bands in BAND_SETS.items() if set(bands) <= set(study.bands)}
    for name, bands in {**known, REFERENCE: study.bands}.items():
        yield name, bands
        if relief:
            yield f"{name} + elevation, slope", (*bands, *relief)
        if indices:
            yield f"{name} + indices", (*bands, *indices)
        if relief and indices:
            yield f"{name} + elevation, slope + indices", (*bands, *relief, *indices)


def _important_channels(study: Study, followed_by: int) -> tuple[str, ...]:
    forests = study.run([study.pixel_classifier("random_forest", seed) for seed in study.seeds], followed_by)
    mean = {name: sum(forest["importance"][name] for forest in forests) / len(forests) for name in study.channels}
    return tuple(name for name in study.channels if mean[name] > FOREST_IMPORTANCE_THRESHOLD)
