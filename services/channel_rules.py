"""Whether a scene has what the network is fed: the champion's channels or, before the first version, those chosen."""

import json
import logging
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from catalog.bundle_cache import CARD, CorruptBundleError
from catalog.context import Catalog
from catalog.errors import NotFoundError, ServiceDownError
from catalog.records import NOT_USED, Promotion, Scene, SceneRole, TrainingRun
from catalog.registry import ModelRegistry, ModelVersion, registry_of
from catalog.settings import Settings
from imagery.channels import bands_needed, named_channels
from imagery.errors import SceneError
from imagery.scene_source import SceneSource
from services.places import bundle_cache
from services.promotion import KEPT
from services.scenes import source_of

log = logging.getLogger(__name__)


def check_champion(catalog: Catalog, source: SceneSource) -> bool:
    """Refuse a scene that lacks a channel of the champion: versions go on from it, whatever the settings say by now.

    Asks MLflow, so not to be called within a transaction. A champion whose card cannot be had holds no scene back.

    Returns:
        Whether there is a champion; if not, the channels are still to be chosen (see `check_choice`).

    Raises:
        SceneError: a channel is missing.
    """
    registry = registry_of(catalog.settings)
    champion = _champion(catalog, registry)
    if champion is None:
        return False
    bundles = bundle_cache(catalog.settings, registry)
    try:
        card = bundles.file(champion, CARD)
    except (ServiceDownError, NotFoundError, CorruptBundleError) as error:
        log.warning("a scene is registered unseen by the champion, version %s: %s", champion.version, error)
        return True
    channels = json.loads(card.read_text("utf-8"))["channels"]
    if missing := _missing(channels, source):
        raise SceneError(
            f"found no {missing} in the scene; expected the channels of the champion, version {champion.version}: "
            f"{', '.join(channels)}. Give these too; a network with other channels begins anew, in an empty "
            "GLACIER_AL_VAR_DIR"
        )
    return True


def check_choice(session: Session, settings: Settings, source: SceneSource, role: SceneRole) -> None:
    """Refuse a scene that lacks a channel of the network to come: it could neither be scored nor judge a version.

    The first scene of the pool decides the channels, unless the settings do.

    Raises:
        SceneError: a channel is missing.
    """
    known = session.scalars(select(Scene).where(Scene.state.not_in(NOT_USED)).order_by(Scene.id)).all()
    pool = [source_of(scene) for scene in known if scene.role is SceneRole.POOL]
    choice = settings.channel_choice
    if choice or pool:
        channels = named_channels(choice, pool[0].band_names if pool else ())
        if choice and not settings.channels:
            _check_paper_channels(settings.architecture, channels, source)
        bands_needed(channels, source.raster_names)
    elif role is SceneRole.POOL:
        for scene in known:
            bands_needed(source.band_names, source_of(scene).raster_names)


def _champion(catalog: Catalog, registry: ModelRegistry) -> ModelVersion | None:
    """Ask the registry; while MLflow does not answer, our own rows."""
    try:
        return registry.champion()
    except ServiceDownError:
        with catalog.read() as session:
            return _last_promoted(session)


def _last_promoted(session: Session) -> ModelVersion | None:
    """Return the version that was made the champion last, as far as rows tell; a file of it may be in the cache."""
    moved = session.scalar(
        select(Promotion).where(Promotion.verdict != KEPT).order_by(Promotion.id.desc()).limit(1)  # rolled back counts
    )
    if moved is None:
        return None
    run_id = session.scalar(select(TrainingRun.mlflow_run_id).where(TrainingRun.model_version == moved.model_version))
    return ModelVersion(moved.model_version, run_id or "unknown", moved.decided_at, tags={})


def _check_paper_channels(architecture: str, channels: Sequence[str], source: SceneSource) -> None:
    """Tell whoever chose an architecture, but no channels, that it takes those of its paper."""
    if missing := _missing(channels, source):
        raise SceneError(
            f"found no {missing} in the scene; expected the channels of the architecture {architecture!r}, "
            "which this server is set to. Give these too, or have GLACIER_AL_CHANNELS set to what the scenes have, for "
            f"example to '{json.dumps(source.band_names)}'"
        )


def _missing(channels: Sequence[str], source: SceneSource) -> str:
    return ", ".join(channel for channel in channels if channel not in source.channel_names)
