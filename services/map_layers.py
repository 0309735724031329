"""What a map shows of a scene: its views, and the maps that were made of it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from sqlalchemy.orm import Session

from catalog import scorings
from catalog.errors import NotFoundError
from catalog.records import Scene
from catalog.settings import Settings
from imagery.store import RasterStore
from services import raster_keys
from services.delivery import delivery_options, prediction_keys


class LayerKind(StrEnum):
    """How the values of a map are drawn."""

    CLASSES = "classes"
    PERCENT = "percent"
    ENTROPY = "entropy"


@dataclass(frozen=True)
class MapLayer:
    """A map of a scene in the raster store.

    Attributes:
        name: Part of addresses.
        title: What people read.
        kind: How it is drawn.
        key: Its key in the raster store.
        version: The model version that made it; None if no model did.
    """

    name: str
    title: str
    kind: LayerKind
    key: str
    version: int | None = None


PREDICTION: Final = "prediction"
CONFIDENCE: Final = "confidence"
UNCERTAINTY: Final = "uncertainty"
LEARNER: Final = "learner"
PRIOR: Final = "prior"
REFERENCE: Final = "reference"


def predicted_layers(scene: Scene, version: int, settings: Settings) -> list[MapLayer]:
    """Return the layers of a scene as a version predicts it; their files may not exist yet."""
    keys = prediction_keys(scene, version, delivery_options(settings))
    return [
        MapLayer(PREDICTION, f"Prediction of version {version}", LayerKind.CLASSES, keys["tif"], version),
        MapLayer(CONFIDENCE, f"Confidence of version {version}", LayerKind.PERCENT, keys["confidence.tif"], version),
    ]


def other_layers(session: Session, scene: Scene, *, truth: bool) -> list[MapLayer]:
    """Return the layers of a scene that do not depend on a chosen version; their files may not exist.

    Args:
        session: A session.
        scene: The scene.
        truth: Whether the outlines that the scene was registered with may be shown.
    """
    layers = [MapLayer(PRIOR, "Old outlines", LayerKind.CLASSES, raster_keys.prior(scene.id))]
    if truth:
        title = "Outlines that came with the scene"
        layers.append(MapLayer(REFERENCE, title, LayerKind.CLASSES, raster_keys.truth(scene.id)))
    scoring = scorings.newest(session)
    if scoring is not None:
        version = scoring.model_version
        entropy, classes = (raster_keys.scored(scoring.id, scene.id, what) for what in ("entropy", "classes"))
        layers += [
            MapLayer(UNCERTAINTY, f"Uncertainty of version {version}", LayerKind.ENTROPY, entropy, version),
            MapLayer(LEARNER, f"Classes by version {version}", LayerKind.CLASSES, classes, version),
        ]
    return layers


def existing(store: RasterStore, layers: list[MapLayer]) -> list[MapLayer]:
    """Return the layers whose files exist."""
    return [layer for layer in layers if store.exists(layer.key)]


def find_layer(
    session: Session,
    store: RasterStore,
    scene: Scene,
    name: str,
    version: int | None,
    settings: Settings,
    *,
    truth: bool,
) -> MapLayer:
    """Return a map of a scene whose file exists.

    Args:
        session: A session.
        store: The raster store.
        scene: The scene.
        name: Name of the map.
        version: Model version, for maps that depend on one; None if there is none.
        settings: The settings.
        truth: Whether the outlines that the scene was registered with may be shown.

    Raises:
        NotFoundError: There is no such map now.
    """
    layers = other_layers(session, scene, truth=truth)
    if version is not None:
        layers += predicted_layers(scene, version, settings)
    found = next((layer for layer in layers if layer.name == name), None)
    if found is None or not store.exists(found.key):
        raise NotFoundError(f"scene {scene.id} has no map {name!r} now; GET .../map names those that exist")
    return found
