"""What the settings make of a network: presets, overrides, and every head through training, scoring and judging."""

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import torch

from catalog.context import Catalog
from catalog.errors import ConflictError
from catalog.records import SceneRole
from catalog.settings import Settings
from imagery.channels import CHANNEL_SETS
from imagery.classes import GLACIER_SCHEME, UNKNOWN
from imagery.describe_scene import describe
from imagery.grid import Window
from imagery.scene_reader import SceneReader
from imagery.scene_source import BandSource, ElevationSource, SceneSource
from imagery.statistics import ChannelStatistics
from imagery.units import DIGITAL_NUMBER, METRE, REFLECTANCE
from models.heads import Head
from models.input_channels import InputChannel
from models.losses import LOSS_NAMES
from models.mc_dropout import predict_mc
from models.presets import PRESETS
from models.segmenter import InputNormalization
from models.training import fit
from models.training_config import TrainingConfig
from models.unet import BinaryUNets, UNetConfig
from services.places import raster_store
from services.scenes import source_of, window_of
from tests.imagery.forge import forge_scene, write_geotiff
from tests.workers.rows import patches, tiled
from workers.evaluation import evaluate
from workers.recipe import check_continues, first_channels, fresh_network, input_channels, training_config
from workers.validation_windows import ValidationWindowDataset
from workers.windows import read_batch

CHANNELS = ("red", "nir")


def statistics_of(channels: tuple[str, ...]) -> ChannelStatistics:
    count = len(channels)
    return ChannelStatistics(channels=channels, mean=(1000.0,) * count, std=(500.0,) * count, count=(1,) * count)


STATISTICS = statistics_of(CHANNELS)


def test_settings_offer_exactly_the_losses_presets_heads_and_normalisations_that_there_are() -> None:
    fields = Settings.model_fields
    loss_names, _ = get_args(fields["fine_tune_loss"].annotation)
    assert get_args(loss_names) == LOSS_NAMES
    assert get_args(fields["architecture"].annotation) == tuple(PRESETS)
    for name, offered in (("head", Head), ("input_normalization", InputNormalization)):
        of_setting, none = get_args(fields[name].annotation)
        assert (get_args(of_setting), none) == (get_args(offered), type(None))
    of_setting, _ = get_args(fields["unet_normalization"].annotation)
    assert of_setting == get_type_hints(UNetConfig)["normalization"]


def test_defaults_are_the_measured_recipe() -> None:
    segmenter = fresh_network(Settings(), CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked)
    assert segmenter.unet.config == UNetConfig(2, classes=3, depth=5, width=16, dropout=0.1, normalization="batch")
    assert training_config(Settings(), 7) == TrainingConfig(steps=400, seed=7, ema_decay=0.98)


def test_settings_override_the_preset() -> None:
    settings = Settings(architecture="aryal", unet_width=4, fine_tune_loss="dice", head="binary")
    segmenter = fresh_network(settings, CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked)
    assert (segmenter.unet.config.width, segmenter.unet.config.activation, segmenter.head) == (4, "gelu", "binary")
    config = training_config(settings, 0)
    assert (config.loss, config.optimizer, config.schedule) == ("dice", "adam", "plateau")


def test_aryal_is_two_networks() -> None:
    assert isinstance(
        fresh_network(Settings(architecture="aryal"), CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked).unet, BinaryUNets
    )


def test_he_is_refused_until_it_is_given_a_dropout() -> None:
    with pytest.raises(ConflictError, match="GLACIER_AL_UNET_DROPOUT"):
        fresh_network(Settings(architecture="he"), CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked)
    segmenter = fresh_network(
        Settings(architecture="he", unet_dropout=0.1), CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked
    )
    assert segmenter.unet.config.dropout == 0.1


def test_without_chosen_channels_a_papers_architecture_takes_those_of_its_paper(tmp_path: Path) -> None:
    assert {name: Settings(architecture=name).channel_choice for name in PRESETS if name != "default"} == {
        name: [preset.channel_set] for name, preset in PRESETS.items() if name != "default"
    }
    assert {preset.channel_set for preset in PRESETS.values()} == {None, *CHANNEL_SETS} - {"glavitu"}
    bands = [BandSource(name, str(tmp_path / "a.tif"), i) for i, name in enumerate(("blue", "nir", "swir1", "red"), 1)]
    write_geotiff(tmp_path / "a.tif", np.ones((4, 32, 32), np.uint8))
    pool = {"a": describe(bands)}
    assert first_channels(Settings(), pool) == ("blue", "nir", "swir1", "red")
    assert first_channels(Settings(architecture="he"), pool) == ("swir1", "nir", "blue")
    assert first_channels(Settings(architecture="he", channels=["red", "ndvi"]), pool) == ("red", "ndvi")


def test_a_pool_without_the_papers_channels_is_refused_with_what_to_set(tmp_path: Path) -> None:
    pool = {"khumbu": describe(forge_scene(tmp_path / "a.tif").bands)}
    with pytest.raises(ConflictError, match=r"found no swir1 in the pool scene 'khumbu'.*architecture 'he'") as refused:
        first_channels(Settings(architecture="he"), pool)
    assert 'GLACIER_AL_CHANNELS to what all scenes have, for example to \'["red", "green", "blue", "nir"]\'' in str(
        refused.value
    )
    with pytest.raises(ConflictError, match=r"found no pan in .* channels of GLACIER_AL_CHANNELS: red, pan"):
        first_channels(Settings(channels=["red", "pan"]), pool)


def test_input_channels_are_described_by_the_scenes_of_the_training(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "a.tif", np.ones((2, 32, 32), np.uint8))

    def scene(scale: float, unit: str = REFLECTANCE) -> SceneSource:
        names = enumerate(("red", "nir"), 1)
        bands = [BandSource(name, str(tmp_path / "a.tif"), i, scale=scale, unit=unit) for i, name in names]
        return describe(bands, dem=ElevationSource((BandSource("elevation", str(tmp_path / "a.tif"), 1, unit=METRE),)))

    red, ndvi, slope = input_channels(["red", "ndvi", "slope"], [scene(0.01), scene(0.01)])
    assert red == InputChannel(name="red", unit="reflectance", scale=0.01, offset=0)
    assert ndvi == InputChannel(name="ndvi", unit="1", computed_from="reflectance")
    assert slope == InputChannel(name="slope", unit="degree")
    (two_scales,) = input_channels(["red"], [scene(0.01), scene(0.02)])
    assert (two_scales.unit, two_scales.scale, two_scales.offset) == ("reflectance", None, None)
    with pytest.raises(ConflictError, match="found digital number and reflectance in the channel 'red'"):
        input_channels(["red"], [scene(0.01), scene(1, DIGITAL_NUMBER)])


def test_training_may_change_from_version_to_version() -> None:
    champion = fresh_network(Settings(), CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked)
    changed = {"fine_tune_loss": "dice", "fine_tune_learning_rate": 1e-5, "fine_tune_steps": 7, "channels": ["he"]}
    check_continues(Settings(**changed), champion)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head": "binary"}, "a network with head 'binary' .*the champion has head 'multiclass', and"),
        ({"input_normalization": "patch"}, "with input_normalization 'patch' .*has input_normalization 'dataset', and"),
        ({"unet_width": 4}, "with width 4 .*has width 16, and"),
        ({"architecture": "baraka"}, r"dropout 0.3.*\(architecture 'baraka'\).*GLACIER_AL_ARCHITECTURE"),
        ({"architecture": "aryal"}, "head 'two_binaries'.*depth 4, width 32.*activation 'gelu'"),
    ],
)
def test_settings_of_another_network_than_the_champions_are_refused(changes: dict[str, Any], message: str) -> None:
    """Trap: the champion's weights under the training of another architecture would go on unnoticed."""
    champion = fresh_network(Settings(), CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked)
    with pytest.raises(ConflictError, match=message):
        check_continues(Settings(**changes), champion)


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_goes_on_from_its_own_network(name: str) -> None:
    settings = Settings(architecture=name, unet_dropout=0.2, unet_depth=1, unet_width=2)
    check_continues(settings, fresh_network(settings, CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked))


def test_a_champion_whose_weights_were_drawn_otherwise_goes_on() -> None:
    """Champions of the papers' presets from before the initialisation was a setting say "kaiming" in their card."""
    settings = Settings(architecture="baraka", unet_depth=1, unet_width=2)
    champion = fresh_network(settings, CHANNELS, STATISTICS, 0, GLACIER_SCHEME.ranked)
    assert champion.unet.config.initialization == "torch"
    champion.unet.config = replace(champion.unet.config, initialization="kaiming")
    check_continues(settings, champion)


def test_validation_windows_cover_a_scene_with_its_truth(catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION)
    source, size = source_of(scene), scene.patch_size_px
    windows = ValidationWindowDataset([scene], source.band_names, size, raster_store(catalog))
    height, width = forged.truth.shape
    assert len(windows) == -(-height // size) * -(-width // size)
    with SceneReader(source) as reader:
        raw = reader.read(source.band_names, Window(0, 0, size, size))
    found, truth = windows[0]
    np.testing.assert_array_equal(found.numpy(), raw)
    expected = np.where(np.isnan(raw).any(axis=0), UNKNOWN, forged.truth[:size, :size])
    np.testing.assert_array_equal(truth.numpy(), expected)


@pytest.mark.parametrize("head", ["multiclass", "binary", "two_binaries"])
def test_a_network_is_built_for_the_classes_of_the_labels(head: str) -> None:
    """Three foreground classes, the second of the highest precedence."""
    settings = Settings(head=head, unet_depth=1, unet_width=2)
    segmenter = fresh_network(settings, CHANNELS, STATISTICS, 0, (3, 1, 2))
    assert (segmenter.label_classes, segmenter.precedence) == (4, (3, 1, 2))
    assert segmenter.classes == (2 if head == "binary" else 4)
    check_continues(settings, segmenter)


@pytest.mark.parametrize("head", ["multiclass", "binary", "two_binaries"])
def test_every_head_is_trained_scored_and_judged(head: str, catalog: Catalog, tmp_path: Path) -> None:
    scene, forged = tiled(catalog, tmp_path / "validation.tif", SceneRole.VALIDATION)
    settings = Settings(head=head, unet_depth=2, unet_width=4, fine_tune_steps=2, fine_tune_batch_size=2)
    source = source_of(scene)
    channels = source.band_names
    segmenter = fresh_network(settings, channels, statistics_of(channels), 0, GLACIER_SCHEME.ranked)
    windows = [window_of(patch) for patch in patches(catalog, scene.id)[5:7]]
    with SceneReader(source) as reader:
        raw = read_batch(reader, channels, windows)
    masks = [torch.from_numpy(np.ascontiguousarray(forged.truth[window.slices])) for window in windows]
    fit(segmenter, list(zip(raw, masks, strict=True)), training_config(settings, 0), torch.device("cpu"), UNKNOWN)
    prediction = predict_mc(segmenter, raw, 2, 1)
    decided = {
        int(value) for patch in prediction.mean_probability.numpy() for value in np.unique(segmenter.decide(patch))
    }
    assert decided <= set(range(segmenter.classes))
    metrics = evaluate(catalog, segmenter, [scene], scene.patch_size_px).metrics
    names = ("background", "glacier") if head == "binary" else GLACIER_SCHEME.names
    assert tuple(metrics.iou) == names
    confusion = np.array(metrics.confusion)
    assert confusion.sum() > 0
    assert confusion[1:].sum() == np.isin(forged.truth, (1, 2)).sum() - _unseen_ice(segmenter, source, forged.truth)


def _unseen_ice(segmenter, source, truth) -> int:
    """Ice pixels without data in any channel, which nobody can judge."""
    with SceneReader(source) as reader:
        raw = reader.read(segmenter.channels, Window(0, 0, source.grid.height, source.grid.width))
    return int((np.isin(truth, (1, 2)) & np.isnan(raw).any(axis=0)).sum())


@pytest.mark.parametrize(
    ("labels", "steps", "rate"),
    [(40, 400, 3e-3), (160, 800, 1.5e-3), (10, 200, 6e-3), (0, 100, 12e-3), (10_000, 1600, 0.75e-3)],
)
def test_steps_and_learning_rate_follow_the_number_of_labels_within_limits(labels, steps, rate):
    settings = Settings(fine_tune_steps_exponent=0.5, fine_tune_rate_exponent=-0.5)
    config = training_config(settings, 0, labels)
    assert (config.steps, config.learning_rate) == (steps, pytest.approx(rate))


def test_by_default_the_number_of_labels_changes_nothing():
    assert training_config(Settings(), 0, 500) == training_config(Settings(), 0)


def test_the_average_of_the_weights_is_the_architectures_unless_it_is_set():
    assert training_config(Settings(), 0).ema_decay == 0.98
    assert training_config(Settings(architecture="baraka"), 0).ema_decay == 0  # the paper averages nothing
    assert training_config(Settings(fine_tune_ema_decay=0.9), 0).ema_decay == 0.9
    assert training_config(Settings(fine_tune_ema_decay=0), 0).ema_decay == 0
