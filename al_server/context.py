"""What views have in common: the catalog, the models and the stores of the app, large bodies, and JSON responses."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, request
from pydantic import BaseModel

from al_server.body_limits import BodyLimits
from catalog.bundle_cache import BundleCache
from catalog.context import Catalog
from catalog.registry_copy import RegistryCopy
from imagery.reader_pool import ReaderPool
from imagery.store import RasterStore
from services.image_urls import ImageUrls
from services.label_inbox import LabelInbox

if TYPE_CHECKING:
    from al_server.far_reading import FarReader
    from al_server.served_model import ServedModel


@dataclass(frozen=True)
class Parts:
    """The models, the stores and the image URLs of an app; `create_app` makes them from the catalog.

    Attributes:
        models: The local copy of MLflow's registry.
        served: The version that is served, in memory.
        bundles: The local cache of versions; requests read what it holds, and fetch nothing.
        store: Masks, maps and views.
        scenes: Open scenes of this machine.
        far_reader: Reads what lies on another machine.
        image_urls: Signed addresses.
        label_inbox: Takes webhooks into the ledger.
    """

    models: RegistryCopy
    served: "ServedModel"
    bundles: BundleCache
    store: RasterStore
    scenes: ReaderPool
    far_reader: "FarReader"
    image_urls: ImageUrls
    label_inbox: LabelInbox


def current_catalog() -> Catalog:
    """Return the catalog of the current app."""
    found: Catalog = current_app.extensions["catalog"]
    return found


def current_parts() -> Parts:
    """Return the models, stores and image URLs of the current app."""
    found: Parts = current_app.extensions["parts"]
    return found


def allow_large_body() -> int:
    """Let the body of the current request be as large as its path takes; return the limit in bytes."""
    limits: BodyLimits = current_app.extensions["body_limits"]
    request.max_content_length = limit = limits.most_bytes(request.path)
    return limit


def json_response(body: BaseModel | list[Any] | dict[str, Any], status: int = 200) -> Response:
    """Return a JSON response of a model, or of a list of models."""
    items: Any = body
    if isinstance(body, BaseModel):
        items = body.model_dump(mode="json", by_alias=True)
    elif isinstance(body, list):
        items = [item.model_dump(mode="json") for item in body]
    return Response(current_app.json.dumps(items), status=status, content_type="application/json")


def secret_response(body: BaseModel, status: int = 200) -> Response:
    """Return a JSON response of a model that holds a secret; no browser or proxy stores it."""
    response = json_response(body, status)
    response.headers["Cache-Control"] = "no-store"
    return response
