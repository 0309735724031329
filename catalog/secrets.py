"""The secrets of an installation: made at first start, kept in one file that only its owner may read, never logged."""

import fcntl
import json
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from catalog import files

log = logging.getLogger(__name__)

_REMEDY = (
    "restore it from a backup. Or move it away: new secrets are made at the next start, all tokens change, and Label "
    "Studio's log-in must be set to the new one (docs/operations.md)"
)


def _token() -> str:
    return secrets.token_hex(20)  # 40 hexadecimal digits: the form Label Studio gives its own tokens


class SecretsError(ValueError):
    """The secrets file cannot be used; the message says what to do."""


@dataclass(frozen=True, repr=False)
class Secrets:
    """Tokens, passwords and keys. Has no ``repr``, so that no log or traceback can show it."""

    reader_token: str = field(default_factory=_token)
    annotator_token: str = field(default_factory=_token)
    operator_token: str = field(default_factory=_token)
    administrator_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))  # the first one only
    session_key: str = field(default_factory=_token)
    webhook_secret: str = field(default_factory=_token)
    interactive_password: str = field(default_factory=_token)
    url_signing_key: str = field(default_factory=_token)
    event_signing_key: str = field(default_factory=_token)
    redis_password: str = field(default_factory=_token)
    mlflow_password: str = field(default_factory=_token)
    mlflow_session_key: str = field(default_factory=_token)
    label_studio_email: str = "admin@glacier.local"
    label_studio_password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    label_studio_token: str = field(default_factory=_token)


_NAMES = tuple(item.name for item in fields(Secrets))


def load_or_create(path: Path) -> Secrets:
    """Read the secrets file; make it, or the secrets that it lacks, with mode 0600.

    Processes that start together read the same secrets. Unknown entries are kept: a newer release may have
    written them.

    Raises:
        SecretsError: the file is damaged, holds an empty secret, or cannot be read or written.
    """
    try:
        if not path.exists():
            with suppress(FileExistsError):  # another process was faster
                files.write_new(path, _text(asdict(Secrets())))
        values = _read(path)
        if not values.keys() >= set(_NAMES):
            values = _complete(path)
    except OSError as error:
        raise SecretsError(
            f"cannot use the secrets file {path}: {error.strerror}; let this user read it and write in its folder, or "
            "name another file in GLACIER_AL_SECRETS_FILE"
        ) from error
    return Secrets(**{name: values[name] for name in _NAMES})


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:
        raise SecretsError(f"{path} is not JSON ({error}); {_REMEDY}") from error
    if not isinstance(values, dict):
        raise SecretsError(f"{path} holds a {type(values).__name__}, expected an object with secrets; {_REMEDY}")
    # An empty token would grant access to everybody.
    empty = [name for name in _NAMES if name in values and not _is_filled(values[name])]
    if empty:
        raise SecretsError(
            f"{path} holds no text for {', '.join(empty)}; remove the entry, and a new one is made, or {_REMEDY}"
        )
    return values


def _is_filled(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _complete(path: Path) -> dict[str, Any]:
    """Add the secrets that the file of an older release lacks; return all secrets."""
    with _locked(path.parent):
        values = _read(path)  # read again under the lock: another process may have added them
        made = {name: value for name, value in asdict(Secrets()).items() if name not in values}
        if made:
            files.replace(path, _text(values | made))
            log.warning("%s lacked %s; made and stored", path, ", ".join(made))
    return values | made


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an exclusive lock on a folder. The file itself is replaced, so a lock on it would not exclude others."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1)
