"""What the settings make of a network: presets, overrides, and every head through training, scoring and judging."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import SceneRole
from catalog.settings import Settings
from imagery.classes import CLASSES, CLEAN_ICE, DEBRIS_COVERED_ICE, UNKNOWN
from imagery.grid import Window
from imagery.scene import SceneReader
from imagery.statistics import ChannelStatistics
from models.heads import CLEAN, DEBRIS, decide
from models.losses import LOSS_NAMES
from models.mc_dropout import predict_mc
from models.presets import PRESETS
from models.training import TrainingConfig, fit
from models.unet import UNetConfig, UNetPair
from tests.workers.rows import patches, tiled
from workers.evaluation import evaluate
from workers.recipe import fresh_network, training_config
from workers.scenes import source_of, window_of
from workers.windows import read_batch

CHANNELS = ("red", "nir")


def statistics_of(channels: tuple[str, ...]) -> ChannelStatistics:
    count = len(channels)
    return ChannelStatistics(channels=channels, mean=(1000.0,) * count, std=(500.0,) * count, count=(1,) * count)


STATISTICS = statistics_of(CHANNELS)


def test_settings_offer_exactly_the_losses_and_presets_that_there_are() -> None:
    fields = Settings.model_fields
    loss_names, _ = get_args(fields["fine_tune_loss"].annotation)
    assert get_args(loss_names) == LOSS_NAMES
    assert get_args(fields["architecture"].annotation) == tuple(PRESETS)


def test_defaults_are_the_measured_recipe() -> None:
    segmenter = fresh_network(Settings(), CHANNELS, STATISTICS, 0)
    assert segmenter.unet.config == UNetConfig(2, classes=3, depth=5, width=16, dropout=0.1, normalization="batch")
    assert training_config(Settings(), 7) == TrainingConfig(steps=400, seed=7)


def test_settings_override_the_preset() -> None:
    settings = Settings(architecture="aryal", unet_width=4, fine_tune_loss="dice", head="binary")
    segmenter = fresh_network(settings, CHANNELS, STATISTICS, 0)
    assert (segmenter.unet.config.width, segmenter.unet.config.activation, segmenter.head) == (4, "gelu", "binary")
    config = training_config(settings, 0)
    assert (config.loss, config.optimizer, config.schedule) == ("dice", "adam", "plateau")


def test_aryal_is_two_networks() -> None:
    assert isinstance(fresh_network(Settings(architecture="aryal"), CHANNELS, STATISTICS, 0).unet, UNetPair)


def test_he_is_refused_until_it_is_given_a_dropout() -> None:
    with pytest.raises(ConflictError, match="GLACIER_AL_UNET_DROPOUT"):
        fresh_network(Settings(architecture="he"), CHANNELS, STATISTICS, 0)
    segmenter = fresh_network(Settings(architecture="he", unet_dropout=0.1), CHANNELS, STATISTICS, 0)
    assert segmenter.unet.config.dropout == 0.1


def test_heads_know_the_classes_by_the_values_of_the_legend() -> None:
    assert (CLEAN_ICE.value, DEBRIS_COVERED_ICE.value) == (CLEAN, DEBRIS)


@pytest.mark.parametrize("head", ["multiclass", "binary", "two_binaries"])
def test_every_head_is_trained_scored_and_judged(head: str, catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION)
    settings = Settings(head=head, unet_depth=2, unet_width=4, fine_tune_steps=2, fine_tune_batch_size=2)
    source = source_of(scene)
    channels = source.band_names
    segmenter = fresh_network(settings, channels, statistics_of(channels), 0)
    windows = [window_of(patch) for patch in patches(catalog, scene.id)[5:7]]
    with SceneReader(source) as reader:
        raw = read_batch(reader, channels, windows)
    masks = [torch.from_numpy(np.ascontiguousarray(forged.truth[window.slices])) for window in windows]
    fit(segmenter, list(zip(raw, masks, strict=True)), training_config(settings, 0), torch.device("cpu"), UNKNOWN.value)
    prediction = predict_mc(segmenter, raw, 2, [1, 2])
    decided = {int(value) for patch in prediction.mean_probability.numpy() for value in np.unique(decide(patch, head))}
    assert decided <= set(range(segmenter.classes))
    metrics = evaluate(catalog, segmenter, [scene], scene.patch_size_px)
    names = ("background", "glacier") if head == "binary" else tuple(item.name for item in CLASSES)
    assert tuple(metrics.iou) == names
    confusion = np.array(metrics.confusion)
    assert confusion.sum() > 0
    assert confusion[1:].sum() == np.isin(forged.truth, (1, 2)).sum() - _unseen_ice(segmenter, source, forged.truth)


def _unseen_ice(segmenter, source, truth) -> int:
    """Ice pixels without data in any channel, which nobody can judge."""
    with SceneReader(source) as reader:
        raw = reader.read(segmenter.channels, Window(0, 0, source.grid.height, source.grid.width))
    return int((np.isin(truth, (1, 2)) & np.isnan(raw).any(axis=0)).sum())
