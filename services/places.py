"""Locations: the raster store, local cache folders, and the routes of this server that several parts name."""

from pathlib import Path
from typing import Final

from catalog.bundle_cache import BundleCache
from catalog.context import Catalog
from catalog.registry import ModelRegistry
from catalog.settings import Settings
from imagery.store import RasterStore

WEBHOOK_ROUTE: Final = "/api/v1/webhooks/label-studio"
INTERACTIVE_ROUTE: Final = "/api/v1/interactive"
PREDICT_ROUTE: Final = "/api/v1/predict"
SCENE_UPLOAD_ROUTE: Final = "/api/v1/scenes/uploads"
LABELS_ROUTE: Final = "/api/v1/scenes/*/labels"
SUBMISSIONS_ROUTE: Final = "/api/v1/glims-submissions"
GLIMS_CHECKS_ROUTE: Final = "/api/v1/glims-checks"
COMPOSITE_ROUTE: Final = "/api/v1/patches/{patch_id}/composites/{name}.png"


def raster_store(catalog: Catalog) -> RasterStore:
    """Return the store of masks, maps and views; `services.raster_keys` defines its keys."""
    return RasterStore(catalog.settings.raster_store)


def bundle_cache(settings: Settings, registry: ModelRegistry) -> BundleCache:
    """Return the local cache of model versions, which workers and the API share."""
    return BundleCache(registry, settings.var_dir / "cache" / "models")


def graph_cache(settings: Settings) -> Path:
    """Return the cache folder of exported ONNX graphs, one per network architecture."""
    return settings.var_dir / "cache" / "graphs"
