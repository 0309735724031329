"""The Flask application, made from a catalog."""

from importlib.metadata import version as package_version
from pathlib import Path

from flask import Flask, redirect, url_for
from flask_cors import CORS
from flask_openapi3 import Info, OpenAPI
from werkzeug.wrappers import Response as WerkzeugResponse

from al_server import (
    annotator_page,
    annotators,
    area_predictions,
    arms,
    backups,
    canary,
    changes,
    changes_page,
    corrections,
    dashboard,
    data_sets,
    data_sets_page,
    effort,
    events_page,
    experiments,
    experiments_page,
    fine_tunes,
    glims_checks,
    health,
    installation_checks,
    installation_page,
    interactive,
    jobs,
    label_events,
    label_uploads,
    lineage,
    live,
    log_in,
    map_page,
    map_tiles,
    metrics,
    model_versions,
    patch_page,
    patches,
    people_page,
    predictions,
    qgis,
    qgis_layers,
    quality,
    quality_page,
    reproductions,
    round_page,
    rounds,
    saliency,
    scene_glaciers,
    scene_page,
    scene_patches,
    scene_pixels,
    scene_uploads,
    scene_windows,
    scenes,
    scorings,
    set_aside,
    settings,
    settings_page,
    status,
    submissions,
    subscriptions,
    tokens,
    users,
    version_page,
    withdrawals,
)
from al_server.auth import KnownTokens, check_access
from al_server.body_limits import body_limits
from al_server.context import Parts
from al_server.current_settings import CurrentSettings
from al_server.document import SECURITY_SCHEMES, complete
from al_server.error_page import show_to_people
from al_server.far_reading import FarReader, FarStore
from al_server.http_server import THREADS
from al_server.members import Members
from al_server.problems import refuse_invalid, register_error_handlers
from al_server.requests import check_request
from al_server.safety import protect
from al_server.schemas import Problem
from al_server.served_model import ServedModel
from catalog.context import Catalog
from catalog.registry import registry_of
from catalog.registry_copy import RegistryCopy
from imagery.reader_pool import ReaderPool
from services.image_urls import image_urls
from services.label_inbox import LabelInbox
from services.places import bundle_cache, raster_store

# Label Studio's page and the web tool live at other origins than this server.
OPEN_TO_ALL_ORIGINS = (r"/api/v1/models.*", r"/api/v1/patches/.*/composites/.*", r"/api/v1/scenes/.*/prediction\..*")
EXPOSED_HEADERS = ("ETag", "X-Model-Version", "X-Registry-Seen", "Content-Range", "Location", "Link", "Retry-After")
"""What pages of other origins may read of a response."""


def create_app(catalog: Catalog) -> Flask:
    """Return the application. Its whole configuration is that of the catalog, so that tests need no environment."""
    app = OpenAPI(
        __name__,
        info=Info(
            title="glacier-al",
            version=package_version("glacier-al"),
            description="Active learning server for glacier mapping.",
        ),
        security_schemes=SECURITY_SCHEMES,
        validation_error_status=422,
        validation_error_model=Problem,
        validation_error_callback=refuse_invalid,
        doc_prefix="/docs",
        doc_url="/openapi.json",
    )
    # The pages of the library hold scripts, which our content security policy forbids.
    app.config["SWAGGER_HTML_STRING"] = app.config["OPENAPI_HTML_STRING"] = _template(app, "api_page.html")
    known_tokens = KnownTokens()
    limits = body_limits(catalog.settings, catalog.secrets, Members(app, known_tokens).are_shown)
    app.config["MAX_CONTENT_LENGTH"] = limits.ordinary
    app.extensions["catalog"] = catalog
    far_reader, store = FarReader(catalog.settings), raster_store(catalog)
    app.extensions["parts"] = Parts(
        models=RegistryCopy(catalog),
        served=ServedModel(catalog),
        bundles=bundle_cache(catalog.settings, registry_of(catalog.settings)),
        store=store if store.is_local else FarStore(catalog.settings.raster_store, far_reader),
        scenes=ReaderPool(most=THREADS),
        far_reader=far_reader,
        image_urls=image_urls(catalog),
        label_inbox=LabelInbox(catalog),
    )
    app.extensions["body_limits"] = limits
    app.extensions["known_tokens"] = known_tokens
    app.extensions["live"] = live.Live(catalog)
    protect(app, catalog.settings, catalog.secrets.session_key)
    app.before_request(CurrentSettings(catalog).refresh)
    app.before_request(check_access)
    app.before_request(check_request)
    register_error_handlers(app)
    app.after_request(show_to_people)
    resources = (
        *(health, metrics, scenes, scene_uploads, scene_patches, scene_pixels, map_tiles, scene_windows),
        *(scene_glaciers, corrections, label_uploads, predictions, area_predictions, changes, qgis, qgis_layers),
        *(patches, scorings, rounds, fine_tunes, arms, effort, quality, jobs, label_events, model_versions, canary),
        *(lineage, withdrawals, subscriptions, saliency, interactive, set_aside, backups, users, annotators, tokens),
        *(
            reproductions,
            data_sets,
            submissions,
            glims_checks,
            installation_checks,
            experiments,
            live,
            status,
            settings,
        ),
    )
    for resource in resources:
        app.register_api(resource.api)
    pages = (
        *(dashboard, map_page, version_page, round_page, patch_page, annotator_page),
        *(scene_page, settings_page, people_page, quality_page, events_page, changes_page, data_sets_page),
        *(installation_page, experiments_page, log_in),
    )
    for page in pages:
        app.register_blueprint(page.page)
    app.add_url_rule("/openapi.json", endpoint="openapi.document", view_func=lambda: app.api_doc)
    app.add_url_rule("/docs", endpoint="openapi.page", view_func=_docs)
    app.extensions["operations"] = complete(app)
    CORS(
        app,
        resources={path: {"origins": "*"} for path in OPEN_TO_ALL_ORIGINS},
        expose_headers=list(EXPOSED_HEADERS),
        methods=["GET", "HEAD", "OPTIONS"],
        allow_headers=["Authorization", "Range", "If-None-Match"],
    )
    return app


def _template(app: Flask, name: str) -> str:
    return (Path(app.root_path) / "templates" / name).read_text()


def _docs() -> WerkzeugResponse:
    return redirect(url_for("swagger.swagger"))
