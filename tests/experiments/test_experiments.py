"""The experiments on small study areas: their tables, and their notes on what the areas do not allow."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
from matplotlib.figure import Figure

from catalog.settings import Settings
from experiments import baselines, debris_share, heads, label_shares, object_based, published, saliency
from experiments.areas import StudyArea
from experiments.division import Division, hold_out
from experiments.estimates import (
    BINARY_SCORES,
    CLEAN_IOU,
    DEBRIS_IOU,
    GLACIER_IOU,
    ICE_IOU,
    MEASURES,
    PIXELS_TO_EDIT,
    PRECISION_AND_RECALL,
    Estimate,
)
from experiments.findings import PUBLISHED, Findings, Row, Table, Value, values_by_name, write
from experiments.losses import LOSSES, REFERENCE
from experiments.object_trial import ObjectRulesTrial
from experiments.record import EXPERIMENT, record
from experiments.study import DIVISION_SEED, Study
from imagery.channels import CHANNEL_SETS
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN
from imagery.errors import SceneError
from imagery.maps import read_map
from models.importance import FOREST_IMPORTANCE_THRESHOLD
from models.ndsi import NDSI_THRESHOLDS
from services.experiment_options import QUESTIONS
from tests.catalog_fixtures import NOBODY
from tests.experiments.study_areas import PATCH, SMALL, RecordedProgress, half_ice, judged, opened, paint

DEBRIS_THRESHOLDS = (0.0, 0.01, 0.02, 0.05, 0.10)

Run = Callable[[str], Findings]
ICE = (CLEAN_ICE.name, DEBRIS_COVERED_ICE.name)


@pytest.fixture(scope="session")
def found(study: Study) -> Run:
    """Return a function that runs an experiment on the area of 15 channels, each experiment only once."""
    return _runner(study)


@pytest.fixture(scope="session")
def visible_found(visible_study: Study) -> Run:
    """Run an experiment on the area of four bands."""
    return _runner(visible_study)


def _runner(study: Study) -> Run:
    known: dict[str, Findings] = {}

    def run(name: str) -> Findings:
        if name not in known:
            known[name] = resolve_name(f"experiments.{name.replace('-', '_')}:run")(study)
            progress = study._progress
            assert isinstance(progress, RecordedProgress)
            assert progress.begun == len(progress.ended)  # all trials are announced, and once
        return known[name]

    return run


def names(table: Table) -> list[str]:
    return [row.name for row in table.rows]


def row_of(table: Table, name: str) -> Row:
    (row,) = [row for row in table.rows if row.name == name]
    return row


def value(trial: Value) -> float:
    assert isinstance(trial, Estimate)
    return trial.value


def less(reference: str) -> tuple[str, ...]:
    return tuple(f"{measure}, less {reference}" for measure in ICE_IOU)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_experiment_finds_numbers_and_can_be_written(found: Run, tmp_path: Path, name: str) -> None:
    findings = found(name)
    assert findings.experiment == name
    assert isinstance(findings.figure, Figure)
    figures = values_by_name(findings)
    assert any(math.isfinite(number) for number in figures.values())
    assert not any(PUBLISHED in key for key in figures)
    files = write(findings, tmp_path, [])
    assert [path.name for path in files[:3]] == [f"{name}.md", f"{name}.csv", f"{name}.png"]
    assert len(files) == 3 + (3 if name == "geography" else 1)  # windows of each division
    assert all(path.stat().st_size > 500 for path in files)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*noload.* loader strategy is deprecated:DeprecationWarning")
def test_every_figure_has_a_name_of_its_own_that_mlflow_takes(found: Run, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    settings = Settings(var_dir=tmp_path, mlflow_url=NOBODY)
    url = {record(found(name), [], {}, settings, tmp_path) for name in QUESTIONS}.pop()
    client = MlflowClient(tracking_uri=url)
    runs = client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])
    expected = {
        name: sum(not math.isnan(number) for number in values_by_name(found(name)).values()) for name in QUESTIONS
    }
    assert {run.info.run_name: len(run.data.metrics) for run in runs} == expected


@pytest.mark.parametrize("name", ["bands", "heads", "losses", "baselines"])
def test_scores_lie_within_their_intervals(found: Run, name: str) -> None:
    rows = [row for table in found(name).tables for row in table.rows]
    scores = [score for row in rows for column, score in row.values.items() if column in ICE_IOU]
    estimates = [score for score in scores if isinstance(score, Estimate)]
    assert estimates
    for score in estimates:
        assert 0.0 <= score.low <= score.value <= score.high <= 1.0


def test_bands_are_combined_with_elevation_and_with_indices(found: Run) -> None:
    (table,) = found("bands").tables
    sets = ("SWIR1, NIR, green", "true colour", "all bands")
    additions = ("", " + elevation, slope", " + indices", " + elevation, slope + indices")
    assert names(table) == [
        *(f"{bands}{addition}" for bands in sets for addition in additions),
        "random-forest features",
    ]
    assert table.columns == (*ICE_IOU, *less("all bands"))
    assert not any(line.startswith(("Not possible", "The areas have no")) for line in found("bands").notes)


def test_the_channels_of_the_forest_are_those_above_the_threshold_of_the_paper(found: Run, study: Study) -> None:
    forests = study.run([study.pixel_classifier("random_forest", seed) for seed in study.seeds])
    mean = {name: np.mean([forest["importance"][name] for forest in forests]) for name in study.channels}
    chosen = [name for name in study.channels if mean[name] > FOREST_IMPORTANCE_THRESHOLD]
    assert 0 < len(chosen) < len(study.channels)
    assert f"mean over the seeds): {', '.join(chosen)}." in found("bands").notes[1]


def test_notes_name_the_sets_that_four_bands_do_not_allow(visible_found: Run) -> None:
    findings = visible_found("bands")
    assert names(findings.tables[0]) == [
        "true colour",
        "true colour + indices",
        "all bands",
        "all bands + indices",
        "random-forest features",
    ]
    assert "Not possible with the bands blue, green, red, nir: SWIR1, NIR, green." in findings.notes
    assert "The areas have no elevation, so its effect could not be measured." in findings.notes


def test_heads_are_compared_with_the_binary_one(found: Run) -> None:
    (table,) = found("heads").tables
    assert names(table) == ["binary", "multiclass", "two binaries"]
    # Clean and debris-covered ice cannot be compared with a network that does not tell them.
    published_columns = tuple(f"{PUBLISHED}{measure}" for measure in ICE_IOU)
    assert table.columns == (*ICE_IOU, f"{GLACIER_IOU}, less binary", *published_columns)
    binary, multiclass, _ = table.rows
    assert (binary.values[CLEAN_IOU], binary.values[f"{GLACIER_IOU}, less binary"]) == (None, None)
    gain = value(multiclass.values[GLACIER_IOU]) - value(binary.values[GLACIER_IOU])
    assert value(multiclass.values[f"{GLACIER_IOU}, less binary"]) == pytest.approx(gain)


def test_losses_are_compared_with_masked_dice(found: Run) -> None:
    findings = found("losses")
    table, both = findings.tables
    assert names(table) == names(both) == list(LOSSES)
    assert both.columns == (*PRECISION_AND_RECALL, *(f"{PUBLISHED}{measure}" for measure in PRECISION_AND_RECALL))
    assert table.columns == (*ICE_IOU, *less(REFERENCE), f"{PUBLISHED}{CLEAN_IOU}", f"{PUBLISHED}{DEBRIS_IOU}")
    assert findings.notes[-1].startswith("The self-learning loss ended with a₁ = ")
    bars, curves = findings.figure.subfigs
    assert [axes.get_title(loc="left") for axes in bars.axes] == list(ICE_IOU)
    assert len(curves.axes[0].lines) == 2


def test_trap_rows_of_aryal_that_contradict_themselves_are_not_shown(found: Run) -> None:
    table, _ = found("losses").tables
    shown = {row.name for row in table.rows if row.values.get(f"{PUBLISHED}{CLEAN_IOU}") is not None}
    assert shown == {"boundary alone (α = 0)", "combined, α = 0.1", REFERENCE, "self-learning boundary-aware"}


def test_baselines_and_the_network_see_the_same_windows(found: Run) -> None:
    findings = found("baselines")
    iou, binary, sweep = findings.tables
    rows = ["random forest", "gradient boosting", "multi-layer perceptron", "NDSI threshold", "U-Net", "U-Net, binary"]
    assert names(iou) == names(binary) == rows
    assert iou.columns == (*ICE_IOU, *less("U-Net"), f"{PUBLISHED}{CLEAN_IOU}", f"{PUBLISHED}{DEBRIS_IOU}")
    assert binary.columns == (*BINARY_SCORES, *(f"{PUBLISHED}{measure}" for measure in BINARY_SCORES))
    assert names(sweep) == [f"{threshold:.1f}" for threshold in NDSI_THRESHOLDS]
    chosen = findings.notes[1].split(", ")[1]  # "The NDSI threshold, 0.3, is the best on ..."
    for measure in BINARY_SCORES:
        assert row_of(sweep, chosen).values[measure] == pytest.approx(
            value(row_of(binary, "NDSI threshold").values[measure])
        )


def test_without_short_wave_infrared_there_is_no_snow_index(visible_found: Run) -> None:
    findings = visible_found("baselines")
    assert len(findings.tables) == 2
    assert all(baselines.NDSI_ROW not in names(table) for table in findings.tables)
    assert findings.notes[1].startswith("The areas lack a band of the snow index (channels: blue, green, red, nir, ")


def test_heads_are_compared_on_windows_with_both_classes(found: Run, study: Study) -> None:
    """As in Baraka's table 2. Its windows are some of those of the other experiments."""
    (division,) = found("heads").divisions.values()
    assert 0 < len(division.training) < len(study.division.training)
    for part, places in division.named().items():
        assert set(places) <= set(study.division.named()[part])
        for mask in study.masks(part, division):
            assert {CLEAN_ICE.value, DEBRIS_COVERED_ICE.value} <= set(mask.ravel().tolist())
    assert found("debris-share").divisions[""] == division  # table 3 is of the networks of table 2


def test_windows_are_counted_by_their_share_of_debris(found: Run, study: Study) -> None:
    (table,) = found("debris-share").tables
    masks = list(study.masks("test", study.both_classes))
    shares = [(mask == DEBRIS_COVERED_ICE.value).sum() / (mask != UNKNOWN).sum() for mask in masks]
    assert names(table) == ["> 0%", "> 1%", "> 2%", "> 5%", "> 10%"]
    counted = [row.values["windows"] for row in table.rows]
    assert counted == [sum(share > threshold for share in shares) for threshold in DEBRIS_THRESHOLDS]
    assert table.columns[:5] == ("windows", "blocks", "binary", "multiclass", "multiclass less binary")
    for row, threshold in zip(table.rows, DEBRIS_THRESHOLDS, strict=True):
        of_paper = published.DEBRIS_SHARE[threshold]
        assert (row.values[f"{PUBLISHED}binary"], row.values[f"{PUBLISHED}multiclass"]) == of_paper


def test_scores_by_debris_share_are_means_over_the_seeds(found: Run, study: Study) -> None:
    division = study.both_classes
    results = study.run([study.network("binary", seed, head="binary", division=division) for seed in study.seeds])
    pooled = [np.array(result["confusions"]["test"]).sum(axis=0) for result in results]
    expected = np.mean([counts[1, 1] / (counts.sum() - counts[0, 0]) for counts in pooled])
    (table,) = found("debris-share").tables
    assert value(table.rows[0].values["binary"]) == pytest.approx(expected)


def test_each_held_out_third_is_scored_beside_its_training_region(found: Run, area: StudyArea) -> None:
    (table,) = found("geography").tables
    assert names(table) == [
        f"third {number} held out: {part}" for number in (1, 2, 3) for part in ("training", "validation", "test")
    ]
    divisions = hold_out([area], PATCH, DIVISION_SEED)
    places = [of_part for division in divisions for of_part in division.named().values()]
    for row, of_part in zip(table.rows, places, strict=True):
        assert row.values["windows"] == len(of_part)
        truth = np.stack([read_map(area.truth, place.window) for place in of_part])
        judged = truth[truth != UNKNOWN]  # the bands of this scene have data wherever the truth is known
        assert row.values["share of clean ice"] == pytest.approx((judged == CLEAN_ICE.value).mean(), abs=0.02)
        assert row.values["share of debris"] == pytest.approx((judged == DEBRIS_COVERED_ICE.value).mean(), abs=0.02)


def test_every_channel_is_explained(found: Run, study: Study) -> None:
    (table,) = found("saliency").tables
    assert tuple(names(table)) == study.channels
    assert table.columns == (
        *(f"saliency, {name}" for name in ICE),
        *(f"IoU lost, {name}" for name in ICE),
        "forest importance",
        *(f"rank, {name}" for name in ICE),
        *(f"{PUBLISHED}rank, {name}" for name in ICE),
    )
    for column in (*(f"saliency, {name}" for name in ICE), "forest importance"):
        shares = [value(row.values[column]) for row in table.rows]
        assert min(shares) >= 0.0
        assert sum(shares) == pytest.approx(1.0)


def test_channels_are_ranked_among_those_of_aryal(found: Run) -> None:
    (table,) = found("saliency").tables
    for name in ICE:
        saliency_of = {row.name: value(row.values[f"saliency, {name}"]) for row in table.rows}
        ranks = {row.name: row.values[f"rank, {name}"] for row in table.rows}
        ranked = sorted(CHANNEL_SETS["aryal"], key=lambda channel: -saliency_of[channel])
        assert {channel: ranks[channel] for channel in ranked} == {c: i for i, c in enumerate(ranked, start=1)}
        assert ranks["elevation"] is None
    swir2 = row_of(table, "swir2").values
    assert [swir2[f"{PUBLISHED}rank, {name}"] for name in ICE] == [1, 6]


def test_published_ranks_are_among_the_channels_that_there_are(visible_found: Run) -> None:
    (table,) = visible_found("saliency").tables
    of_paper = {row.name: row.values[f"{PUBLISHED}rank, clean ice"] for row in table.rows}
    assert of_paper == {"blue": 1, "red": 2, "nir": 3, "green": 4, "ndvi": None, "ndwi": None}


def test_values_over_seeds_have_a_mean_and_a_spread() -> None:
    two, one = saliency._mean([1.0, 2.0]), saliency._mean([3.0])
    assert (two.value, two.spread) == (1.5, pytest.approx(math.sqrt(0.5)))
    assert (one.value, math.isnan(one.spread), math.isnan(one.low)) == (3.0, True, True)


def test_trap_what_is_undefined_for_a_seed_is_undefined_over_the_seeds() -> None:
    """A network that claims no debris where there is none has no IoU of debris to lose."""
    found = saliency._mean([0.5, math.nan])
    assert (math.isnan(found.value), math.isnan(found.spread)) == (True, True)


@pytest.mark.parametrize("run", [heads.run, debris_share.run])
def test_an_area_without_debris_cannot_compare_heads(tmp_path: Path, run: Callable[[Study], Findings]) -> None:
    truth = half_ice(160, 128)
    truth[truth == DEBRIS_COVERED_ICE.value] = 0
    with (
        opened([paint(tmp_path, truth)], tmp_path / "trials", replace(SMALL, split="random", steps=1)) as study,
        pytest.raises(SceneError, match=r"no window for training with both clean and debris-covered ice among 14; "),
    ):
        run(study)


def test_subsets_without_a_window_are_dashes_never_0(tmp_path: Path) -> None:
    """A twentieth of the pixels is debris: no window has more than a tenth."""
    truth = half_ice(160, 128)
    truth[truth == DEBRIS_COVERED_ICE.value] = 0
    truth[::2, 12::32] = DEBRIS_COVERED_ICE.value
    with opened([paint(tmp_path, truth)], tmp_path / "trials", replace(SMALL, split="random", steps=1)) as study:
        findings = debris_share.run(study)
    rows = {row.name: row.values for row in findings.tables[0].rows}
    assert (rows["> 1%"]["windows"], rows["> 2%"]["windows"], rows["> 2%"]["blocks"]) == (4, 0, 0)
    for column in ("binary", "multiclass", "multiclass less binary"):
        assert math.isnan(value(rows["> 2%"][column]))
    markdown, *_ = write(findings, tmp_path, [])
    assert "| > 2% | 0 | 0 | – | – | – | 0.524 |" in markdown.read_text()


def test_labels_are_counted_with_the_masked_ones(found: Run, study: Study) -> None:
    (table,) = found("label-shares").tables
    assert names(table) == ["training", "validation", "test"]
    for row in table.rows:
        masks = np.stack(list(study.masks(row.name)))
        expected = [(masks == label).mean() for label in (0, CLEAN_ICE.value, DEBRIS_COVERED_ICE.value, UNKNOWN)]
        shares = [row.values[name] for name in label_shares.SHARES]
        assert shares == pytest.approx(expected)
        assert sum(shares) == pytest.approx(1.0)
        assert row.values["windows"] == len(masks)
    assert row_of(table, "test").values[f"{PUBLISHED}masked/unknown"] == 0.0421
    assert any(row.values["masked/unknown"] > 0 for row in table.rows)


def test_published_shares_of_labels_are_whole() -> None:
    """The paper rounds to a hundredth of a per cent."""
    for shares in published.LABEL_SHARES.values():
        assert sum(shares.values()) == pytest.approx(1.0, abs=2e-4)


def test_precision_and_recall_of_aryal_imply_its_iou() -> None:
    """IoU = PR / (P + R - PR): holds for the rows that are shown, to the rounding of the paper."""
    for scores in published.LOSSES.values():
        for ice in ("clean ice", "debris"):
            p, r = scores[f"{ice} precision"], scores[f"{ice} recall"]
            assert scores[f"{ice} IoU"] == pytest.approx(p * r / (p + r - p * r), abs=2e-4)


def test_intervals_state_their_blocks(found: Run, study: Study) -> None:
    blocks = len(set(study.division.blocks("test").tolist()))
    for name in ("bands", "losses", "baselines"):
        findings = found(name)
        assert f"there are {blocks} blocks, and with fewer than 64 such intervals are too narrow" in findings.notes[0]
        scores = [score for table in findings.tables for row in table.rows for score in row.values.values()]
        assert {score.blocks for score in scores if isinstance(score, Estimate)} == {blocks}
    (table,) = found("geography").tables
    assert all(
        row.values["blocks"] == value_of.blocks
        for row in table.rows
        if isinstance(value_of := row.values[GLACIER_IOU], Estimate)
    )


def test_the_rival_is_judged_on_the_same_pixels_and_by_what_is_left_to_edit(found: Run, study: Study) -> None:
    findings = found("object-based")
    scores, regions, thresholds = findings.tables
    assert names(scores) == names(regions) == ["image objects with rules", "U-Net"]
    seen = tuple(name for name in study.bands if name != "quality")  # flags are no image
    (rules,) = study.run([ObjectRulesTrial("rules", study.division, seen, object_based.TESTED)])
    assert [np.sum(window) for window in rules["confusions"]["test"]] == judged(study)
    pooled = np.sum(rules["confusions"]["test"], axis=0)
    row = row_of(scores, "image objects with rules").values
    assert value(row[PIXELS_TO_EDIT]) == pytest.approx(1 - np.trace(pooled) / pooled.sum())
    assert value(row[CLEAN_IOU]) == pytest.approx(pooled[1, 1] / (pooled[1].sum() + pooled[:, 1].sum() - pooled[1, 1]))
    every, large = (list(of_size) for of_size in zip(*rules["edits"]["test"], strict=True))
    shown = row_of(regions, "image objects with rules").values
    assert [value(shown[column]) for column in object_based.REGIONS] == [np.mean(every), np.mean(large)]
    assert all(a >= b for a, b in zip(every, large, strict=True))
    assert len(thresholds.rows) == 2 * 5  # two kinds of ice; three indices, slope and elevation


def test_trap_the_rules_do_not_see_the_test_windows(area: StudyArea, trials: Path) -> None:
    with opened([area], trials) as study:
        whole = study.division
        fewer = Division(whole.training, whole.validation, whole.test[:1])
        other = Division(whole.training[1:], whole.validation, whole.test)
        seen, same, changed = study.run(
            [
                ObjectRulesTrial("rules", division, study.bands, object_based.TESTED)
                for division in (whole, fewer, other)
            ]
        )
    assert (seen["rules"], seen["scale"]) == (same["rules"], same["scale"])
    assert seen["rules"] != changed["rules"]


def test_the_rival_without_snow_index_and_relief_is_said_to_be_weaker(visible_found: Run) -> None:
    findings = visible_found("object-based")
    assert findings.notes[-1] == (
        "The areas have no ndsi, slope, elevation, so the rules do without: a weaker rival than ICIMOD's."
    )
    assert names(findings.tables[2]) == [f"{ice}: {name}" for ice in ICE for name in ("ndvi", "ndwi")]


def test_experiments_share_their_networks(area: StudyArea, trials: Path) -> None:
    progress = RecordedProgress()
    with opened([area], trials, replace(SMALL, seeds=1, steps=1), progress) as study:
        heads.run(study)
        assert progress.computed == ["binary, seed 0", "multiclass, seed 0", "two binaries, seed 0"]
        debris_share.run(study)
    assert len(progress.computed) == 3  # the same two networks, known by now


@pytest.mark.parametrize(
    ("figures", "experiment"),
    [
        (published.HEADS, "heads"),
        (published.LOSSES, "losses"),
        (published.BASELINES, "baselines"),
        (published.OBJECT_BASED, "object-based"),
    ],
)
def test_published_figures_are_of_rows_and_measures_that_there_are(
    found: Run, figures: published.Published, experiment: str
) -> None:
    assert set(figures) <= set(names(found(experiment).tables[0]))
    assert {measure for of_row in figures.values() for measure in of_row} <= set(MEASURES)
    assert all(0.0 < number < 1.0 for of_row in figures.values() for number in of_row.values())


def test_published_values_by_name_the_other_tables_are_complete() -> None:
    assert tuple(published.DEBRIS_SHARE) == DEBRIS_THRESHOLDS
    assert tuple(published.NDSI_SWEEP) == NDSI_THRESHOLDS
    assert published.NDSI_SWEEP[0.1] == published.BASELINES["NDSI threshold"]
    for ranks in published.SALIENCY_RANKS.values():
        assert sorted(ranks) == sorted(CHANNEL_SETS["aryal"])
    assert set(published.SALIENCY_RANKS) == {CLEAN_ICE.name, DEBRIS_COVERED_ICE.name}
