"""The network and training configuration that the settings describe: a preset with overrides."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog.errors import ConflictError
from catalog.settings import Settings
from imagery.channels import named_channels
from imagery.scene_source import SceneSource
from imagery.statistics import ChannelStatistics
from models.heads import Head
from models.input_channels import InputChannel
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, InputNormalization, build_segmenter
from models.training_config import TrainingConfig, scale_training
from models.unet import UNetConfig
from services.unit_rules import unit_of


@dataclass(frozen=True)
class _Blueprint:
    """Architecture, head and input normalisation of a network, without its channels and weights."""

    unet: UNetConfig
    head: Head
    input_normalization: InputNormalization

    def named(self) -> dict[str, Any]:
        """Return the values by name.

        Left out are the number of outputs, since it follows from the head, and the initialisation, which a trained
        network has left behind.
        """
        left_out = {"classes", "initialization"}
        shape = {name: value for name, value in self.unet.to_json().items() if name not in left_out}
        return {"head": self.head, "input_normalization": self.input_normalization, **shape}


def first_channels(settings: Settings, pool: Mapping[str, SceneSource]) -> tuple[str, ...]:
    """Return the channels of the first version: those set, those of the architecture's paper, or all bands.

    Args:
        settings: the settings.
        pool: the scenes of the pool by name, at least one.

    Raises:
        ConflictError: a scene lacks a channel.
    """
    channels = named_channels(settings.channel_choice, next(iter(pool.values())).band_names)
    for name, source in pool.items():
        if missing := [channel for channel in channels if channel not in source.channel_names]:
            whose = "GLACIER_AL_CHANNELS" if settings.channels else f"the architecture {settings.architecture!r}"
            raise ConflictError(
                f"found no {', '.join(missing)} in the pool scene {name!r}; expected the channels of {whose}: "
                f"{', '.join(channels)}. Set GLACIER_AL_CHANNELS to what all scenes have, for example to "
                f"'{json.dumps(source.band_names)}', then retry"
            )
    return channels


def input_channels(channels: Sequence[str], scenes: Sequence[SceneSource]) -> tuple[InputChannel, ...]:
    """Describe what a network takes in each channel, by the scenes that it is trained on.

    Raises:
        ConflictError: the scenes differ in the unit of a channel.
    """
    return tuple(_input_channel(channel, scenes) for channel in channels)


def _input_channel(channel: str, scenes: Sequence[SceneSource]) -> InputChannel:
    units = {unit_of(source, channel) for source in scenes}
    if len(units) > 1:
        raise ConflictError(
            f"found {' and '.join(sorted(map(str, units)))} in the channel {channel!r} of the labelled scenes; "
            "expected one unit: remove the scenes of the other"
        )
    rasters = [raster for source in scenes for raster in source.continuous if raster.name == channel]
    encodings = {(raster.scale, raster.offset) for raster in rasters}
    scale, offset = encodings.pop() if len(encodings) == 1 else (None, None)
    unit = units.pop()
    return InputChannel(name=channel, unit=unit.unit, computed_from=unit.computed_from, scale=scale, offset=offset)


def fresh_network(
    settings: Settings,
    channels: tuple[str, ...],
    statistics: ChannelStatistics,
    seed: int,
    precedence: Sequence[int],
) -> GlacierSegmenter:
    """Build the network of the first version with fresh weights.

    Args:
        settings: the settings.
        channels: its input channels.
        statistics: mean and standard deviation of each.
        seed: seed of the weights.
        precedence: values of the foreground classes, from the lowest to the highest precedence.

    Raises:
        ConflictError: the network would have no dropout, which scoring needs.
    """
    blueprint = _blueprint(settings, len(channels), len(precedence) + 1)
    if not blueprint.unet.dropout:
        raise ConflictError(
            f"found the architecture {settings.architecture!r}, which has no dropout, so that Monte-Carlo dropout has "
            "nothing to vary and no patch can be scored; set GLACIER_AL_UNET_DROPOUT, for example to 0.1, then retry"
        )
    return build_segmenter(
        channels,
        statistics.mean,
        statistics.std,
        blueprint.unet,
        seed,
        blueprint.head,
        blueprint.input_normalization,
        precedence,
    )


def check_continues(settings: Settings, champion: GlacierSegmenter) -> None:
    """Refuse settings that describe another network than the champion's, from which training starts.

    Otherwise the champion's network would silently be trained with the configuration of another architecture. Training
    settings may change from version to version.

    Raises:
        ConflictError: head, shape or normalisation differ.
    """
    described = _blueprint(settings, len(champion.channels), champion.label_classes).named()
    present = _Blueprint(champion.unet.config, champion.head, champion.input_normalization).named()
    differing = [name for name, value in present.items() if value != described[name]]
    if differing:
        raise ConflictError(
            f"found settings for a network with {_listed(described, differing)} (architecture "
            f"{settings.architecture!r}), but the champion has {_listed(present, differing)}, and versions go on from "
            "it; expected the network settings of the first version: set GLACIER_AL_ARCHITECTURE, GLACIER_AL_HEAD, "
            "GLACIER_AL_INPUT_NORMALIZATION and GLACIER_AL_UNET_... back and retry, or begin anew with another "
            "network in an empty GLACIER_AL_VAR_DIR"
        )


def training_config(settings: Settings, seed: int, labels: int | None = None) -> TrainingConfig:
    """Return the training configuration that the settings describe.

    Args:
        settings: the settings.
        seed: seed of the training.
        labels: number of labels, by which steps and learning rate are scaled; None: as the settings have them.
    """
    overrides = _without_none(
        learning_rate=settings.fine_tune_learning_rate,
        weight_decay=settings.fine_tune_weight_decay,
        loss=settings.fine_tune_loss,
        alpha=settings.fine_tune_loss_alpha,
        weak_loss=settings.prior_loss,
        ema_decay=settings.fine_tune_ema_decay,
    )
    config = replace(
        PRESETS[settings.architecture].training,
        steps=settings.fine_tune_steps,
        batch_size=settings.fine_tune_batch_size,
        seed=seed,
        **overrides,
    )
    if labels is None:
        return config
    ratio = max(labels, 1) / settings.fine_tune_reference_labels
    return scale_training(config, ratio, settings.fine_tune_steps_exponent, settings.fine_tune_rate_exponent)


def weak_share(labels: int, settings: Settings) -> float:
    """Return the share of the training patches that are drawn from prior outlines beside a number of labels.

    All of them without a label. Then ``prior_share / (1 + labels / prior_share_halved_at)``: the more labels there are,
    the less wrong outlines may contradict them.
    """
    return settings.prior_share / (1 + labels / settings.prior_share_halved_at) if labels else 1.0


def decided_by_architecture(settings: Settings) -> dict[str, Any]:
    """Return the values that the architecture gives to unset settings, by the name of the setting."""
    network, training = _blueprint(settings, channels=1, label_classes=2), training_config(settings, seed=0)
    values: dict[str, Any] = {
        "head": network.head,
        "input_normalization": network.input_normalization,
        "unet_depth": network.unet.depth,
        "unet_width": network.unet.width,
        "unet_dropout": network.unet.dropout,
        "unet_normalization": network.unet.normalization,
        "fine_tune_loss": training.loss,
        "fine_tune_learning_rate": training.learning_rate,
        "fine_tune_weight_decay": training.weight_decay,
        "fine_tune_ema_decay": training.ema_decay,
    }
    decided = {name: value for name, value in values.items() if getattr(settings, name) is None}
    if settings.channel_choice != settings.channels:
        decided["channels"] = settings.channel_choice
    return decided


def _blueprint(settings: Settings, channels: int, label_classes: int) -> _Blueprint:
    preset = PRESETS[settings.architecture]
    head = settings.head or preset.head
    overrides = _without_none(
        depth=settings.unet_depth,
        width=settings.unet_width,
        dropout=settings.unet_dropout,
        normalization=settings.unet_normalization,
    )
    unet = replace(preset.network(channels, label_classes, head), **overrides)
    return _Blueprint(unet, head, settings.input_normalization or preset.input_normalization)


def _listed(network: dict[str, Any], names: list[str]) -> str:
    return ", ".join(f"{name} {network[name]!r}" for name in names)


def _without_none(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
