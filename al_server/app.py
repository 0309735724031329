"""The Flask application, made from a catalog."""

from importlib.metadata import version as package_version

from flask import Flask, Response, redirect
from flask_cors import CORS
from flask_openapi3 import Info, OpenAPI
from werkzeug.wrappers import Response as WerkzeugResponse

from al_server import dashboard, health, jobs, label_events, model_versions, patches, rounds, scenes
from al_server.auth import check_role
from al_server.context import Parts
from al_server.problems import refuse_invalid, register_error_handlers
from al_server.schemas import Problem
from catalog.bundle_cache import BundleCache
from catalog.context import Catalog
from catalog.registry import registry_of
from catalog.signed_urls import ImageUrls
from imagery.store import RasterStore

# Label Studio's page and the web tool live at other origins than this server.
OPEN_TO_ALL_ORIGINS = (r"/api/v1/models.*", r"/api/v1/patches/.*/composites/.*", r"/api/v1/scenes/.*/prediction\..*")


def create_app(catalog: Catalog) -> Flask:
    """Make the application; everything it knows comes from the catalog, so that tests need no environment."""
    app = OpenAPI(
        __name__,
        info=Info(
            title="glacier-al",
            version=package_version("glacier-al"),
            description="Active learning server for glacier mapping.",
        ),
        security_schemes={"token": {"type": "http", "scheme": "bearer"}},
        responses={"default": Problem},
        validation_error_status=422,
        validation_error_model=Problem,
        validation_error_callback=refuse_invalid,
        doc_prefix="/openapi",
        doc_url="/openapi.json",
    )
    app.config["MAX_CONTENT_LENGTH"] = catalog.settings.request_max_bytes
    registry = registry_of(catalog.settings)
    app.extensions["catalog"] = catalog
    app.extensions["parts"] = Parts(
        registry=registry,
        bundles=BundleCache(registry, catalog.settings.var_dir / "cache" / "models"),
        store=RasterStore(catalog.settings.raster_store),
        image_urls=ImageUrls(
            catalog.settings.api_url, catalog.secrets.url_signing_key, catalog.settings.image_url_lifetime_s
        ),
    )
    app.before_request(check_role)
    register_error_handlers(app)
    for resource in (health, scenes, patches, rounds, jobs, label_events, model_versions):
        app.register_api(resource.api)
    app.register_blueprint(dashboard.page)
    app.add_url_rule("/docs", endpoint="openapi.docs_shortcut", view_func=_docs)
    app.after_request(_add_safety_headers)
    CORS(
        app,
        resources={path: {"origins": "*"} for path in OPEN_TO_ALL_ORIGINS},
        expose_headers=["ETag", "X-Model-Version", "Content-Range", "Location"],
        allow_headers=["Authorization", "Range", "If-None-Match"],
    )
    return app


def _docs() -> WerkzeugResponse:
    return redirect("/openapi/swagger")


def _add_safety_headers(response: Response) -> Response:
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "no-referrer")
    return response
