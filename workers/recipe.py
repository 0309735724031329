"""What the settings say of networks and their training: a preset, and what overrides it."""

from dataclasses import replace
from typing import Any

from catalog.errors import ConflictError
from catalog.settings import Settings
from imagery.classes import CLASSES
from imagery.statistics import ChannelStatistics
from models.presets import PRESETS
from models.segmenter import GlacierSegmenter, build_segmenter
from models.training import TrainingConfig


def fresh_network(
    settings: Settings, channels: tuple[str, ...], statistics: ChannelStatistics, seed: int
) -> GlacierSegmenter:
    """Build the network of the first version with fresh weights.

    Raises:
        ConflictError: the network would have no dropout, so that nothing could be scored by it.
    """
    preset = PRESETS[settings.architecture]
    head = settings.head or preset.head
    overrides = _given(
        depth=settings.unet_depth,
        width=settings.unet_width,
        dropout=settings.unet_dropout,
        normalization=settings.unet_normalization,
    )
    config = replace(preset.network(len(channels), len(CLASSES), head), **overrides)
    if not config.dropout:
        raise ConflictError(
            f"found the architecture {settings.architecture!r}, which has no dropout, so that Monte-Carlo dropout has "
            "nothing to vary and no patch can be scored; set GLACIER_AL_UNET_DROPOUT, for example to 0.1, then retry"
        )
    normalization = settings.input_normalization or preset.input_normalization
    return build_segmenter(channels, statistics.mean, statistics.std, config, seed, head, normalization)


def training_config(settings: Settings, seed: int) -> TrainingConfig:
    """Return how the settings say to train."""
    overrides = _given(
        learning_rate=settings.fine_tune_learning_rate,
        weight_decay=settings.fine_tune_weight_decay,
        loss=settings.fine_tune_loss,
    )
    return replace(
        PRESETS[settings.architecture].training,
        steps=settings.fine_tune_steps,
        batch_size=settings.fine_tune_batch_size,
        seed=seed,
        **overrides,
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
