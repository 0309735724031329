"""The frame of our pages: who reads them, and the value that their forms send."""

from flask import Response, g, render_template
from flask import session as browser
from flask_wtf.csrf import generate_csrf

from al_server.auth import SECRET_OF_LOG_IN, identity_or_none
from al_server.context import current_catalog
from services.live_state import live_state, mark


def live_mark() -> str:
    """Return what a page is made from: what changes after that is told to its script (``GET /api/v1/live``).

    Asked for before anything that the page shows is read.
    """
    with current_catalog().read() as session:
        return mark(live_state(session))


def render_page(template: str, status: int = 200, **context: object) -> Response:
    """Return a page that extends ``base.html``.

    Args:
        template: Its file.
        status: The HTTP status.
        context: What else the template shows; `csrf_token` among it is kept.
    """
    logged_in = SECRET_OF_LOG_IN in browser
    frame = {
        # Who was let in stays so while the page is drawn, whoever logs them out meanwhile.
        "identity": g.get("identity") or identity_or_none(),
        "logged_in": logged_in,
        "csrf_token": generate_csrf() if logged_in else "",
    }
    return Response(render_template(template, **frame | context), status, headers={"Cache-Control": "no-store"})
