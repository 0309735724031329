"""Check that a scene has the network's channels: the champion's or, before the first version, the configured ones."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.bundle_cache import CARD
from catalog.context import Catalog
from catalog.records import NOT_USED, Scene, SceneRole
from catalog.registry import registry_of
from catalog.registry_copy import RegistryCopy
from catalog.settings import Settings
from imagery.channels import CHANNEL_SETS, bands_needed, named_channels
from imagery.errors import SceneError
from imagery.scene_source import SceneSource
from services.places import bundle_cache
from services.scenes import source_of
from services.unit_rules import ExpectedInput

log = logging.getLogger(__name__)


def check_champion(catalog: Catalog, scene: Scene) -> bool:
    """Refuse a scene without the champion's channels, in their units and of their level; all later versions keep these.

    If the champion's card is not in the local cache, which the clock keeps complete, every scene is accepted.

    Returns:
        Whether there is a champion; if not, the channels are still to be chosen (see `check_choice`).

    Raises:
        SceneError: a channel is missing, or has another unit or level.
    """
    source, champion = source_of(scene), RegistryCopy(catalog).champion()
    if champion is None:
        return False
    card = bundle_cache(catalog.settings, registry_of(catalog.settings)).held(champion, CARD)
    if card is None:
        log.warning("a scene is registered unseen by the champion: there is no card of version %d", champion.version)
        return True
    allow_mixed = (scene.product or {}).get("allow_mixed_levels", False)
    whose = f"the champion, version {champion.version}"
    check_input(source, json.loads(card.read_text("utf-8")), whose, allow_mixed_levels=allow_mixed)
    return True


def check_input(source: SceneSource, card: Mapping[str, Any], whose: str, *, allow_mixed_levels: bool = False) -> None:
    """Refuse a scene that a version cannot map: without its channels, in other units, or of another level.

    Args:
        source: the scene.
        card: the version's card, as JSON.
        whose: who expects it, for messages ("the champion, version 3").
        allow_mixed_levels: whether the level may differ.

    Raises:
        SceneError: a channel is missing, or has another unit or level.
    """
    channels = card["channels"]
    if missing := _missing(channels, source):
        raise SceneError(
            f"found no {missing} in the scene; expected the channels of {whose}: "
            f"{', '.join(channels)}. Give these too; a network with other channels begins anew, in an empty "
            "GLACIER_AL_VAR_DIR"
        )
    expected = ExpectedInput.of_card(card, whose)
    expected.check_units(source)
    if not allow_mixed_levels:
        expected.check_level(source)


def check_choice(session: Session, settings: Settings, source: SceneSource, role: SceneRole) -> None:
    """Refuse a scene that lacks a channel of the first network: it could neither be scored nor judge a version.

    The settings name the channels; otherwise they are the bands of the first scene of the pool.

    Raises:
        SceneError: a channel is missing, or one that is chosen holds flags.
    """
    scenes = session.scalars(select(Scene).where(Scene.state.not_in(NOT_USED)).order_by(Scene.id)).all()
    first = next((scene for scene in scenes if scene.role is SceneRole.POOL), None)
    choice = settings.channel_choice
    if choice or first:
        channels = named_channels(choice, source_of(first).band_names if first else ())
        if choice and not settings.channels:
            _check_paper_channels(settings.architecture, channels, source)
        is_paper = len(choice) == 1 and choice[0] in CHANNEL_SETS
        # Flags are no measurements. Only the set of Baraka et al. holds them, for the sake of comparison.
        with _naming_choice(settings, None if choice else first):
            bands_needed(channels, source.raster_names if is_paper else source.measured_names)
    elif role is SceneRole.POOL:
        for scene in scenes:
            with _naming_choice(settings, None, f"the scene {scene.name!r} lacks it"):
                bands_needed(source.band_names, source_of(scene).raster_names)


@contextmanager
def _naming_choice(settings: Settings, first: Scene | None, why: str = "") -> Iterator[None]:
    """Add to an error about a missing channel what chose the channels, and how to choose others."""
    try:
        yield
    except SceneError as error:
        if settings.channel_choice:
            raise SceneError(f"{error}. The settings choose the channels (GLACIER_AL_CHANNELS)") from error
        why = why or f"the bands of the first scene of the pool, {first.name if first else ''!r}, are the channels"
        raise SceneError(
            f"{error}: {why}. Give a product with the same bands, or name the channels that all scenes have "
            '(GLACIER_AL_CHANNELS=\'["green", "red", ...]\')'
        ) from error


def _check_paper_channels(architecture: str, channels: Sequence[str], source: SceneSource) -> None:
    """Refuse a scene that lacks a channel of the architecture's paper, with a message about the channels setting."""
    if missing := _missing(channels, source):
        raise SceneError(
            f"found no {missing} in the scene; expected the channels of the architecture {architecture!r}, "
            "which this server is set to. Give these too, or have GLACIER_AL_CHANNELS set to what the scenes have, for "
            f"example to '{json.dumps(source.band_names)}'"
        )


def _missing(channels: Sequence[str], source: SceneSource) -> str:
    return ", ".join(channel for channel in channels if channel not in source.channel_names)
