"""What every view needs: the catalog, the registry, the store and the model files of this app."""

from dataclasses import dataclass
from typing import Any

from flask import Response, current_app
from pydantic import BaseModel

from catalog.bundle_cache import BundleCache
from catalog.context import Catalog
from catalog.registry import ModelRegistry
from imagery.store import RasterStore
from services.image_urls import ImageUrls


@dataclass(frozen=True)
class Parts:
    """Made once per app, from its catalog alone."""

    registry: ModelRegistry
    bundles: BundleCache
    store: RasterStore
    image_urls: ImageUrls


def catalog() -> Catalog:
    """Return the catalog of the app that answers this request."""
    found: Catalog = current_app.extensions["catalog"]
    return found


def parts() -> Parts:
    """Return the other parts of the app that answers this request."""
    found: Parts = current_app.extensions["parts"]
    return found


def json_response(body: BaseModel | list[Any] | dict[str, Any], status: int = 200) -> Response:
    """Make a JSON response of a model, or of a list of models."""
    items: Any = body
    if isinstance(body, BaseModel):
        items = body.model_dump(mode="json")
    elif isinstance(body, list):
        items = [item.model_dump(mode="json") for item in body]
    return Response(current_app.json.dumps(items), status=status, content_type="application/json")
