"""The secrets of an installation: made at first start, kept in one file that only its owner may read, never logged."""

import json
import os
import secrets
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

    Raises:
        SecretsError: the file exists but holds something else than exactly the secrets expected.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(Secrets()), indent=1)
        try:
            # Exclusive creation: of two processes that start together only one writes, and both read the same file.
            descriptor = os.open(path.with_suffix(".new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise SecretsError(
                f"found {path.with_suffix('.new')}: another process is making the secrets, or one was cut off while "
                "doing so; remove that file if nothing else is starting"
            ) from error
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        path.with_suffix(".new").rename(path)
    try:
        values = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise SecretsError(f"{path} is not JSON ({error}); restore it from a backup") from error
    expected = {item.name for item in fields(Secrets)}
    if not isinstance(values, dict) or set(values) != expected:
        found = sorted(values) if isinstance(values, dict) else type(values).__name__
        raise SecretsError(f"{path} holds {found}, expected exactly {sorted(expected)}; restore it from a backup")
    return Secrets(**values)
