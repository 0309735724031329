"""The pages on which people log in, log out and change their password.

The cookie is Flask's signed session. It holds no identity, only the secret of a row in the table of log-ins, which is
looked up with each request: so logging out, a changed password or a disabled user end a log-in at once, also for a
cookie that was copied. Flask-Login would trust the signed cookie until it expires.
"""

import re
from datetime import timedelta
from typing import Final

from flask import Blueprint, Response, redirect, request, session, url_for
from flask_wtf.csrf import generate_csrf
from werkzeug.wrappers import Response as WerkzeugResponse

from al_server.auth import SECRET_OF_LOG_IN, current_identity, identity_or_none
from al_server.context import current_catalog
from al_server.page_frame import render_page
from catalog.errors import AccessRefusedError, InvalidInputError, TooManyAttemptsError
from services import first_access, log_ins, users

# A path of ours. Browsers read a backslash as "/", and leave tabs and line ends out before they read an address.
_OWN_PATH: Final = re.compile(r"/(?!/)[^\\\x00-\x1f\x7f]*")

page = Blueprint("log_in", __name__)


@page.get("/login")
def form() -> Response:
    """Show the form; somebody who is logged in may log in as somebody else."""
    return _form()


@page.post("/login")
def log_in() -> WerkzeugResponse:
    """Check name and password; lead on to the page that was asked for."""
    catalog = current_catalog()
    first_access.prepare(catalog.database, catalog.secrets)
    name = request.form.get("name", "").replace("\0", "")  # which PostgreSQL would refuse
    lifetime = timedelta(seconds=catalog.settings.log_in_lifetime_s)
    try:
        secret = log_ins.log_in(catalog.database, name, request.form.get("password", ""), _address(), lifetime)
    except AccessRefusedError as error:
        return _form(str(error), name, 401)
    except TooManyAttemptsError as error:
        return _too_many(error, _form(str(error), name, 429))
    with catalog.database.write() as rows:  # a copy of the cookie until now is good no more
        log_ins.log_out(rows, session.get(SECRET_OF_LOG_IN, ""))
    _begin(secret)
    return redirect(_target(), 303)


@page.post("/logout")
def log_out() -> WerkzeugResponse:
    """End the log-in, here and for every copy of the cookie."""
    with current_catalog().database.write() as rows:
        log_ins.log_out(rows, session.pop(SECRET_OF_LOG_IN, ""))
    session.clear()
    return redirect(url_for("log_in.form"), 303)


@page.get("/account")
def account() -> Response:
    """Show who is logged in, and the form to change the password."""
    return _account()


@page.post("/account")
def change_password() -> WerkzeugResponse:
    """Change the password of who is logged in; all other log-ins of the person end."""
    catalog, name = current_catalog(), current_identity().name
    if SECRET_OF_LOG_IN not in session:
        return _account("only a person who is logged in has a password", 403)
    lifetime = timedelta(seconds=catalog.settings.log_in_lifetime_s)
    new = request.form.get("new", "")
    try:
        verified = log_ins.check_password(catalog.database, name, request.form.get("password", ""), _address())
        with catalog.database.write() as rows:
            log_ins.lock_verified(rows, name, verified)
            users.set_password(rows, name, new)
        secret = log_ins.log_in(catalog.database, name, new, _address(), lifetime)
    except AccessRefusedError:
        if identity_or_none() is None:  # an administrator has ended the log-in meanwhile
            return redirect(url_for("log_in.form"), 303)
        return _account("the present password is another one", 401)
    except TooManyAttemptsError as error:
        return _too_many(error, _account(str(error), 429))
    except InvalidInputError as error:
        return _account(str(error), 422)
    _begin(secret)
    return _account("The password is changed.")


def _begin(secret: str) -> None:
    session.clear()  # nothing that was set before the log-in counts after it
    session[SECRET_OF_LOG_IN] = secret
    session.permanent = True


def _target() -> str:
    """Return the page of ours that was asked for; an address elsewhere would let others use our log-in as a lure."""
    wanted = request.values.get("next", "")
    return wanted if _OWN_PATH.fullmatch(wanted) else url_for("dashboard.index")


def _form(fault: str = "", name: str = "", status: int = 200) -> Response:
    return render_page("log_in.html", status, fault=fault, name=name, next=_target(), csrf_token=generate_csrf())


def _account(message: str = "", status: int = 200) -> Response:
    return render_page("account.html", status, message=message, failed=status >= 400, csrf_token=generate_csrf())


def _too_many(error: TooManyAttemptsError, response: Response) -> Response:
    response.headers["Retry-After"] = str(error.wait_s)
    return response


def _address() -> str:
    return request.remote_addr or ""
