"""Where things are on this machine and on this server: local folders, the raster store, and routes that others call."""

from pathlib import Path
from typing import Final

from catalog.bundle_cache import BundleCache
from catalog.context import Catalog
from catalog.registry import ModelRegistry
from catalog.settings import Settings
from imagery.store import RasterStore

WEBHOOK_ROUTE: Final = "/api/v1/webhooks/label-studio"
COMPOSITE_ROUTE: Final = "/api/v1/patches/{patch_id}/composites/{name}.png"


def raster_store(catalog: Catalog) -> RasterStore:
    """Open the store of masks, maps and views; `services.raster_keys` names what lies in it."""
    return RasterStore(catalog.settings.raster_store)


def bundle_cache(settings: Settings, registry: ModelRegistry) -> BundleCache:
    """Open the files of model versions on this machine, which workers and the API share."""
    return BundleCache(registry, settings.var_dir / "cache" / "models")


def graph_cache(settings: Settings) -> Path:
    """Return the folder of traced ONNX graphs, one for each shape of network."""
    return settings.var_dir / "cache" / "graphs"
