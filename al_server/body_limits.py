"""How large a body each path takes, and who has to show what for a large one.

Both the server and the views ask here. The server asks as soon as the headers are there: a body that would be refused
is not received at all, since it would lie in memory or on the disk until its last byte had arrived.
"""

import hmac
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field

from catalog.secrets import Secrets
from catalog.settings import Settings
from labeling.interactive import USER
from labeling.webhook import SECRET_HEADER
from services.places import (
    GLIMS_CHECKS_ROUTE,
    INTERACTIVE_ROUTE,
    LABELS_ROUTE,
    PREDICT_ROUTE,
    SCENE_UPLOAD_ROUTE,
    SUBMISSIONS_ROUTE,
    WEBHOOK_ROUTE,
)


@dataclass(frozen=True)
class LargeBodies:
    """Paths that take large bodies from whoever shows a secret.

    Attributes:
        path: The path; those below it are meant, too.
        header: The header that holds the secret.
        expected: What it has to hold, whole.
    """

    path: str
    header: str
    expected: str = field(repr=False)

    def are_taken_at(self, path: str) -> bool:
        """Return whether a path is meant."""
        return _is_at(path, self.path)

    def is_shown(self, found: str) -> bool:
        """Return whether the header holds the secret; takes the same time however much of it is right."""
        return hmac.compare_digest(found.encode(), self.expected.encode())


def _is_at(path: str, route: str) -> bool:
    """Return whether a path is a route or lies below it; in a route, ``*`` stands for any one part."""
    parts, wanted = path.split("/"), route.split("/")
    # The path may be longer: what lies below the route is meant, too.
    return len(parts) >= len(wanted) and all(
        (part != "" if name == "*" else part == name) for part, name in zip(parts, wanted, strict=False)
    )


def _nobody(_authorization: str, _cookies: str) -> bool:
    return False


@dataclass(frozen=True)
class BodyLimits:
    """The limits of all paths.

    Attributes:
        ordinary: Largest body of a request, in bytes.
        large: Largest body at the paths of `exceptions`, in bytes, with the secret.
        exceptions: These paths.
        upload: Largest body at the paths of `uploads`, in bytes.
        uploads: Paths that take files from whoever is let in, which the view checks; those below them, too.
        are_members: Returns whether the headers `Authorization` and `Cookie` are those of somebody who is let in; waits
            for nothing.
    """

    ordinary: int
    large: int = 0
    exceptions: tuple[LargeBodies, ...] = ()
    upload: int = 0
    uploads: frozenset[str] = frozenset()
    are_members: Callable[[str, str], bool] = field(default=_nobody, compare=False)

    def exception(self, path: str) -> LargeBodies | None:
        """Return the exception that a path falls under, if any."""
        return next((item for item in self.exceptions if item.are_taken_at(path)), None)

    def most_bytes(self, path: str) -> int:
        """Return the largest body that a path takes from whoever may send it large ones."""
        return self.to_anybody(path) if self.exception(path) is None else self.large

    def to_anybody(self, path: str) -> int:
        """Return the largest body that a path takes without the secret of an exception."""
        return self.upload if any(_is_at(path, route) for route in self.uploads) else self.ordinary


def body_limits(settings: Settings, secrets: Secrets, are_members: Callable[[str, str], bool] = _nobody) -> BodyLimits:
    """Return the limits of this installation; `are_members` as in `BodyLimits`."""
    clicks = "Basic " + b64encode(f"{USER}:{secrets.interactive_password}".encode()).decode()
    exceptions = (
        LargeBodies(WEBHOOK_ROUTE, SECRET_HEADER, secrets.webhook_secret),
        LargeBodies(INTERACTIVE_ROUTE, "Authorization", clicks),
    )
    return BodyLimits(
        settings.request_max_bytes,
        settings.webhook_max_bytes,
        exceptions,
        settings.upload_max_bytes,
        frozenset({PREDICT_ROUTE, SCENE_UPLOAD_ROUTE, LABELS_ROUTE, GLIMS_CHECKS_ROUTE, SUBMISSIONS_ROUTE}),
        are_members,
    )
