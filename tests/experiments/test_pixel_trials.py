from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.errors import ConflictError
from experiments import pixel_trials
from experiments.pixel_trials import NDSI, NdsiTrial, PixelClassifierTrial
from experiments.study import Study
from experiments.trials import Trial
from imagery.classes import DEBRIS_COVERED_ICE, UNKNOWN
from imagery.describe_scene import describe
from imagery.scene_source import BandSource
from models.ndsi import NDSI_THRESHOLDS
from tests.experiments.study_areas import SMALL, RecordedProgress, data_of, half_ice, judged, opened, paint, parts
from tests.imagery.forge import write_geotiff


def computed(study: Study, trial: Trial) -> dict[str, Any]:
    return trial.run(data_of(study), RecordedProgress().step)


@pytest.mark.parametrize("baseline", ["random_forest", "gradient_boosting", "mlp"])
def test_every_judged_pixel_of_the_test_is_counted_once(study: Study, baseline: str) -> None:
    (result,) = study.run([study.pixel_classifier(baseline, 0)])
    confusions = np.array(result["confusions"]["test"])
    assert confusions.shape == (parts(study.division)["test"], 3, 3)
    assert confusions.sum(axis=(1, 2)).tolist() == judged(study)
    assert list(result["confusions"]) == ["test"]


def test_a_forest_tells_what_each_channel_is_worth(study: Study) -> None:
    forest, boosting = study.run([study.pixel_classifier(name, 0) for name in ("random_forest", "gradient_boosting")])
    assert tuple(forest["importance"]) == study.channels
    assert sum(forest["importance"].values()) == pytest.approx(1.0)
    assert "importance" not in boosting


def test_a_classifier_fitted_twice_has_the_same_result(study: Study) -> None:
    trial = study.pixel_classifier("random_forest", 1)
    assert computed(study, trial) == computed(study, trial)


def test_classes_that_the_colour_tells_are_learnt(few_pixels: None, tmp_path: Path) -> None:
    with opened([paint(tmp_path, half_ice(256, 256))], tmp_path / "trials") as study:
        (result,) = study.run([PixelClassifierTrial("forest", study.division, ("red",), "random_forest", 0)])
        windows = parts(study.division)["test"]
    # Of every window half is background, a quarter clean, a quarter debris-covered.
    assert result["confusions"]["test"] == [np.diag([512, 256, 256]).tolist()] * windows


def test_too_few_pixels_of_a_class_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_trials, "SAMPLED_PIXELS", 50_000)  # all of them
    truth = half_ice(160, 128)
    truth[truth == DEBRIS_COVERED_ICE.value] = 0
    choices = replace(SMALL, split="random")
    with opened([paint(tmp_path, truth)], tmp_path / "trials", choices) as study:
        window = study.division.training[0].window
    truth[window.row_off, window.col_off] = DEBRIS_COVERED_ICE.value  # a single pixel
    with opened([paint(tmp_path, truth)], tmp_path / "trials", choices) as study:
        trial = study.pixel_classifier("mlp", 0)
        with pytest.raises(ConflictError, match=r"mlp, seed 0: .* or train on more patches"):
            study.run([trial])


def test_a_channel_without_data_is_reported(tmp_path: Path) -> None:
    area = paint(tmp_path, half_ice(160, 128))
    coherence = write_geotiff(tmp_path / "coherence.tif", np.full((160, 128), -1.0, np.float32), nodata=-1)
    source = describe(area.source.bands, extras=[BandSource("coherence", str(coherence), 1)])
    choices = replace(SMALL, split="random")
    with opened([replace(area, source=source)], tmp_path / "trials", choices) as study:
        trial = study.pixel_classifier("mlp", 0)
        with pytest.raises(ConflictError, match="leave out a channel that is nodata everywhere"):
            study.run([trial])


def test_the_ndsi_threshold_is_swept_as_in_the_paper(study: Study) -> None:
    (result,) = study.run([NdsiTrial("ndsi", study.division)])
    assert tuple(scores["threshold"] for scores in result["sweep"]) == NDSI_THRESHOLDS
    confusions = np.array(result["confusions"]["test"])
    assert confusions.shape == (parts(study.division)["test"], 2, 2)
    assert confusions.sum(axis=(1, 2)).tolist() == judged(study)


def test_the_sweep_scores_the_test_windows(study: Study) -> None:
    (result,) = study.run([NdsiTrial("ndsi", study.division)])
    pooled = np.sum(result["confusions"]["test"], axis=0)
    (scores,) = [entry for entry in result["sweep"] if entry["threshold"] == result["threshold"]]
    assert scores["overall_accuracy"] == pytest.approx(np.trace(pooled) / pooled.sum())
    assert scores["missed_alarm"][1] == pytest.approx(pooled[1, 0] / pooled[1].sum())
    assert scores["false_alarm"][1] == pytest.approx(pooled[0, 1] / pooled[:, 1].sum())


def test_trap_the_threshold_is_chosen_on_the_validation_windows(study: Study) -> None:
    """He et al. choose it by the scores that they report. Judged by the test windows, 0.6 would have been chosen."""
    (result,) = study.run([NdsiTrial("ndsi", study.division)])
    best = {part: _best_threshold(study, part) for part in ("validation", "test")}
    assert result["threshold"] == best["validation"]
    assert best["validation"] != best["test"]


def _best_threshold(study: Study, part: str) -> float:
    """The threshold of highest glacier IoU, worked out without the code under test."""
    patches = list(data_of(study).patch_set(study.division, part, [NDSI]).arrays())
    index = np.concatenate([raw[0].ravel() for raw, _ in patches])
    mask = np.concatenate([mask.ravel() for _, mask in patches])
    index, glacier = index[mask != UNKNOWN], mask[mask != UNKNOWN] > 0
    iou = [(glacier & (index >= t)).sum() / (glacier | (index >= t)).sum() for t in NDSI_THRESHOLDS]
    return NDSI_THRESHOLDS[int(np.argmax(iou))]
