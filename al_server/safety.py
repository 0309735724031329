"""What protects browsers and the server whatever the view: headers, hosts, cookies, and the address of the caller."""

from urllib.parse import urlsplit

from flask import Flask, Request, Response, request
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from werkzeug.middleware.proxy_fix import ProxyFix

from al_server.problems import problem
from catalog.settings import Settings

# Everything comes from this server, nothing stands inside of a page, no other page frames ours.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",  # Swagger's style sheet holds small pictures
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
# WebAssembly is compiled in this worker alone, which runs the network in the browser; a worker has a policy of its own.
WASM_WORKER = "/static/app/predict-worker.js"
WASM_POLICY = CONTENT_SECURITY_POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


class Sessions(SecureCookieSessionInterface):
    """Flask's sessions; a request without the cookie, such as a program's, does not wait for what would read it."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of a request."""
        has_cookie = self.get_cookie_name(app) in request.cookies
        return super().open_session(app, request) if has_cookie else self.session_class()


def protect(app: Flask, settings: Settings, session_key: str) -> None:
    """Set up cookies and hosts of an app, and have the headers added to each response.

    Args:
        app: The app.
        settings: `api_url` says whether cookies need TLS, and is the first allowed host.
        session_key: The key that signs cookies.
    """
    own = urlsplit(settings.api_url)
    app.secret_key = session_key
    app.session_interface = Sessions()
    app.config.update(
        SESSION_COOKIE_NAME="glacier_al",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=own.scheme == "https",
        PERMANENT_SESSION_LIFETIME=settings.log_in_lifetime_s,
        SESSION_REFRESH_EACH_REQUEST=False,  # a late answer would put back the cookie from before a new log-in
        WTF_CSRF_TIME_LIMIT=None,  # as long as the log-in
    )
    if settings.trusted_proxies:
        hops = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops)  # type: ignore[method-assign]
    names = {own.hostname or "", *LOCAL_HOSTS, *(name.lower() for name in settings.allowed_hosts)}
    app.before_request(lambda: _check_host(names))
    app.after_request(_add_headers)


def _check_host(allowed: set[str]) -> Response | None:
    """Refuse a request for another host: a foreign name that leads to our address would share our cookies' page.

    Werkzeug's own list of trusted hosts knows no IPv6 addresses.
    """
    name = urlsplit(f"//{request.host}").hostname or ""  # Werkzeug has refused what is no host
    parents = {name[place:] for place, letter in enumerate(name) if letter == "."}
    if {name, *parents} & allowed:
        return None
    return problem(400, f"this server is not called {name!r}; GLACIER_AL_ALLOWED_HOSTS names its further names")


def _add_headers(response: Response) -> Response:
    if request.path == WASM_WORKER:
        response.headers["Content-Security-Policy"] = WASM_POLICY
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
