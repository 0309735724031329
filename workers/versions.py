"""Load model versions as networks on a device."""

from dataclasses import dataclass

import torch

from catalog.bundle_cache import CARD, WEIGHTS
from catalog.context import Catalog
from catalog.registry import ModelVersion, registry_of
from models.bundle import read_bundle, read_card
from models.card import ModelCard
from models.inference import pick_device, place
from models.segmenter import GlacierSegmenter
from services.class_scheme import class_scheme
from services.places import bundle_cache
from workers.label_classes import check_classes


@dataclass(frozen=True)
class LoadedVersion:
    """A version of the registry, its network on the device, and its card."""

    version: ModelVersion
    segmenter: GlacierSegmenter
    card: ModelCard


def device(catalog: Catalog) -> torch.device:
    """Return the device of the settings; also set the number of torch's CPU threads."""
    if catalog.settings.torch_threads:
        torch.set_num_threads(catalog.settings.torch_threads)
    return pick_device(catalog.settings.device)


def load_champion(catalog: Catalog) -> LoadedVersion | None:
    """Load the version that is served; None before the first.

    Raises:
        ServiceDownError: MLflow does not answer.
        ConflictError: it was trained on other classes than those of this installation.
    """
    champion = registry_of(catalog.settings).champion()
    return None if champion is None else _load(catalog, champion)


def load_scoring_version(catalog: Catalog) -> LoadedVersion | None:
    """Load the version that scores the pool and draws pre-annotations, by the setting ``scoring_version``.

    Returns:
        The version; None before the first.

    Raises:
        ServiceDownError: MLflow does not answer.
        ConflictError: it was trained on other classes than those of this installation.
    """
    version = registry_of(catalog.settings).scoring(catalog.settings.scoring_version)
    return None if version is None else _load(catalog, version)


def load_card(catalog: Catalog, version: int) -> ModelCard:
    """Read the card of a version, without its network.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer.
    """
    registry = registry_of(catalog.settings)
    return read_card(bundle_cache(catalog.settings, registry).directory(registry.get(version), (CARD,)))


def load_version(catalog: Catalog, version: int) -> LoadedVersion:
    """Load a version by its number.

    Raises:
        NotFoundError: there is no such version.
        ServiceDownError: MLflow does not answer.
        ConflictError: it was trained on other classes than those of this installation.
    """
    return _load(catalog, registry_of(catalog.settings).get(version))


def _load(catalog: Catalog, version: ModelVersion) -> LoadedVersion:
    # Workers do not need the ONNX file, which is as large as the weights; MLflow delivers about 10 MB/s.
    bundles = bundle_cache(catalog.settings, registry_of(catalog.settings))
    segmenter, card = read_bundle(bundles.directory(version, (CARD, WEIGHTS)))
    check_classes(card, class_scheme(catalog), version.version)
    return LoadedVersion(version, place(segmenter, device(catalog)), card)
