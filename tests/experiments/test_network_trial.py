from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from experiments.areas import StudyArea
from experiments.explanation_trial import PERMUTATIONS, ExplanationTrial
from experiments.network_trial import REPORT_EVERY_STEPS, NetworkTrial
from experiments.study import Study
from imagery.classes import CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN
from models.explanations import saliency_scores
from models.heads import Head, decide
from models.importance import permutation_importance
from models.metrics import Metrics
from models.presets import PRESETS, Architecture
from tests.experiments.study_areas import SMALL, RecordedProgress, data_of, judged, opened, parts

PARTS = ("training", "validation", "test")


def computed(study: Study, trial: NetworkTrial, progress: RecordedProgress | None = None) -> dict[str, Any]:
    """Run a trial, whatever is known of it."""
    return trial.run(data_of(study), (progress or RecordedProgress()).step)


def test_a_trial_computed_twice_has_the_same_result(study: Study) -> None:
    trial = study.network("multiclass", 0)
    assert computed(study, trial) == computed(study, trial)


def test_seeds_differ(study: Study) -> None:
    first, second = (computed(study, study.network("multiclass", seed)) for seed in (0, 1))
    assert first["confusions"]["test"] != second["confusions"]["test"]


@pytest.mark.parametrize(("head", "classes"), [("multiclass", 3), ("binary", 2), ("two_binaries", 3)])
def test_every_judged_pixel_of_every_window_is_counted_once(study: Study, head: Head, classes: int) -> None:
    (result,) = study.run([study.network(head, 0, head=head)])
    for part in PARTS:
        confusions = np.array(result["confusions"][part])
        assert confusions.shape == (parts(study.division)[part], classes, classes)
        assert confusions.sum(axis=(1, 2)).tolist() == judged(study, part)


def test_rows_are_the_truth(study: Study) -> None:
    multiclass, binary = study.run([study.network(head, 0, head=head) for head in ("multiclass", "binary")])
    for of_window, merged, mask in zip(
        multiclass["confusions"]["test"], binary["confusions"]["test"], study.masks("test"), strict=True
    ):
        pixels = [int((mask == value).sum()) for value in (0, 1, 2)]
        assert np.sum(of_window, axis=1).tolist() == pixels
        assert np.sum(merged, axis=1).tolist() == [pixels[0], pixels[1] + pixels[2]]


def test_trap_statistics_are_of_the_training_windows_alone(study: Study) -> None:
    channels = ["red", "slope"]
    mean, std = data_of(study).statistics(study.division, channels)
    training = data_of(study).patch_set(study.division, "training", channels)
    values = np.concatenate([raw.reshape(2, -1) for raw, _ in training.arrays()], axis=1).astype(np.float64)
    np.testing.assert_allclose(mean, np.nanmean(values, axis=1))
    np.testing.assert_allclose(std, np.nanstd(values, axis=1))


def test_progress_is_reported_every_ten_steps_and_at_the_end(study: Study) -> None:
    trial, progress = study.network("multiclass", 0), RecordedProgress()
    computed(study, replace(trial, training=replace(trial.training, steps=REPORT_EVERY_STEPS + 2)), progress)
    assert progress.steps == [(10, 12), (12, 12)]


def test_what_the_loss_learnt_is_listed_by_step(study: Study) -> None:
    trial = study.network("slba", 0, loss="slba")
    learned = computed(study, replace(trial, training=replace(trial.training, steps=12)))["learned"]
    assert [entry["step"] for entry in learned] == [10, 12]
    for entry in learned:
        assert entry["masked_dice_weight"] == pytest.approx(1 / (2 * entry["a1"] ** 2))
        assert entry["boundary_weight"] == pytest.approx(1 / (2 * entry["a2"] ** 2))
        assert 1.0 not in {entry["a1"], entry["a2"]}  # where both began


def test_a_loss_without_weights_learns_none(study: Study) -> None:
    assert computed(study, study.network("multiclass", 0))["learned"] == []


def test_the_best_epoch_is_chosen_on_the_validation_windows(study: Study) -> None:
    trial = study.network("multiclass", 0)
    plain = replace(trial.training, schedule="constant", learning_rate=0.05)
    steps = [
        _validation_iou(computed(study, replace(trial, training=replace(plain, steps=count)))) for count in (1, 2, 3, 4)
    ]
    kept = replace(plain, steps=4, keep_best=True, validate_every_steps=1)
    assert _validation_iou(computed(study, replace(trial, training=kept))) == max(steps)
    assert len(set(steps)) == 4  # so that there was a choice


def _validation_iou(result: dict[str, Any]) -> float:
    return Metrics.from_confusion(np.array(result["confusions"]["validation"]).sum(axis=0)).mean_iou


def test_a_network_is_as_its_architecture_has_it_but_for_what_is_given(area: StudyArea, trials: Path) -> None:
    choices = replace(SMALL, architecture="baraka", depth=None, width=None, steps=7)
    with opened([area], trials, choices) as study:
        trial = study.network("dice", 3, channels=["nir", "red"], head="binary", loss="combined", alpha=0.25)
    preset = PRESETS["baraka"]
    assert trial.unet == replace(preset.unet, in_channels=2, classes=1)
    changed = {"steps": 7, "seed": 3, "loss": "combined", "alpha": 0.25, "precision": "float32"}
    assert trial.training == replace(preset.training, **changed)
    assert (trial.head, trial.channels, trial.input_normalization) == ("binary", ("red", "nir"), "patch")
    assert trial.name == "dice, seed 3"


def test_rare_classes_are_favoured_in_no_network(study: Study) -> None:
    assert PRESETS["default"].training.balance
    assert not study.network("multiclass", 0).training.balance


@pytest.mark.parametrize("architecture", get_args(Architecture))
def test_every_architecture_takes_every_head(area: StudyArea, trials: Path, architecture: Architecture) -> None:
    choices = replace(SMALL, architecture=architecture, steps=2)
    with opened([area], trials, choices) as study:
        networks = [study.network(head, 0, head=head) for head in get_args(Head)]
        results = study.run(networks)
        assert networks[0].training.needs_validation == (architecture == "he")
        assert networks[0].training.needs_validation_patches == (architecture == "aryal")
        for result in results:
            assert np.array(result["confusions"]["test"]).sum(axis=(1, 2)).tolist() == judged(study)


def test_trap_channels_are_permuted_on_the_test_windows_and_salient_on_those_of_the_training(study: Study) -> None:
    """On the windows of the training, memorised noise would look important."""
    trial = ExplanationTrial(study.network("explained", 0))
    (result,) = study.run([trial])
    segmenter, _ = trial.network.train(data_of(study), RecordedProgress().step)
    training, test = (data_of(study).patch_set(study.division, part, study.channels) for part in ("training", "test"))

    def predict(raw: NDArray[np.float32]) -> NDArray[np.uint8]:
        return decide(segmenter.probabilities(torch.from_numpy(raw)[None])[0].numpy(), "multiclass")

    permuted = permutation_importance(predict, list(test.arrays()), study.channels, 3, UNKNOWN, 0, PERMUTATIONS)
    for item in (CLEAN_ICE, DEBRIS_COVERED_ICE):
        drops = permuted.drops(lambda scores, item=item: scores.iou[item.value])
        assert tuple(result["permutation"][item.name].values()) == drops.values
        salient = saliency_scores(segmenter, (raw for raw, _ in training.batches()), item.value)
        assert tuple(result["saliency"][item.name].values()) == salient.values
