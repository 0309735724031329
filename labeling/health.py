"""Is Label Studio there? Light enough for a readiness probe: the SDK is not loaded."""

import ssl
from functools import cache

import httpx

from labeling.calls import calling
from labeling.errors import LabelStudioError


def check_health(url: str, timeout_s: float) -> None:
    """Ask Label Studio whether it is up; needs no token.

    Args:
        url: Label Studio's address.
        timeout_s: Longest wait for connection and answer each, in seconds.

    Raises:
        LabelStudioError: If it cannot be reached or does not answer 200.
    """
    base = url.rstrip("/")
    with calling(base, "report its health"):
        answer = httpx.get(f"{base}/health", timeout=timeout_s, verify=_trust())
    if answer.status_code != httpx.codes.OK:
        raise LabelStudioError(
            f"{base}/health answered {answer.status_code}; expected 200. "
            "A 400 means that this host name is not among LABEL_STUDIO_ALLOWED_HOSTS.",
            url=base,
            status=answer.status_code,
        )


@cache
def _trust() -> ssl.SSLContext:
    """Reading the certificate authorities takes longer than the request, which is made every few seconds."""
    return httpx.create_ssl_context()
