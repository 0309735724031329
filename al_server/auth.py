"""Authorisation: who asks, by a token or by a log-in, and which role each endpoint needs. Checked before any view runs.

A browser sends the cookie of a log-in with every request, also with one that a foreign page makes. So a request that
changes something needs more than the cookie: it must not come from another origin, and must carry a value that only our
own pages know. A browser keeps no bearer token, so that a request with one was meant.
"""

import logging
from threading import Lock
from urllib.parse import urlsplit

from cachetools import TTLCache
from flask import Response, abort, current_app, g, redirect, request, session, url_for
from flask_wtf.csrf import validate_csrf
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as WerkzeugResponse
from wtforms import ValidationError

from al_server.context import current_catalog
from al_server.problems import problem
from catalog.access_records import Role
from catalog.errors import AccessRefusedError
from catalog.records import now
from services import first_access, log_ins, tokens
from services.users import Identity

# GET needs READER, other methods need OPERATOR, except at these endpoints. The views of composites, of signed tiles, of
# the webhook and of clicks check credentials of their own: a signature in the URL, a secret in a header, a password.
EXCEPTIONS = {
    "health.healthz": Role.PUBLIC,
    "health.readyz": Role.PUBLIC,
    "static": Role.PUBLIC,
    "patches.composite": Role.PUBLIC,
    "qgis_layers.view_tile": Role.PUBLIC,
    "qgis_layers.layer_tile": Role.PUBLIC,
    "label_events.receive": Role.PUBLIC,
    "label_events.replay": Role.ANNOTATOR,
    "corrections.submit": Role.ANNOTATOR,
    "area_predictions.predict": Role.READER,
    "changes.ask": Role.READER,
    "scene_labels.upload": Role.ANNOTATOR,
    "subscriptions.list_subscriptions": Role.OPERATOR,  # addresses of webhooks often carry a key
    "subscriptions.list_deliveries": Role.OPERATOR,
    "quality.quality": Role.OPERATOR,  # tells of people, whose colleagues hold the tokens of readers
    "withdrawals.list_all": Role.OPERATOR,  # it names annotators
    "interactive.health": Role.PUBLIC,
    "interactive.setup": Role.PUBLIC,
    "interactive.predict": Role.PUBLIC,
    "scenes.get_request": Role.OPERATOR,  # addresses of files often carry a key
    "scene_page.add": Role.OPERATOR,
    "scene_page.replace": Role.OPERATOR,
    "quality_page.show": Role.OPERATOR,
    "events_page.show": Role.OPERATOR,
    "data_sets.list_data_sets": Role.OPERATOR,  # they hold labels of patches that wait for a second annotator
    "data_sets.file": Role.OPERATOR,
    "data_sets_page.show": Role.OPERATOR,
    "submissions.list_submissions": Role.OPERATOR,  # as data sets; they may also name annotators by their accounts
    "submissions.file": Role.OPERATOR,
    "experiments.list_experiments": Role.OPERATOR,  # they tell what scenes are like by which versions are judged
    "experiments.file": Role.OPERATOR,
    "experiments.table": Role.OPERATOR,
    "experiments.figure": Role.OPERATOR,
    "experiments_page.show": Role.OPERATOR,
    "log_in.form": Role.PUBLIC,
    "log_in.log_in": Role.PUBLIC,
    "log_in.log_out": Role.READER,
    "log_in.account": Role.READER,
    "log_in.change_password": Role.READER,
}
PUBLIC_BLUEPRINTS = frozenset({"openapi", "swagger"})  # the OpenAPI document and the page that shows it
ADMINISTRATION = frozenset(
    {"users", "annotators", "tokens", "backups", "installation_checks", "people_page", "installation_page"}
)
PAGES = frozenset(
    {
        *("dashboard", "log_in", "map_page", "scene_page", "settings_page"),
        *("version_page", "round_page", "patch_page", "annotator_page"),
        *("people_page", "quality_page", "events_page", "changes_page", "data_sets_page", "installation_page"),
        "experiments_page",
    }
)
LOG_OUT = "log_in.log_out"
log = logging.getLogger(__name__)

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
WRITING_READS = frozenset({"predictions"})
"""Blueprints whose GET starts a job, as the web tool needs it. A browser sends the cookie also when a page elsewhere
leads it there (``SameSite=Lax``), so that such pages could keep the workers busy."""
OWN_CREDENTIALS = frozenset({"label_events.receive"})  # a secret in a header that no browser has
SECRET_OF_LOG_IN = "log_in"  # noqa: S105 - an entry of the signed session cookie
LATELY_S = 24 * 3600.0
KNOWN_FOR_S = 5.0  # a token that is revoked by another process is refused after this time at the latest


class KnownTokens:
    """Tokens that were found good in the last seconds: a query for each request would halve the rate of short ones.

    Of those that were good lately it also tells that much.
    """

    def __init__(self) -> None:
        self._known: TTLCache[str, Identity] = TTLCache(maxsize=1024, ttl=KNOWN_FOR_S)
        self._good_lately: TTLCache[str, bool] = TTLCache(maxsize=1024, ttl=LATELY_S)
        self._lock = Lock()

    def find(self, token: str) -> Identity | None:
        """Return who asks with a token; None if it must be looked up."""
        with self._lock:
            found: Identity | None = self._known.get(tokens.checksum(token))
            return found

    def add(self, token: str, identity: Identity) -> None:
        """Remember a token that is good."""
        with self._lock:
            self._known[tokens.checksum(token)] = identity
            self._good_lately[tokens.checksum(token)] = True

    def was_good(self, token: str) -> bool:
        """Return whether a token was good lately; it may have been revoked by another process since."""
        with self._lock:
            return tokens.checksum(token) in self._good_lately

    def forget_all(self) -> None:
        """Look every token up again, because one of them, or its user, has changed."""
        with self._lock:
            self._known.clear()
            self._good_lately.clear()


def known_tokens() -> KnownTokens:
    """Return the known tokens of the current app."""
    found: KnownTokens = current_app.extensions["known_tokens"]
    return found


def check_access() -> WerkzeugResponse | None:
    """Refuse a request that lacks the role that the endpoint needs; Flask calls this before every view."""
    if request.endpoint is None or request.method == "OPTIONS":
        return None
    needed = role_needed(request.endpoint, request.method)
    return _check_origin() or (None if needed is Role.PUBLIC else _check_role(needed))


def _check_role(needed: Role) -> WerkzeugResponse | None:
    try:
        identity = _identify()
    except AccessRefusedError as error:
        return _unauthorized(str(error))
    if identity is None:
        return _ask_for_log_in()
    if identity.role < needed:
        return problem(403, f"{identity.name} has the role {identity.role.title}, this needs {needed.title}")
    g.identity = identity
    return None


def current_identity() -> Identity:
    """Return who asks: the name of a user, or of a token that belongs to no user, and the role.

    Raises:
        Unauthorized: nobody has shown who they are; that cannot be at an endpoint that needs a role.
    """
    identity: Identity = g.get("identity") or abort(401)
    return identity


def actor() -> str:
    """Return the name of the caller, to be stored with a decision."""
    return current_identity().name


def identity_or_none() -> Identity | None:
    """Return who asks at an endpoint that is open to all; None for strangers and for credentials that are not good."""
    try:
        return _identify()
    except AccessRefusedError:
        return None


def has_role(needed: Role) -> bool:
    """Return whether the caller may do what a role may do."""
    return current_identity().role >= needed


def prefers_page() -> bool:
    """Return whether the caller prefers a page to JSON, as a browser does that follows a link or sends a form."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def role_needed(endpoint: str, method: str) -> Role:
    """Return the role that a call to this endpoint needs."""
    blueprint = endpoint.split(".", maxsplit=1)[0]
    if blueprint in PUBLIC_BLUEPRINTS:
        return Role.PUBLIC
    if blueprint in ADMINISTRATION:
        return Role.ADMINISTRATOR
    return EXCEPTIONS.get(endpoint, Role.READER if method in SAFE_METHODS else Role.OPERATOR)


def _check_origin() -> Response | None:
    """Refuse a request that changes something if a page that is not ours may have made the browser send it."""
    blueprint = (request.endpoint or "").partition(".")[0]
    reads = request.method in SAFE_METHODS
    is_harmless = reads and not (blueprint in WRITING_READS and SECRET_OF_LOG_IN in session)
    if is_harmless or _bearer() is not None or request.endpoint in OWN_CREDENTIALS:
        return None
    if _is_cross_origin():
        return problem(403, "the request comes from a page of another origin; only our own pages may send it")
    if reads or _ends_nothing():  # a link of ours, or an address that a person typed, carries no value
        return None
    is_form = blueprint in PAGES
    if not is_form and SECRET_OF_LOG_IN not in session:
        return None  # without a log-in there is nothing to misuse
    try:
        # The header first: to look for a form would refuse a body that only the view takes as large as it is.
        validate_csrf(request.headers.get("X-CSRFToken") or request.form.get("csrf_token"))
    except ValidationError:
        return problem(
            403, "the form is older than the last log-in, or was not sent by one of our pages; load the page again"
        )
    return None


def _ends_nothing() -> bool:
    """Return whether a person wants to log out whose cookie has ended, and with it the value of the form."""
    return request.endpoint == LOG_OUT and SECRET_OF_LOG_IN not in session and prefers_page()


def _is_cross_origin() -> bool:
    """Return whether a browser says that the request comes from another origin.

    Another port of this host counts as another origin, though not as another site: Label Studio and MLflow live there.
    Browsers leave ``Sec-Fetch-Site`` out where the connection is not trustworthy, as on a local network without TLS.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("Origin")  # "null" where a page hides it
    try:
        return origin is not None and urlsplit(origin).netloc != request.host
    except ValueError:
        return True


def _identify() -> Identity | None:
    """Return who asks; None if nothing in the request says so.

    Raises:
        AccessRefusedError: the token is not good.
    """
    token = _bearer()
    if token is not None:
        return known_tokens().find(token) or _look_up(token)
    secret = session.get(SECRET_OF_LOG_IN)
    if secret is None:
        return None
    with current_catalog().read() as rows:
        return log_ins.identify(rows, secret)


def _look_up(token: str) -> Identity:
    catalog = current_catalog()
    first_access.prepare(catalog.database, catalog.secrets)
    with catalog.read() as rows:
        row, identity = tokens.identify(rows, token)
    known_tokens().add(token, identity)
    if row.last_used_at is None or now() - row.last_used_at > tokens.USE_NOTED_EVERY:
        try:
            with catalog.database.write() as rows:
                tokens.note_use(rows, row.id)
        except SQLAlchemyError:  # a full disk must not keep anybody from reading
            log.exception("the use of the token %r was not noted", row.name)
    return identity


def _bearer() -> str | None:
    given = request.authorization
    return given.token if given is not None and given.type == "bearer" else None


def _ask_for_log_in() -> WerkzeugResponse:
    """Lead a browser to the page for it; tell a program what is missing."""
    if request.method in {"GET", "HEAD"} and prefers_page():
        return redirect(url_for("log_in.form", next=request.full_path.rstrip("?")), 303)
    if request.endpoint == LOG_OUT and prefers_page():
        return redirect(url_for("log_in.form"), 303)
    return _unauthorized("found no token, expected the header 'Authorization: Bearer <token>', or a log-in at /login")


def _unauthorized(detail: str) -> Response:
    refused = problem(401, detail)
    refused.headers["WWW-Authenticate"] = 'Bearer realm="glacier-al"'
    return refused
