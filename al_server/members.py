"""Who is likely to be allowed in, told from headers alone: their bodies do not compete with those of strangers.

The thread that receives requests asks, which must wait for nothing, so that no row is read. Views check credentials
afterwards in any case; a log-in that has ended, or a token that was revoked in another process, gives nobody more than
this room.
"""

from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from itsdangerous import BadData
from werkzeug.http import parse_cookie

from al_server.auth import SECRET_OF_LOG_IN, KnownTokens

_BEARER = "bearer "


class Members:
    """Recognises those who have logged in, and tokens that were good lately."""

    def __init__(self, app: Flask, known_tokens: KnownTokens) -> None:
        """Remember where to look; `app` may get its key later."""
        self._app = app
        self._known_tokens = known_tokens

    def are_shown(self, authorization: str, cookies: str) -> bool:
        """Return whether the header `Authorization`, or `Cookie`, is one of a member."""
        if authorization[: len(_BEARER)].lower() == _BEARER:
            return self._known_tokens.was_good(authorization[len(_BEARER) :].strip())
        return self._is_log_in(cookies)

    def _is_log_in(self, cookies: str) -> bool:
        """Return whether a cookie is one that this server signed for a browser that had logged in."""
        serializer = SecureCookieSessionInterface().get_signing_serializer(self._app)
        signed = parse_cookie(cookies).get(self._app.config["SESSION_COOKIE_NAME"])
        if serializer is None or signed is None:
            return False
        try:
            session = serializer.loads(signed, max_age=int(self._app.permanent_session_lifetime.total_seconds()))
        except BadData:
            return False
        return isinstance(session, dict) and SECRET_OF_LOG_IN in session
