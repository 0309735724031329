"""The secrets of an installation: made at first start, kept in one file that only its owner may read, never logged."""

import contextlib
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path


def _token() -> str:
    return secrets.token_hex(20)  # 40 hexadecimal digits: the form Label Studio gives its own tokens


class SecretsError(ValueError):
    """The secrets file cannot be used."""


@dataclass(frozen=True, repr=False)
class Secrets:
    """Tokens, passwords and keys. Has no ``repr``, so that no log or traceback can show it."""

    reader_token: str = field(default_factory=_token)
    labeler_token: str = field(default_factory=_token)
    operator_token: str = field(default_factory=_token)
    webhook_secret: str = field(default_factory=_token)
    url_signing_key: str = field(default_factory=_token)
    redis_password: str = field(default_factory=_token)
    label_studio_email: str = "admin@glacier.local"
    label_studio_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    label_studio_token: str = field(default_factory=_token)


def load_or_create(path: Path) -> Secrets:
    """Read the secrets file, or make it with fresh secrets and mode 0600.

    Processes that start together end up with the same secrets: one of them makes the file, all read it.

    Raises:
        SecretsError: the file exists but holds something else than exactly the secrets expected.
    """
    if not path.exists():
        _create(path)
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise SecretsError(f"{path} is not JSON ({error}); restore it from a backup") from error
    expected = {item.name for item in fields(Secrets)}
    if not isinstance(values, dict) or set(values) != expected:
        found = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise SecretsError(f"{path} holds {found}, expected exactly {sorted(expected)}; restore it from a backup")
    empty = sorted(name for name, value in values.items() if not isinstance(value, str) or not value)
    if empty:  # an empty token would let everybody in
        raise SecretsError(f"{path} holds no text for {empty}, expected some for each; restore it from a backup")
    return Secrets(**values)


def _create(path: Path) -> None:
    """Make the file whole or not at all; leave it alone if another process was faster."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(json.dumps(asdict(Secrets()), indent=1))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)  # unlike a renaming, a link never replaces what is there
    finally:
        Path(draft).unlink()
