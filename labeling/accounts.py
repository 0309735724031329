"""Accounts of annotators, made the way people make them: through the sign-up form of an invitation.

The API can create users too, but ignores their password and puts them into no organization, and what such a user
draws fires no webhook.
"""

import httpx

from labeling.calls import calling
from labeling.errors import LabelStudioError

_CSRF_COOKIE = "csrftoken"


def invitation(url: str, token: str, timeout_s: float) -> str:
    """Return the token of the invitation to the organization, without the SDK, which the API's process never loads.

    Args:
        url: Label Studio's address.
        token: (Legacy) API token of an administrator.
        timeout_s: Longest wait for the answer, in seconds.

    Raises:
        LabelStudioError: If Label Studio refuses.
    """
    with calling(url, "issue an invitation"):
        answer = httpx.get(f"{url}/api/invite", headers={"Authorization": f"Token {token}"}, timeout=timeout_s)
    if answer.status_code != httpx.codes.OK:
        raise LabelStudioError(
            f"Label Studio at {url} did not issue an invitation: status {answer.status_code}. Check its token.",
            url=url,
            status=answer.status_code,
        )
    return str(answer.json()["token"])


def sign_up(url: str, invitation: str, email: str, password: str, timeout_s: float) -> None:
    """Create an account in the organization that issued the invitation.

    Args:
        url: Label Studio's address.
        invitation: The invitation's token.
        email: Address of the new user.
        password: Their password, 8 characters or more.
        timeout_s: Longest wait for an answer, in seconds.

    Raises:
        LabelStudioError: If Label Studio refuses, e.g. because the address is taken or not an address.
    """
    page = f"/user/signup/?token={invitation}"
    with httpx.Client(base_url=url, timeout=timeout_s) as browser:
        _submit(browser, url, page, {"email": email, "password": password}, f"sign up {email}")


def access_token(url: str, email: str, password: str, timeout_s: float) -> str:
    """Log in as a user and return their (legacy) API token.

    Args:
        url: Label Studio's address.
        email: Their address.
        password: Their password.
        timeout_s: Longest wait for an answer, in seconds.

    Returns:
        The token, good until they reset it.

    Raises:
        LabelStudioError: If the log-in fails, or the organization does not allow legacy tokens.
    """
    with httpx.Client(base_url=url, timeout=timeout_s) as browser:
        _submit(browser, url, "/user/login/", {"email": email, "password": password}, f"log in {email}")
        with calling(url, f"hand out the token of {email}"):
            answer = browser.get("/api/current-user/token")
    if answer.status_code != httpx.codes.OK:
        advice = "Allow legacy tokens under Organization > API Tokens Settings."
        if answer.is_server_error:
            advice = "If its log says that no token exists, restart Label Studio and delete and invite the user again."
        raise LabelStudioError(
            f"Label Studio at {url} did not hand out the token of {email}: status {answer.status_code}. {advice}",
            url=url,
            status=answer.status_code,
        )
    return str(answer.json()["token"])


def _submit(browser: httpx.Client, url: str, page: str, fields: dict[str, str], purpose: str) -> None:
    with calling(url, purpose):
        browser.get(page)
        form = {**fields, "csrfmiddlewaretoken": browser.cookies.get(_CSRF_COOKIE, "")}
        answer = browser.post(page, data=form)
    if answer.status_code != httpx.codes.FOUND:  # a form that was refused is shown again, with status 200
        raise LabelStudioError(
            f"Label Studio at {url} did not {purpose}: status {answer.status_code}, expected a redirect (302). "
            "Either the address is taken or not valid, the password is wrong or shorter than 8 characters, "
            "or the invitation was reset.",
            url=url,
            status=answer.status_code,
        )
